//! Reads a region from outside.

use std::fs::File;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::unix::fs::FileExt as _;

use crate::publish::{MAGIC, VERSION};
use crate::region::{CLASSES, Head, Region, Row, SHARDS, SHARED, Shard};

/// The variable that names the folder where processes publish their counts, each in a file named after its process id.
pub const REGION_VARIABLE: &str = "PLIMSOLL_REGION";

/// What a process has published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Published {
    /// Bytes in blocks that are alive.
    pub live_bytes: i64,
    /// Blocks that are alive.
    pub live_blocks: i64,
    /// Bytes allocated since the beginning.
    pub allocated_bytes: u64,
}

/// Reads what a process has published: exact where it does nothing meanwhile, and still there when it has been killed.
/// `None` while the process has not begun.
///
/// # Errors
/// If the file cannot be read, is no region (`InvalidData`), or is one of another version of this crate (`Unsupported`).
pub fn read_published(file: &File) -> io::Result<Option<Published>> {
    let mut head = [0; size_of::<Head>()];
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(None);
    }
    let is_short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is too short for a region of counts",
        ),
        _ => error,
    };
    file.read_exact_at(&mut head, offset_of!(Region, head) as u64)
        .map_err(is_short)?;
    match number(&head, offset_of!(Head, magic)) {
        0 => return Ok(None),
        MAGIC => {}
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is no region of counts",
            ));
        }
    }
    let version = number(&head, offset_of!(Head, version)) as u32;
    let bytes = number(&head, offset_of!(Head, region_bytes));
    if version != VERSION || bytes != size_of::<Region>() as u64 {
        let what = format!(
            "the region is of version {version} and {bytes} bytes; version {VERSION} of {} bytes is known",
            size_of::<Region>()
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    let used = number(&head, offset_of!(Head, shards_used)) as u32 as usize;
    let mut sums = [0_u64; 4];
    for shard in (0..used.min(SHARDS)).chain([SHARED]) {
        // The rows of scopes come last.
        let mut totals = [0; offset_of!(Shard, rows)];
        let at = offset_of!(Region, shards) + shard * size_of::<Shard>();
        file.read_exact_at(&mut totals, at as u64)
            .map_err(is_short)?;
        let all = |from: usize| -> u64 {
            let classes = (0..CLASSES).map(|class| number(&totals, from + class * 8));
            classes.fold(0, u64::wrapping_add)
        };
        let shard = [
            number(&totals, offset_of!(Shard, allocated_bytes)),
            number(&totals, offset_of!(Shard, freed_bytes)),
            number(&totals, offset_of!(Shard, allocated_blocks))
                .wrapping_add(all(offset_of!(Shard, allocated))),
            number(&totals, offset_of!(Shard, freed_blocks))
                .wrapping_add(all(offset_of!(Shard, freed))),
        ];
        for (sum, more) in sums.iter_mut().zip(shard) {
            *sum = sum.wrapping_add(more);
        }
    }
    let [allocated, freed, begun, ended] = sums;
    Ok(Some(Published {
        live_bytes: allocated.wrapping_sub(freed).cast_signed(),
        live_blocks: begun.wrapping_sub(ended).cast_signed(),
        allocated_bytes: allocated,
    }))
}

/// The number at `at`; of a narrower field, with what lies behind it.
fn number(bytes: &[u8], at: usize) -> u64 {
    let word: Option<[u8; 8]> = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    u64::from_ne_bytes(word.unwrap_or_default())
}

// A row is not read yet; that it is 64 bytes is what the fast path multiplies by.
const _: () = assert!(size_of::<Row>() == 64);
