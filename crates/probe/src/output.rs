//! What a subject prints: read at once so that it never waits for us, kept within bounds, made fit to be shown.
//!
//! Kept are the first 1 MiB and the last 8 MiB; what lies between is counted and dropped.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::{OpenOptions, Permissions};
use std::io::{self, PipeReader, Read, Write};
use std::ops::Deref;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use plimsoll_model::Output;
use regex_lite::Regex;

/// Kept from the start.
const HEAD: usize = 1 << 20;
/// Kept from the end.
const TAIL: usize = 8 << 20;
/// Bytes asked of the pipe, and taken from it at once.
pub(crate) const PIPE: usize = 1 << 20;
/// Bytes read by one call, and calls for one [`Kept::drain`].
const BITE: usize = 64 << 10;
const BITES: usize = PIPE / BITE + 1;
/// Longest line that is searched for a match; the rest of it is ignored.
const LINE: usize = 64 << 10;
/// Matches that wait for their receiver; more are dropped.
const MATCHES: usize = 16 << 10;
/// Characters shown of a line.
const SHOWN: usize = 400;
/// Lines in an [`Output`].
const LAST_LINES: usize = 20;
/// Name of the file [`Kept::write`] makes.
const FILE: &str = "output.log";

/// A line of a subject's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// The line without its end and without escape sequences.
    pub text: String,
}

/// Lines of a subject's output as they are printed. Searching ends when this is dropped.
#[derive(Debug)]
pub struct Lines {
    receiver: Receiver<Line>,
    /// While this lives, somebody wants the lines.
    _wanted: Arc<()>,
}

impl Deref for Lines {
    type Target = Receiver<Line>;

    fn deref(&self) -> &Self::Target {
        &self.receiver
    }
}

/// The read end of a subject's pipe and what came out of it so far.
pub(crate) struct Kept {
    pipe: Option<PipeReader>,
    chunk: Vec<u8>,
    bytes: u64,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    watches: Vec<Watch>,
    /// The unfinished last line; kept only while somebody watches.
    line: Vec<u8>,
    /// The unfinished line was already searched.
    line_is_told: bool,
}

impl fmt::Debug for Kept {
    /// Without the output itself, which may be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("bytes", &self.bytes)
            .field("watches", &self.watches.len())
            .finish_non_exhaustive()
    }
}

struct Watch {
    regex: Regex,
    matches: Sender<Line>,
    wanted: Weak<()>,
}

impl Kept {
    /// Reads from `pipe`, which must not block.
    pub(crate) fn new(pipe: PipeReader) -> Self {
        Self {
            pipe: Some(pipe),
            chunk: vec![0; BITE],
            ..Self::nothing()
        }
    }

    /// The output of a program that does not print to us.
    pub(crate) fn nothing() -> Self {
        Self {
            pipe: None,
            chunk: Vec::new(),
            bytes: 0,
            head: Vec::new(),
            tail: VecDeque::new(),
            watches: Vec::new(),
            line: Vec::new(),
            line_is_told: false,
        }
    }

