//! With totals only: the process's live bytes, and it is said.

use std::hint::black_box;

use plimsoll::{Counted, Source, check};

#[global_allocator]
static ALLOCATOR: Counted = Counted::new();

/// One test, because whatever else runs in the process counts.
#[test]
fn the_process_is_read_and_said() {
    let leak = check(|| std::mem::forget(black_box(vec![1_u8; 64])));
    assert_eq!(leak.source, Source::Process);
    assert!(leak.is_leak(), "{leak}");
    assert!(leak.survivors.is_empty());
    // The harness's own thread may have done something meanwhile.
    let rate = leak.growth().unwrap().rate;
    assert!((rate - 64.0).abs() < 2.0, "{leak}");
    let text = leak.to_string();
    for part in [
        "of the whole process, exact; other threads are in it",
        "hint   plimsoll::Scoped instead of Counted",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let none = check(|| drop(black_box(vec![1_u8; 64])));
    assert!(none.is_no_leak(), "{none}");
}
