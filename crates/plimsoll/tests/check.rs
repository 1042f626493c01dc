//! Checks with the allocator installed: right each time, also beside other tests that allocate all the while.

#![expect(clippy::print_stdout, reason = "a measurement tells its figures")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use plimsoll::{Check, Outcome, Scope, Scoped, Source, check};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

/// Where `forget_64_bytes` allocates.
const LINE: u32 = line!() + 5;

/// Keeps 64 bytes for ever.
#[inline(never)]
fn forget_64_bytes() {
    let kept: &'static mut [u8; 64] = Box::leak(Box::new([1; 64]));
    black_box(kept);
}

/// Allocates about as a request does, and keeps nothing.
fn clean() -> usize {
    let words: Vec<String> = "the load line of a ship"
        .split(' ')
        .map(str::to_owned)
        .collect();
    black_box(words.join(" ")).len()
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn sixty_four_bytes_and_none_are_told_apart_beside_others() {
    tell_apart(10);
}

#[test]
#[ignore = "a measurement: a hundred times, and how long it takes"]
fn sixty_four_bytes_and_none_are_told_apart_a_hundred_times() {
    tell_apart(100);
}

fn tell_apart(turns: usize) {
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                // Leaks and frees at random, in a scope of its own and in none.
                let scope = Scope::open("noise").expect("few are open");
                let mut kept = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    kept.push(scope.run(|| vec![0_u8; 1 + kept.len() % 5000]));
                    kept.push(vec![0_u8; 100]);
                    if kept.len() > 10_000 {
                        kept.clear();
                    }
                    thread::yield_now();
                }
            });
        }
        // Also where an assertion fails: the scope waits for its threads.
        let _stop = Stop(&stop);
        let mut taken = Vec::new();
        for turn in 0..turns {
            let leak = check(forget_64_bytes);
            assert!(leak.is_leak(), "turn {turn}: {leak}");
            let rate = leak.growth().map_or(0.0, |growth| growth.rate);
            assert!((rate - 64.0).abs() < 0.5, "turn {turn}: {leak}");
            let none = check(clean);
            assert!(none.is_no_leak(), "turn {turn}: {none}");
            taken.extend([leak.elapsed, none.elapsed]);
        }
        taken.sort_unstable();
        println!(
            "median {:?}, slowest {:?}",
            taken[turns],
            taken[2 * turns - 1]
        );
    });
}

#[test]
fn a_leak_is_told_with_rate_and_line() {
    let verdict = check(forget_64_bytes);
    assert_eq!(verdict.source, Source::Scope);
    let [survivors] = verdict.survivors.as_slice() else {
        panic!("{verdict}");
    };
    assert_eq!(
        (survivors.bytes_per_op, survivors.blocks_per_op),
        (64.0, 1.0)
    );
    let place = survivors.place().unwrap();
    assert!(
        place.ends_with(&format!("tests/check.rs:{LINE}")),
        "{place}"
    );
    let text = verdict.to_string();
    for part in [
        "LEAK   +64.0 B per operation   95 % CI ",
        "   linear, since the start\n",
        "of the operation alone, exact\n",
        "kept   +64.0 B per operation (1.00 x 64.0 B)\n         by   ",
        &format!("tests/check.rs:{LINE}  "),
        "forget_64_bytes\n",
        "\nagain  cargo test -p plimsoll",
        " --test check -- --exact a_leak_is_told_with_rate_and_line\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn a_map_that_grows_leaks_though_it_doubles() {
    let mut sessions: HashMap<u64, String> = HashMap::new();
    let mut next = 0;
    let verdict = check(|| {
        next += 1;
        sessions.insert(next, format!("session {next:040}"));
    });
    assert!(verdict.is_leak(), "{verdict}");
    // The string alone is 48 bytes; the map adds its entry of 32 and its room.
    assert!(verdict.growth().unwrap().interval.high > 80.0, "{verdict}");
    assert!(verdict.growth().unwrap().interval.low > 40.0, "{verdict}");
    assert!(!verdict.survivors.is_empty(), "{verdict}");
}

#[test]
fn what_is_kept_once_in_a_while_counts_by_blocks() {
    let mut turn = 0_u64;
    let verdict = check(|| {
        turn += 1;
        if turn.is_multiple_of(40) {
            std::mem::forget(black_box(vec![0_u8; 16]));
        }
    });
    assert!(verdict.is_leak(), "{verdict}");
    assert!(
        verdict.to_string().contains("0.025 blocks per operation"),
        "{verdict}"
    );
}

#[test]
fn a_cache_that_is_full_is_no_leak() {
    let mut cache: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut turn = 0;
    let verdict = check(|| {
        turn += 1;
        cache.insert(turn % 100, vec![0; 100]);
    });
    assert!(verdict.is_no_leak(), "{verdict}");
}

#[test]
fn the_last_result_kept_is_no_leak() {
    let mut last = Vec::new();
    let mut turn = 0;
    let verdict = check(|| {
        turn += 1;
        last = vec![0_u8; 1000 + turn % 7];
    });
    assert!(verdict.is_no_leak(), "{verdict}");
    drop(last);
}

#[test]
fn what_the_operation_frees_of_others_is_not_its_doing() {
    let before = RefCell::new((0..100_000).map(|_| vec![0_u8; 10]).collect::<Vec<_>>());
    let verdict = check(|| drop(before.borrow_mut().pop()));
    assert!(verdict.is_no_leak(), "{verdict}");
}

#[test]
fn slow_operations_are_repeated_less_often() {
    static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let slow = || {
        let until = std::time::Instant::now() + Duration::from_millis(2);
        while std::time::Instant::now() < until {
            black_box(clean());
        }
    };
    let verdict = check(slow);
    assert!(verdict.is_no_leak(), "{verdict}");
    assert!(verdict.operations_per_round <= 4, "{verdict}");
    let verdict = check(|| {
        slow();
        KEPT.lock().unwrap().push(vec![0; 1000]);
    });
    assert!(verdict.is_leak(), "{verdict}");
}

#[test]
fn without_time_there_is_no_verdict() {
    let verdict = Check::new().max_time(Duration::ZERO).run(clean);
    assert!(
        matches!(verdict.outcome, Outcome::Inconclusive { .. }),
        "{verdict}"
    );
    let text = verdict.to_string();
    assert!(
        text.starts_with("INCONCLUSIVE   0 rounds, 5 are needed"),
        "{text}"
    );
    assert!(text.contains("\nsettle more time may"), "{text}");
}

#[test]
fn a_panic_is_the_operations_own() {
    let panic = catch_unwind(AssertUnwindSafe(|| {
        check(|| panic!("from within"));
    }))
    .unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "from within");
    assert!(Scope::current().is_none(), "its scope was left");
}

