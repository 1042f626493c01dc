//! The tree of allocation stacks: nested arrays, the only recursive part of a snapshot.
//!
//! A list is any number of `id, function, count, size, [list]`. It is read with an explicit stack of four
//! bytes a level, so that depth costs no more than the bytes that express it.

use crate::error::{Error, Result};

/// One frame of an allocation stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceNode {
    pub(crate) id: u32,
    /// Index into the functions.
    pub(crate) function: u32,
    /// Index of the caller's frame; its own for the root.
    pub(crate) parent: u32,
}

const SECTION: &str = "trace_tree";
/// Numbers before the list of callees.
const FIELDS: usize = 4;

/// The tree being read.
#[derive(Debug, Default)]
pub(crate) struct TraceTree {
    pub(crate) nodes: Vec<TraceNode>,
    /// The node whose list each open bracket holds; the outermost belongs to nobody.
    open: Vec<u32>,
    record: [u64; FIELDS],
    filled: usize,
    partial: Option<u64>,
}

impl TraceTree {
    /// Reads `bytes[start..]` after the first bracket, as [`super::numbers::Numbers::feed`] does.
    pub(crate) fn feed(&mut self, bytes: &[u8], start: usize, base: u64) -> Result<(usize, bool)> {
        let wrong = |what: &str, at: usize| Error::Malformed {
            what: what.to_owned(),
            section: SECTION.to_owned(),
            at: base + at as u64,
        };
        if self.open.is_empty() {
            self.open.push(0);
        }
        for (offset, byte) in bytes[start..].iter().enumerate() {
            let at = start + offset;
            if let b'0'..=b'9' = byte {
                let value = self.partial.unwrap_or(0);
                self.partial = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(u64::from(byte - b'0')));
                if self.partial.is_none() {
                    return Err(wrong("a number beyond 2^64", at));
                }
                continue;
            }
            if let Some(value) = self.partial.take() {
                let Some(field) = self.record.get_mut(self.filled) else {
                    return Err(wrong("a frame of more than four numbers", at));
                };
                *field = value;
                self.filled += 1;
            }
            match byte {
                b'[' => {
                    let node = self
                        .node()
                        .ok_or_else(|| wrong("a list without its frame", at))?;
                    self.open.push(node);
                }
                b']' => {
                    if self.filled != 0 {
                        return Err(wrong("a frame without its list", at));
                    }
                    self.open.pop();
                    if self.open.is_empty() {
                        return Ok((at + 1, true));
                    }
                }
                b',' | b'\n' | b' ' | b'\r' | b'\t' => {}
                _ => return Err(wrong("neither a number nor a list", at)),
            }
        }
        Ok((bytes.len(), false))
    }

    /// Makes the node whose list begins; `None` if its numbers are missing or too large.
    fn node(&mut self) -> Option<u32> {
        if self.filled != FIELDS {
            return None;
        }
        self.filled = 0;
        let index = u32::try_from(self.nodes.len()).ok()?;
        let parent = match self.open.len() {
            0 | 1 => index,
            _ => *self.open.last()?,
        };
        self.nodes.push(TraceNode {
            id: u32::try_from(self.record[0]).ok()?,
            function: u32::try_from(self.record[1]).ok()?,
            parent,
        });
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{TraceNode, TraceTree};

    #[test]
    fn children_know_their_parents_however_the_text_is_cut() {
        let text = b"1,0,0,0,[2,1,5,80,[],3,2,0,0,[4,1,1,8,[]]]]";
        for cut in 0..text.len() {
            let mut tree = TraceTree::default();
            tree.feed(&text[..cut], 0, 0).unwrap();
            assert!(tree.feed(&text[cut..], 0, 0).unwrap().1);
            let frames: Vec<(u32, u32, u32)> = tree
                .nodes
                .iter()
                .map(
                    |TraceNode {
                         id,
                         function,
                         parent,
                     }| (*id, *function, *parent),
                )
                .collect();
            assert_eq!(frames, [(1, 0, 0), (2, 1, 0), (3, 2, 0), (4, 1, 2)]);
        }
    }

    #[test]
    fn hostile_nesting_is_refused_without_recursion() {
        let mut tree = TraceTree::default();
        assert!(tree.feed(&vec![b'['; 1 << 20], 0, 0).is_err());
        let deep = "1,0,0,0,[".repeat(100_000);
        let mut tree = TraceTree::default();
        assert!(!tree.feed(deep.as_bytes(), 0, 0).unwrap().1);
        assert_eq!(tree.nodes.len(), 100_000);
    }
}
