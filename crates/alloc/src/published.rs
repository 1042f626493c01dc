//! Reads a region from outside.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::mem::{offset_of, size_of};

pub use crate::region::SAMPLED_EVERY;
use crate::region::{
    CLASSES, FRAMES, Head, MAGIC, NAME, Region, Row, SAMPLES, SCOPES, SHARDS, SHARED, STACKS,
    Sample, Shard, Slot, Stack, VERSION, tag,
};
use crate::sample;

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
    /// Blocks allocated since the beginning.
    pub allocated_blocks: u64,
}

/// What is alive of a process that publishes, as far as it knows whose it is.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Surviving {
    /// Blocks that were sampled, oldest first.
    pub blocks: Vec<PublishedBlock>,
    /// Scopes that are open, those of one name together, by name.
    pub scopes: Vec<PublishedScope>,
    /// Samples that were not kept for want of room.
    pub dropped: u64,
}

/// A sampled block that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedBlock {
    /// Its size in bytes.
    pub size: u64,
    /// Mean bytes between two samples when it was taken.
    pub every: u64,
    /// Nanoseconds from the first sample of the process to this one.
    pub born_ns: u64,
    /// Name of the scope that owns it, if that is still open.
    pub scope: Option<String>,
    /// Return addresses in the process's memory, innermost first. The first few are the allocator's own.
    pub frames: Vec<u64>,
}

impl PublishedBlock {
    /// How many blocks of this size the sample stands for, without bias: 1 / (1 - exp(-size / every)).
    pub fn weight(&self) -> f64 {
        sample::weight(self.size, self.every)
    }
}

/// What is counted to the scopes of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PublishedScope {
    /// The name.
    pub name: String,
    /// Bytes in blocks that are alive; of scopes opened within it, those count to themselves.
    pub live_bytes: i64,
    /// Such blocks.
    pub live_blocks: i64,
}

/// Reads what a process has published: exact where it does nothing meanwhile, and still there when it has been killed.
/// `None` while the process has not begun.
///
/// # Errors
/// If the file cannot be read, is no region (`InvalidData`), or is one of another version of this crate (`Unsupported`).
pub fn read_published(file: &File) -> io::Result<Option<Published>> {
    let Some(region) = Reader::open(file)? else {
        return Ok(None);
    };
    let mut sums = [0_u64; 4];
    for shard in region.shards() {
        // The rows of scopes come last.
        let totals = region.read(shard, offset_of!(Shard, rows))?;
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
        allocated_blocks: begun,
    }))
}

/// Reads which sampled blocks are alive, and what scopes hold. Empty where the process has [`Counted`](crate::Counted), which
/// knows neither. `None` and errors as for [`read_published`].
///
/// # Errors
/// As [`read_published`].
pub fn read_surviving(file: &File) -> io::Result<Option<Surviving>> {
    let Some(region) = Reader::open(file)? else {
        return Ok(None);
    };
    let used = number(&region.head, offset_of!(Head, slots_used)) as u32 as usize;
    let used = used.min(SCOPES);
    let slots = region.read(offset_of!(Region, slots), used * size_of::<Slot>())?;
    let slots: Vec<(u64, String)> = slots
        .chunks_exact(size_of::<Slot>())
        .map(open_scope)
        .collect();
    Ok(Some(Surviving {
        scopes: region.scopes(&slots)?,
        blocks: region.blocks(&slots)?,
        dropped: number(&region.head, offset_of!(Head, dropped)),
    }))
}

/// Has a process that publishes keep the stack of one block every so many bytes in the mean, 0 of none, where its scopes ask for
/// nothing else. `file` is open for writing. Each thread heeds it when it has allocated 64 KiB more, or enters or leaves a scope.
///
/// # Errors
/// As [`read_published`], or if the file cannot be written.
pub fn ask_for_samples(file: &File, every: u64) -> io::Result<()> {
    if Reader::open(file)?.is_some() {
        let at = offset_of!(Region, head) + offset_of!(Head, sample_every);
        let mut file = file;
        file.seek(SeekFrom::Start(at as u64))?;
        // Eight bytes that lie together are written as one: a thread that reads meanwhile reads the old rate or the new.
        file.write_all(&every.to_ne_bytes())?;
    }
    Ok(())
}

