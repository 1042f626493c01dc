//! What a program knows of its own caches, pools, channels and connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a source says of itself, now. What it does not know stays `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Things it holds: entries of a cache, messages of a channel, waiters of a lock.
    pub entries: Option<u64>,
    /// Bytes they take, if it keeps count of them.
    pub bytes: Option<u64>,
    /// Connections it has open.
    pub connections: Option<u64>,
    /// The most entries, or connections, that it lets in.
    pub capacity: Option<u64>,
    /// Requests it could answer, since the beginning.
    pub hits: Option<u64>,
    /// Requests it could not.
    pub misses: Option<u64>,
}

impl Gauges {
    /// What can only grow by being kept, with its name.
    pub(crate) fn kept(&self) -> [(&'static str, Option<u64>); 3] {
        [
            ("entries", self.entries),
            ("bytes", self.bytes),
            ("connections", self.connections),
        ]
    }

    /// Everything, with its name.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn all(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("entries", self.entries),
            ("bytes", self.bytes),
            ("connections", self.connections),
            ("capacity", self.capacity),
            ("hits", self.hits),
            ("misses", self.misses),
        ]
    }
}

/// A cache, a pool, a channel: something that can say how much it holds. A closure is one.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
///
/// let sessions = Arc::new(Mutex::new(HashMap::<u64, String>::new()));
/// let shared = Arc::clone(&sessions);
/// let _gauge = plimsoll::gauge("sessions", move || plimsoll::Gauges {
///     entries: shared.lock().ok().map(|map| map.len() as u64),
///     ..Default::default()
/// });
/// sessions.lock().unwrap().insert(1, "ada".into());
/// assert_eq!(plimsoll::gauges()[0].1.entries, Some(1));
/// ```
pub trait GaugeSource: Send + Sync {
    /// How much there is.
    fn gauges(&self) -> Gauges;
}

impl<F: Fn() -> Gauges + Send + Sync> GaugeSource for F {
    fn gauges(&self) -> Gauges {
        self()
    }
}

struct Asked {
    id: u64,
    name: String,
    source: Arc<dyn GaugeSource>,
}

static SOURCES: Mutex<Vec<Asked>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A source is asked as long as this lives.
#[derive(Debug)]
#[must_use = "the source is forgotten when this is dropped"]
pub struct Registration {
    id: u64,
}

/// Has a source asked by every check.
pub fn gauge(name: impl Into<String>, source: impl GaugeSource + 'static) -> Registration {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
    sources.push(Asked {
        id,
        name: name.into(),
        source: Arc::new(source),
    });
    Registration { id }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = sources.iter().position(|source| source.id == self.id);
        let gone = gone.map(|at| sources.remove(at));
        // What the source holds may have gauges of its own.
        drop(sources);
        drop(gone);
    }
}

/// Asks every source, in the order in which they were made known.
pub fn gauges() -> Vec<(String, Gauges)> {
    // Asked without the lock: a source may take its time, or make another.
    let sources: Vec<(String, Arc<dyn GaugeSource>)> = {
        let sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
        let both = |asked: &Asked| (asked.name.clone(), Arc::clone(&asked.source));
        sources.iter().map(both).collect()
    };
    let ask = |(name, source): (String, Arc<dyn GaugeSource>)| (name, source.gauges());
    sources.into_iter().map(ask).collect()
}
