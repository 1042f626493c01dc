//! Why a snapshot was refused: what is wrong, and at which byte.

use std::io;

/// Everything that can go wrong while a snapshot is read.
///
/// Positions count bytes from 0 in the uncompressed snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input does not begin as a V8 heap snapshot.
    #[error("not a V8 heap snapshot: {what}, at byte {at}")]
    NotASnapshot {
        /// What stands there instead.
        what: String,
        /// Byte position.
        at: u64,
    },
    /// The input ends before the snapshot does.
    #[error("the snapshot is cut off at byte {at}, inside {section}")]
    Truncated {
        /// The part that is incomplete.
        section: String,
        /// Byte position of the end.
        at: u64,
    },
    /// Bytes that cannot stand where they stand, or contradict what stands elsewhere.
    #[error("damaged snapshot: {what}, at byte {at} inside {section}")]
    Malformed {
        /// What is wrong.
        what: String,
        /// The part it is in.
        section: String,
        /// Byte position.
        at: u64,
    },
    /// Several snapshots that do not belong together.
    #[error("these snapshots cannot be compared: {what}")]
    Unrelated {
        /// Why.
        what: String,
    },
    /// A limit of the engine.
    #[error("the snapshot is too large: {what}")]
    TooLarge {
        /// Which limit.
        what: String,
    },
    /// The input could not be read.
    #[error("cannot read the snapshot")]
    Io(#[from] io::Error),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotASnapshot { what, .. } if what.contains("JavaScriptCore") => {
                Some("write it in V8's format: Bun.generateHeapSnapshot(\"v8\")")
            }
            Self::NotASnapshot { .. } => {
                Some("take it with v8.writeHeapSnapshot(), the inspector, or DevTools")
            }
            Self::Truncated { .. } => Some(
                "the process may have died or the disk filled up while it was written; take it again",
            ),
            Self::Unrelated { .. } => Some(
                "compare snapshots of one process, taken in one go (`plimsoll snapshot take --count 3`), in their order: V8 gives new ids once an inspector is closed",
            ),
            _ => None,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Error>;
