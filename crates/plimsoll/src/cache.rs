//! A cache that cannot leak: so many entries per session, so many bytes in all.
//!
//! Sessions cannot read each other's entries, or evict them by count; by bytes they share one budget. What it does is fixed by
//! the vectors of the bounded cache in `testdata`, which the npm package passes too. Crates of caches bound entries or weight, in one
//! order of eviction; none bounds both, by session and in all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gauge::{GaugeSource, Gauges};
use crate::heap_bytes::HeapBytes;

/// Which entry goes. Ties go to the least recently used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionPolicy {
    /// Least recently used.
    Lru,
    /// Least frequently used since it was set.
    Lfu,
    /// Set first.
    Oldest,
    /// Largest.
    Largest,
}

/// Bounds of a [`BoundedCache`]. Where one is 0 there is no room, and nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// Entries of each session: 20.
    pub max_entries_per_session: usize,
    /// Bytes of all: 5 MiB.
    pub max_bytes: u64,
    /// Who goes when a session has too many entries: the least recently used.
    pub policy: EvictionPolicy,
    /// Who goes, of all sessions, when there are too many bytes: the largest.
    pub bytes_policy: EvictionPolicy,
    /// After which an entry is gone; never by default.
    pub ttl: Option<Duration>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            max_entries_per_session: 20,
            max_bytes: 5 * 1024 * 1024,
            policy: EvictionPolicy::Lru,
            bytes_policy: EvictionPolicy::Largest,
            ttl: None,
        }
    }
}

/// Why an entry went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionReason {
    /// Its session had too many.
    Count,
    /// All had too many bytes.
    Bytes,
    /// Its time was over.
    Expired,
}

/// An entry that went without being asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eviction<V> {
    /// Whose it was.
    pub session: String,
    /// Its key there; [`cache_key`] makes one form of both.
    pub key: String,
    /// What it was.
    pub value: V,
    /// What it took.
    pub bytes: u64,
    /// Why it went.
    pub reason: EvictionReason,
}

/// Figures since a cache was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Sessions with entries.
    pub sessions: u64,
    /// Entries of all.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Evictions because a session had too many entries.
    pub evicted_by_count: u64,
    /// Evictions because there were too many bytes.
    pub evicted_by_bytes: u64,
    /// Entries whose time was over.
    pub expired: u64,
}

impl CacheStatistics {
    /// Hits over lookups, 0 to 1; `None` before the first.
    pub fn hit_rate(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }
}

/// `session:key`. Colons and backslashes of the session are escaped by a backslash, so that the first bare colon ends it and
/// two different pairs never have one form.
///
/// ```
/// assert_eq!(plimsoll::cache_key("a:b", "c"), r"a\:b:c");
/// assert_eq!(plimsoll::cache_key("a", "b:c"), "a:b:c");
/// ```
pub fn cache_key(session: &str, key: &str) -> String {
    let escaped = session.replace('\\', r"\\").replace(':', r"\:");
    format!("{escaped}:{key}")
}

/// A cache with bounds, shared by its clones. Values are cloned when they are read: large ones want an [`Arc`].
///
/// ```
/// use plimsoll::{BoundedCache, CacheOptions};
///
/// let cache = BoundedCache::with(CacheOptions { max_entries_per_session: 1, ..Default::default() });
/// cache.on_evict(|gone| println!("{} of {}: {:?}", gone.key, gone.session, gone.reason));
/// cache.set("ada", "profile", "first".to_owned());
/// cache.set("ada", "settings", "second".to_owned());
/// assert_eq!(cache.get("ada", "profile"), None);
/// assert_eq!(cache.get("ada", "settings").as_deref(), Some("second"));
///
/// // It is a gauge too: a leak's verdict names it where it grows.
/// let _gauge = plimsoll::gauge("answers", cache.clone());
/// ```
pub struct BoundedCache<V>(Arc<Shared<V>>);

type Listener<V> = Arc<dyn Fn(&Eviction<V>) + Send + Sync>;

struct Shared<V> {
    options: CacheOptions,
    size_of: Box<dyn Fn(&V) -> u64 + Send + Sync>,
    /// Time since some moment.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
    kept: Mutex<Kept<V>>,
    listeners: Mutex<Vec<Listener<V>>>,
}

struct Kept<V> {
    /// By the number they were set with, so the oldest first.
    entries: BTreeMap<u64, Entry<V>>,
    sessions: BTreeMap<Arc<str>, Session>,
    /// Whose turn it is among all, by bytes; from the first entry on that was too large.
    by_bytes: Option<Turns>,
    bytes: u64,
    ticks: u64,
    /// What there is of it is counted when it is asked for.
    statistics: CacheStatistics,
}

