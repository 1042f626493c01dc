//! Damaged and hostile files: refused with the place, never a panic, never more memory than the file is long.

use plimsoll_heap::{Classes, Error, Heap, Snapshot, Window};
use proptest::prelude::*;

use crate::parity::snapshot_bytes;
use crate::synthetic;

fn small() -> String {
    synthetic::text(
        &[(9, 0), (3, 16), (1, 24), (2, 8), (5, 32)],
        &[(0, 5, 1), (1, 3, 2), (1, 2, 3), (2, 4, 4), (4, 6, 1)],
    )
}

fn message(text: &str) -> String {
    match Snapshot::read(text.as_bytes()) {
        Ok(snapshot) => format!("read {} nodes", snapshot.node_count()),
        Err(error) => error.to_string(),
    }
}

/// The small snapshot with one part replaced.
fn with(from: &str, to: &str) -> String {
    let text = small();
    assert!(text.contains(from), "{from}");
    message(&text.replacen(from, to, 1))
}

#[test]
fn the_small_snapshot_itself_is_read() {
    assert_eq!(message(&small()), "read 5 nodes");
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let cases = [
        ("", "not a V8 heap snapshot: nothing, at byte 0"),
        ("\n \n", "not a V8 heap snapshot: nothing, at byte 3"),
        (
            "hello",
            "not a V8 heap snapshot: 'h' instead of '{', at byte 0",
        ),
        (
            "[1,2]",
            "not a V8 heap snapshot: '[' instead of '{', at byte 0",
        ),
        (
            "{}",
            "not a V8 heap snapshot: no header 'snapshot', at byte 2",
        ),
        (
            r#"{"nodes":[1]}"#,
            "not a V8 heap snapshot: 'nodes' before the header 'snapshot', at byte 9",
        ),
        (
            r#"{"version":3,"type":"Inspector","nodes":[0,0,0,0],"nodeClassNames":["<root>"]}"#,
            "damaged snapshot: it has no 'edgeTypes', at byte 78 inside the snapshot",
        ),
        (
            r#"{"version":3,"type":"Inspector","nodeClassNames":["<root>"]}"#,
            "not a V8 heap snapshot: no header 'snapshot', at byte 60",
        ),
        (
            r#"{"a":1, "b":"x]", "c":[[1],{"d":"\""}], "e":true}"#,
            "not a V8 heap snapshot: no header 'snapshot', at byte 49",
        ),
        (
            r#"{"snapshot":{}}"#,
            "damaged snapshot: the header has no 'meta', at byte 13 inside the header",
        ),
        (
            r#"{"snapshot":[]}"#,
            "damaged snapshot: '[' where the header belongs, at byte 12 inside 'snapshot'",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(message(text), wanted, "{text}");
    }
}

/// Damages one part, and wants the refusal at the byte where `end` ends, inside `section`.
fn contradicts(from: &str, to: &str, what: &str, end: &str, section: &str) {
    let text = small().replacen(from, to, 1);
    let at = text.find(end).unwrap() + end.len() - 1;
    assert_eq!(
        message(&text),
        format!("damaged snapshot: {what}, at byte {at} inside {section}"),
        "{to}"
    );
}

#[test]
fn contradictions_are_named_with_the_part_that_ends_there() {
    let header_ends = r#""trace_function_count":0}"#;
    let nodes_end = "5,4,9,32,1,0]";
    let cases = [
        (
            r#""node_count":5"#,
            r#""node_count":6"#,
            "the header announces 6 nodes, 5 follow",
            nodes_end,
            "nodes",
        ),
        (
            r#""edge_count":5"#,
            r#""edge_count":9"#,
            "the header announces 9 edges, 5 follow",
            "6,0,6]",
            "edges",
        ),
        (
            r#""edge_count":5"#,
            r#""edge_count":-5"#,
            "the header has no 'edge_count'",
            header_ends,
            "the header",
        ),
        (
            r#""self_size","#,
            r#""size","#,
            "the header names no column 'self_size' in node_fields",
            header_ends,
            "the header",
        ),
        (
            r#""to_node""#,
            r#""to""#,
            "the header names no column 'to_node' in edge_fields",
            header_ends,
            "the header",
        ),
        (
            "\"strings\":[\"n0\",",
            "\"strings\":[",
            "a name is string 4, of 4 strings",
            "\"n4\"]",
            "strings",
        ),
        (
            "9,0,1,0,1,0",
            "9,0,1,0,0,0",
            "the nodes have 4 edges, the snapshot 5",
            nodes_end,
            "nodes",
        ),
    ];
    for (from, to, what, end, section) in cases {
        contradicts(from, to, what, end, section);
    }
    assert_eq!(
        with(r#""node_count":5"#, r#""node_count":4294967296"#),
        "the snapshot is too large: 4294967296 nodes; at most 4294967294 are supported"
    );
    let empty = synthetic::text(&[], &[]);
    let at = empty.find("\"nodes\":[").unwrap() + "\"nodes\":[".len();
    assert_eq!(
        message(&empty),
        format!("damaged snapshot: it holds no nodes, at byte {at} inside nodes")
    );
}

#[test]
fn places_are_named() {
    let at = |text: &str, part: &str| small_position(text, part);
    let cases = [
        (
            "3,1,3,16,2,0",
            "3,1,3,16,9,0",
            "the nodes up to here have more edges than the 5 of the header",
            "nodes",
        ),
        (
            "3,1,3,16,2,0",
            "77,1,3,16,2,0",
            "node type 77, which the header does not name",
            "nodes",
        ),
        (
            "3,1,3,16,2,0",
            "3,1,4294967296,16,2,0",
            "an id of 4294967296, beyond 2^32",
            "nodes",
        ),
        ("5,0,6", "5,0,7", "an edge to 7, which is no node", "edges"),
        (
            "5,0,6",
            "5,0,600",
            "an edge to 600, which is no node",
            "edges",
        ),
        (
            "5,0,6",
            "9,0,6",
            "edge type 9, which the header does not name",
            "edges",
        ),
        (
            "5,0,6",
            "5,0,6,1,1,6",
            "more edges than the 5 of the header",
            "edges",
        ),
    ];
    for (from, to, what, section) in cases {
        let text = small();
        let place = at(&text, from);
        let found = message(&text.replacen(from, to, 1));
        assert!(
            found.starts_with(&format!("damaged snapshot: {what}, at byte "))
                && found.ends_with(&format!(" inside {section}")),
            "{found}"
        );
        let named: usize = found
            .split("at byte ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        // The record that is wrong, which for one edge too many is the last.
        assert!(
            named >= place && named < place + 60,
            "{found}, wanted near {place}"
        );
    }
}

fn small_position(text: &str, part: &str) -> usize {
    text.find(part).unwrap()
}

#[test]
fn every_cut_is_refused_and_names_its_end() {
    let text = small();
    let end = text.trim_end().len();
    for cut in 1..end {
        match Snapshot::read(&text.as_bytes()[..cut]) {
            Err(Error::Truncated { at, .. }) => assert_eq!(at, cut as u64),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn promises_are_not_believed() {
    // Columns for four thousand million nodes and edges would take a hundred gigabytes.
    let text = small()
        .replacen(r#""node_count":5"#, r#""node_count":4294967290"#, 1)
        .replacen(r#""edge_count":5"#, r#""edge_count":4294967290"#, 1);
    assert!(message(&text).starts_with(
        "damaged snapshot: the header announces 4294967290 nodes, 5 follow, at byte "
    ));
    let path = std::env::temp_dir().join(format!("plimsoll-heap-promise-{}", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    let error = Snapshot::open(&std::fs::File::open(&path).unwrap()).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(
        error
            .to_string()
            .contains("4294967290 nodes and 4294967290 edges are announced, more than fit")
    );
    let header = format!(r#"{{"snapshot":{{"x":"{}"}}}}"#, "y".repeat(2 << 20));
    assert_eq!(
        message(&header),
        "the snapshot is too large: a header of more than 1048576 bytes"
    );
}

#[test]
fn deep_nesting_is_read_without_recursion() {
    let deep = format!("{}{}", "[".repeat(300_000), "]".repeat(300_000));
    assert_eq!(
        with(r#""samples":[]"#, &format!(r#""samples":{deep}"#)),
        "read 5 nodes"
    );
    let tree = format!("{}{}", "1,0,0,0,[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        with(r#""trace_tree":[]"#, &format!(r#""trace_tree":[{tree}]"#)),
        "read 5 nodes"
    );
    assert!(
        with(r#""trace_tree":[]"#, &format!(r#""trace_tree":{deep}"#))
            .starts_with("damaged snapshot: ")
    );
}

#[test]
fn a_huge_string_is_one_string() {
    let huge = "x\\\"".repeat(3_000_000);
    let text = small().replacen("\"n3\"", &format!("\"{huge}\""), 1);
    let snapshot = Snapshot::read(text.as_bytes()).unwrap();
    let node = snapshot.find(7).unwrap();
    assert_eq!(snapshot.name(node).len(), 6_000_000);
}

#[test]
fn an_error_says_what_to_do() {
    let hint = |text: &str| Snapshot::read(text.as_bytes()).unwrap_err().hint();
    assert!(hint("x").unwrap().contains("v8.writeHeapSnapshot"));
    assert!(hint("{\"snapshot\"").unwrap().contains("take it again"));
}

/// Whatever the bytes are, everything answers.
fn survives(bytes: &[u8]) {
    let _ = Window::read(bytes);
    let Ok(snapshot) = Snapshot::read(bytes) else {
        return;
    };
    let heap = Heap::of(snapshot);
    let classes = Classes::of(&heap);
    for node in heap.snapshot().nodes() {
        let _ = heap.display_name(node);
        let _ = heap.retainer_path(node);
        let _ = heap.snapshot().place(node);
        let _ = heap.snapshot().allocation_stack(node);
        let _ = classes.class(node);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_small_snapshots_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
    ) {
        let mut bytes = small().into_bytes();
        for (place, byte, how) in changes {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, byte),
                // A digit for a digit keeps the file readable and changes what it means.
                _ => if bytes[at].is_ascii_digit() { bytes[at] = b'0' + byte % 10; },
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        survives(&bytes);
    }

    #[test]
    fn cuts_in_any_chunks_give_the_same_answer(
        cut in any::<prop::sample::Index>(),
        size in 1_usize..40,
    ) {
        let text = small();
        let bytes = &text.as_bytes()[..=cut.index(text.len())];
        let mut parser = plimsoll_heap::Parser::new();
        let chunked = bytes
            .chunks(size)
            .try_for_each(|chunk| parser.feed(chunk))
            .and_then(|()| parser.finish().map(|snapshot| snapshot.node_count()));
        let whole = Snapshot::read(bytes).map(|snapshot| snapshot.node_count());
        prop_assert_eq!(format!("{chunked:?}"), format!("{whole:?}"));
    }
}

#[test]
fn mutated_real_snapshots_never_panic() {
    let bytes = snapshot_bytes("chromium-frames.heapsnapshot");
    // A generator with a fixed seed: the same damage on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for _ in 0..24 {
        let mut damaged = bytes.clone();
        for _ in 0..=(random() % 40) {
            let at = random() % damaged.len();
            if damaged[at].is_ascii_digit() {
                damaged[at] = b'0' + (random() % 10) as u8;
            }
        }
        if random() % 4 == 0 {
            damaged.truncate(random() % damaged.len());
        }
        survives(&damaged);
    }
}
