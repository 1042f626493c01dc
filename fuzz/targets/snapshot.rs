//! Heap snapshots: whatever the bytes are, they are read or refused, and what was read answers every question. Memory is
//! bounded by the length of the file.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::{Cursor, Seek as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;
use plimsoll_heap::{
    Base, Classes, Error, Heap, NodeKind, Parser, Snapshot, Statistics, Window, Windows,
    collections, contexts, culprit, redact, survivors, text,
};

/// Bytes of memory that a byte of the file may cost, analysis included: a reference takes at least six of them.
const FACTOR: usize = 96;
/// And what everything costs that does not depend on the file: chunks to read into, the first bits of the ids.
const BASE: usize = 8 << 20;

/// Counts what is allocated now, and the most that was.
struct Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(
            NOW.fetch_add(layout.size(), Relaxed) + layout.size(),
            Relaxed,
        );
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fuzz_target!(|bytes: &[u8]| {
    // What is packed is bounded by what it unpacks to, which a fuzzer would make as large as it can.
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return;
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    file.rewind().expect("a file");
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let snapshot = opened(&file, bytes);
    let Ok(snapshot) = snapshot else { return };
    let heap = Heap::of(snapshot);
    let classes = Classes::of(&heap);
    everything(&heap, &classes);
    compared(&heap, &classes);
    let peak = PEAK.load(Relaxed) - before;
    assert!(
        peak <= BASE + FACTOR * bytes.len(),
        "{peak} bytes of memory for {} of a file",
        bytes.len()
    );
    drop((heap, classes));
    let mut copy = Vec::new();
    if redact(&file, Cursor::new(bytes), &mut copy).is_ok() {
        Snapshot::read(copy.as_slice()).expect("what is redacted is still a snapshot");
    }
});

/// Read as a file, and as a stream in small pieces: the same answer.
fn opened(file: &File, bytes: &[u8]) -> Result<Snapshot, Error> {
    let snapshot = Snapshot::open(file);
    if let Err(error) = &snapshot {
        assert!(!error.to_string().is_empty());
    }
    // A stream has no length that a header's promise could be held against; room is reserved, but not written to.
    if snapshot.is_ok() {
        let mut parser = Parser::new();
        let pieces = bytes.chunks(7).try_for_each(|piece| parser.feed(piece));
        let streamed = pieces.and_then(|()| parser.finish());
        let streamed = streamed.expect("a stream is read as a file is");
        assert_eq!(
            Some(streamed.node_count()),
            snapshot.as_ref().ok().map(Snapshot::node_count)
        );
    }
    snapshot
}

fn everything(heap: &Heap, classes: &Classes) {
    let snapshot = heap.snapshot();
    let mut sum = 0_u64;
    for node in snapshot.nodes() {
        let _ = heap.display_name(node);
        let _ = heap.distance(node);
        let _ = heap.retainer_path(node).len();
        let _ = snapshot.place(node);
        let _ = snapshot.allocation_stack(node);
        let _ = classes.class(node);
        sum = sum.saturating_add(heap.shallow(node));
        assert!(heap.retained(node) >= heap.shallow(node));
    }
    assert!(heap.retained(snapshot.root()) <= sum);
    let _ = Statistics::of(heap);
    let _ = text::duplicates(heap);
    let _ = text::slices(heap);
    let _ = collections::sparse(heap, 0.9);
    let _ = contexts::largest(heap, 10);
    let _ = contexts::dead(heap);
}

/// Compared with itself, and with moments at which the first third and the first two thirds of its objects were there.
fn compared(heap: &Heap, classes: &Classes) {
    let _ = Base::of(heap, classes).compare(heap);
    let count = heap.snapshot().node_count() as usize;
    let earlier = [count / 3, count * 2 / 3].map(|known| moment(heap, known));
    let windows = Windows {
        earlier: &earlier,
        operations: &[5, 5],
    };
    let _ = survivors(heap, classes, &windows);
    if let Ok(ranking) = culprit::rank(heap, classes, &windows) {
        for found in &ranking.culprits {
            assert!(found.bytes_per_op.is_finite() && (0.0..=1.0).contains(&found.share));
        }
    }
}

/// The moment at which only the first `known` objects were there.
fn moment(heap: &Heap, known: usize) -> Window {
    let snapshot = heap.snapshot();
    let mut text = String::from(
        r#"{"snapshot":{"meta":{"node_fields":["type","name","id","self_size","edge_count"],"node_types":[["object","closure","hidden"],"string"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["property"]]},"node_count":"#,
    );
    let known = known.max(1);
    text.push_str(&format!(r#"{known},"edge_count":0}},"nodes":["#));
    for node in snapshot.nodes().take(known) {
        let kind = match snapshot.kind(node) {
            NodeKind::Object => 0,
            NodeKind::Closure => 1,
            _ => 2,
        };
        let comma = if text.ends_with('[') { "" } else { "," };
        text.push_str(&format!("{comma}{kind},0,{},8,0", snapshot.id(node)));
    }
    text.push_str(r#"],"edges":[],"strings":["x"]}"#);
    Window::read(text.as_bytes()).expect("a snapshot of ours")
}
