//! What counting live values costs: a `plimsoll::Arc` of a tracked type beside std's, and a `Live` beside nothing, in turns.

use std::hint::black_box;

use plimsoll_bench_alloc::cpu_seconds;

struct Plain(#[expect(dead_code, reason = "it is there to be there")] [u64; 4]);

struct Counted {
    _words: [u64; 4],
    _live: plimsoll::Live<Counted>,
}
plimsoll::track!(Counted);

struct Held(#[expect(dead_code, reason = "as above")] [u64; 4]);
plimsoll::track!(Held {});

const TIMES: u64 = 4_000_000;
const TURNS: usize = 31;

fn nanoseconds(work: impl Fn()) -> f64 {
    let before = cpu_seconds();
    for _ in 0..TIMES {
        work();
    }
    (cpu_seconds() - before) * 1e9 / TIMES as f64
}

fn main() {
    let words = || black_box([1_u64; 4]);
    let works: [(&str, &dyn Fn()); 4] = [
        ("a value", &|| {
            black_box(Plain(words()));
        }),
        ("a value with `Live`", &|| {
            black_box(Counted {
                _words: words(),
                _live: plimsoll::Live::new(),
            });
        }),
        ("std's Arc", &|| {
            drop(black_box(std::sync::Arc::new(Plain(words()))));
        }),
        ("plimsoll's Arc", &|| {
            drop(black_box(plimsoll::Arc::new(Held(words()))));
        }),
    ];
    let mut taken = works.map(|_| Vec::new());
    for _ in 0..TURNS {
        for (taken, (_, work)) in taken.iter_mut().zip(&works) {
            taken.push(nanoseconds(work));
        }
    }
    for (taken, (name, _)) in taken.iter_mut().zip(&works) {
        taken.sort_by(f64::total_cmp);
        println!(
            "{name:<22} {:>7.2} ns least {:>7.2} ns median",
            taken[0],
            taken[TURNS / 2]
        );
    }
    println!(
        "`Live` {:+.2} ns, Arc {:+.2} ns (least)",
        taken[1][0] - taken[0][0],
        taken[3][0] - taken[2][0]
    );
}
