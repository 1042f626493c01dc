//! The work that every allocator is measured with. The binaries differ by their global allocator alone.

use std::hint::black_box;

/// What `compare` starts the binaries with: the work, and how often.
pub fn main(within: impl FnOnce(&mut dyn FnMut())) {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next().expect("the work: pair, window, threads");
    let times: u64 = arguments
        .next()
        .and_then(|times| times.parse().ok())
        .expect("how often");
    let mut seconds = 0.0;
    within(&mut || {
        run(&work, times.min(10_000));
        let before = cpu_seconds();
        run(&work, times);
        seconds = cpu_seconds() - before;
    });
    println!("{}", seconds * 1e9 / times as f64);
}

fn run(work: &str, times: u64) {
    match work {
        "pair" => pairs(times),
        "window" => window(times),
        "threads" => std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| pairs(times / 4));
            }
        }),
        other => panic!("no work is called {other}"),
    }
}

/// Allocates 64 bytes and frees them. The size is not known to the compiler, as in a growing vector.
fn pairs(times: u64) {
    for _ in 0..times {
        drop(black_box(Vec::<u8>::with_capacity(black_box(64))));
    }
}

/// Replaces blocks of 16 to 1,023 bytes, at random, in a window of 10,000.
fn window(times: u64) {
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let mut blocks: Vec<Vec<u8>> = vec![Vec::new(); 10_000];
    for _ in 0..times {
        let random = next();
        blocks[random % 10_000] = Vec::with_capacity(16 + (random >> 32) % 1008);
    }
    black_box(&blocks);
}

/// CPU time of the process.
pub fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the time into what is handed.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
