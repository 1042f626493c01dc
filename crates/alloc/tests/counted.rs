//! Totals of the process: one test, because whatever else runs in the process counts.

#![expect(
    clippy::print_stdout,
    reason = "it speaks to the runners of tests as their harness would"
)]

use std::hint::black_box;
use std::thread;

use plimsoll_alloc::{Counted, Level, stats};

#[global_allocator]
static ALLOCATOR: Counted = Counted::new();

fn main() {
    // What the runners of tests ask a program without libtest's harness.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("totals_of_the_process: test");
        }
        return;
    }
    assert_eq!(plimsoll_alloc::installed(), Some(Level::Totals));
    let before = stats();
    let mut kept = black_box(vec![0_u8; 1000]);
    assert_eq!(stats().live_bytes - before.live_bytes, 1000);
    assert_eq!(stats().live_blocks - before.live_blocks, 1);
    kept.reserve_exact(2000);
    assert_eq!(stats().live_bytes - before.live_bytes, 3000);
    assert_eq!(stats().live_blocks - before.live_blocks, 1);
    assert_eq!(stats().allocated_bytes - before.allocated_bytes, 4000);

    // Freed by another thread, which is gone when it is asked.
    thread::spawn(move || drop(kept)).join().expect("it ends");
    assert_eq!(stats().live_bytes, before.live_bytes);

    // The peak is known to 128 KiB a thread.
    drop(black_box(vec![0_u8; 10 << 20]));
    let peak = stats().peak;
    let held = before.live_bytes as u64 + (10 << 20);
    assert!(
        peak.at_least <= held && held <= peak.at_most,
        "{peak:?} {held}"
    );
    assert!(peak.at_most - peak.at_least <= 4 << 20, "{peak:?}");

    threads_come_and_go();
    a_forked_child_goes_on_alone();
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

fn threads_come_and_go() {
    let before = stats();
    for _ in 0..1000 {
        let kept = thread::spawn(|| vec![0_u8; 123]).join().expect("it ends");
        assert_eq!(stats().live_bytes - before.live_bytes, 123);
        drop(kept);
    }
    assert_eq!(stats().live_bytes, before.live_bytes);
    assert_eq!(stats().live_blocks, before.live_blocks);
}

#[expect(unsafe_code, reason = "there is no other way to fork")]
fn a_forked_child_goes_on_alone() {
    // Others allocate while the process forks: a lock of theirs would stay locked in the child.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !stopped() {
                    let thread = thread::spawn(|| drop(black_box(vec![0_u8; 100_000])));
                    thread.join().expect("it ends");
                }
            });
        }
        for _ in 0..50 {
            // SAFETY: the child only allocates (which glibc allows after a fork) and leaves.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let before = stats();
                let kept = black_box(vec![0_u8; 4321]);
                let right = stats().live_bytes - before.live_bytes == 4321;
                drop(kept);
                let right = right && stats().live_bytes == before.live_bytes;
                // SAFETY: leaves at once.
                unsafe { libc::_exit(i32::from(!right)) };
            }
            let mut status = 0;
            // SAFETY: waits for the child just made.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
