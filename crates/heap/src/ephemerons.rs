//! Entries of weak maps. V8 writes each value twice, from its table and from its key, under one long name.

use rustc_hash::FxHashMap;

use crate::bits::Bits;
use crate::strings::Strings;

/// The edge names that belong to entries of weak maps.
#[derive(Debug)]
pub(crate) struct Ephemerons {
    is_entry: Bits,
    entries: FxHashMap<u32, Entry>,
}

/// One such name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Id of the table that is named.
    pub(crate) table: u64,
    /// The same number for the two names of one entry.
    pub(crate) pair: u32,
}

impl Ephemerons {
    pub(crate) fn of(strings: &Strings) -> Self {
        let mut is_entry = Bits::default();
        let mut entries = FxHashMap::default();
        let mut pairs: FxHashMap<&[u8], u32> = FxHashMap::default();
        for name in &strings.digits_first {
            let raw = strings.raw(*name);
            if let Some((pair, table)) = take_apart(raw) {
                let next = pairs.len() as u32;
                let pair = *pairs.entry(pair).or_insert(next);
                is_entry.insert_anywhere(*name);
                entries.insert(*name, Entry { table, pair });
            }
        }
        Self { is_entry, entries }
    }

    /// What the name of an internal edge says, if it is one of these.
    #[inline]
    pub(crate) fn entry(&self, name: u32) -> Option<Entry> {
        if !self.is_entry.contains(name) {
            return None;
        }
        self.entries.get(&name).copied()
    }
}

/// `N / part of key (… @id) -> value (… @id) pair in WeakMap (table @id)` without line breaks: the part that
/// both names share, and the table's id.
fn take_apart(raw: &[u8]) -> Option<(&[u8], u64)> {
    let digits = raw.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let shared = &raw[digits..];
    let body = shared
        .strip_prefix(b" / part of key (")?
        .strip_suffix(b")")?;
    if digits == 0 || has_line_break(body) {
        return None;
    }
    let (body, table) = trailing_id(body)?;
    let body = body.strip_suffix(b") pair in WeakMap (table")?;
    let (body, _) = trailing_id(body)?;
    // The value's own text may be anything, so any `@id) -> value (` before it will do.
    let split = memchr::memmem::find_iter(body, b") -> value (")
        .any(|at| trailing_id(&body[..at]).is_some());
    split.then_some((shared, table))
}

/// Splits ` @123` off the end.
fn trailing_id(text: &[u8]) -> Option<(&[u8], u64)> {
    let digits = text
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (before, number) = text.split_at(text.len() - digits);
    let before = before.strip_suffix(b" @")?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((before, number))
}

/// Line breaks are escaped in the file.
fn has_line_break(raw: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', raw).any(|at| {
        let escape = &raw[at..];
        [&b"\\n"[..], b"\\r", b"\\u2028", b"\\u2029"]
            .iter()
            .any(|mark| escape.starts_with(mark))
            && raw[..at]
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count()
                % 2
                == 0
    })
}

#[cfg(test)]
mod tests {
    use super::take_apart;

    #[test]
    fn names_of_entries_are_told_from_others() {
        let shared = " / part of key (Object @15) -> value (Array @17) pair in WeakMap (table @99)";
        assert_eq!(
            take_apart(format!("7{shared}").as_bytes()),
            Some((shared.as_bytes(), 99))
        );
        let odd =
            "2 / part of key (a) -> value (b @3) -> value () @4 @5) pair in WeakMap (table @6)";
        assert!(take_apart(odd.as_bytes()).is_some());
        for other in [
            " / part of key (Object @15) -> value (Array @17) pair in WeakMap (table @99)",
            "7 / part of key (Object @15) -> value (Array @17) pair in WeakMap (table @)",
            "7 / part of key (Object @15) -> value (Array) pair in WeakMap (table @99)",
            "7 / part of key (Object) -> value (Array @17) pair in WeakMap (table @99)",
            r"7 / part of key (a\nb @15) -> value (Array @17) pair in WeakMap (table @99)",
            "7 / part of key (table @99)",
            "123",
        ] {
            assert_eq!(take_apart(other.as_bytes()), None, "{other}");
        }
    }
}
