//! Without the allocator: resident memory, and it is said.

use std::hint::black_box;
use std::panic::catch_unwind;
use std::time::Duration;

use plimsoll::{Check, Source, check};

/// One after the other, because resident memory is everybody's.
#[test]
fn resident_memory_is_read_and_said() {
    let leak = check(|| std::mem::forget(black_box(vec![1_u8; 4096])));
    assert_eq!(leak.source, Source::Resident);
    assert!(leak.is_leak(), "{leak}");
    let text = leak.to_string();
    for part in [
        "resident memory ",
        "of the whole process, by pages; other threads are in it",
        "hint   exact, by line and beside other tests: `#[global_allocator]",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let none = Check::new()
        .max_time(Duration::from_secs(2))
        .run(|| drop(black_box(vec![1_u8; 4096])));
    assert!(!none.is_leak(), "{none}");
    assert!(none.to_string().contains("by pages"), "{none}");

    let panic = catch_unwind(|| plimsoll::assert_allocations!(<= 1, || ())).unwrap_err();
    let told = panic.downcast_ref::<String>().unwrap();
    assert!(
        told.starts_with(
            "allocations cannot be counted: plimsoll::Scoped is not the global allocator\n  hint: "
        ),
        "{told}"
    );
}