/// A region that is of our version.
struct Reader<'a> {
    file: &'a File,
    head: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn open(file: &'a File) -> io::Result<Option<Self>> {
        if file.metadata()?.len() == 0 {
            return Ok(None);
        }
        let mut region = Self {
            file,
            head: Vec::new(),
        };
        region.head = region.read(offset_of!(Region, head), size_of::<Head>())?;
        match number(&region.head, offset_of!(Head, magic)) {
            0 => return Ok(None),
            MAGIC => {}
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file is no region of counts",
                ));
            }
        }
        let version = number(&region.head, offset_of!(Head, version)) as u32;
        let bytes = number(&region.head, offset_of!(Head, region_bytes));
        if version != VERSION || bytes != size_of::<Region>() as u64 {
            let what = format!(
                "the region is of version {version} and {bytes} bytes; version {VERSION} of {} bytes is known",
                size_of::<Region>()
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        Ok(Some(region))
    }

    fn read(&self, at: usize, bytes: usize) -> io::Result<Vec<u8>> {
        let mut read = vec![0; bytes];
        let mut file = self.file;
        file.seek(SeekFrom::Start(at as u64))?;
        match file.read_exact(&mut read) {
            Ok(()) => Ok(read),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is too short for a region of counts",
            )),
            Err(error) => Err(error),
        }
    }

    /// Where the shards lie that were ever used, and the one of everybody.
    fn shards(&self) -> impl Iterator<Item = usize> {
        let used = number(&self.head, offset_of!(Head, shards_used)) as u32 as usize;
        let shards = (0..used.min(SHARDS)).chain([SHARED]);
        shards.map(|shard| offset_of!(Region, shards) + shard * size_of::<Shard>())
    }

    fn scopes(&self, slots: &[(u64, String)]) -> io::Result<Vec<PublishedScope>> {
        let mut by_name = BTreeMap::<&str, PublishedScope>::new();
        for shard in self.shards() {
            let at = shard + offset_of!(Shard, rows);
            let rows = self.read(at, slots.len() * size_of::<Row>())?;
            for (row, (tag, name)) in rows.chunks_exact(size_of::<Row>()).zip(slots) {
                if *tag == 0 || number(row, offset_of!(Row, tag)) != *tag {
                    continue;
                }
                let less = |more: usize, less: usize| {
                    number(row, more)
                        .wrapping_sub(number(row, less))
                        .cast_signed()
                };
                let scope = by_name.entry(name.as_str()).or_default();
                scope.live_bytes += less(
                    offset_of!(Row, allocated_bytes),
                    offset_of!(Row, freed_bytes),
                );
                scope.live_blocks += less(
                    offset_of!(Row, allocated_blocks),
                    offset_of!(Row, freed_blocks),
                );
            }
        }
        let named = by_name.into_iter().map(|(name, scope)| PublishedScope {
            name: name.to_owned(),
            ..scope
        });
        Ok(named.collect())
    }

    fn blocks(&self, slots: &[(u64, String)]) -> io::Result<Vec<PublishedBlock>> {
        if number(&self.head, offset_of!(Head, next_sample)) as u32 == 0 {
            return Ok(Vec::new());
        }
        let samples = || {
            let at = offset_of!(Region, samples);
            self.read(at, SAMPLES * size_of::<Sample>())
        };
        let before = samples()?;
        let stacks = offset_of!(Region, stacks);
        let stacks = self.read(stacks, STACKS * size_of::<Stack>())?;
        let after = samples()?;
        let all = before.chunks_exact(size_of::<Sample>());
        // What was freed meanwhile, and what took its place, is in one of the two alone.
        let still = all.zip(after.chunks_exact(size_of::<Sample>()));
        let alive = still.filter(|(sample, later)| {
            sample == later && number(sample, offset_of!(Sample, block)) > sample::CLAIMED
        });
        let mut blocks: Vec<_> = alive
            .map(|(sample, _)| {
                let of = number(sample, offset_of!(Sample, tag));
                let scope = slots.get(tag::slot(of)).filter(|(tag, _)| *tag == of);
                let stack = number(sample, offset_of!(Sample, stack)) as u32 as usize % STACKS;
                let stack = &stacks[stack * size_of::<Stack>()..];
                let depth = number(stack, offset_of!(Stack, depth)) as usize;
                let frame = |at| number(stack, offset_of!(Stack, frames) + at * 8);
                PublishedBlock {
                    size: number(sample, offset_of!(Sample, size)),
                    every: number(sample, offset_of!(Sample, every)),
                    born_ns: number(sample, offset_of!(Sample, born_ns)),
                    scope: scope
                        .filter(|(tag, _)| *tag != 0)
                        .map(|(_, name)| name.clone()),
                    frames: (0..depth.min(FRAMES)).map(frame).collect(),
                }
            })
            .collect();
        blocks.sort_by_key(|block| block.born_ns);
        Ok(blocks)
    }
}

/// The tag and the name of the scope that is open in a slot.
fn open_scope(slot: &[u8]) -> (u64, String) {
    let bytes = number(slot, offset_of!(Slot, name_bytes)) as u32 as usize;
    let name = offset_of!(Slot, name);
    let name = slot.get(name..name + bytes.min(NAME)).unwrap_or_default();
    (
        number(slot, offset_of!(Slot, tag)),
        String::from_utf8_lossy(name).into_owned(),
    )
}

/// The number at `at`; of a narrower field, with what lies behind it.
fn number(bytes: &[u8], at: usize) -> u64 {
    let word: Option<[u8; 8]> = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    u64::from_ne_bytes(word.unwrap_or_default())
}

// What the fast path multiplies by.
const _: () = assert!(size_of::<Row>() == 64);
