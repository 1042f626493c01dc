//! How much a value owns on the heap: an estimate by its type, from capacities, without an allocator that counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Bytes that a value owns on the heap, besides its own: what its containers have reserved, and what is in them. Vectors, texts and
/// boxes are exact; hash tables and trees are estimated by how the standard library lays them out. What is shared is counted
/// with each owner.
///
/// ```
/// use plimsoll::HeapBytes;
///
/// struct Session { user: String, pages: Vec<String> }
///
/// impl HeapBytes for Session {
///     fn heap_bytes(&self) -> usize {
///         self.user.heap_bytes() + self.pages.heap_bytes()
///     }
/// }
///
/// let session = Session { user: "ada".into(), pages: vec!["/".into()] };
/// assert_eq!(session.heap_bytes(), 3 + size_of::<String>() + 1);
/// ```
pub trait HeapBytes {
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
}

macro_rules! nothing {
    ($($type:ty),* $(,)?) => {
        $(impl HeapBytes for $type {
            fn heap_bytes(&self) -> usize {
                0
            }
        })*
    };
}
nothing!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    Duration,
    Instant,
    SystemTime,
    &'static str,
);

impl HeapBytes for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl HeapBytes for OsString {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl HeapBytes for PathBuf {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl HeapBytes for str {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl<T: HeapBytes> HeapBytes for [T] {
    fn heap_bytes(&self) -> usize {
        // Without it, a vector of a million numbers would be walked for nothing.
        if !std::mem::needs_drop::<T>() {
            return 0;
        }
        self.iter().map(HeapBytes::heap_bytes).sum()
    }
}

impl<T: HeapBytes, const N: usize> HeapBytes for [T; N] {
    fn heap_bytes(&self) -> usize {
        self.as_slice().heap_bytes()
    }
}

impl<T: HeapBytes> HeapBytes for Vec<T> {
    fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + self.as_slice().heap_bytes()
    }
}

impl<T: HeapBytes> HeapBytes for VecDeque<T> {
    fn heap_bytes(&self) -> usize {
        let (front, back) = self.as_slices();
        self.capacity() * size_of::<T>() + front.heap_bytes() + back.heap_bytes()
    }
}

impl<T: HeapBytes + ?Sized> HeapBytes for Box<T> {
    fn heap_bytes(&self) -> usize {
        size_of_val::<T>(self) + (**self).heap_bytes()
    }
}

/// Two words more: the counts.
impl<T: HeapBytes + ?Sized> HeapBytes for Arc<T> {
    fn heap_bytes(&self) -> usize {
        const WORD: usize = size_of::<usize>();
        let block = 2 * WORD + size_of_val::<T>(self);
        block.next_multiple_of(WORD) + (**self).heap_bytes()
    }
}

impl<T: HeapBytes> HeapBytes for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, HeapBytes::heap_bytes)
    }
}

impl<T: HeapBytes, E: HeapBytes> HeapBytes for Result<T, E> {
    fn heap_bytes(&self) -> usize {
        match self {
            Ok(value) => value.heap_bytes(),
            Err(error) => error.heap_bytes(),
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident),+))*) => {
        $(impl<$($name: HeapBytes),+> HeapBytes for ($($name,)+) {
            #[expect(non_snake_case, reason = "the variables are named by their types")]
            fn heap_bytes(&self) -> usize {
                let ($($name,)+) = self;
                0 $(+ $name.heap_bytes())+
            }
        })*
    };
}
tuples!((A)(A, B)(A, B, C)(A, B, C, D));

/// A table of the standard library: a power of two of buckets, at most seven eighths of them full, a byte of control for each
/// and for one group more.
fn table(capacity: usize, entry: usize) -> usize {
    const GROUP: usize = 16;
    if capacity == 0 {
        return 0;
    }
    let buckets = match capacity {
        0..=3 => 4,
        4..=7 => 8,
        _ => (capacity * 8 / 7).next_power_of_two(),
    };
    (buckets * entry).next_multiple_of(GROUP) + buckets + GROUP
}

/// A tree of the standard library: leaves of 11 entries, some three quarters full in the mean.
fn tree(len: usize, entry: usize) -> usize {
    const SLOTS: usize = 11;
    const HEAD: usize = 16;
    let leaves = match len {
        0 => 0,
        1..=SLOTS => 1,
        _ => len.div_ceil(SLOTS * 3 / 4),
    };
    leaves * (SLOTS * entry + HEAD)
}

fn keys_and_values<'a, K: HeapBytes + 'a, V: HeapBytes + 'a>(
    entries: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> usize {
    if !std::mem::needs_drop::<(K, V)>() {
        return 0;
    }
    let mut bytes = 0;
    for (key, value) in entries {
        bytes += key.heap_bytes() + value.heap_bytes();
    }
    bytes
}

impl<K: HeapBytes, V: HeapBytes, S> HeapBytes for HashMap<K, V, S> {
    fn heap_bytes(&self) -> usize {
        table(self.capacity(), size_of::<(K, V)>()) + keys_and_values(self)
    }
}

impl<T: HeapBytes, S> HeapBytes for HashSet<T, S> {
    fn heap_bytes(&self) -> usize {
        table(self.capacity(), size_of::<T>()) + keys_and_values(self.iter().map(|key| (key, &())))
    }
}

impl<K: HeapBytes, V: HeapBytes> HeapBytes for BTreeMap<K, V> {
    fn heap_bytes(&self) -> usize {
        tree(self.len(), size_of::<K>() + size_of::<V>()) + keys_and_values(self)
    }
}

impl<T: HeapBytes> HeapBytes for BTreeSet<T> {
    fn heap_bytes(&self) -> usize {
        tree(self.len(), size_of::<T>()) + keys_and_values(self.iter().map(|key| (key, &())))
    }
}
