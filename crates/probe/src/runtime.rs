//! The two ways of observing: from outside on a clock of its own, and by asking a runtime.

use plimsoll_model::{
    Capabilities, Census, Collected, Cx, Evidence, EvidenceRequest, Mark, Ns, Sample, Scope, Sink,
};

use crate::Error;

/// Level 0: reads what the kernel knows. Has its own thread, keeps its descriptors open, never waits for a [`Runtime`].
pub trait Sampler: Send {
    /// Takes one reading of everything it watches.
    fn tick(&mut self, now: Ns, out: &mut dyn FnMut(Sample));
}

/// Level 1: one isolate (process x thread) of a language runtime. A cheap handle on the hub; every call has a deadline
/// and a cancel.
pub trait Runtime: Send {
    /// What this isolate can and cannot answer; said in the report.
    fn capabilities(&self) -> &Capabilities;

    /// Tells the isolate where the run is. Never waits, never fails.
    fn mark(&mut self, mark: Mark);

    /// Forces a garbage collection, lets finalisers run, and reads live bytes after it.
    ///
    /// # Errors
    /// If the isolate is gone, cannot collect, or does not answer before the deadline.
    fn collect(&mut self, cx: &Cx) -> Result<Collected, Error>;

    /// Live count (and bytes) by kind.
    ///
    /// # Errors
    /// As [`Runtime::collect`].
    fn census(&mut self, scope: Scope, cx: &Cx) -> Result<Census, Error>;

    /// Streams evidence into `sink`; the receipt says how much.
    ///
    /// # Errors
    /// As [`Runtime::collect`], or if the sink refuses.
    fn capture(
        &mut self,
        request: &EvidenceRequest,
        sink: &mut dyn Sink,
        cx: &Cx,
    ) -> Result<Evidence, Error>;

    /// Lets go of what captures keep open: ids of objects are comparable between snapshots only while it is.
    fn release(&mut self) {}
}
