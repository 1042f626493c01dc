//! Lines of text of bounded length, counted.

use std::io::{BufRead, Read};

use super::Fault;

/// Longest line that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// The lines of a text; blank ones are skipped, and so are the escape sequences that terminals obey.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line that is not blank, with its number from 1.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>, Fault> {
        loop {
            self.line.clear();
            let read = (&mut self.input)
                .take(LONGEST as u64 + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(Fault::Read)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.contains(&0) {
                return Err(Fault::with_hint(
                    self.number,
                    "not a text file: it holds zero bytes",
                    "give a CSV, JSON lines, Prometheus JSON, or the log of psrecord, pidstat, mprof or docker stats",
                ));
            }
            if read > LONGEST {
                return Err(Fault::with_hint(
                    self.number,
                    format!("the line is longer than {} KiB", LONGEST >> 10),
                    "one reading per line is expected",
                ));
            }
            if self.line.contains(&0x1b) {
                strip_escapes(&mut self.line);
            }
            if self.line.iter().any(|b| !b.is_ascii_whitespace()) {
                break;
            }
        }
        while self.line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            self.line.pop();
        }
        match std::str::from_utf8(&self.line) {
            Ok(text) => Ok(Some((self.number, text))),
            Err(_) => Err(Fault::with_hint(
                self.number,
                "not a text file: the line is not UTF-8",
                "if it is text, convert it: `iconv -t UTF-8`",
            )),
        }
    }
}

/// Removes `ESC [ … letter`: docker stats clears the screen between its lines.
pub(super) fn strip_escapes(line: &mut Vec<u8>) {
    let mut kept = Vec::with_capacity(line.len());
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != 0x1b {
            kept.push(byte);
        } else if rest.next_if_eq(&b'[').is_some() {
            // Parameters, then one final byte.
            for byte in rest.by_ref() {
                if (0x40..=0x7e).contains(&byte) {
                    break;
                }
            }
        }
    }
    *line = kept;
}
