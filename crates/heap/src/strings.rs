//! The string table: kept as the bytes of the file, decoded only when somebody asks.

use std::borrow::Cow;

use crate::map::Map;

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// In the mapped file; offsets count from its start.
    Mapped(Map),
    /// Copied from a stream, string by string, each with its closing quote.
    Owned(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Offsets into more than 4 GiB in four bytes each: the table notes where the high half changes.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    low: Vec<u32>,
    /// Index of the first string whose high half is 1, 2, 3 …
    steps: Vec<u32>,
}

impl Offsets {
    /// Offsets are pushed in ascending order.
    pub(crate) fn push(&mut self, offset: u64) {
        while (self.steps.len() as u64) < offset >> 32 {
            self.steps.push(self.low.len() as u32);
        }
        self.low.push(offset as u32);
    }

    fn get(&self, index: u32) -> Option<u64> {
        let low = *self.low.get(index as usize)?;
        let high = self.steps.partition_point(|first| *first <= index) as u64;
        Some(high << 32 | u64::from(low))
    }
}

/// The strings of a snapshot by index. An index that is not in the table reads as the empty string.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    pub(crate) bytes: Bytes,
    pub(crate) offsets: Offsets,
    /// Strings that may be the name of a weak map's entry: they begin with a digit and are long.
    pub(crate) digits_first: Vec<u32>,
    /// Where the table stands in the snapshot, uncompressed: behind its opening bracket.
    pub(crate) begin: u64,
}

impl Strings {
    /// The bytes between the quotes, escapes and all. Equal strings have equal bytes, because one writer
    /// wrote them all.
    pub(crate) fn raw(&self, index: u32) -> &[u8] {
        let Some(start) = self.offsets.get(index) else {
            return &[];
        };
        let tail = self
            .bytes
            .as_slice()
            .get(usize::try_from(start).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        let mut end = 0;
        while let Some(step) = tail
            .get(end..)
            .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
        {
            end += step;
            if tail[end] == b'"' {
                return &tail[..end];
            }
            end += 2;
        }
        tail
    }

    /// The text. Halves of surrogate pairs read as U+FFFD.
    pub(crate) fn text(&self, index: u32) -> Cow<'_, str> {
        decode(self.raw(index))
    }
}

/// JSON string escapes resolved; what is no valid escape or UTF-8 is replaced, never refused.
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw).is_none() {
        return String::from_utf8_lossy(raw);
    }
    let mut text: Vec<u8> = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        let character = match escape {
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let (character, used) = unicode(rest);
                rest = rest.get(used..).unwrap_or_default();
                character
            }
            other => char::from(other),
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    text.extend_from_slice(rest);
    match String::from_utf8(text) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// The character after `\u`, and how many bytes of `rest` it used.
fn unicode(rest: &[u8]) -> (char, usize) {
    let unit = |at: usize| -> Option<u32> {
        let digits = std::str::from_utf8(rest.get(at..at + 4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else {
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    if (0xD800..0xDC00).contains(&first)
        && rest.get(4..6) == Some(b"\\u")
        && let Some(second) = unit(6)
        && (0xDC00..0xE000).contains(&second)
    {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
            10,
        );
    }
    (
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        4,
    )
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Offsets, Strings, decode};

    #[test]
    fn escapes_are_resolved() {
        let cases = [
            (r"plain", "plain"),
            (r#"a\"b\\c\/d\n"#, "a\"b\\c/d\n"),
            (r"\u00e9\u20ac", "é€"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\uzz", "\u{fffd}zz"),
            (r"cut\u12", "cut\u{fffd}12"),
            ("cut\\", "cut\\"),
        ];
        for (raw, text) in cases {
            assert_eq!(decode(raw.as_bytes()), text, "{raw}");
        }
        assert_eq!(decode(b"\xff\\n"), "\u{fffd}\n");
    }

    #[test]
    fn strings_end_at_their_quote_and_unknown_ones_are_empty() {
        let mut offsets = Offsets::default();
        for offset in [0, 5, 6] {
            offsets.push(offset);
        }
        let strings = Strings {
            bytes: Bytes::Owned(br#"ab\"c""x"y"#.to_vec()),
            offsets,
            digits_first: Vec::new(),
            begin: 0,
        };
        assert_eq!(strings.text(0), "ab\"c");
        assert_eq!(strings.text(1), "");
        assert_eq!(strings.text(9), "");
    }

    #[test]
    fn offsets_beyond_four_gibibytes_read_back() {
        let wanted = [3, (1 << 32) - 1, 1 << 32, 5 << 32, (5 << 32) + 9];
        let mut offsets = Offsets::default();
        for offset in wanted {
            offsets.push(offset);
        }
        for (index, offset) in wanted.into_iter().enumerate() {
            assert_eq!(offsets.get(index as u32), Some(offset));
        }
    }
}
