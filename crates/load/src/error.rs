//! Why something could not be driven. Errors of single operations are not here: they are counted in the round.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use plimsoll_model::RoundStats;

/// Why a round, or the way to it, ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody accepts connections any more.
    #[error("the server at {address} has refused connections for {}: {} answered, {} failed before", seconds(*since), stats.done, stats.errors())]
    ServerLost {
        /// Where it used to listen.
        address: String,
        /// For how long every attempt was refused.
        since: Duration,
        /// What was done until then.
        stats: Box<RoundStats>,
    },
    /// The call's deadline passed first.
    #[error("the time for the round is over: {} answered, {} failed", stats.done, stats.errors())]
    Deadline {
        /// What was done until then; operations still in flight are in neither count.
        stats: Box<RoundStats>,
    },
    /// The call was cancelled.
    #[error("cancelled: {} answered, {} failed", stats.done, stats.errors())]
    Cancelled {
        /// What was done until then; operations still in flight are in neither count.
        stats: Box<RoundStats>,
    },
    /// A URL that is none, or cannot be used.
    #[error("the URL `{url}` cannot be used: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A method, header or body that cannot be sent.
    #[error("{what}: {reason}")]
    Request {
        /// Which part, as it was given.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something between double braces that stands for nothing.
    #[error("{part}: `{text}` is unknown, {reason}")]
    Template {
        /// Where it stands: `URL`, `body`, a header.
        part: String,
        /// As it stands there.
        text: String,
        /// Its place in that part, in bytes.
        offset: usize,
        /// What is known.
        reason: String,
    },
    /// A step of a plan that cannot be carried out.
    #[error("{name}: {error}")]
    Step {
        /// Whether it is one of the setup.
        setup: bool,
        /// Its index among its like.
        index: usize,
        /// What it is called.
        name: String,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// A virtual user cannot set itself up, and so there are no operations.
    #[error("the setup step `{step}` failed: {reason}")]
    Setup {
        /// Which step.
        step: String,
        /// What its answer was.
        reason: String,
        /// What was done until then.
        stats: Box<RoundStats>,
    },
    /// Client and server do not get as far as a first operation.
    #[error("no operation is possible at {address}: {reason}")]
    Unfit {
        /// Where.
        address: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: &'static str,
        /// What was done until then.
        stats: Box<RoundStats>,
    },
    /// A file of certificates that cannot be used.
    #[error("the certificates of {} cannot be used: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A program that makes the operations failed.
    #[error("`{command}` {reason}{}", last_lines.last().map(|l| format!("; its last line: {l}")).unwrap_or_default())]
    Program {
        /// Its command line.
        command: String,
        /// What it did.
        reason: String,
        /// What it printed last.
        last_lines: Vec<String>,
        /// What was done until then.
        stats: Box<RoundStats>,
    },
    /// A module whose operation cannot be repeated.
    #[error("{reason}")]
    Module {
        /// Which module, and what it or its operation did.
        reason: String,
        /// What to do about it.
        hint: Option<&'static str>,
        /// What was done until then.
        stats: Box<RoundStats>,
    },
    /// The subject does not say how many operations it has done.
    #[error("operations cannot be counted: {reason}")]
    Uncounted {
        /// Why.
        reason: String,
        /// What was done until then.
        stats: Box<RoundStats>,
    },
    /// A list of statuses that is none.
    #[error("`{text}` is no HTTP status, range or class")]
    Status {
        /// The part that was not understood.
        text: String,
    },
    /// Something this driver cannot do.
    #[error("{what} cannot be driven: {instead}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What can be.
        instead: String,
    },
    /// Asked whether it is ready, the URL did not answer as it should.
    #[error("{url} is not ready: {reason}")]
    NotReady {
        /// Which URL.
        url: String,
        /// The status it answered with, if it answered.
        status: Option<u16>,
        /// Why that is not enough.
        reason: String,
    },
    /// The operating system refused something of ours.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What the round did before it ended early, if a round did.
    pub fn stats(&self) -> Option<&RoundStats> {
        match self {
            Self::ServerLost { stats, .. }
            | Self::Deadline { stats }
            | Self::Setup { stats, .. }
            | Self::Unfit { stats, .. }
            | Self::Program { stats, .. }
            | Self::Module { stats, .. }
            | Self::Uncounted { stats, .. }
            | Self::Cancelled { stats } => Some(stats),
            _ => None,
        }
    }

    /// What to do about it, if that can be said here.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url { .. } => Some("an example: http://127.0.0.1:3000/api?user={{seq}}"),
            Self::Unfit { hint, .. } => Some(hint),
            Self::Module { hint, .. } => *hint,
            Self::Uncounted { .. } => Some(
                "ask the counter by hand; an example: --ops-counter http://127.0.0.1:3000/metrics#http_requests_total",
            ),
            Self::Certificates { .. } => {
                Some("a file of certificates in PEM is needed: -----BEGIN CERTIFICATE-----")
            }
            Self::Setup { .. } => {
                Some("try the requests of `[[driver.setup]]` by hand, in their order")
            }
            Self::Step { error, .. } => error.hint(),
            Self::Status { .. } => Some("an example: 200-299,405 or 2xx,422"),
            Self::Io { source, .. } if is_out_of_descriptors(source) => {
                Some("lower the concurrency, or raise the limit of open files (`ulimit -n`)")
            }
            _ => None,
        }
    }
}

/// EMFILE or ENFILE: our own limit, not the server's doing.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    // The same numbers on every Linux architecture; std has no stable kind for them.
    matches!(error.raw_os_error(), Some(23 | 24))
}

fn seconds(duration: Duration) -> String {
    plimsoll_model::units::duration(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StatusRanges, Url};

    fn stats() -> Box<RoundStats> {
        Box::new(RoundStats {
            done: 980,
            errors_by_kind: [("connection reset".into(), 10)].into(),
            ..RoundStats::default()
        })
    }

    #[test]
    fn messages_say_what_and_how_far() {
        let lost = Error::ServerLost {
            address: "127.0.0.1:3000".into(),
            since: Duration::from_millis(2_100),
            stats: stats(),
        };
        assert_eq!(
            lost.to_string(),
            "the server at 127.0.0.1:3000 has refused connections for 2.1 s: 980 answered, 10 failed before"
        );
        assert_eq!(lost.stats().map(|s| s.done), Some(980));
        assert_eq!(
            Error::Deadline { stats: stats() }.to_string(),
            "the time for the round is over: 980 answered, 10 failed"
        );
        assert_eq!(
            Error::Cancelled { stats: stats() }.to_string(),
            "cancelled: 980 answered, 10 failed"
        );
        let full = Error::Io {
            doing: "open another connection",
            source: io::Error::from_raw_os_error(24),
        };
        assert!(full.hint().is_some_and(|hint| hint.contains("ulimit -n")));
        assert!(full.stats().is_none());
    }

    #[test]
    fn examples_in_hints_are_right() {
        let url = Url::parse("nonsense").unwrap_err().hint().unwrap();
        assert!(Url::parse(url.rsplit(' ').next().unwrap()).is_ok());
        let statuses = "nonsense".parse::<StatusRanges>().unwrap_err();
        let example = statuses
            .hint()
            .unwrap()
            .strip_prefix("an example: ")
            .unwrap();
        for list in example.split(" or ") {
            assert!(list.parse::<StatusRanges>().is_ok(), "{list}");
        }
    }
}
