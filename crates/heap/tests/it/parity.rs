//! Every column and every class row equals what `DevTools` computed of the same file.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use plimsoll_heap::{Classes, Heap, NodeKind, Parser, Snapshot, Window};

use crate::digest::digest;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// A file of the folder, decompressed.
pub(crate) fn snapshot_bytes(name: &str) -> Vec<u8> {
    let file = fs::File::open(folder().join(format!("{name}.zst"))).unwrap();
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn check(name: &str) {
    let file = fs::File::open(folder().join(format!("{name}.heapsnapshot.zst"))).unwrap();
    let heap = Heap::of(Snapshot::open(&file).unwrap());
    let wanted = String::from_utf8(snapshot_bytes(&format!("{name}.devtools"))).unwrap();
    let found = digest(&heap, &Classes::of(&heap));
    for (number, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{name}, line {}", number + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count(), "{name}");
}

#[test]
fn node_20() {
    check("node20-kept");
}

#[test]
fn node_24_with_internals_exposed() {
    check("node24-internals");
}

#[test]
fn node_26() {
    check("node26-kept");
}

#[test]
fn deno() {
    check("deno-kept");
}

#[test]
fn chromium_with_detached_nodes() {
    check("chromium-detached");
}

#[test]
fn chromium_with_frames_and_scopes() {
    check("chromium-frames");
}

#[test]
fn a_map_a_stream_and_odd_chunks_read_the_same() {
    let bytes = snapshot_bytes("chromium-frames.heapsnapshot");
    let answers = |snapshot: Snapshot| {
        let heap = Heap::of(snapshot);
        digest(&heap, &Classes::of(&heap))
    };
    let wanted = answers(Snapshot::read(bytes.as_slice()).unwrap());
    let folder = std::env::temp_dir().join(format!("plimsoll-heap-{}", std::process::id()));
    fs::write(&folder, &bytes).unwrap();
    let mapped = Snapshot::open(&fs::File::open(&folder).unwrap()).unwrap();
    fs::remove_file(&folder).unwrap();
    assert!(wanted == answers(mapped), "mapped");
    for size in [1, 7, 4093] {
        let mut parser = Parser::new();
        for chunk in bytes.chunks(size) {
            parser.feed(chunk).unwrap();
        }
        assert!(
            wanted == answers(parser.finish().unwrap()),
            "chunks of {size}"
        );
    }
}

#[test]
fn gzip_is_read_like_zstd() {
    let bytes = snapshot_bytes("chromium-frames.heapsnapshot");
    let mut packed = flate2::read::GzEncoder::new(bytes.as_slice(), flate2::Compression::fast());
    let mut gzip = Vec::new();
    packed.read_to_end(&mut gzip).unwrap();
    let count = Snapshot::read(bytes.as_slice()).unwrap().node_count();
    assert_eq!(Snapshot::read(gzip.as_slice()).unwrap().node_count(), count);
}

#[test]
fn a_window_knows_ids_and_classes() {
    for name in ["node26-kept", "chromium-detached"] {
        let bytes = snapshot_bytes(&format!("{name}.heapsnapshot"));
        let snapshot = Snapshot::read(bytes.as_slice()).unwrap();
        let window = Window::read(bytes.as_slice()).unwrap();
        assert!(
            snapshot
                .nodes()
                .all(|node| window.contains(snapshot.id(node)))
        );
        assert!(!window.contains(0) && !window.contains(u32::MAX));
        let with_bytes = || {
            snapshot
                .nodes()
                .filter(|node| snapshot.self_size(*node) > 0)
        };
        assert_eq!(window.total().count, with_bytes().count() as u64);
        assert_eq!(
            window.total().bytes,
            with_bytes()
                .map(|node| snapshot.self_size(node))
                .sum::<u64>()
        );
        let kept = with_bytes()
            .filter(|node| snapshot.kind(*node) == NodeKind::Object)
            .filter(|node| snapshot.name(*node) == "Kept")
            .count();
        assert_eq!(window.class("Kept").count, kept as u64);
        assert!(kept >= 200);
    }
}
