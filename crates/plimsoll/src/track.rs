//! Live values by type.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use plimsoll_alloc::Tally;

/// A type whose live values are counted. Implemented by [`track!`](crate::track).
pub trait Track: 'static {
    /// What is counted of the type.
    fn kind() -> &'static Kind;

    /// Tells of each tracked [`Arc`](crate::Arc) that this value holds.
    fn arcs(&self, _visit: &mut dyn FnMut(usize)) {}
}

/// The count of one type.
#[derive(Debug)]
pub struct Kind {
    name: &'static str,
    place: &'static str,
    line: u32,
    tally: Tally,
    is_known: AtomicBool,
}

impl Kind {
    /// Of a type that is declared as tracked at `file:line`. A static; see [`track!`](crate::track).
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        Self {
            name,
            place: file,
            line,
            tally: Tally::new(),
            is_known: AtomicBool::new(false),
        }
    }

    /// The type's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `file:line` where it was declared as tracked.
    pub fn place(&self) -> String {
        format!("{}:{}", self.place, self.line)
    }

    /// Values that are alive.
    pub fn live(&self) -> i64 {
        self.tally.live()
    }

    /// Values there have been.
    pub fn created(&self) -> u64 {
        self.tally.begun()
    }

    fn begin(&'static self) {
        self.tally.begin();
        if !self.is_known.load(Ordering::Relaxed) {
            self.become_known();
        }
    }

    #[cold]
    fn become_known(&'static self) {
        let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_known.swap(true, Ordering::Relaxed) {
            kinds.push(self);
        }
    }
}

/// Types of which there has been a value.
static KINDS: Mutex<Vec<&'static Kind>> = Mutex::new(Vec::new());

/// The types that are counted and of which there has been a value, in the order of their first.
pub fn kinds() -> Vec<&'static Kind> {
    let kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    kinds.clone()
}

/// A field that counts the value it is in: it takes no room. With the feature `track` off it does nothing.
///
/// ```
/// use plimsoll::{Live, Track as _};
///
/// struct Session {
///     user: String,
///     live: Live<Session>,
/// }
/// plimsoll::track!(Session);
///
/// let session = Session { user: "ada".into(), live: Live::new() };
/// assert_eq!(Session::kind().live(), 1);
/// drop(session);
/// assert_eq!(Session::kind().live(), 0);
/// ```
pub struct Live<T: Track> {
    // A type that counts itself is no member of itself.
    _of: PhantomData<fn() -> T>,
}

impl<T: Track> Live<T> {
    /// Counts one more.
    #[inline]
    pub fn new() -> Self {
        if cfg!(feature = "track") {
            T::kind().begin();
        }
        Self { _of: PhantomData }
    }
}

impl<T: Track> Default for Live<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The copy of a value is another value.
impl<T: Track> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Track> Drop for Live<T> {
    #[inline]
    fn drop(&mut self) {
        if cfg!(feature = "track") {
            T::kind().tally.end();
        }
    }
}

impl<T: Track> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live<{}>", T::kind().name)
    }
}

/// A value of a type that is not to have a field for it, and is counted all the same.
#[derive(Debug, Clone, Default)]
pub struct Tracked<T: Track> {
    value: T,
    _live: Live<T>,
}

impl<T: Track> Tracked<T> {
    /// Counts the value.
    pub fn new(value: T) -> Self {
        Self {
            value,
            _live: Live::new(),
        }
    }

    /// The value, no longer counted.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Track> From<T> for Tracked<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Track> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Track> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
