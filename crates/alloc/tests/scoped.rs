//! Scopes: exact to the byte, whoever allocates, frees, polls or ends when.

#![expect(unsafe_code, reason = "an allocator beneath, and its raw interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use plimsoll_alloc::{Level, Scope, Scoped, Survivor};

#[global_allocator]
static ALLOCATOR: Scoped<Limited> = Scoped::over(Limited);

/// The system's allocator, which can be told to have no memory for blocks as odd as those of the tests.
struct Limited;

static IS_EMPTY: AtomicBool = AtomicBool::new(false);
const ODD: usize = 77_777;

impl Limited {
    fn refuses(size: usize) -> bool {
        (ODD..ODD + 64).contains(&size) && IS_EMPTY.load(Ordering::Relaxed)
    }
}

// SAFETY: the system's allocator, or null.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if Self::refuses(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}

fn live(scope: &Scope) -> (i64, i64) {
    let stats = scope.stats();
    (stats.live_bytes, stats.live_blocks)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).expect("a size")
}

#[test]
fn the_allocator_says_that_it_is_installed() {
    assert_eq!(plimsoll_alloc::installed(), Some(Level::Scopes));
}

#[test]
fn a_block_counts_until_it_ends() {
    let scope = Scope::open("blocks").unwrap();
    let kept = scope.run(|| vec![0_u8; 1000]);
    let _elsewhere = black_box(vec![0_u8; 500]);
    assert_eq!(live(&scope), (1000, 1));
    drop(kept);
    assert_eq!(live(&scope), (0, 0));
    let stats = scope.stats();
    assert_eq!((stats.allocated_bytes, stats.allocated_blocks), (1000, 1));
    assert_eq!(stats.peak.exact(), Some(1000));
}

#[test]
fn a_block_is_freed_to_its_owner_on_any_thread() {
    let scope = Scope::open("owner").unwrap();
    let other = Scope::open("other").unwrap();
    let kept = scope.run(|| vec![0_u8; 321]);
    thread::scope(|threads| {
        threads.spawn(|| other.run(|| drop(kept)));
    });
    assert_eq!(live(&scope), (0, 0));
    assert_eq!(live(&other).0, 0);
    assert_eq!(other.stats().allocated_bytes, 0);
    // Two threads counted: the peak is what they can have been together.
    assert_eq!(scope.stats().peak.at_most, 321);
}

#[test]
fn a_block_that_grows_belongs_to_who_made_it_grow() {
    let first = Scope::open("first").unwrap();
    let second = Scope::open("second").unwrap();
    let mut kept = first.run(|| Vec::<u8>::with_capacity(100));
    kept.reserve_exact(200);
    assert_eq!(
        live(&first),
        (200, 1),
        "without a scope it stays where it was"
    );
    second.run(|| kept.reserve_exact(300));
    assert_eq!((live(&first), live(&second)), ((0, 0), (300, 1)));
    second.run(|| kept.shrink_to(10));
    assert_eq!(live(&second), (10, 1));
    assert_eq!(second.stats().allocated_blocks, 2);
    drop(kept);
    assert_eq!((live(&first), live(&second)), ((0, 0), (0, 0)));
}

#[test]
fn content_and_alignment_are_the_callers() {
    let scope = Scope::open("alignment").unwrap();
    let _entered = scope.enter();
    for align in [1_usize, 2, 8, 16, 64, 4096, 1 << 16] {
        for size in [1_usize, 7, 8, 9, 4095, 4096, 4097] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not zero; the blocks are used within their size, and freed with their layout.
            unsafe {
                let block = std::alloc::alloc_zeroed(layout);
                assert_eq!(block.addr() % align, 0);
                let bytes = std::slice::from_raw_parts_mut(block, size);
                assert!(bytes.iter().all(|b| *b == 0));
                bytes.fill(0xab);
                assert_eq!(live(&scope), (signed(size), 1));
                let block = std::alloc::realloc(block, layout, 3 * size);
                assert_eq!(block.addr() % align, 0);
                let bytes = std::slice::from_raw_parts_mut(block, 3 * size);
                assert!(bytes[..size].iter().all(|b| *b == 0xab));
                bytes.fill(0xcd);
                assert_eq!(live(&scope), (signed(3 * size), 1));
                let layout = Layout::from_size_align(3 * size, align).unwrap();
                std::alloc::dealloc(block, layout);
            }
            assert_eq!(live(&scope), (0, 0));
        }
    }
}

#[test]
fn a_block_of_no_bytes_is_a_block() {
    let scope = Scope::open("nothing").unwrap();
    let layout = Layout::from_size_align(0, 1).unwrap();
    scope.run(|| {
        // SAFETY: no caller may ask for this of a global allocator, yet some do; this one gives its trailer.
        unsafe {
            let block = ALLOCATOR.alloc(layout);
            assert!(!block.is_null());
            assert_eq!(live(&scope), (0, 1));
            ALLOCATOR.dealloc(block, layout);
        }
        assert_eq!(live(&scope), (0, 0));
    });
}

