//! A copy of a snapshot without what its strings say: as many characters of `x` instead.
//!
//! What the graph is called by stays: names of constructors, functions, variables and properties. Everything else in the
//! string table is content (texts, sources, keys of maps), and so are property names that are no identifiers, because
//! dictionaries are keyed by addresses and tokens. Sizes, ids and references stay as they are, so that the copy shows
//! the same leak.

use std::fs::File;
use std::io::{Read, Write};

use crate::bits::Bits;
use crate::error::{Error, Result};
use crate::meta::{EdgeKind, Format};
use crate::snapshot::Snapshot;

/// An identifier longer than this is a token, not a name.
const LONGEST_NAME: usize = 60;

/// What was done to the strings of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redacted {
    /// Strings in the table.
    pub strings: u64,
    /// Those that were replaced.
    pub replaced: u64,
}

/// Copies a snapshot, plain or compressed, to `out`, plain. It is read twice: as `file`, and once more from its start as
/// `again`.
///
/// # Errors
/// If it is no snapshot, or `out` cannot be written.
pub fn redact(file: &File, again: impl Read, out: &mut dyn Write) -> Result<Redacted> {
    let snapshot = Snapshot::open(file)?;
    if snapshot.format() == Format::JavaScriptCore {
        return Err(Error::NotASnapshot {
            what: "JavaScriptCore's format has no texts of strings to replace, and its names stay"
                .to_owned(),
            at: 0,
        });
    }
    let mut copy = Copier {
        kept: names(&snapshot),
        done: Redacted::default(),
        state: State::Before {
            left: snapshot.strings.begin,
        },
        out,
    };
    drop(snapshot);
    let mut length = 0;
    crate::source::stream(again, &mut |chunk| {
        length += chunk.len() as u64;
        copy.feed(chunk)
    })?;
    if !matches!(copy.state, State::After) {
        // Nothing may pass for redacted that was only copied.
        return Err(Error::Malformed {
            what: "no strings where V8 writes them".to_owned(),
            section: "the snapshot".to_owned(),
            at: length,
        });
    }
    copy.out.flush()?;
    Ok(copy.done)
}

/// Strings that name something.
fn names(snapshot: &Snapshot) -> Bits {
    let mut kept = Bits::default();
    for node in snapshot.nodes() {
        let index = snapshot.nodes.names[node.index()];
        if !snapshot.kind(node).is_string() {
            kept.insert_anywhere(index);
        }
    }
    for edge in 0..snapshot.edge_count() {
        let kind = snapshot.edges.kind(edge);
        if kind.has_number() {
            continue;
        }
        let index = snapshot.edges.name(edge);
        let is_name = match kind {
            EdgeKind::Property => is_identifier(snapshot.strings.raw(index)),
            _ => true,
        };
        if is_name {
            kept.insert_anywhere(index);
        }
    }
    kept
}

fn is_identifier(raw: &[u8]) -> bool {
    let is_symbol = raw.starts_with(b"<symbol ");
    let letters = raw
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'#'));
    let many_digits = raw.iter().filter(|b| b.is_ascii_digit()).count() > 4;
    is_symbol || (letters && !many_digits && raw.len() <= LONGEST_NAME)
}

enum State {
    /// So many bytes before the string table.
    Before { left: u64 },
    /// In the table, between strings.
    Between,
    /// In a string; whether it is copied, and whether the last byte was a backslash.
    Inside { keep: bool, escaped: bool },
    /// After it.
    After,
}

struct Copier<'a> {
    kept: Bits,
    done: Redacted,
    state: State,
    out: &'a mut dyn Write,
}

impl Copier<'_> {
    fn feed(&mut self, mut chunk: &[u8]) -> Result<()> {
        let mut text: Vec<u8> = Vec::with_capacity(chunk.len());
        while !chunk.is_empty() {
            match &mut self.state {
                State::Before { left } => {
                    let length = usize::try_from(*left).map_or(chunk.len(), |n| n.min(chunk.len()));
                    text.extend_from_slice(&chunk[..length]);
                    chunk = &chunk[length..];
                    *left -= length as u64;
                    if *left == 0 {
                        self.state = State::Between;
                    }
                }
                State::Between => {
                    let byte = chunk[0];
                    text.push(byte);
                    chunk = &chunk[1..];
                    if byte == b'"' {
                        let index = u32::try_from(self.done.strings).unwrap_or(u32::MAX);
                        let keep = self.kept.contains(index);
                        self.done.strings += 1;
                        self.done.replaced += u64::from(!keep);
                        self.state = State::Inside {
                            keep,
                            escaped: false,
                        };
                    } else if byte == b']' {
                        self.state = State::After;
                    }
                }
                State::Inside { keep, escaped } => {
                    let byte = chunk[0];
                    chunk = &chunk[1..];
                    let ends = byte == b'"' && !*escaped;
                    if *keep || ends {
                        text.push(byte);
                    } else if *escaped || (byte != b'\\' && byte & 0xc0 != 0x80) {
                        // One for each character; an escape is one with what follows it.
                        text.push(b'x');
                    }
                    *escaped = byte == b'\\' && !*escaped;
                    if ends {
                        self.state = State::Between;
                    }
                }
                State::After => {
                    text.extend_from_slice(chunk);
                    chunk = &[];
                }
            }
        }
        self.out.write_all(&text)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const HEADER: &str = r#"{"snapshot":{"meta":{"node_fields":["type","name","id","self_size","edge_count"],"node_types":[["hidden","array","string","object"]],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property"]]},"node_count":3,"edge_count":2},"nodes":[3,0,1,8,2,2,1,3,8,0,2,2,5,8,0],"edges":[2,3,5,2,4,10],"strings":["#;

    fn check(strings: &str, expected: &str) {
        let text = format!("{HEADER}{strings}]}}");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        for size in [1, 7, 4096] {
            let mut out = Vec::new();
            let cut = Slowly(text.as_bytes(), size);
            redact(&file, cut, &mut out).unwrap();
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("{HEADER}{expected}]}}"),
                "{size}"
            );
        }
    }

    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn texts_go_and_names_stay() {
        check(
            r#""Basket","p\"ä]","secret","owner","a@b.example""#,
            r#""Basket","xxxx","xxxxxx","owner","xxxxxxxxxxx""#,
        );
    }

    #[test]
    fn strings_of_another_section_are_not_the_table() {
        let table = r#""strings":["Basket","a text","secret","owner","a b"]}"#;
        let other = r#""later":{"strings":["name","e"]},"#;
        let before = HEADER.strip_suffix(r#""strings":["#).unwrap();
        let text = format!("{before}{other}{table}");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut out = Vec::new();
        let done = redact(&file, text.as_bytes(), &mut out).unwrap();
        assert_eq!((done.strings, done.replaced), (5, 3));
        let redacted = table.replace("secret", "xxxxxx");
        let redacted = redacted.replace("a text", "xxxxxx").replace("a b", "xxx");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{before}{other}{redacted}")
        );
    }

    #[test]
    fn identifiers_are_names() {
        for name in ["_events", "$", "#head", "a1", "<symbol kEvents>"] {
            assert!(is_identifier(name.as_bytes()), "{name}");
        }
        for text in ["10.0.0.1", "user-17", "a b", "4711081512", "x@y"] {
            assert!(!is_identifier(text.as_bytes()), "{text}");
        }
    }
}
