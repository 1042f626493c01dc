//! Snapshots written by hand: a small valid one to damage, and random ones to check sums on.

use std::fmt::Write;

use plimsoll_heap::{Heap, Snapshot, UNREACHED};
use proptest::prelude::*;

/// A node: kind, self size. Node `n` has id `2n + 1` and name `n`.
pub(crate) type Node = (u32, u64);
/// An edge: from, kind, to.
pub(crate) type Edge = (usize, u32, usize);

/// The text of a snapshot with these nodes and edges.
pub(crate) fn text(nodes: &[Node], edges: &[Edge]) -> String {
    let mut sorted = edges.to_vec();
    sorted.sort_by_key(|(from, ..)| *from);
    let mut text = format!(
        concat!(
            r#"{{"snapshot":{{"meta":{{"node_fields":["type","name","id","self_size","edge_count","detachedness"],"#,
            r#""node_types":[["hidden","array","string","object","code","closure","regexp","number","native","synthetic"],"string","number","number","number","number"],"#,
            r#""edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","internal","hidden","shortcut","weak"],"string_or_number","node"],"#,
            r#""trace_function_info_fields":["function_id","name","script_name","script_id","line","column"],"#,
            r#""location_fields":["object_index","script_id","line","column"]}},"node_count":{},"edge_count":{},"trace_function_count":0}},"#
        ),
        nodes.len(),
        sorted.len()
    );
    let list = |values: Vec<String>| values.join("\n,");
    let rows = nodes.iter().enumerate().map(|(index, (kind, size))| {
        let count = sorted.iter().filter(|(from, ..)| *from == index).count();
        format!("{kind},{index},{},{size},{count},0", 2 * index + 1)
    });
    let _ = write!(text, "\n\"nodes\":[{}],", list(rows.collect()));
    let rows = sorted
        .iter()
        .map(|(_, kind, to)| format!("{kind},0,{}", to * 6));
    let _ = write!(text, "\n\"edges\":[{}],", list(rows.collect()));
    text.push_str("\n\"trace_function_infos\":[],\"trace_tree\":[],\"samples\":[],\"locations\":[],\n\"strings\":[");
    let names = (0..nodes.len().max(1)).map(|index| format!("\"n{index}\""));
    text.push_str(&names.collect::<Vec<_>>().join(",\n"));
    text.push_str("]}\n");
    text
}

fn heap(nodes: &[Node], edges: &[Edge]) -> Heap {
    Heap::of(Snapshot::read(text(nodes, edges).as_bytes()).unwrap())
}

const OBJECT: u32 = 3;
const SYNTHETIC: u32 = 9;
const PROPERTY: u32 = 2;

#[test]
fn sizes_beyond_four_gibibytes_are_added_up() {
    let large = 3 << 32;
    let heap = heap(
        &[
            (SYNTHETIC, 0),
            (OBJECT, 8),
            (OBJECT, large),
            (OBJECT, large),
        ],
        &[(0, PROPERTY, 1), (1, PROPERTY, 2), (2, PROPERTY, 3)],
    );
    assert_eq!(heap.total(), 2 * large + 8);
}

#[test]
fn a_path_leads_from_a_root_to_the_object() {
    let heap = heap(
        &[
            (SYNTHETIC, 0),
            (OBJECT, 8),
            (OBJECT, 8),
            (OBJECT, 8),
            (OBJECT, 8),
        ],
        &[
            (0, PROPERTY, 1),
            (1, PROPERTY, 2),
            (2, PROPERTY, 3),
            (3, PROPERTY, 1),
        ],
    );
    let find = |id| heap.snapshot().find(id).unwrap();
    let ids = |node| -> Vec<u32> {
        heap.retainer_path(node)
            .iter()
            .map(|step| heap.snapshot().id(step.node))
            .collect()
    };
    assert_eq!(ids(find(7)), [1, 3, 5, 7]);
    assert_eq!(ids(find(9)), [9], "nothing reaches it");
    assert_eq!(heap.distance(find(9)), UNREACHED);
    let chain: Vec<u32> = heap
        .dominator_chain(find(7))
        .map(|node| heap.snapshot().id(node))
        .collect();
    assert_eq!(chain, [5, 3, 1]);
    let retainers = heap.retainers(&[find(3), find(9)]);
    let from: Vec<u32> = retainers[0]
        .iter()
        .map(|edge| heap.snapshot().id(heap.snapshot().edge_from(*edge)))
        .collect();
    assert_eq!(from, [1, 7]);
    assert!(retainers[1].is_empty());
}

fn graphs() -> impl Strategy<Value = (Vec<Node>, Vec<Edge>)> {
    let nodes = prop::collection::vec((0_u32..10, 0_u64..1000), 1..40);
    nodes.prop_flat_map(|mut nodes| {
        nodes[0] = (SYNTHETIC, 0);
        let count = nodes.len();
        let edge = (0..count, 0_u32..7, 0..count);
        (Just(nodes), prop::collection::vec(edge, 0..120))
    })
}

proptest! {
    #[test]
    fn retained_sizes_sum_to_the_total((nodes, edges) in graphs()) {
        let heap = heap(&nodes, &edges);
        let snapshot = heap.snapshot();
        let total: u64 = nodes.iter().map(|(_, size)| size).sum();
        prop_assert_eq!(heap.total(), total, "everything hangs below the root");
        let shallow: u64 = snapshot.nodes().map(|node| heap.shallow(node)).sum();
        prop_assert_eq!(shallow, total, "shifting sizes to owners keeps the sum");
        for node in snapshot.nodes() {
            let below: u64 = snapshot
                .nodes()
                .filter(|other| *other != snapshot.root() && heap.dominator(*other) == node)
                .map(|other| heap.retained(other))
                .sum();
            prop_assert_eq!(heap.retained(node), heap.shallow(node) + below);
        }
    }

    #[test]
    fn every_path_is_made_of_references((nodes, edges) in graphs()) {
        let heap = heap(&nodes, &edges);
        let snapshot = heap.snapshot();
        for node in snapshot.nodes() {
            let path = heap.retainer_path(node);
            prop_assert_eq!(path[path.len() - 1].node, node);
            for pair in path.windows(2) {
                let edge = pair[1].edge.unwrap();
                prop_assert_eq!(snapshot.edge_from(edge), pair[0].node);
                prop_assert_eq!(snapshot.edge_to(edge), pair[1].node);
            }
        }
    }
}
