//! What keeps a scenario from being run at all. What happens while it runs is in its result.

use std::path::PathBuf;

/// Why nothing could be tested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryTestError {
    /// A value of the configuration, or of a test's data, that is none.
    #[error("`{field}` is {value}, and may be {allowed}")]
    OutOfRange {
        /// Which.
        field: String,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// Test data under a name that nobody reads.
    #[error("test data has no `{key}`; it can have payload_size_mb and iterations")]
    UnknownData {
        /// The name.
        key: String,
    },
    /// Nobody to test.
    #[error(
        "{}\n  hint: give the runner a service: `MemoryTestRunner::new(config).await?.with_service(service)`",
        match .wanted { Some(wanted) => format!("no service is {wanted}"), None => "there is no service".to_owned() }
    )]
    NoService {
        /// The service that was asked for, if one was.
        wanted: Option<String>,
    },
    /// A service that cannot be driven.
    #[error("{service} has no operations: `Service::operations` names at least one")]
    NoOperations {
        /// Which.
        service: String,
    },
    /// A service that did not start.
    #[error("{service} did not start: {why}")]
    NotStarted {
        /// Which.
        service: String,
        /// What it said.
        why: String,
    },
    /// The program was asked to start itself once more, with less memory, and could not.
    #[error("the program could not be started again for {service}: {why}")]
    NoChild {
        /// Whose exhaustion was to be tested.
        service: String,
        /// What happened.
        why: String,
    },
    /// Results that could not be written.
    #[error("results cannot be written to {}: {source}", .path.display())]
    Unwritable {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