    /// Takes what lies in the pipe, up to a little more than the largest pipe there is. False once all writers are gone.
    pub(crate) fn drain(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        let mut chunk = std::mem::take(&mut self.chunk);
        let mut open = true;
        for _ in 0..BITES {
            match pipe.read(&mut chunk) {
                Ok(0) => open = false,
                Ok(length) => {
                    // Split borrow: `pipe` is a field of its own.
                    Self::store(
                        &mut self.bytes,
                        &mut self.head,
                        &mut self.tail,
                        &chunk[..length],
                    );
                    self.watches.retain(|watch| watch.wanted.strong_count() > 0);
                    if !self.watches.is_empty() {
                        search(
                            &self.watches,
                            &mut self.line,
                            &mut self.line_is_told,
                            &chunk[..length],
                        );
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => open = false,
            }
            break;
        }
        self.chunk = chunk;
        if !open {
            self.pipe = None;
            self.tell_unfinished_line();
        }
        open
    }

    fn store(bytes: &mut u64, head: &mut Vec<u8>, tail: &mut VecDeque<u8>, new: &[u8]) {
        *bytes += new.len() as u64;
        let (first, rest) = new.split_at(new.len().min(HEAD - head.len()));
        head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(TAIL)..];
        let excess = (tail.len() + rest.len()).saturating_sub(TAIL);
        tail.drain(..excess);
        let needed = tail.len() + rest.len();
        if needed > tail.capacity() {
            // Doubling by hand, because the ring must not become larger than what it may hold.
            let capacity = needed.next_power_of_two().min(TAIL);
            tail.reserve_exact(capacity - tail.len());
        }
        tail.extend(rest);
    }

    /// Whether the last line has no end yet and nobody looked at it: after a moment of silence it is a prompt.
    pub(crate) fn has_untold_line(&self) -> bool {
        !self.line.is_empty() && !self.line_is_told
    }

    /// Searches the unfinished last line as if it had ended.
    pub(crate) fn tell_unfinished_line(&mut self) {
        if self.has_untold_line() {
            self.line_is_told = true;
            tell(&self.watches, &self.line);
        }
    }

    /// From now on, every line that matches is sent; those already printed and kept are sent at once.
    pub(crate) fn watch(&mut self, regex: Regex) -> Lines {
        let (matches, receiver) = bounded(MATCHES);
        let wanted = Arc::new(());
        let watch = [Watch {
            regex,
            matches,
            wanted: Arc::downgrade(&wanted),
        }];
        let mut line = Vec::new();
        let mut told = false;
        search(&watch, &mut line, &mut told, &self.head);
        if self.dropped_bytes() > 0 {
            // What was dropped ended the line of the head; the tail starts within another.
            line.clear();
        }
        let (older, newer) = self.tail.as_slices();
        search(&watch, &mut line, &mut told, older);
        search(&watch, &mut line, &mut told, newer);
        let is_told = self.line_is_told && !self.watches.is_empty();
        if (self.pipe.is_none() || is_told) && !line.is_empty() {
            tell(&watch, &line);
        }
        if self.watches.is_empty() {
            self.line = line;
            self.line_is_told = false;
        }
        self.watches.extend(watch);
        Lines {
            receiver,
            _wanted: wanted,
        }
    }

    fn dropped_bytes(&self) -> u64 {
        self.bytes - (self.head.len() + self.tail.len()) as u64
    }

    /// The last lines, fit to be shown: control characters escaped, at most 400 characters each.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        // Enough for any count we are asked for; a longer line loses its start.
        let window = 64 << 10;
        let skipped = self.tail.len().saturating_sub(window);
        let mut text = Vec::new();
        let mut cut = skipped > 0;
        if !cut && self.dropped_bytes() == 0 {
            let from_head = (window - self.tail.len()).min(self.head.len());
            cut = from_head < self.head.len();
            text.extend_from_slice(&self.head[self.head.len() - from_head..]);
        }
        text.extend(self.tail.range(skipped..));
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        if text.is_empty() || count == 0 {
            return Vec::new();
        }
        let mut lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
        if cut && lines.len() > 1 {
            lines.remove(0);
        }
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(|line| printable(line))
            .collect()
    }

    /// How much there was, and its last lines.
    pub(crate) fn summary(&self) -> Output {
        Output {
            bytes: self.bytes,
            dropped_bytes: self.dropped_bytes(),
            last_lines: self.last_lines(LAST_LINES),
        }
    }

    /// Writes what was kept into a file of `directory` that only we may read, with a line where bytes were dropped.
    /// Name and size of each file written; none if nothing was printed.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        if self.bytes == 0 {
            return Ok(Vec::new());
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(directory.join(FILE))?;
        // The mode above is for a file that was not there.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&self.head)?;
        if self.dropped_bytes() > 0 {
            writeln!(file, "\n… {} bytes dropped …", self.dropped_bytes())?;
        }
        let (older, newer) = self.tail.as_slices();
        file.write_all(older)?;
        file.write_all(newer)?;
        Ok(vec![(FILE.to_owned(), file.metadata()?.len())])
    }
}

