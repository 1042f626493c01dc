//! What is said about waste: captured variables nobody can read, text kept twice or in pieces, empty stores.

use plimsoll_heap::{Heap, Snapshot, collections, contexts, text};

use crate::parity::snapshot_bytes;

fn heap(name: &str) -> Heap {
    let bytes = snapshot_bytes(&format!("{name}.heapsnapshot"));
    Heap::of(Snapshot::read(bytes.as_slice()).unwrap())
}

#[test]
fn variables_that_only_a_dead_function_reads_are_dead() {
    let heap = heap("chromium-detached");
    let dead = contexts::dead(&heap).unwrap();
    // Three contexts of `make` share `read` with a living function; `unread` was for one that is gone.
    let of = |name: &str| dead.iter().filter(|variable| variable.name == name).count();
    assert_eq!((of("unread"), of("read")), (3, 0), "{dead:?}");
    let unread = dead
        .iter()
        .find(|variable| variable.name == "unread")
        .unwrap();
    assert_eq!(unread.function, "make");
    assert!(unread.script.ends_with("/page.html"), "{unread:?}");
    assert!(unread.retained > 8_000, "{unread:?}");
    assert_eq!(heap.snapshot().name(unread.value), "Array");
}

#[test]
fn without_tables_of_scopes_nothing_is_claimed() {
    let heap = heap("node20-kept");
    assert!(!heap.snapshot().has_scopes());
    assert_eq!(contexts::dead(&heap), None);
    let largest = contexts::largest(&heap, 5);
    assert_eq!(largest.len(), 5);
    assert!(largest.is_sorted_by(|a, b| a.retained >= b.retained));
    assert!(largest.iter().any(|context| !context.functions.is_empty()));
}

#[test]
fn texts_and_stores() {
    let heap = heap("node20-kept");
    let texts = text::duplicates(&heap);
    assert!(
        texts
            .iter()
            .all(|text| text.count > 1 && text.waste < text.bytes)
    );
    assert!(texts.is_sorted_by(|a, b| a.waste >= b.waste));
    for slice in text::slices(&heap) {
        assert_eq!(heap.snapshot().kind(slice.slice).word(), "sliced string");
        assert!(heap.snapshot().kind(slice.whole).is_string());
    }
    for sparse in collections::sparse(&heap, 0.5) {
        assert!(sparse.fill_ratio() < 0.5 && sparse.store_bytes >= 1024);
        let name = heap.snapshot().name(sparse.collection);
        assert!(!name.is_empty(), "{sparse:?}");
    }
}
