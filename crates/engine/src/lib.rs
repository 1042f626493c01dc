//! The verbs of Plimsoll: subject → driver → probe → recorder → judge → explainer → report, put together.
//!
//! The only room that knows all others. It measures nothing, decides nothing and prints nothing itself: it runs the
//! rounds, hands series to the judge, evidence to the explainers, and leaves one [`Run`](plimsoll_model::Run).
//! Threads and channels only; no async type is used.

mod alone;
mod analyze;
mod around;
mod check;
mod clock;
mod conclude;
mod config;
mod containers;
mod describe;
mod doctor;
mod document;
mod drive;
mod environment;
mod error;
mod evidence;
mod explain;
mod file;
mod holders;
mod import;
mod judged;
mod limits;
mod load;
mod measure;
mod monitor;
mod native;
mod pace;
mod parts;
mod passive;
mod patterns;
mod pilot;
mod place;
pub mod profile;
mod rates;
mod ready;
mod restart;
mod rounds;
mod rules;
mod scenario;
mod session;
mod shared_work;
pub mod snapshot;
mod suite;
mod tally;
mod verb_load;
mod warnings;
mod watch;
mod yaml;

pub use analyze::{Answer, Question, analyze, answer};
pub use around::Around;
pub use check::{Supervisor, check};
pub use config::{
    Check, Config, DEFAULT_CONCURRENCY, DEFAULT_MAX_ERRORS, DEFAULT_MAX_TIME,
    DEFAULT_READY_TIMEOUT, DEFAULT_ROUNDS, Explain, Flags, MAX_ROUNDS, Origin, Ready, directories,
};
pub use doctor::doctor;
pub use error::Error;
pub use explain::{Counts, Explainer};
pub use file::{parse_duration, parse_explain, parse_milliseconds, parse_percentage, parse_size};
pub use load::{DriverFlags, Load, Means};
pub use monitor::{Monitor, Wrapper, monitor, processes_by_name, processes_by_pid, shell_status};
pub use patterns::{PATTERNS, Pattern, pattern};
/// Raises our soft limit of descriptors to the hard one: each connection is a descriptor.
pub use plimsoll_probe::raise_descriptor_limit;
pub use rules::RuleRequest;
pub use scenario::Scenario;
pub use suite::{DEFAULT_FINALIZER_WAIT, HoursFlags, Suite, SuiteFlags, SuiteKind, suite};
pub use verb_load::{LoadFlags, LoadRun, load};
