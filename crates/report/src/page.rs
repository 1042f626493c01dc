//! A page of text: wraps, colours and, above all, disarms what is written on it.

use std::fmt::Write as _;

/// How text is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With ANSI colours. Meaning never rests on them alone.
    pub color: bool,
    /// Columns to fill at most; narrower than 40 counts as 40.
    pub width: u16,
    /// Nothing but ASCII.
    pub ascii: bool,
}

/// What a word is painted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Bad,
    Good,
    Unsure,
    Label,
    Plain,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Bad => "\x1b[1;31m",
            Self::Good => "\x1b[1;32m",
            Self::Unsure => "\x1b[1;33m",
            Self::Label => "\x1b[2m",
            Self::Plain => "",
        }
    }
}

/// Between parts of a line that stand side by side.
const GAP: &str = "   ";

/// Collects lines.
#[derive(Debug)]
pub(crate) struct Page {
    style: Style,
    out: String,
}

impl Page {
    pub(crate) const fn new(style: Style) -> Self {
        Self {
            style,
            out: String::new(),
        }
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    pub(crate) fn blank(&mut self) {
        self.out.push('\n');
    }

    /// Writes a line as it is: what is drawn is not wrapped. Nothing a subject wrote may be in it.
    pub(crate) fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// Writes parts side by side, indented, as many to a line as fit. `head` comes first in the first line, padded to
    /// `hang` columns from `indent`; the other lines begin there.
    pub(crate) fn flow<S: AsRef<str>>(
        &mut self,
        indent: usize,
        head: Option<(&str, Tone, usize)>,
        parts: &[S],
    ) {
        let hang = head.map_or(0, |(_, _, hang)| hang);
        let room = usize::from(self.style.width.max(40))
            .saturating_sub(indent + hang)
            .max(20);
        let mut lines: Vec<String> = Vec::new();
        for part in parts {
            let part = self.clean(part.as_ref());
            if part.is_empty() {
                continue;
            }
            match lines.last_mut() {
                Some(line) if columns(line) + GAP.len() + columns(&part) <= room => {
                    line.push_str(GAP);
                    line.push_str(&part);
                }
                _ => wrap(&part, room, &mut lines),
            }
        }
        if lines.is_empty() {
            lines.push(String::new());
        }
        for (i, line) in lines.iter().enumerate() {
            let mut row = " ".repeat(indent);
            match head {
                Some((word, tone, _)) if i == 0 => {
                    let word = self.clean(word);
                    let padding = hang.saturating_sub(columns(&word));
                    self.paint(&mut row, &word, tone);
                    row.push_str(&" ".repeat(padding));
                }
                _ => row.push_str(&" ".repeat(hang)),
            }
            row.push_str(line);
            self.out.push_str(row.trim_end());
            self.out.push('\n');
        }
    }

    /// Writes a labelled entry.
    pub(crate) fn entry<S: AsRef<str>>(&mut self, label: &str, tone: Tone, parts: &[S]) {
        self.flow(2, Some((label, tone, 10)), parts);
    }

    /// Writes a row of a table that is not wrapped: a first cell of `width` columns, and the rest.
    pub(crate) fn row(&mut self, first: &str, tone: Tone, width: usize, rest: &str) {
        let (first, rest) = (self.clean(first), self.clean(rest));
        let mut row = String::new();
        self.paint(&mut row, &first, tone);
        row.push_str(&" ".repeat(width.saturating_sub(columns(&first))));
        row.push_str(&rest);
        self.out.push_str(row.trim_end());
        self.out.push('\n');
    }

    fn paint(&self, row: &mut String, word: &str, tone: Tone) {
        if self.style.color && tone != Tone::Plain && !word.is_empty() {
            let _ = write!(row, "{}{word}\x1b[0m", tone.code());
        } else {
            row.push_str(word);
        }
    }

    /// Shows what must not reach a terminal, and spells in ASCII if that is asked.
    fn clean(&self, text: &str) -> String {
        let text = disarm(text);
        if self.style.ascii {
            to_ascii(&text)
        } else {
            text
        }
    }
}

/// Shows control characters and those that reorder text instead of letting them act.
pub(crate) fn disarm(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("  "),
            c if is_hostile(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Reorder or hide what follows;
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            // are no characters, and no XML document may hold them.
            | '\u{fffe}' | '\u{ffff}')
}

fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '→' => out.push_str("->"),
            '…' => out.push_str(".."),
            '·' => out.push('-'),
            '×' => out.push('x'),
            'µ' => out.push('u'),
            c if c.is_ascii() => out.push(c),
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// At most `room` columns of `text`; what is left out in the middle is marked.
pub(crate) fn shorten(text: &str, room: usize) -> String {
    let length = columns(text);
    if length <= room {
        return text.to_owned();
    }
    let keep = room.saturating_sub(1);
    let head = keep.div_ceil(2);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - (keep - head)).collect();
    format!("{start}…{end}")
}