#[derive(Default)]
struct Session {
    /// The numbers of its entries by key.
    keys: BTreeMap<Arc<str>, u64>,
    /// Whose turn it is; from the first entry on that was one too many.
    turns: Option<Turns>,
}

struct Entry<V> {
    session: Arc<str>,
    key: Arc<str>,
    value: V,
    bytes: u64,
    set_at: Duration,
    used: u64,
    uses: u64,
}

/// The entry with the least goes. The last part is different for all.
type Rank = (u64, Reverse<u64>, u64);

impl<V> Entry<V> {
    fn rank(&self, policy: EvictionPolicy, number: u64) -> Rank {
        let most = Reverse(u64::MAX);
        match policy {
            EvictionPolicy::Lru => (0, most, self.used),
            EvictionPolicy::Lfu => (self.uses, most, self.used),
            EvictionPolicy::Oldest => (number, most, 0),
            EvictionPolicy::Largest => (0, Reverse(self.bytes), self.used),
        }
    }
}

/// What is gone may wait in line for so long as there are no more of it than of what is there, and of these.
const GONE: usize = 32;

/// The numbers of entries in the order in which they go. Use moves an entry back and never forward, so that reading a cache
/// needs no move here: what has been used since is put in line again when its turn comes. Every step takes O(log n), amortised.
struct Turns {
    policy: EvictionPolicy,
    line: BinaryHeap<Reverse<(Rank, u64)>>,
    gone: usize,
}

impl Turns {
    fn of<'a, V: 'a>(
        policy: EvictionPolicy,
        entries: impl Iterator<Item = (u64, &'a Entry<V>)>,
    ) -> Self {
        let ranked = entries.map(|(number, entry)| Reverse((entry.rank(policy, number), number)));
        Self {
            policy,
            line: ranked.collect(),
            gone: 0,
        }
    }

    fn add<V>(&mut self, number: u64, entry: &Entry<V>) {
        self.line
            .push(Reverse((entry.rank(self.policy, number), number)));
    }

    /// One of those in line is no longer among the entries.
    fn forget<V>(&mut self, entries: &BTreeMap<u64, Entry<V>>) {
        self.gone += 1;
        if 2 * self.gone > self.line.len() + GONE {
            self.line
                .retain(|Reverse((_, number))| entries.contains_key(number));
            self.gone = 0;
        }
    }

    /// Who goes next; it stays in line.
    fn first<V>(&mut self, entries: &BTreeMap<u64, Entry<V>>) -> Option<u64> {
        loop {
            let &Reverse((rank, number)) = self.line.peek()?;
            let entry = entries.get(&number);
            if entry.is_some_and(|entry| entry.rank(self.policy, number) == rank) {
                return Some(number);
            }
            self.line.pop();
            match entry {
                Some(entry) => self.add(number, entry),
                None => self.gone -= 1,
            }
        }
    }
}

impl<V: HeapBytes + Send + 'static> BoundedCache<V> {
    /// With the default bounds; sizes are estimated by [`HeapBytes`].
    pub fn new() -> Self {
        Self::with(CacheOptions::default())
    }

    /// With these bounds; sizes are estimated by [`HeapBytes`].
    pub fn with(options: CacheOptions) -> Self {
        Self::sized_by(options, |value| {
            (size_of::<V>() + value.heap_bytes()) as u64
        })
    }
}

