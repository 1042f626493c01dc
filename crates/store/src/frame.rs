//! The outermost layer of the log: a header, then frames that say how long they are and prove that they are whole.
//!
//! `FORMAT.md` describes all of it. Everything here is checked before it is believed: a reader survives any bytes, with
//! memory bounded by [`MAX_PAYLOAD`] and [`MAX_RAW`].

/// First bytes of a log. Not text, so that a transfer that mends line ends is noticed.
pub(crate) const MAGIC: [u8; 8] = *b"\x89PLOG\r\n\x1a";
/// Version of what stands inside the frames. All before it are read too.
pub(crate) const VERSION: u32 = 2;
/// Magic, version, checksum of both.
pub(crate) const HEADER_LEN: usize = 16;
/// Length, checksum, kind.
pub(crate) const FRAME_HEADER_LEN: usize = 9;
/// Longest payload of a frame, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;
/// Longest batch before compression, in bytes.
pub(crate) const MAX_RAW: usize = 16 << 20;
/// Longest JSON of one record, in bytes; and of the names in one schema frame.
pub(crate) const MAX_RECORD: usize = 4 << 20;

/// Most columns of a row.
pub(crate) const MAX_ROW: usize = 1024;
/// Most values of a batch of version 1, those included that are not written since nothing changed.
pub(crate) const MAX_VALUES: usize = 1 << 20;
/// Most items of a batch, and most readings: what does not change costs next to nothing, so a reader must stop somewhere.
pub(crate) const MAX_ITEMS: usize = 8192;

/// In a schema frame: a series.
pub(crate) const ENTRY_SERIES: u8 = 0;
/// In a schema frame: a kind of row.
pub(crate) const ENTRY_ROW: u8 = 1;
/// In a schema frame: a kind of collection.
pub(crate) const ENTRY_COLLECTION: u8 = 2;
/// The collection tells the heap before.
pub(crate) const HAS_BEFORE: u8 = 1;
/// The collection tells the heap after.
pub(crate) const HAS_AFTER: u8 = 2;

/// A schema frame: names series and kinds of rows before their first use.
pub(crate) const KIND_SCHEMA: u8 = 1;
/// A batch of samples and records as version 1 wrote it.
pub(crate) const KIND_COLUMNS: u8 = 2;
/// A batch of samples and records.
pub(crate) const KIND_CODED: u8 = 4;
/// The log was closed in good order; nothing follows.
pub(crate) const KIND_END: u8 = 3;

/// The first bytes of a log.
pub(crate) fn header() -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A log we can read.
    Ours,
    /// A log of another version.
    Version(u32),
    /// Something else, and what is wrong with it.
    Foreign(&'static str),
}

/// Reads the header. Its layout is the same for all versions.
pub(crate) fn parse_header(bytes: &[u8; HEADER_LEN]) -> Header {
    let (head, checksum) = bytes.split_at(12);
    if head[..8] != MAGIC {
        return Header::Foreign("it begins otherwise");
    }
    if crc32fast::hash(head).to_le_bytes() != checksum {
        return Header::Foreign("its header is damaged");
    }
    match u32_at(head, 8) {
        1..=VERSION => Header::Ours,
        other => Header::Version(other),
    }
}

/// Appends a frame. The checksum covers length and kind too: a flipped bit in either is found like any other.
pub(crate) fn append_frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    let length = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, kind, payload).to_le_bytes());
    out.push(kind);
    out.extend_from_slice(payload);
}

/// Length, checksum and kind of the frame that begins with `bytes`.
pub(crate) fn parse_frame_header(bytes: [u8; FRAME_HEADER_LEN]) -> (usize, u32, u8) {
    (u32_at(&bytes, 0) as usize, u32_at(&bytes, 4), bytes[8])
}

/// The checksum a frame must carry.
pub(crate) fn checksum(length: [u8; 4], kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// Appends an integer in 7-bit groups, least significant first (LEB128).
pub(crate) fn append_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign were written as small numbers: 0, 1, 2, 3 … → 0, -1, 1, -2 …
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Takes values off the front of a payload; `None` once it does not hold what it should.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            // The tenth group has room for one bit.
            if shift == 63 && group > 1 {
                return None;
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A varint that counts something of which each takes at least one byte of what is left.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.len()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_read_back() {
        for value in (0..64)
            .map(|shift| 1_u64 << shift)
            .chain([0, 127, 128, u64::MAX])
        {
            let mut out = Vec::new();
            append_varint(&mut out, value);
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.varint(), Some(value));
            assert!(cursor.is_empty());
        }
        assert_eq!([0, 1, 2, 3].map(unzigzag), [0, -1, 1, -2]);
        assert_eq!(unzigzag(u64::MAX), i64::MIN);
    }

    #[test]
    fn an_integer_that_does_not_end_or_does_not_fit_is_refused() {
        assert_eq!(Cursor::new(&[0x80; 3]).varint(), None);
        assert_eq!(Cursor::new(&[0xff; 10]).varint(), None);
        assert_eq!(Cursor::new(&[0x80; 20]).varint(), None);
    }

    #[test]
    fn another_version_is_told_from_damage() {
        assert_eq!(parse_header(&header()), Header::Ours);
        let mut newer = header();
        newer[8] = 3;
        let checksum = crc32fast::hash(&newer[..12]).to_le_bytes();
        newer[12..].copy_from_slice(&checksum);
        assert_eq!(parse_header(&newer), Header::Version(3));
        let mut damaged = header();
        damaged[8] = 1;
        assert_eq!(
            parse_header(&damaged),
            Header::Foreign("its header is damaged")
        );
        assert_eq!(
            parse_header(b"{\"schema\":\"plims"),
            Header::Foreign("it begins otherwise")
        );
    }
}
