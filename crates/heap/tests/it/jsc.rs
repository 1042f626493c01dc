//! Snapshots of `JavaScriptCore`: read into the same columns, compared by class, damaged ones refused.

use std::fmt::Write as _;

use plimsoll_heap::{
    Base, Classes, EdgeKind, Format, Heap, NodeKind, Parser, Snapshot, WindowParser,
};

/// A depot with so many parcels: `Bun.generateHeapSnapshot()` as JSON.
fn depot(parcels: u32) -> String {
    let mut nodes = "0,0,0,0,1,32,1,0,2,64,3,1,3,24,4,0".to_owned();
    let mut edges = "0,1,0,0,1,2,0,0,1,3,1,0,0,3,3,1".to_owned();
    for parcel in 0..parcels {
        let id = parcel + 10;
        let _ = write!(nodes, ",{id},48,2,0");
        let _ = write!(edges, ",1,{id},2,{parcel}");
    }
    format!(
        concat!(
            r#"{{"version":3,"type":"Inspector","nodes":[{}],"#,
            r#""nodeClassNames":["<root>","Depot","Parcel","Structure","string"],"edges":[{}],"#,
            r#""edgeTypes":["Internal","Property","Index","Variable"],"edgeNames":["label","own \"name\""]}}"#
        ),
        nodes, edges
    )
}

fn read(text: &str) -> Snapshot {
    Snapshot::read(text.as_bytes()).unwrap()
}

fn message(text: &str) -> String {
    Snapshot::read(text.as_bytes()).map_or_else(
        |error| error.to_string(),
        |s| format!("{} nodes", s.node_count()),
    )
}

#[test]
fn nodes_edges_and_names_are_those_of_the_file() {
    let heap = Heap::of(read(&depot(2)));
    let snapshot = heap.snapshot();
    assert_eq!(snapshot.format(), Format::JavaScriptCore);
    let find = |id| snapshot.find(id).unwrap();
    let kinds = [0, 1, 2, 3].map(|id| snapshot.kind(find(id)));
    assert_eq!(
        kinds,
        [
            NodeKind::Synthetic,
            NodeKind::Object,
            NodeKind::Hidden,
            NodeKind::String
        ]
    );
    let depot = find(1);
    assert_eq!(snapshot.name(depot), "Depot");
    let labels: Vec<String> = snapshot
        .edges(depot)
        .map(|edge| heap.edge_label(edge))
        .collect();
    assert_eq!(labels, ["{}", ".label", "[0]", "[1]"]);
    let of_root: Vec<_> = snapshot.edges(snapshot.root()).collect();
    assert_eq!(snapshot.edge_kind(of_root[1]), EdgeKind::Context);
    assert_eq!(snapshot.edge_name(of_root[1]), r#"own "name""#);
    // The text is held from elsewhere too; the internal counts with its owner.
    assert_eq!(heap.retained(depot), 32 + 64 + 2 * 48);
    assert_eq!(heap.total(), 32 + 64 + 24 + 2 * 48);
    let classes = Classes::of(&heap);
    let rows: Vec<(&str, u64, u64)> = classes
        .rows()
        .map(|row| (row.name.as_str(), row.count, row.shallow))
        .collect();
    assert_eq!(
        rows,
        [("Depot", 1, 96), ("(string)", 1, 24), ("Parcel", 2, 96)]
    );
}

#[test]
fn every_cut_and_layout_reads_the_same() {
    let compact = depot(3);
    let value: serde_json::Value = serde_json::from_str(&compact).unwrap();
    // As people write it; the order of the keys stays.
    let pretty = format!(
        "{{\n  \"version\": 3,\n  \"type\": \"Inspector\",\n  \"nodes\": {},\n  \"nodeClassNames\": {},\n  \"edges\": {},\n  \"edgeTypes\": {},\n  \"edgeNames\": {}\n}}\n",
        serde_json::to_string_pretty(&value["nodes"]).unwrap(),
        serde_json::to_string_pretty(&value["nodeClassNames"]).unwrap(),
        serde_json::to_string_pretty(&value["edges"]).unwrap(),
        serde_json::to_string_pretty(&value["edgeTypes"]).unwrap(),
        serde_json::to_string_pretty(&value["edgeNames"]).unwrap(),
    );
    let summary = |snapshot: &Snapshot| -> Vec<String> {
        let words = |node| {
            let edges = snapshot.edges(node);
            let edges =
                edges.map(|e| format!("{}{}", snapshot.edge_name(e), snapshot.edge_to(e).index()));
            format!(
                "{} {}",
                snapshot.name(node),
                edges.collect::<Vec<_>>().join(",")
            )
        };
        snapshot.nodes().map(words).collect()
    };
    let wanted = summary(&read(&compact));
    for text in [&compact, &pretty] {
        for size in [1, 2, 3, 7, 64] {
            let mut parser = Parser::new();
            for piece in text.as_bytes().chunks(size) {
                parser.feed(piece).unwrap();
            }
            assert_eq!(summary(&parser.finish().unwrap()), wanted, "{size}");
        }
    }
}

#[test]
fn a_file_is_read_as_a_stream_is() {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, depot(1).as_bytes()).unwrap();
    let snapshot = Snapshot::open(&file).unwrap();
    assert_eq!(snapshot.name(snapshot.find(10).unwrap()), "Parcel");
}