impl<V: HeapBytes + Send + 'static> Default for BoundedCache<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> BoundedCache<V> {
    /// With these bounds, and a size that the program knows better.
    pub fn sized_by(
        options: CacheOptions,
        size_of: impl Fn(&V) -> u64 + Send + Sync + 'static,
    ) -> Self {
        let begun = Instant::now();
        Self::with_clock(options, size_of, move || begun.elapsed())
    }

    /// With a clock of its own, for tests.
    #[doc(hidden)]
    pub fn with_clock(
        options: CacheOptions,
        size_of: impl Fn(&V) -> u64 + Send + Sync + 'static,
        now: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            options,
            size_of: Box::new(size_of),
            now: Box::new(now),
            kept: Mutex::new(Kept {
                entries: BTreeMap::new(),
                sessions: BTreeMap::new(),
                by_bytes: None,
                bytes: 0,
                ticks: 0,
                statistics: CacheStatistics::default(),
            }),
            listeners: Mutex::new(Vec::new()),
        }))
    }

    /// Calls `listener` with what goes by itself, after the call that made it go has done its work.
    pub fn on_evict(&self, listener: impl Fn(&Eviction<V>) + Send + Sync + 'static) {
        let mut listeners = self
            .0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::new(listener));
    }

    /// Stores a value and makes room for it; false if it is larger than all the room there is, and then nothing is stored.
    pub fn set(&self, session: &str, key: &str, value: V) -> bool {
        let bytes = (self.0.size_of)(&value);
        let now = (self.0.now)();
        let options = &self.0.options;
        let mut evicted = Vec::new();
        let mut kept = self.kept();
        // What the key held before is stale in any case.
        let stale = kept.remove(session, key);
        let has_room = bytes <= options.max_bytes && options.max_entries_per_session > 0;
        // Refused values, like all others, end without the lock: they may use the cache themselves.
        let mut refused = Some(value);
        if let Some(value) = refused.take_if(|_| has_room) {
            kept.expire(options.ttl, now, &mut evicted);
            let own = kept.sessions.get(session).map_or(0, |own| own.keys.len());
            if own >= options.max_entries_per_session {
                kept.evict_of(session, options.policy, &mut evicted);
            }
            while kept.bytes + bytes > options.max_bytes {
                kept.evict_of_all(options.bytes_policy, &mut evicted);
            }
            kept.add(session, key, value, bytes, now);
        }
        drop(kept);
        drop(stale);
        self.tell(&evicted);
        has_room
    }

    /// The value, which counts as a use.
    pub fn get(&self, session: &str, key: &str) -> Option<V>
    where
        V: Clone,
    {
        self.unexpired(session, key, |kept| {
            kept.ticks += 1;
            let tick = kept.ticks;
            let found = kept.entry(session, key).map(|entry| {
                entry.used = tick;
                entry.uses += 1;
                entry.value.clone()
            });
            match found {
                Some(_) => kept.statistics.hits += 1,
                None => kept.statistics.misses += 1,
            }
            found
        })
    }

    /// Whether there is a value; no use, no hit and no miss.
    pub fn contains(&self, session: &str, key: &str) -> bool {
        self.unexpired(session, key, |kept| kept.entry(session, key).is_some())
    }

    /// Removes a value. No listener is told.
    pub fn remove(&self, session: &str, key: &str) -> Option<V> {
        self.kept().remove(session, key).map(|entry| entry.value)
    }

    /// Forgets a session; whether there was one. No listener is told.
    pub fn clear_session(&self, session: &str) -> bool {
        let mut kept = self.kept();
        let own = kept.sessions.get(session);
        let keys: Vec<Arc<str>> = own.map_or(Vec::new(), |own| own.keys.keys().cloned().collect());
        let gone: Vec<Entry<V>> = keys
            .iter()
            .filter_map(|key| kept.remove(session, key))
            .collect();
        drop(kept);
        !gone.is_empty()
    }

    /// Forgets everything. No listener is told.
    pub fn clear(&self) {
        let mut kept = self.kept();
        kept.sessions.clear();
        kept.by_bytes = None;
        kept.bytes = 0;
        let gone = std::mem::take(&mut kept.entries);
        drop(kept);
        drop(gone);
    }

    /// Figures so far; what has expired by now is not among the entries.
    pub fn statistics(&self) -> CacheStatistics {
        let mut expired = Vec::new();
        let mut kept = self.kept();
        kept.expire(self.0.options.ttl, (self.0.now)(), &mut expired);
        let statistics = CacheStatistics {
            sessions: kept.sessions.len() as u64,
            entries: kept.entries.len() as u64,
            bytes: kept.bytes,
            ..kept.statistics
        };
        drop(kept);
        self.tell(&expired);
        statistics
    }

    fn kept(&self) -> MutexGuard<'_, Kept<V>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after an entry that is over has gone; who listens is told of it afterwards.
    fn unexpired<T>(&self, session: &str, key: &str, look: impl FnOnce(&mut Kept<V>) -> T) -> T {
        let mut expired = Vec::new();
        let (ttl, now) = (self.0.options.ttl, (self.0.now)());
        let mut kept = self.kept();
        kept.expire_one(session, key, ttl, now, &mut expired);
        let found = look(&mut kept);
        drop(kept);
        self.tell(&expired);
        found
    }

    /// Without a lock: a listener may use the cache.
    fn tell(&self, evicted: &[Eviction<V>]) {
        if evicted.is_empty() {
            return;
        }
        let listeners = self.0.listeners.lock();
        let listeners = listeners.unwrap_or_else(PoisonError::into_inner).clone();
        for eviction in evicted {
            for listener in &listeners {
                listener(eviction);
            }
        }
    }
}

impl<V> Kept<V> {
    fn number(&self, session: &str, key: &str) -> Option<u64> {
        self.sessions.get(session)?.keys.get(key).copied()
    }

    fn entry(&mut self, session: &str, key: &str) -> Option<&mut Entry<V>> {
        let number = self.number(session, key)?;
        self.entries.get_mut(&number)
    }

