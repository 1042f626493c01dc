//! What happens during a run, told to whoever shows it.

use crate::{Finding, Reading, RoundRecord};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting until the subject is ready.
    Start,
    /// Operations before measuring counts.
    WarmUp,
    /// Rounds without operations before and after.
    Idle,
    /// Rounds.
    Rounds,
    /// Explanation windows.
    Explain,
    /// Each kind of operation alone.
    Alone,
    /// Watching without a driver.
    Watch,
    /// Ending the subject, writing the run.
    Close,
}

impl Phase {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::WarmUp => "warm-up",
            Self::Idle => "idle",
            Self::Rounds => "rounds",
            Self::Explain => "explain",
            Self::Alone => "alone",
            Self::Watch => "watch",
            Self::Close => "close",
        }
    }
}

/// Told as it happens, in order, from one thread.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A phase begins.
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// What it is about, for people.
        detail: String,
    },
    /// Still waiting for readiness.
    Waiting {
        /// Seconds waited so far.
        seconds: f64,
        /// The subject's last line of output.
        last_line: Option<String>,
        /// What is wrong with waiting on, if something is: it listens elsewhere.
        doubt: Option<String>,
    },
    /// Progress within a phase.
    Progress {
        /// Which phase.
        phase: Phase,
        /// Steps done.
        done: u64,
        /// Steps planned, if known.
        planned: Option<u64>,
        /// Live bytes (or resident anonymous memory) now.
        live_bytes: Option<f64>,
        /// Growth so far, per operation or per second.
        rate: Option<f64>,
        /// Seconds until the run ends at the latest.
        seconds_left: Option<f64>,
    },
    /// A load goes on.
    Driving {
        /// Operations that ended.
        done: u64,
        /// Those of them that failed.
        errors: u64,
        /// Operations planned, if known.
        planned: Option<u64>,
        /// Operations per second lately.
        per_second: f64,
        /// Resident bytes of the process behind the port, if it is visible.
        rss: Option<f64>,
        /// Seconds since the load began.
        seconds: f64,
    },
    /// A round was measured.
    Round(Box<RoundRecord>),
    /// A phase ended.
    PhaseEnded {
        /// Which.
        phase: Phase,
        /// How it went, for people.
        detail: String,
    },
    /// What a monitor read at an interval.
    Reading(Box<Reading>),
    /// A line for people, told as it happens.
    Line(String),
    /// Something worth telling at once.
    Found(Finding),
}