/// Cuts `bytes` into lines, `line` being the unfinished one before them, and tells each to those who watch.
fn search(watches: &[Watch], line: &mut Vec<u8>, is_told: &mut bool, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|&b| b == b'\n') {
        append(line, &rest[..end]);
        if !*is_told {
            tell(watches, line);
        }
        line.clear();
        *is_told = false;
        rest = &rest[end + 1..];
    }
    append(line, rest);
}

fn append(line: &mut Vec<u8>, bytes: &[u8]) {
    let room = LINE.saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn tell(watches: &[Watch], line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = without_escapes(&text);
    let text = text.trim_end_matches('\r');
    for watch in watches.iter().filter(|watch| watch.regex.is_match(text)) {
        // A full channel loses the match: the subject must never wait for whoever reads its lines.
        let _ = watch.matches.try_send(Line {
            at: Instant::now(),
            text: text.to_owned(),
        });
    }
}

/// A line fit for a terminal and a report: what would move a cursor, ring a bell or reverse the text is escaped.
fn printable(line: &[u8]) -> String {
    let line = &line[..line.len().min(LINE)];
    let text = String::from_utf8_lossy(line);
    let text = without_escapes(&text);
    let mut out = String::new();
    for (i, c) in text.trim_end_matches('\r').chars().enumerate() {
        if i == SHOWN - 1 && text.chars().nth(SHOWN).is_some() {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push(' '),
            // Control characters, and those that reorder what is around them.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "{}", c.escape_default());
            }
            c => out.push(c),
        }
    }
    // Escapes are longer than what they stand for.
    match out.char_indices().nth(SHOWN) {
        Some(_) => out.chars().take(SHOWN - 1).chain(['…']).collect(),
        None => out,
    }
}