    fn add(&mut self, session: &str, key: &str, value: V, bytes: u64, now: Duration) {
        self.ticks += 1;
        let number = self.ticks;
        let known = self.sessions.get_key_value(session);
        let session: Arc<str> =
            known.map_or_else(|| Arc::from(session), |(name, _)| Arc::clone(name));
        let entry = Entry {
            session: Arc::clone(&session),
            key: Arc::from(key),
            value,
            bytes,
            set_at: now,
            used: number,
            uses: 0,
        };
        let own = self.sessions.entry(session).or_default();
        own.keys.insert(Arc::clone(&entry.key), number);
        for turns in own.turns.iter_mut().chain(&mut self.by_bytes) {
            turns.add(number, &entry);
        }
        self.entries.insert(number, entry);
        self.bytes += bytes;
    }

    fn remove(&mut self, session: &str, key: &str) -> Option<Entry<V>> {
        let number = self.number(session, key)?;
        let entry = self.entries.remove(&number)?;
        let own = self.sessions.get_mut(session)?;
        own.keys.remove(key);
        for turns in own.turns.iter_mut().chain(&mut self.by_bytes) {
            turns.forget(&self.entries);
        }
        // A session without entries leaves nothing behind.
        if own.keys.is_empty() {
            self.sessions.remove(session);
        }
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Evicts the entry of a session whose turn it is.
    fn evict_of(&mut self, session: &str, policy: EvictionPolicy, evicted: &mut Vec<Eviction<V>>) {
        let Some(own) = self.sessions.get_mut(session) else {
            return;
        };
        let entries = &self.entries;
        let numbered = own.keys.values().map(|number| (*number, &entries[number]));
        let turns = own.turns.get_or_insert_with(|| Turns::of(policy, numbered));
        if let Some(number) = turns.first(entries) {
            self.go(number, EvictionReason::Count, evicted);
        }
    }

    /// Evicts the entry of all whose turn it is.
    fn evict_of_all(&mut self, policy: EvictionPolicy, evicted: &mut Vec<Eviction<V>>) {
        let entries = &self.entries;
        let numbered = entries.iter().map(|(number, entry)| (*number, entry));
        let turns = &mut self.by_bytes;
        let turns = turns.get_or_insert_with(|| Turns::of(policy, numbered));
        if let Some(number) = turns.first(entries) {
            self.go(number, EvictionReason::Bytes, evicted);
        }
    }

    /// All whose time is over, the one set first before the others.
    fn expire(&mut self, ttl: Option<Duration>, now: Duration, evicted: &mut Vec<Eviction<V>>) {
        let Some(ttl) = ttl else { return };
        while let Some((&number, oldest)) = self.entries.first_key_value()
            && now.saturating_sub(oldest.set_at) >= ttl
        {
            self.go(number, EvictionReason::Expired, evicted);
        }
    }

    fn expire_one(
        &mut self,
        session: &str,
        key: &str,
        ttl: Option<Duration>,
        now: Duration,
        evicted: &mut Vec<Eviction<V>>,
    ) {
        let is_over =
            |entry: &Entry<V>| ttl.is_some_and(|ttl| now.saturating_sub(entry.set_at) >= ttl);
        if let Some(number) = self.number(session, key)
            && self.entries.get(&number).is_some_and(is_over)
        {
            self.go(number, EvictionReason::Expired, evicted);
        }
    }

    fn go(&mut self, number: u64, reason: EvictionReason, evicted: &mut Vec<Eviction<V>>) {
        let place = self.entries.get(&number);
        let place = place.map(|entry| (Arc::clone(&entry.session), Arc::clone(&entry.key)));
        let Some(entry) = place.and_then(|(session, key)| self.remove(&session, &key)) else {
            return;
        };
        let count = match reason {
            EvictionReason::Count => &mut self.statistics.evicted_by_count,
            EvictionReason::Bytes => &mut self.statistics.evicted_by_bytes,
            EvictionReason::Expired => &mut self.statistics.expired,
        };
        *count += 1;
        evicted.push(Eviction {
            session: entry.session.to_string(),
            key: entry.key.to_string(),
            value: entry.value,
            bytes: entry.bytes,
            reason,
        });
    }
}

/// The same cache.
impl<V> Clone for BoundedCache<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for BoundedCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedCache")
            .field("options", &self.0.options)
            .field("bytes", &self.kept().bytes)
            .finish_non_exhaustive()
    }
}

impl<V: Send> GaugeSource for BoundedCache<V> {
    fn gauges(&self) -> Gauges {
        let statistics = self.statistics();
        Gauges {
            entries: Some(statistics.entries),
            bytes: Some(statistics.bytes),
            connections: None,
            capacity: None,
            hits: Some(statistics.hits),
            misses: Some(statistics.misses),
        }
    }
}
