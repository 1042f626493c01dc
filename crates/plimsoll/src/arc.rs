//! Counted `Arc`s, and cycles of them that nobody else holds.
//!
//! Whether a set of `Arc`s is garbage can be known: if all strong references to its members come from its members. So each
//! value tells which others it holds ([`Track::arcs`]), and what is not reached from one that something else holds, is
//! leaked (trial deletion, as in Bacon and Rajan 2001, section 2).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{self, Mutex, MutexGuard, PoisonError, RwLock};

use plimsoll_alloc::Scope;

use crate::track::{Kind, Live, Track};

/// A [`std::sync::Arc`] whose values are counted by type, and searched for cycles where a check finds a leak.
pub struct Arc<T: Track + Send + Sync>(sync::Arc<Held<T>>);

/// The weak twin of [`Arc`].
pub struct Weak<T: Track + Send + Sync>(sync::Weak<Held<T>>);

struct Held<T: Track> {
    value: T,
    /// Whether the list of watched values holds a weak reference of its own.
    is_watched: bool,
    _live: Live<T>,
}

/// Values made while somebody watches.
#[derive(Default)]
struct Watch {
    /// What the list itself takes is nobody's leak.
    own: Option<Scope>,
    made: Vec<Made>,
}

struct Made {
    node: sync::Weak<dyn Node>,
    scope: Option<Scope>,
}

static WATCHERS: AtomicUsize = AtomicUsize::new(0);
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

fn watch() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a search for cycles asks of a value.
trait Node: Send + Sync {
    fn kind(&self) -> &'static Kind;
    fn arcs(&self, visit: &mut dyn FnMut(usize));
}

impl<T: Track + Send + Sync> Node for Held<T> {
    fn kind(&self) -> &'static Kind {
        T::kind()
    }

    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        self.value.arcs(visit);
    }
}

impl<T: Track + Send + Sync> Arc<T> {
    /// A value that is shared, and counted.
    pub fn new(value: T) -> Self {
        let is_watched = cfg!(feature = "track") && WATCHERS.load(Ordering::Relaxed) > 0;
        let arc = sync::Arc::new(Held {
            value,
            is_watched,
            _live: Live::new(),
        });
        if is_watched {
            let scope = Scope::current();
            if let Some(watch) = &mut *watch() {
                let _own = watch.own.as_ref().map(Scope::enter);
                let node: sync::Weak<dyn Node> = sync::Arc::downgrade(&arc) as _;
                watch.made.push(Made { node, scope });
            }
        }
        Self(arc)
    }

    /// A reference that does not keep the value.
    pub fn downgrade(this: &Self) -> Weak<T> {
        Weak(sync::Arc::downgrade(&this.0))
    }

    /// References that keep the value.
    pub fn strong_count(this: &Self) -> usize {
        sync::Arc::strong_count(&this.0)
    }

    /// References that do not.
    pub fn weak_count(this: &Self) -> usize {
        let own = usize::from(this.0.is_watched);
        sync::Arc::weak_count(&this.0).saturating_sub(own)
    }

    /// Whether both are the same value.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        sync::Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T: Track + Send + Sync> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(sync::Arc::clone(&self.0))
    }
}

impl<T: Track + Send + Sync> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Track + Send + Sync + fmt::Debug> fmt::Debug for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<T: Track + Send + Sync> Weak<T> {
    /// Of nothing.
    pub fn new() -> Self {
        Self(sync::Weak::new())
    }

    /// The value, if it is still there.
    pub fn upgrade(&self) -> Option<Arc<T>> {
        self.0.upgrade().map(Arc)
    }
}

impl<T: Track + Send + Sync> Default for Weak<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Track + Send + Sync> Clone for Weak<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Track + Send + Sync> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(Weak)")
    }
}

/// What can hold tracked [`Arc`]s: the fields that [`track!`](crate::track) is told.
pub trait Holds {
    /// Tells of each.
    fn arcs(&self, visit: &mut dyn FnMut(usize));
}

fn address(node: *const ()) -> usize {
    node.addr()
}

impl<T: Track + Send + Sync> Holds for Arc<T> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        visit(address(sync::Arc::as_ptr(&self.0).cast()));
    }
}

/// Holds nothing: a weak reference keeps no value.
impl<T: Track + Send + Sync> Holds for Weak<T> {
    fn arcs(&self, _: &mut dyn FnMut(usize)) {}
}

impl<H: Holds> Holds for Box<H> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        (**self).arcs(visit);
    }
}

impl<H: Holds> Holds for Option<H> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        if let Some(held) = self {
            held.arcs(visit);
        }
    }
}

impl<H: Holds> Holds for Vec<H> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        for held in self {
            held.arcs(visit);
        }
    }
}

impl<K, H: Holds, S> Holds for HashMap<K, H, S> {
    #[expect(
        clippy::iter_over_hash_type,
        reason = "references are counted, in whatever order"
    )]
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        for held in self.values() {
            held.arcs(visit);
        }
    }
}

impl<K, H: Holds> Holds for BTreeMap<K, H> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        for held in self.values() {
            held.arcs(visit);
        }
    }
}