/// Comes back once.
struct Yields(bool);

impl Future for Yields {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn asynchronous_operations_are_checked_on_any_executor() {
    let none = plimsoll::check_async(plimsoll::block_on, || async {
        let held = black_box(vec![0_u8; 100]);
        Yields(false).await;
        held.len()
    });
    assert!(none.is_no_leak(), "{none}");
    // An executor that polls on another thread.
    let elsewhere = |future: plimsoll::InScope<_>| {
        let future = std::pin::pin!(future);
        thread::scope(|threads| {
            threads.spawn(|| plimsoll::block_on(future)).join().unwrap();
        });
    };
    let leak = Check::new().operations(20).run_async(elsewhere, || async {
        Yields(false).await;
        forget_64_bytes();
    });
    assert!(leak.is_leak(), "{leak}");
    assert!((leak.growth().unwrap().rate - 64.0).abs() < 1.0, "{leak}");
}

#[test]
fn work_on_threads_counts_if_it_enters_the_scope() {
    let spawn = |work: fn()| {
        let scope = Scope::current();
        thread::spawn(move || match scope {
            Some(scope) => scope.run(work),
            None => work(),
        })
        .join()
        .unwrap();
    };
    let leak = Check::new().operations(20).run(|| spawn(forget_64_bytes));
    assert!(leak.is_leak(), "{leak}");
}

#[test]
fn limits_hold_or_say_by_how_much_not() {
    plimsoll::assert_allocations!(<= 2, || (vec![0_u8; 10], vec![0_u8; 20]));
    plimsoll::assert_peak!(<= 30, || (vec![0_u8; 10], vec![0_u8; 20]));
    let message = |work: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    assert_eq!(
        message(&|| plimsoll::assert_allocations!(<= 1, || (vec![0_u8; 10], vec![0_u8; 20]))),
        "2 allocations per operation, 30.0 B in all; 1 allowed"
    );
    assert_eq!(
        message(&|| plimsoll::assert_peak!(<= 29, || (vec![0_u8; 10], vec![0_u8; 20]))),
        "the operation has 30.0 B alive at once (30 bytes), 29.0 B allowed (29 bytes)"
    );
    let told = message(&|| plimsoll::assert_no_leak!(forget_64_bytes));
    assert!(told.starts_with("\nLEAK   +64.0 B per operation"), "{told}");
}

/// A test may consist of an operation.
#[plimsoll::test]
fn joining_keeps_nothing() {
    clean();
}

#[plimsoll::test(allocations <= 1, peak <= 100)]
fn a_buffer_is_one_block() {
    black_box(vec![0_u8; 100]);
}

#[plimsoll::test]
#[should_panic(expected = "LEAK   +64.0 B per operation")]
fn what_is_kept_fails_the_test() {
    forget_64_bytes();
}

#[plimsoll::test(allocations <= 1)]
#[should_panic(expected = "2 allocations per operation")]
fn what_allocates_too_often_fails_the_test() {
    black_box((vec![0_u8; 10], vec![0_u8; 20]));
}

fn on_this_thread<F: Future>(future: F) -> F::Output {
    plimsoll::block_on(future)
}

#[plimsoll::test(block_on = on_this_thread, allocations <= 2, peak <= 200)]
async fn a_future_keeps_nothing() {
    let buffer = vec![0_u8; 100];
    std::future::ready(()).await;
    black_box(buffer);
}

#[plimsoll::test]
#[should_panic(expected = "LEAK   +64.0 B per operation")]
async fn what_a_future_keeps_fails_the_test() {
    std::future::ready(()).await;
    forget_64_bytes();
}
