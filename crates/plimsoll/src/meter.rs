//! What memory is read from: the best there is in this process.

use std::fs::File;
use std::io::Read as _;

use plimsoll_alloc::{Level, Scope};

#[cfg(feature = "memory-testing")]
use crate::memory_testing::Whose;

/// Where the readings of a check come from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// Live bytes of the operation alone, exact: `plimsoll::Scoped` is the global allocator.
    Scope,
    /// Live bytes of the process, exact: `plimsoll::Counted` is the global allocator. Whatever other threads do is in them.
    Process,
    /// Resident anonymous memory of the process, by pages: neither is installed. Whatever other threads do is in it, and what
    /// the allocator keeps for later.
    Resident,
    /// Nothing can be read here.
    Nothing,
}

/// Reads memory from one source.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) source: Source,
    pub(crate) scope: Option<Scope>,
    #[cfg(feature = "memory-testing")]
    pub(crate) whose: Whose,
}

/// Memory at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) bytes: f64,
    /// Live blocks; NaN where they are not counted.
    pub(crate) blocks: f64,
}

impl Meter {
    /// The best source there is. Without a free scope, that of the process.
    pub(crate) fn new(name: &str) -> Self {
        let scope = match plimsoll_alloc::installed() {
            Some(Level::Scopes) => Scope::open(name).ok(),
            _ => None,
        };
        let source = match (&scope, plimsoll_alloc::installed()) {
            (Some(_), _) => Source::Scope,
            (None, Some(_)) => Source::Process,
            (None, None) if resident_bytes().is_some() => Source::Resident,
            (None, None) => Source::Nothing,
        };
        Self {
            source,
            scope,
            #[cfg(feature = "memory-testing")]
            whose: Whose::Own,
        }
    }

    /// What a whole process has, whoever allocates.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn of(whose: Whose) -> Self {
        let is_counted = match whose.other() {
            Some(other) => other.published().is_some(),
            None => plimsoll_alloc::installed().is_some(),
        };
        let source = if is_counted {
            Source::Process
        } else if resident_of(&whose.proc()).is_some() {
            Source::Resident
        } else {
            Source::Nothing
        };
        Self {
            source,
            scope: None,
            whose,
        }
    }

    /// Memory now.
    pub(crate) fn read(&self) -> Reading {
        #[cfg(feature = "memory-testing")]
        if let Some(other) = self.whose.other() {
            let published = (self.source == Source::Process)
                .then(|| other.published())
                .flatten();
            return match published {
                Some(published) => Reading {
                    bytes: published.live_bytes as f64,
                    blocks: published.live_blocks as f64,
                },
                None => Reading {
                    bytes: resident_of(&self.whose.proc())
                        .filter(|_| self.source == Source::Resident)
                        .map_or(f64::NAN, |resident| resident.anonymous_bytes as f64),
                    blocks: f64::NAN,
                },
            };
        }
        let stats = match (&self.scope, self.source) {
            (Some(scope), _) => scope.stats(),
            (None, Source::Process) => plimsoll_alloc::stats(),
            _ => {
                return Reading {
                    bytes: resident_bytes().unwrap_or(f64::NAN),
                    blocks: f64::NAN,
                };
            }
        };
        Reading {
            bytes: stats.live_bytes as f64,
            blocks: stats.live_blocks as f64,
        }
    }

    /// Live bytes of the process that the operation's scope does not own; NaN where scopes are not counted.
    pub(crate) fn read_outside(&self) -> f64 {
        match &self.scope {
            Some(scope) => {
                let process = plimsoll_alloc::stats().live_bytes;
                (process - scope.stats().live_bytes) as f64
            }
            None => f64::NAN,
        }
    }

    /// Runs `work` so that what it allocates is counted.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.scope {
            Some(scope) => scope.run(work),
            None => work(),
        }
    }
}

/// Resident anonymous bytes of this process, from procfs; `None` where there is none.
fn resident_bytes() -> Option<f64> {
    Some(resident()?.anonymous_bytes as f64)
}

/// Resident memory of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) bytes: u64,
    pub(crate) anonymous_bytes: u64,
}

/// Of this process, from procfs; `None` where there is none.
pub(crate) fn resident() -> Option<Resident> {
    resident_in("/proc/self/status")
}

/// Of the process whose folder this is.
#[cfg(feature = "memory-testing")]
fn resident_of(proc: &str) -> Option<Resident> {
    resident_in(&format!("{proc}/status"))
}

fn resident_in(status: &str) -> Option<Resident> {
    // Read into the stack: a reading is not to move what it reads.
    let mut buffer = [0; 4096];
    let read = File::open(status)
        .and_then(|mut file| file.read(&mut buffer))
        .ok()?;
    let text = str::from_utf8(&buffer[..read]).ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(1024 * kibibytes)
    };
    Some(Resident {
        bytes: bytes("VmRSS:")?,
        anonymous_bytes: bytes("RssAnon:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::resident_bytes;

    #[test]
    #[cfg(target_os = "linux")]
    fn resident_memory_is_read() {
        let before = resident_bytes().unwrap();
        let kept = vec![1_u8; 32 << 20];
        let after = resident_bytes().unwrap();
        assert!(after - before > 30e6, "{before} {after}");
        drop(kept);
    }
}
