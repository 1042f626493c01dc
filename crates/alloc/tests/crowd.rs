//! More threads than have a shard of their own. Alone in its process, because those who come last are not sampled.

use std::sync::Barrier;
use std::thread;

use plimsoll_alloc::{Scope, Scoped};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

#[test]
fn more_threads_than_shards_are_as_exact() {
    const THREADS: usize = 300;
    let live = |scope: &Scope| {
        let stats = scope.stats();
        (stats.live_bytes as usize, stats.live_blocks as usize)
    };
    let scope = Scope::open("crowd").unwrap();
    let barrier = Barrier::new(THREADS);
    thread::scope(|threads| {
        let started: Vec<_> = (0..THREADS)
            .map(|number| {
                let (scope, barrier) = (&scope, &barrier);
                thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn_scoped(threads, move || {
                        barrier.wait();
                        let kept = scope.run(|| vec![0_u8; 100 + number]);
                        barrier.wait();
                        kept
                    })
                    .unwrap()
            })
            .collect();
        let kept: Vec<_> = started.into_iter().map(|t| t.join().unwrap()).collect();
        let bytes: usize = kept.iter().map(Vec::len).sum();
        assert_eq!(live(&scope), (bytes, THREADS));
    });
    assert_eq!(live(&scope), (0, 0));
}