#[test]
fn two_are_compared_by_class_whatever_the_numbers_are() {
    let heap = |parcels| Heap::of(read(&depot(parcels)));
    let (before, after) = (heap(3), heap(8));
    let change = |a: &Heap, b: &Heap| {
        let changes = Base::of(a, &Classes::of(a)).compare(b).unwrap();
        let told = |c: &plimsoll_heap::Change| (c.name.clone(), c.count(), c.bytes());
        changes.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(change(&before, &after), [("Parcel".to_owned(), 5, 240)]);
    assert_eq!(change(&after, &before), [("Parcel".to_owned(), -5, -240)]);
    assert_eq!(change(&before, &before), []);
    let v8 = Heap::of(read(&crate::synthetic::text(
        &[(9, 0), (3, 8)],
        &[(0, 2, 1)],
    )));
    let refused = Base::of(&v8, &Classes::of(&v8))
        .compare(&after)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "these snapshots cannot be compared: one is V8's and the other JavaScriptCore's"
    );
}

#[test]
fn what_needs_numbers_that_stay_is_refused() {
    let mut parser = WindowParser::new();
    let refused = parser.feed(depot(1).as_bytes()).unwrap_err();
    assert!(
        refused.to_string().contains("another number each time"),
        "{refused}"
    );
    assert!(
        refused
            .hint()
            .unwrap()
            .contains("generateHeapSnapshot(\"v8\")")
    );
    let debugging = depot(1).replace("Inspector", "GCDebugging");
    let said = message(&debugging);
    assert!(
        said.contains("format for debugging its collector"),
        "{said}"
    );
}

#[test]
fn damaged_ones_are_refused_with_what_is_wrong() {
    let with = |from: &str, to: &str| {
        let text = depot(1);
        assert!(text.contains(from), "{from}");
        message(&text.replacen(from, to, 1))
    };
    for (from, to, wanted) in [
        (
            "\"nodes\":[0,",
            "\"nodes\":[9,",
            "no node has the number 0, the root's",
        ),
        (",2,64,", ",1,64,", "two nodes have the number 1"),
        ("1,32,1,0", "1,32,7,0", "a node of class 7, of 5 classes"),
        ("0,1,0,0,", "0,77,0,0,", "an edge of 77, which is no node"),
        (
            "0,1,0,0,",
            "0,1,6,0,",
            "an edge of type 6, which has no name",
        ),
        ("1,3,1,0", "1,3,1,2", "an edge called 2, of 2 names"),
        ("1,3,1,0", "1,3,1", "the last record has 3 of 4 numbers"),
        (
            "1,32,1,0",
            "4294967296,32,1,0",
            "a number of 4294967296, beyond 2^32",
        ),
        ("edgeTypes", "edgeSorts", "it has no 'edgeTypes'"),
        ("nodeClassNames", "nodes", "'nodes' occurs twice"),
        (
            "\"edges\":[",
            "\"edges\":7,\"x\":[",
            "'7' where '[' belongs",
        ),
    ] {
        let said = with(from, to);
        assert!(said.contains(wanted), "{to}: {said}");
    }
    let whole = depot(2);
    for cut in 0..whole.len() {
        assert!(Snapshot::read(&whole.as_bytes()[..cut]).is_err(), "{cut}");
    }
}
