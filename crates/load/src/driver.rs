//! What makes operations happen.

use plimsoll_model::{Cx, Finding, OperationKind, Quiet, RoundSpec, RoundStats, SubjectHandle};

use crate::Error;

/// Makes operations happen.
pub trait Driver: Send {
    /// The kinds of operation it has.
    fn operations(&self) -> &[OperationKind];

    /// Gets ready to drive this subject.
    ///
    /// # Errors
    /// If it cannot be driven at all.
    fn prepare(&mut self, subject: &SubjectHandle) -> Result<(), Error>;

    /// Drives one round: exactly `spec.operations` operations, `done + errors` of them, none retried. Errors of single
    /// operations are counted, not returned.
    ///
    /// # Errors
    /// Only if the round cannot finish: nobody listens any more, the deadline passed, cancelled. The error carries what was done.
    fn round(&mut self, spec: &RoundSpec, cx: &Cx) -> Result<RoundStats, Error>;

    /// Waits until nothing is in flight, and brings the connections to the number of the previous round.
    ///
    /// # Errors
    /// As [`Driver::round`].
    fn quiesce(&mut self, cx: &Cx) -> Result<Quiet, Error>;

    /// What it noticed over all rounds that deserves an advice: logins, rate limits, sessions of its own making.
    fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// Closes all connections; what went wrong with that, if it matters.
    fn close(self: Box<Self>) -> Option<Finding>;
}
