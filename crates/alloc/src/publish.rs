//! The region in a file, for whoever looks from outside.
//!
//! Where the environment names a folder (`PLIMSOLL_REGION`), the process maps its region over a file there at its first allocation.
//! From then on the counts are in the kernel's page cache: no thread, no socket, no signal, and what stood there at the last
//! instant stands there after `kill -9`. The pages are not anonymous: they are in no reading of `RssAnon`.
//!
//! A forked child shares the mapping and would count twice. It maps a file of its own, which goes on from its parent's
//! counts, before it runs anything else.

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::region::{Head, MAGIC, REGION, Region, SAMPLED_EVERY, SHARDS, SHARED, Shard, VERSION};

const FOLDER: &[u8] = b"PLIMSOLL_REGION\0";
/// Longest path of a file.
const PATH: usize = 512;

/// 0 = not tried yet, 1 = somebody is at it, 2 = done, whether a file is mapped or not.
static STATE: AtomicU32 = AtomicU32::new(0);

// SAFETY: declared as in the C library (POSIX, and Linux for `mremap`), which std links.
unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn getpid() -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn ftruncate(descriptor: c_int, length: i64) -> c_int;
    fn posix_fallocate(descriptor: c_int, offset: i64, length: i64) -> c_int;
    fn close(descriptor: c_int) -> c_int;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        descriptor: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn mremap(old: *mut c_void, old_size: usize, size: usize, flags: c_int, ...) -> *mut c_void;
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

const READ_AND_WRITE: c_int = 1 | 2;
const SHARED_MAPPING: c_int = 1;
const PRIVATE_ANONYMOUS: c_int = 2 | 0x20;
const FIXED: c_int = 0x10;
const MOVE_TO: c_int = 1 | 2;
// O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC
const FRESH: c_int = 2 | 0o100 | 0o1000 | 0o2_000_000;

/// Maps the region over a file if the environment names a folder. Before anything is counted; does something only once.
#[cold]
pub(crate) fn once() {
    if STATE.load(Acquire) == 2 {
        return;
    }
    if STATE.compare_exchange(0, 1, AcqRel, Acquire).is_err() {
        // Another thread of a process that had none before is at it; it takes microseconds.
        while STATE.load(Acquire) != 2 {
            std::hint::spin_loop();
        }
        return;
    }
    // What was counted already would be lost; it cannot be in a process that allocates before it does anything else.
    let is_fresh = REGION.head.slots_used.load(Relaxed) == 0;
    if is_fresh && let Some(descriptor) = file_of_this_process() {
        // SAFETY: the region is a static of whole pages, of atomics alone and all zero, as is the file. Nobody reads or
        // writes it meanwhile: whoever would waits above.
        let mapped = unsafe {
            mmap(
                region().cast(),
                size_of::<Region>(),
                READ_AND_WRITE,
                SHARED_MAPPING | FIXED,
                descriptor,
                0,
            )
        };
        // SAFETY: opened just now, and not used any more.
        unsafe { close(descriptor) };
        if mapped == region().cast() {
            introduce(&REGION.head);
            // SAFETY: `forked` only calls what may be called in a child after a fork.
            unsafe { pthread_atfork(None, None, Some(forked)) };
        }
    }
    STATE.store(2, Release);
}

/// Says what the file is, in the end: a reader that finds this finds all. Who is looked at samples, so that what survives has
/// a stack even if nobody gets to ask for it.
fn introduce(head: &Head) {
    head.sample_every.store(SAMPLED_EVERY, Relaxed);
    head.version.store(VERSION, Relaxed);
    head.region_bytes.store(size_of::<Region>() as u64, Relaxed);
    head.magic.store(MAGIC, Release);
}

fn region() -> *mut Region {
    (&raw const REGION).cast_mut()
}

/// Opens `FOLDER/PID`, as large as the region.
fn file_of_this_process() -> Option<c_int> {
    // SAFETY: the name ends with a zero, and so does what is returned, if anything is. Nobody changes the environment at
    // the first allocation, nor in a child that was just forked.
    let folder = unsafe { getenv(FOLDER.as_ptr().cast()) };
    if folder.is_null() {
        return None;
    }
    let mut path = [0_u8; PATH];
    let mut end = 0;
    loop {
        // SAFETY: up to and including the zero that ends it.
        let byte = unsafe { *folder.add(end) }.cast_unsigned();
        if byte == 0 {
            break;
        }
        // Room for a slash, a number and the end.
        *path.get_mut(end).filter(|_| end + 16 < PATH)? = byte;
        end += 1;
    }
    path[end] = b'/';
    // SAFETY: always succeeds.
    let mut pid = unsafe { getpid() }.cast_unsigned();
    let mut digits = [0_u8; 10];
    let mut first = digits.len();
    while pid > 0 {
        first -= 1;
        digits[first] = b'0' + (pid % 10) as u8;
        pid /= 10;
    }
    let number = &digits[first..];
    path[end + 1..end + 1 + number.len()].copy_from_slice(number);
    // SAFETY: the path ends with a zero: the buffer was full of them.
    let descriptor = unsafe { open(path.as_ptr().cast(), FRESH, 0o600) };
    if descriptor < 0 {
        return None;
    }
    let size = size_of::<Region>().cast_signed() as i64;
    // A page that finds no room on the disk would kill the process, so there has to be room for all of them. It is given
    // back at once: what is never used stays a hole.
    // SAFETY: opened just now.
    let has_room = unsafe {
        posix_fallocate(descriptor, 0, size) == 0
            && ftruncate(descriptor, 0) == 0
            && ftruncate(descriptor, size) == 0
    };
    if !has_room {
        // SAFETY: as above.
        unsafe { close(descriptor) };
        return None;
    }
    Some(descriptor)
}

/// In a child that was just forked: puts a copy of the region in its place, in a file of its own if that can be had.
extern "C" fn forked() {
    let descriptor = file_of_this_process();
    let (flags, file) = match descriptor {
        Some(descriptor) => (SHARED_MAPPING, descriptor),
        None => (PRIVATE_ANONYMOUS, -1),
    };
    let size = size_of::<Region>();
    // SAFETY: a new mapping, wherever there is room.
    let fresh = unsafe { mmap(ptr::null_mut(), size, READ_AND_WRITE, flags, file, 0) };
    if let Some(descriptor) = descriptor {
        // SAFETY: opened just now, and not used any more.
        unsafe { close(descriptor) };
    }
    if fresh.addr() == usize::MAX {
        // No memory for it. The child goes on in its parent's counts: wrong, but nothing breaks.
        return;
    }
    let copy = |from: usize, bytes: usize| {
        // SAFETY: both are as long as a region, and do not overlap. The child has but this thread.
        unsafe {
            ptr::copy_nonoverlapping(
                region().cast::<u8>().add(from),
                fresh.cast::<u8>().add(from),
                bytes,
            );
        }
    };
    // What was never used stays untouched, and takes no memory.
    let is_sampled = REGION.head.next_sample.load(Relaxed) > 0;
    let shards = offset_of!(Region, shards);
    copy(
        0,
        if is_sampled {
            shards
        } else {
            offset_of!(Region, samples)
        },
    );
    let used = (REGION.head.shards_used.load(Relaxed) as usize).min(SHARDS);
    for shard in (0..used).chain([SHARED]) {
        copy(shards + shard * size_of::<Shard>(), size_of::<Shard>());
    }
    // SAFETY: takes the place of the mapping that the region is in, as large as it, with the same content.
    unsafe { mremap(fresh, size, size, MOVE_TO, region().cast::<c_void>()) };
}