/// What somebody has locked is in use, and so is no garbage: its holdings need not be known.
impl<H: Holds> Holds for Mutex<H> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        match self.try_lock() {
            Ok(held) => held.arcs(visit),
            Err(sync::TryLockError::Poisoned(held)) => held.into_inner().arcs(visit),
            Err(sync::TryLockError::WouldBlock) => {}
        }
    }
}

impl<H: Holds> Holds for RwLock<H> {
    fn arcs(&self, visit: &mut dyn FnMut(usize)) {
        match self.try_read() {
            Ok(held) => held.arcs(visit),
            Err(sync::TryLockError::Poisoned(held)) => held.into_inner().arcs(visit),
            Err(sync::TryLockError::WouldBlock) => {}
        }
    }
}

/// Types whose values hold each other, and that nothing else holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cycle {
    /// The types in it, by name.
    pub kinds: Vec<&'static str>,
    /// Such groups of values.
    pub groups: u64,
    /// Values in all of them.
    pub values: u64,
}

/// Watches which [`Arc`]s are made, as long as it lives.
pub(crate) struct Watching {
    // Made by `begin` alone.
    _private: (),
}

impl Watching {
    pub(crate) fn begin() -> Self {
        let mut current = watch();
        let current = current.get_or_insert_default();
        if current.own.is_none() {
            current.own = Scope::open("plimsoll").ok();
        }
        WATCHERS.fetch_add(1, Ordering::Relaxed);
        Self { _private: () }
    }

    /// Lets go of values that are gone: until then a weak reference keeps their memory.
    pub(crate) fn forget_the_dead() {
        if let Some(watch) = &mut *watch() {
            watch.made.retain(|made| made.node.strong_count() > 0);
        }
    }

    /// Cycles among the values made in `scope` that nothing else holds any more.
    pub(crate) fn cycles(scope: &Scope) -> Vec<Cycle> {
        Self::cycles_among(|made| made.scope.as_ref() == Some(scope))
    }

    /// The same among all values made since somebody watches.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn all_cycles() -> Vec<Cycle> {
        Self::cycles_among(|_| true)
    }

    fn cycles_among(includes: impl Fn(&Made) -> bool) -> Vec<Cycle> {
        let alive: Vec<sync::Arc<dyn Node>> = match &*watch() {
            Some(watch) => {
                let made = watch.made.iter().filter(|made| includes(made));
                made.filter_map(|made| made.node.upgrade()).collect()
            }
            None => Vec::new(),
        };
        garbage(&alive)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut current = watch();
        if WATCHERS.fetch_sub(1, Ordering::Relaxed) == 1 {
            *current = None;
        }
    }
}

fn garbage(alive: &[sync::Arc<dyn Node>]) -> Vec<Cycle> {
    let number_of: HashMap<usize, usize> = alive
        .iter()
        .enumerate()
        .map(|(number, node)| (address(sync::Arc::as_ptr(node).cast()), number))
        .collect();
    let holds: Vec<Vec<usize>> = alive
        .iter()
        .map(|node| {
            let mut held = Vec::new();
            node.arcs(&mut |address| held.extend(number_of.get(&address)));
            held
        })
        .collect();
    let mut within = vec![0; alive.len()];
    for &held in holds.iter().flatten() {
        within[held] += 1;
    }
    // One reference is ours.
    let mut reached: Vec<usize> = (0..alive.len())
        .filter(|&number| sync::Arc::strong_count(&alive[number]) - 1 > within[number])
        .collect();
    let mut is_reached = vec![false; alive.len()];
    while let Some(number) = reached.pop() {
        if !std::mem::replace(&mut is_reached[number], true) {
            reached.extend(&holds[number]);
        }
    }
    // What is left hangs together in groups.
    let mut group: Vec<usize> = (0..alive.len()).collect();
    for (number, held) in holds.iter().enumerate() {
        for &held in held
            .iter()
            .filter(|held| !is_reached[number] && !is_reached[**held])
        {
            let (a, b) = (root(&mut group, number), root(&mut group, held));
            group[a] = b;
        }
    }
    let mut groups: BTreeMap<usize, Vec<&'static str>> = BTreeMap::new();
    for number in (0..alive.len()).filter(|&number| !is_reached[number]) {
        let of = groups.entry(root(&mut group, number)).or_default();
        of.push(alive[number].kind().name());
    }
    let mut cycles: Vec<Cycle> = Vec::new();
    for mut kinds in groups.into_values() {
        let values = kinds.len() as u64;
        kinds.sort_unstable();
        kinds.dedup();
        match cycles.iter_mut().find(|cycle| cycle.kinds == kinds) {
            Some(cycle) => {
                cycle.groups += 1;
                cycle.values += values;
            }
            None => cycles.push(Cycle {
                kinds,
                groups: 1,
                values,
            }),
        }
    }
    cycles
}

fn root(group: &mut [usize], mut number: usize) -> usize {
    while group[number] != number {
        group[number] = group[group[number]];
        number = group[number];
    }
    number
}
