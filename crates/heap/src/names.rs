//! Names as people see them: joined strings put together, plain objects described by their properties.

use std::borrow::Cow;

use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::{Node, Snapshot};

/// Joined strings are put together up to this length, in UTF-16 units.
const MOST_JOINED: usize = 1024;
/// The description of a plain object stops growing here.
const MOST_DESCRIBED: usize = 100;

pub(crate) fn display(snapshot: &Snapshot, node: Node) -> Cow<'_, str> {
    match snapshot.kind(node) {
        NodeKind::ConsString => Cow::Owned(joined(snapshot, node.0)),
        NodeKind::Object if snapshot.raw_name(node.0) == b"Object" => {
            Cow::Owned(described(snapshot, node.0))
        }
        _ => snapshot.name(node),
    }
}

/// The text of a joined string: the parts `first` and `second`, and theirs.
fn joined(snapshot: &Snapshot, node: u32) -> String {
    let mut text = String::new();
    let mut length = 0;
    let mut stack = vec![node];
    // A hostile file may join strings in a circle without a character in it.
    let mut steps = 0;
    while let Some(node) = stack.pop() {
        steps += 1;
        if length >= MOST_JOINED || steps > 64 * MOST_JOINED {
            break;
        }
        if snapshot.nodes.kind(node) != NodeKind::ConsString {
            let part = snapshot.strings.text(snapshot.nodes.names[node as usize]);
            length += part.encode_utf16().count();
            text.push_str(&part);
            continue;
        }
        let part = |name: &str| snapshot.follow(Node(node), EdgeKind::Internal, name);
        stack.extend(part("second").map(|part| part.0));
        stack.extend(part("first").map(|part| part.0));
    }
    text
}

/// `{a, b, …, y, z}`: properties from both ends in turn while there is room.
fn described(snapshot: &Snapshot, node: u32) -> String {
    let (mut front, mut back) = (String::from("{"), String::from("}"));
    let (mut front_length, mut back_length) = (1, 1);
    let mut properties: std::collections::VecDeque<u32> = snapshot
        .edge_range(node)
        .filter(|edge| snapshot.edges.kind(*edge) == EdgeKind::Property)
        .map(|edge| snapshot.edges.name(edge))
        .filter(|name| snapshot.strings.raw(*name) != b"__proto__")
        .collect();
    let mut from_back = false;
    while let Some(name) = if from_back {
        properties.back()
    } else {
        properties.front()
    } {
        let text = snapshot.strings.text(*name);
        let name = property(&text);
        let length = name.encode_utf16().count();
        if front_length > 1 && front_length + back_length + length > MOST_DESCRIBED {
            break;
        }
        if from_back {
            properties.pop_back();
            if back_length > 1 {
                back.insert_str(0, ", ");
                back_length += 2;
            }
            back.insert_str(0, &name);
            back_length += length;
        } else {
            properties.pop_front();
            if front_length > 1 {
                front.push_str(", ");
                front_length += 2;
            }
            front.push_str(&name);
            front_length += length;
        }
        from_back = !from_back;
    }
    if !properties.is_empty() {
        front.push_str(", …");
    }
    if back_length > 1 {
        front.push_str(", ");
    }
    front + &back
}

/// A property's name, in quotes where it could be mistaken for punctuation.
pub(crate) fn property(name: &str) -> Cow<'_, str> {
    if name.contains([',', '\'', '"', '{', '}']) {
        Cow::Owned(serde_json::Value::from(name).to_string())
    } else {
        Cow::Borrowed(name)
    }
}