#[test]
fn what_there_is_no_memory_for_does_not_count() {
    let scope = Scope::open("out of memory").unwrap();
    let _entered = scope.enter();
    let mut kept: Vec<u8> = Vec::with_capacity(50);
    kept.extend_from_slice(b"as before");
    IS_EMPTY.store(true, Ordering::Relaxed);
    let refused = Vec::<u8>::new().try_reserve_exact(ODD).is_err();
    let grown = kept.try_reserve_exact(ODD).is_ok();
    IS_EMPTY.store(false, Ordering::Relaxed);
    assert!(refused && !grown);
    assert_eq!(
        (live(&scope), kept.as_slice()),
        ((50, 1), &b"as before"[..])
    );
    // No block can be longer than the longest, trailer included.
    let layout = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
    // SAFETY: nothing is done with the block, of which there is none.
    assert!(unsafe { std::alloc::alloc(layout) }.is_null());
    drop(kept);
    assert_eq!(live(&scope), (0, 0));
}

#[test]
fn scopes_nest() {
    let outer = Scope::open("outer").unwrap();
    let entered = outer.enter();
    let inner = Scope::open("inner").unwrap();
    let in_inner = inner.run(|| vec![0_u8; 30]);
    let in_outer = black_box(vec![0_u8; 7]);
    assert_eq!(live(&inner), (30, 1));
    assert_eq!(
        live(&outer),
        (37, 2),
        "the outer counts what the inner does"
    );
    // What goes on after the scope it was opened in belongs to the one around that.
    let innermost = inner.run(|| Scope::open("innermost").unwrap());
    let in_innermost = innermost.run(|| vec![0_u8; 100]);
    drop((in_inner, inner));
    assert_eq!(live(&outer), (107, 2));
    drop(entered);
    drop((in_outer, in_innermost));
    assert_eq!(live(&outer), (0, 0));
}

#[test]
fn scopes_are_left_in_any_order() {
    let first = Scope::open("first").unwrap();
    let second = Scope::open("second").unwrap();
    let in_first = first.enter();
    let in_second = second.enter();
    drop(in_first);
    let a = black_box(vec![0_u8; 10]);
    assert_eq!((live(&first).0, live(&second).0), (0, 10));
    drop(in_second);
    let b = black_box(vec![0_u8; 10]);
    assert_eq!((live(&first).0, live(&second).0), (0, 10));
    drop((a, b));
    assert_eq!(live(&second), (0, 0));
}

#[test]
fn a_scope_that_was_never_left_ends_with_its_thread() {
    let scope = Scope::open("never left").unwrap();
    let (give, take) = mpsc::channel();
    thread::scope(|threads| {
        threads.spawn(|| {
            std::mem::forget(scope.enter());
            give.send(vec![0_u8; 40]).unwrap();
        });
    });
    let kept = take.recv().unwrap();
    let before = live(&scope).0;
    assert!(before >= 40);
    // Whoever gets that thread's place is in no scope.
    for _ in 0..8 {
        thread::spawn(|| drop(black_box(vec![0_u8; 1000])))
            .join()
            .unwrap();
    }
    assert_eq!(scope.stats().live_bytes, before);
    assert!(scope.stats().allocated_bytes < 1000 + 40 + 1000);
    drop(kept);
    assert_eq!(live(&scope).0, before - 40);
}

#[test]
fn what_an_ended_scope_left_disturbs_nobody() {
    for _ in 0..2000 {
        let scope = Scope::open("first").unwrap();
        let kept = scope.run(|| vec![0_u8; 64]);
        drop(scope);
        let next = Scope::open("next").unwrap();
        let other = next.run(|| vec![0_u8; 32]);
        drop(kept);
        assert_eq!(live(&next), (32, 1));
        drop(other);
        assert_eq!(live(&next), (0, 0));
    }
}

#[test]
fn the_current_scope_can_be_handed_on() {
    assert!(Scope::current().is_none());
    let scope = Scope::open("handed on").unwrap();
    let kept = scope.run(|| {
        let current = Scope::current().unwrap();
        thread::spawn(move || current.run(|| vec![0_u8; 99]))
            .join()
            .unwrap()
    });
    assert_eq!(format!("{scope:?}"), "Scope { name: \"handed on\" }");
    // The thread's own packet and handle were allocated in the scope too, and are gone with it.
    assert_eq!(live(&scope), (99, 1));
    drop(kept);
}

/// Waits once, holding what it allocated before, and allocates again.
struct Waits {
    kept: Vec<Vec<u8>>,
}

impl Future for Waits {
    type Output = Vec<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.kept.push(vec![0; 10]);
        if self.kept.len() < 2 {
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut self.kept))
    }
}

