//! Compressed files that end early: what came before the tear is read, up to the last whole line.
//!
//! A copy that was broken off, a disk that was full, a program that was killed while it wrote: the bytes up to there are good, but
//! the last line may be half a number, which nobody could tell from a whole one. So a line is handed on only once its end
//! has been seen, or the end of a file that is whole.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Result};

/// A line that is longer is handed on in pieces, torn or not: memory is bounded.
const LONGEST_LINE: usize = 1 << 20;
const PIECE: usize = 1 << 16;

/// Reads `inner` up to its end or its tear.
pub(super) struct Torn<'a, R> {
    inner: R,
    /// What was unpacked and not yet handed on.
    held: Vec<u8>,
    /// How much of it has been handed on, and how much may be.
    from: usize,
    to: usize,
    ended: bool,
    handed_on: bool,
    early: &'a Cell<bool>,
}

impl<'a, R: Read> Torn<'a, R> {
    /// Says in `early` whether the data ended early.
    pub(super) fn new(inner: R, early: &'a Cell<bool>) -> Self {
        Self {
            inner,
            held: Vec::new(),
            from: 0,
            to: 0,
            ended: false,
            handed_on: false,
            early,
        }
    }

    /// Unpacks until there is something to hand on, or nothing more will come.
    fn refill(&mut self) -> Result<()> {
        while self.from == self.to && !self.ended {
            let handed_on = self.handed_on || self.to > 0;
            self.handed_on = handed_on;
            self.held.drain(..self.to);
            (self.from, self.to) = (0, 0);
            let old = self.held.len();
            self.held.resize(old + PIECE, 0);
            let got = self.inner.read(&mut self.held[old..]);
            self.held.truncate(old + got.as_ref().map_or(0, |got| *got));
            match got {
                Ok(0) => {
                    self.ended = true;
                    self.to = self.held.len();
                }
                Ok(_) => {
                    self.to = match self.held.iter().rposition(|b| *b == b'\n') {
                        Some(end) => end + 1,
                        None if self.held.len() > LONGEST_LINE => self.held.len(),
                        None => 0,
                    };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Before the first whole line there is nothing to save: then the error is the answer.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && handed_on => {
                    self.ended = true;
                    self.early.set(true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Torn<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.refill()?;
        let ready = &self.held[self.from..self.to];
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        self.from += count;
        Ok(count)
    }
}