/// Breaks at spaces, and where a word is longer than a line, anywhere.
fn wrap(text: &str, room: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in words(text) {
        let mut word = word;
        if !line.is_empty() && columns(&line) + 1 + columns(word) > room {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while columns(&line) + columns(word) > room {
            let fits = room - columns(&line);
            let at = word
                .char_indices()
                .nth(fits)
                .map_or(word.len(), |(at, _)| at);
            line.push_str(&word[..at]);
            lines.push(std::mem::take(&mut line));
            word = &word[at..];
        }
        line.push_str(word);
    }
    lines.push(line);
}

/// What a line is broken between: words, a number and its unit being one of them.
fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    let mut start = 0;
    for piece in text.split(' ') {
        let end = start + piece.len();
        match words.last_mut() {
            // The last word ends one blank before this piece starts.
            Some(number) if is_unit(piece) && number.ends_with(|c: char| c.is_ascii_digit()) => {
                *number = &text[start - 1 - number.len()..end];
            }
            _ => words.push(piece),
        }
        start = end + 1;
    }
    words
}

fn is_unit(word: &str) -> bool {
    let word = word.trim_end_matches([',', ')', ';', '.']);
    let word = word.split_once('/').map_or(word, |(unit, _)| unit);
    matches!(
        word,
        "B" | "KiB" | "MiB" | "GiB" | "TiB" | "ms" | "s" | "min" | "h" | "d" | "%"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style {
        color: false,
        width: 40,
        ascii: false,
    };

    #[test]
    fn parts_stand_side_by_side_and_long_ones_are_broken() {
        let mut page = Page::new(STYLE);
        let long = "/a/very/long/path/without/any/space/in/it/server.js";
        page.entry(
            "label",
            Tone::Label,
            &["one two", "three", "four five six", long],
        );
        assert_eq!(
            page.finish(),
            "  label     one two   three\n\
             \x20           four five six\n\
             \x20           /a/very/long/path/without/an\n\
             \x20           y/space/in/it/server.js\n"
        );
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        for (hostile, shown) in [
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("a\r\nLEAK", "a\\r\\nLEAK"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("a\tb\0", "a  b\\u{0}"),
            ("naïve ✓", "naïve ✓"),
        ] {
            assert_eq!(disarm(hostile), shown);
        }
    }

    #[test]
    fn ascii_is_ascii_without_losing_anything() {
        let mut page = Page::new(Style {
            ascii: true,
            ..STYLE
        });
        page.flow(0, None, &["21.4 → 32.4 MiB", "1 … 2", "é"]);
        assert_eq!(page.finish(), "21.4 -> 32.4 MiB   1 .. 2   \\u{e9}\n");
    }

    #[test]
    fn what_is_too_long_is_shortened_in_the_middle() {
        assert_eq!(shorten("node server.js", 14), "node server.js");
        assert_eq!(shorten("node server.js", 9), "node…r.js");
        assert_eq!(shorten("äöüß", 3), "ä…ß");
    }

    #[test]
    fn a_number_and_its_unit_are_never_parted() {
        assert_eq!(
            words("in 8 min 3 s, at 5 KiB/op ago"),
            ["in", "8 min", "3 s,", "at", "5 KiB/op", "ago"]
        );
        assert_eq!(words(" a  s"), ["", "a", "", "s"]);
    }
}