#[test]
fn a_future_takes_its_scope_along() {
    let scope = Scope::open("task").unwrap();
    let kept = Vec::with_capacity(4);
    let mut future = Box::pin(scope.wrap(Waits { kept }));
    let poll = |future: Pin<&mut _>| Future::poll(future, &mut Context::from_waker(Waker::noop()));
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(live(&scope), (10, 1));
    // Another thread polls it to its end; in between this one allocates for itself.
    let between = black_box(vec![0_u8; 5]);
    let done = thread::scope(|threads| {
        threads
            .spawn(|| match poll(future.as_mut()) {
                Poll::Ready(kept) => kept,
                Poll::Pending => panic!("it waits once"),
            })
            .join()
            .unwrap()
    });
    assert_eq!(live(&scope), (20, 2));
    drop((done, between));
    assert_eq!(live(&scope), (0, 0));
    let mut unfinished = pin!(scope.wrap(Waits { kept: Vec::new() }));
    assert!(poll(unfinished.as_mut()).is_pending());
    assert!(live(&scope).0 > 10);
    unfinished.set(scope.wrap(Waits { kept: Vec::new() }));
    assert_eq!(
        live(&scope),
        (0, 0),
        "a future that is dropped half-way too"
    );
}

#[test]
fn sixteen_at_once_are_exact_to_the_byte() {
    // Miri interprets, and its region has room for fewer scopes.
    const AT_ONCE: usize = if cfg!(miri) { 8 } else { 16 };
    const REPEATS: usize = if cfg!(miri) { 3 } else { 100 };
    let barrier = Barrier::new(AT_ONCE);
    let (gives, takes): (Vec<_>, Vec<_>) = (0..AT_ONCE).map(|_| mpsc::channel()).unzip();
    thread::scope(|threads| {
        for (number, take) in takes.into_iter().enumerate() {
            // Blocks of one test are freed by another.
            let give = gives[(number + 1) % AT_ONCE].clone();
            let barrier = &barrier;
            threads.spawn(move || {
                let mut random = number as u64 + 1;
                for repeat in 0..REPEATS {
                    let scope = Scope::open("one of many").unwrap();
                    let mut bytes = 0;
                    let mut total = 0;
                    let mut sent = Vec::with_capacity(64);
                    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(64);
                    for _ in 0..64 {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        let size = 1 + (random >> 33) as usize % 3000;
                        let block = scope.run(|| vec![1_u8; size]);
                        total += size;
                        match random >> 62 {
                            0 => kept.push(block),
                            1 => drop(block),
                            _ => sent.push(block),
                        }
                    }
                    bytes += kept.iter().chain(&sent).map(Vec::len).sum::<usize>();
                    let blocks = kept.len() + sent.len();
                    assert_eq!(
                        live(&scope),
                        (signed(bytes), signed(blocks)),
                        "{number} {repeat}"
                    );
                    assert_eq!(scope.stats().allocated_bytes, total as u64);
                    let in_flight = sent.iter().map(Vec::len).sum::<usize>();
                    give.send(sent).unwrap();
                    drop(take.recv().unwrap());
                    barrier.wait();
                    assert_eq!(scope.stats().live_bytes, signed(bytes - in_flight));
                    drop(kept);
                    assert_eq!(live(&scope), (0, 0), "{number} {repeat}");
                }
            });
        }
    });
}

#[test]
fn survivors_tell_who_allocated_them() {
    #[inline(never)]
    fn keeps() -> Vec<u8> {
        black_box(Vec::with_capacity(48))
    }
    let scope = Scope::open("sampled").unwrap();
    scope.sample_every(1);
    let kept: Vec<_> = scope.run(|| {
        let mut kept = Vec::with_capacity(10);
        for _ in 0..10 {
            drop(keeps());
            kept.push(keeps());
        }
        kept
    });
    let mut sizes = Vec::with_capacity(64);
    let mut within = 0;
    scope.survivors(|survivor: &Survivor<'_>| {
        sizes.push(survivor.size);
        assert_eq!(survivor.weight(), 1.0);
        let start = keeps as *const () as usize;
        let is_keeps = |frame: &usize| (start..start + 4096).contains(frame);
        within += usize::from(survivor.size == 48 && survivor.frames.iter().any(is_keeps));
    });
    sizes.sort_unstable();
    assert_eq!(sizes[..10], [48; 10]);
    assert_eq!(sizes.len(), 11, "and the list of them");
    assert!(cfg!(miri) || within == 10);
    drop(kept);
    scope.survivors(|survivor| panic!("freed: {survivor:?}"));
}

#[test]
#[cfg_attr(miri, ignore = "its region has room for 16 samples")]
fn samples_stand_for_what_was_allocated() {
    let scope = Scope::open("estimate").unwrap();
    scope.sample_every(4096);
    let mut kept = Vec::with_capacity(20_000);
    scope.run(|| {
        for number in 0..20_000_usize {
            kept.push(vec![0_u8; 16 + number * 7919 % 500]);
        }
    });
    let (mut estimate, mut samples) = (0.0, 0);
    scope.survivors(|survivor| {
        estimate += survivor.weight() * survivor.size as f64;
        samples += 1;
    });
    let truth = scope.stats().live_bytes as f64;
    // Some 1,300 samples: a standard error of 3 %.
    assert!(
        (estimate / truth - 1.0).abs() < 0.15,
        "{estimate} {truth} {samples}"
    );
}
