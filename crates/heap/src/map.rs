//! A file as memory: the crate's only `unsafe`.
//!
//! The map lets strings stay in the file until somebody asks for one, and lets the pages of the parts that
//! became columns be given back while parsing goes on.

#![expect(
    unsafe_code,
    reason = "a map of a file is memory that others can change"
)]

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// A read-only private map of a whole file.
#[derive(Debug)]
pub(crate) struct Map {
    map: Mmap,
}

impl Map {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only and its bytes are only ever read as bytes: a file changed by somebody
        // else meanwhile gives other bytes, which the parser treats as foreign input like all others. A file
        // cut short meanwhile ends the process (SIGBUS); the caller maps files nobody is writing any more.
        let map = unsafe { Mmap::map(file)? };
        // Read-ahead is an optimisation; a kernel that refuses it changes nothing.
        let _ = map.advise(Advice::Sequential);
        Ok(Self { map })
    }

    /// Gives back the resident pages of `start..end`. They are read from the file again when touched.
    pub(crate) fn release(&self, start: usize, end: usize) {
        const PAGE: usize = 4096;
        let start = start.next_multiple_of(PAGE);
        let end = end.min(self.map.len()) / PAGE * PAGE;
        if start < end {
            // SAFETY: the map is a read-only map of a file, so that dropped pages read back as the same file
            // content: no byte that was written through this map can be lost.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
        }
    }

    /// Says that from now on single places are looked up.
    pub(crate) fn expect_random_access(&self) {
        let _ = self.map.advise(Advice::Random);
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