/// The text without ANSI control sequences (`ESC [ … letter`): colours, which say nothing once the line is data.
fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let sequence = &rest[at + 2..];
        match sequence.find(|c: char| !matches!(c, ' '..='?')) {
            Some(end) if matches!(sequence.as_bytes()[end], b'@'..=b'~') => {
                rest = &sequence[end + 1..];
            }
            // Not a sequence: what it is will be escaped.
            _ => {
                out.push('\u{1b}');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os;
    use std::os::fd::AsFd;

    fn kept(parts: &[&[u8]]) -> Kept {
        let (reader, mut writer) = io::pipe().unwrap();
        os::set_nonblocking(reader.as_fd()).unwrap();
        let mut kept = Kept::new(reader);
        for part in parts {
            for chunk in part.chunks(4096) {
                writer.write_all(chunk).unwrap();
                assert!(kept.drain());
            }
        }
        drop(writer);
        assert!(!kept.drain());
        kept
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_dropped_is_counted() {
        let line = [b'x'; 99];
        let mut text = Vec::new();
        while text.len() < 12 << 20 {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        text.extend_from_slice(b"the end");
        let kept = kept(&[b"the start\n", &text]);
        let total = text.len() + 10;
        assert_eq!(kept.bytes, total as u64);
        assert_eq!(kept.summary().dropped_bytes, (total - HEAD - TAIL) as u64);
        assert!(kept.tail.capacity() <= TAIL && kept.head.capacity() <= 2 * HEAD);

        let directory = tempfile::tempdir().unwrap();
        let files = kept.write(directory.path()).unwrap();
        let path = directory.path().join(&files[0].0);
        let written = std::fs::read(&path).unwrap();
        assert_eq!(files[0].1, written.len() as u64);
        assert!(written.starts_with(b"the start\nxxx"));
        assert!(written.ends_with(b"xxx\nthe end"));
        let marker = format!("\n… {} bytes dropped …\n", total - HEAD - TAIL);
        assert_eq!(written.len(), HEAD + TAIL + marker.len());
        assert_eq!(&written[HEAD..HEAD + marker.len()], marker.as_bytes());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn little_output_is_kept_whole() {
        let kept = kept(&[b"one\ntwo\r\n", b"thr", b"ee"]);
        assert_eq!(kept.last_lines(2), ["two", "three"]);
        assert_eq!(kept.last_lines(9), ["one", "two", "three"]);
        assert_eq!(kept.last_lines(0), Vec::<String>::new());
        assert_eq!(kept.summary().dropped_bytes, 0);
        let directory = tempfile::tempdir().unwrap();
        kept.write(directory.path()).unwrap();
        assert_eq!(
            std::fs::read(directory.path().join(FILE)).unwrap(),
            b"one\ntwo\r\nthree"
        );
    }

    #[test]
    fn no_output_makes_no_file() {
        let kept = kept(&[]);
        let directory = tempfile::tempdir().unwrap();
        assert!(kept.write(directory.path()).unwrap().is_empty());
        assert!(kept.last_lines(3).is_empty());
    }

    #[test]
    fn the_last_lines_may_lie_across_head_and_tail() {
        let mut text = vec![b'x'; HEAD - 5];
        text[HEAD - 10] = b'\n';
        text.extend_from_slice(b" and over\nlast\n");
        let kept = kept(&[&text]);
        assert_eq!(kept.last_lines(2), ["xxxx and over", "last"]);
    }

    #[test]
    fn lines_are_fit_to_be_shown() {
        let long = "ä".repeat(1000);
        for (line, shown) in [
            (&b"plain"[..], "plain"),
            (b"\x1b[31mred\x1b[0m and \x1b[1;38;5;9mbold", "red and bold"),
            (b"\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            (b"\x1b[", "\\u{1b}["),
            (b"a\tb\x00c\r", "a b\\u{0}c"),
            (b"bad \xff utf-8", "bad \u{fffd} utf-8"),
            ("left \u{202e}right".as_bytes(), "left \\u{202e}right"),
        ] {
            assert_eq!(printable(line), shown);
        }
        let shown = printable(long.as_bytes());
        assert_eq!(shown.chars().count(), SHOWN);
        assert!(shown.ends_with("ä…"));
        let shown = printable(&[1; 399]);
        assert_eq!(shown.chars().count(), SHOWN);
        assert_eq!(printable(&[b'x'; SHOWN]), "x".repeat(SHOWN));
    }

    #[test]
    fn a_line_is_told_once_whenever_it_was_printed() {
        let (reader, mut writer) = io::pipe().unwrap();
        os::set_nonblocking(reader.as_fd()).unwrap();
        let mut kept = Kept::new(reader);
        writer
            .write_all(b"ready 1\nnoise\n\x1b[32mready\x1b[0m 2\nrea")
            .unwrap();
        kept.drain();
        let lines = kept.watch(Regex::new("^ready").unwrap());
        writer.write_all(b"dy 3\r\nready 4").unwrap();
        kept.drain();
        // A prompt without an end, told after a silence, then ended.
        assert!(kept.has_untold_line());
        kept.tell_unfinished_line();
        assert!(!kept.has_untold_line());
        writer.write_all(b" and more\nready 5").unwrap();
        kept.drain();
        drop(writer);
        kept.drain();
        let told: Vec<String> = lines.try_iter().map(|line| line.text).collect();
        assert_eq!(
            told,
            ["ready 1", "ready 2", "ready 3", "ready 4", "ready 5"]
        );
        // After the end, everything kept is still searched.
        let lines = kept.watch(Regex::new("[45]").unwrap());
        let told: Vec<String> = lines.try_iter().map(|line| line.text).collect();
        assert_eq!(told, ["ready 4 and more", "ready 5"]);
    }

    #[test]
    fn nobody_listening_costs_nothing_more() {
        let (reader, mut writer) = io::pipe().unwrap();
        os::set_nonblocking(reader.as_fd()).unwrap();
        let mut kept = Kept::new(reader);
        drop(kept.watch(Regex::new("never").unwrap()));
        writer.write_all(b"x\n").unwrap();
        kept.drain();
        assert!(kept.watches.is_empty());
    }
}
