//! Runs an operation in rounds and has the judge decide.
//!
//! Warm-up until the increments agree, then rounds of the same number of operations with a reading after each; the judge looks
//! after 12, 18, 27, 40 and 48 rounds and stops at the first that decides. A leak is run two windows further with every
//! block's stack kept: they name the lines, and a growth that has stopped by then is no leak.

use std::hint::black_box;
use std::time::{Duration, Instant};

use plimsoll_alloc::InScope;
use plimsoll_judge::{More, Outcome, Pattern, Quantity, Reading, Reason, Series, Terms};

use crate::arc::Watching;
use crate::grown::Counts;
use crate::meter::{Meter, Source};
use crate::sizing::Sizing;
use crate::stacks::Alive;
use crate::verdict::Verdict;

/// Rounds after which the judge looks.
const LOOKS: [usize; 5] = [12, 18, 27, 40, 48];
/// Share of the time that warming up may take.
const WARM_UP_SHARE: f64 = 0.3;
/// Pilot rounds at most.
const PILOTS: usize = 20;
/// Growth per operation below which two pilots agree whatever their ratio; the judge's own least floor.
const PILOT_FLOOR: f64 = 4.0;
/// Operations of a window in which every surviving stack is kept.
const WINDOW: u64 = 256;

/// How an operation is checked. [`check`](crate::check) is the default of it.
///
/// ```
/// # #[global_allocator]
/// # static ALLOCATOR: plimsoll::Scoped = plimsoll::Scoped::new();
/// let verdict = plimsoll::Check::new()
///     .max_time(std::time::Duration::from_secs(2))
///     .run(|| "forgotten".to_owned());
/// assert!(verdict.is_no_leak(), "{verdict}");
/// ```
#[derive(Debug, Clone)]
pub struct Check {
    max_time: Duration,
    operations: Option<u64>,
    warm_up: u64,
    floor: Option<f64>,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            max_time: Duration::from_secs(10),
            operations: None,
            warm_up: 0,
            floor: None,
        }
    }
}

impl Check {
    /// As [`check`](crate::check) does it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins no round after so long; 10 s unless said. What was measured by then is judged.
    #[must_use]
    pub fn max_time(mut self, time: Duration) -> Self {
        self.max_time = time;
        self
    }

    /// Operations of a round. Unless said, what takes 4 ms, at most 1,000.
    #[must_use]
    pub fn operations(mut self, operations: u64) -> Self {
        self.operations = Some(operations.max(1));
        self
    }

    /// Operations to warm up with at least: as many as it takes until caches are full. More are run until the increments
    /// of memory agree.
    #[must_use]
    pub fn warm_up(mut self, operations: u64) -> Self {
        self.warm_up = operations;
        self
    }

    /// Growth below so many bytes per operation is no leak. Unless said, the judge's own floor: 4 to 16 bytes, by the noise.
    #[must_use]
    pub fn floor(mut self, bytes_per_op: f64) -> Self {
        self.floor = Some(bytes_per_op);
        self
    }

    /// Checks an operation. It runs on this thread; what it hands to other threads counts if they enter its
    /// [`Scope::current`](crate::Scope::current).
    ///
    /// # Panics
    /// If the operation does.
    pub fn run<T>(&self, mut operation: impl FnMut() -> T) -> Verdict {
        self.rounds(&mut |_, times| {
            for _ in 0..times {
                black_box(operation());
            }
        })
    }

    /// Checks an asynchronous operation, run to its end by `block_on`: of any runtime, or [`block_on`](crate::block_on). Its
    /// future takes the scope along to whatever thread polls it; tasks it spawns want to be wrapped by
    /// [`Scope::wrap`](crate::Scope::wrap).
    ///
    /// # Panics
    /// If the operation does, or if 1,023 scopes are open.
    pub fn run_async<F: Future>(
        &self,
        mut block_on: impl FnMut(InScope<F>) -> F::Output,
        mut operation: impl FnMut() -> F,
    ) -> Verdict {
        let mut unscoped = None;
        self.rounds(&mut |meter: &Meter, times| {
            for _ in 0..times {
                let scope = meter.scope.as_ref().unwrap_or_else(|| {
                    // Counts nothing there, but a future has to be in one.
                    unscoped.get_or_insert_with(|| match plimsoll_alloc::Scope::open("") {
                        Ok(scope) => scope,
                        Err(error) => panic!("{error}"),
                    })
                });
                black_box(block_on(scope.wrap(operation())));
            }
        })
    }

    fn rounds(&self, work: &mut dyn FnMut(&Meter, u64)) -> Verdict {
        let begun = Instant::now();
        let name = crate::verdict::name_of_test();
        let meter = Meter::new(name.as_deref().unwrap_or("check"));
        let mut run = |times| meter.run(|| work(&meter, times));
        let warm = self.warm_up_with(&meter, &mut run, begun);
        let mut readings = Readings::new(&meter);
        let mut verdict = Verdict {
            name,
            source: meter.source,
            operations_per_round: warm.operations_per_round,
            warm_up_operations: warm.done,
            ..Verdict::default()
        };
        for (number, look) in LOOKS.into_iter().enumerate() {
            while readings.rounds() < look && begun.elapsed() < self.max_time {
                run(warm.operations_per_round);
                readings.push(&meter, warm.operations_per_round, begun);
            }
            let terms = Terms {
                floor: self.floor,
                look: number as u32 + 1,
                looks: LOOKS.len() as u32,
                warm_up_operations: warm.done,
                settled: warm.settled,
                ..Terms::default()
            };
            verdict.judged = plimsoll_judge::judge_family(&readings.judged, &terms);
            verdict.outcome = overall(&verdict.judged);
            let is_over = begun.elapsed() >= self.max_time;
            if is_over || !matches!(verdict.outcome, Outcome::Inconclusive { .. }) {
                break;
            }
        }
        if verdict.is_leak() {
            explain(&mut verdict, &meter, &mut run);
        }
        let outside = plimsoll_judge::judge(&readings.outside, &Terms::default());
        if outside.outcome == Outcome::Leak {
            verdict.outside_per_op = outside.estimate.map(|growth| growth.rate);
        }
        let bytes = &readings.judged[0].value;
        verdict.rounds = readings.rounds() as u32;
        verdict.live_bytes = bytes.first().copied().zip(bytes.last().copied());
        verdict.elapsed = begun.elapsed();
        verdict
    }

    /// Runs until memory grows evenly, and finds out how many operations make a round.
    fn warm_up_with(&self, meter: &Meter, run: &mut dyn FnMut(u64), begun: Instant) -> Warm {
        let limit = self.max_time.mul_f64(WARM_UP_SHARE);
        // Pages are a coarse measure: resident memory needs more operations to move at all.
        let (round, most) = match meter.source {
            Source::Scope | Source::Process => (Duration::from_millis(4), 1000),
            Source::Resident | Source::Nothing => (Duration::from_millis(40), 100_000),
        };
        let mut sizing = Sizing::new(round, 1, most);
        loop {
            let started = Instant::now();
            run(sizing.batch);
            if sizing.is_known_after(started.elapsed()) || begun.elapsed() >= limit {
                break;
            }
        }
        let operations_per_round = self.operations.unwrap_or(sizing.operations());
        let mut pilots = Pilots::after(sizing.done, self.warm_up, meter);
        while !pilots.are_enough() && begun.elapsed() < limit {
            run(operations_per_round);
            pilots.add(operations_per_round, meter);
        }
        Warm {
            done: pilots.done,
            operations_per_round,
            settled: pilots.agree(),
        }
    }
}

/// How the warm-up ended.
struct Warm {
    done: u64,
    operations_per_round: u64,
    settled: bool,
}

/// The rounds of a warm-up: what memory grew by in each.
pub(crate) struct Pilots {
    /// Operations so far.
    pub(crate) done: u64,
    /// Operations that are wanted at least.
    least: u64,
    bytes: f64,
    /// Growth per operation.
    increments: Vec<f64>,
}

impl Pilots {
    /// None yet, after this many operations.
    pub(crate) fn after(done: u64, least: u64, meter: &Meter) -> Self {
        // With room for all rounds: where the process is measured, so are we.
        let increments = Vec::with_capacity(PILOTS);
        Self {
            done,
            least,
            bytes: meter.read().bytes,
            increments,
        }
    }

    /// A round of so many operations was done.
    pub(crate) fn add(&mut self, operations: u64, meter: &Meter) {
        let bytes = meter.read().bytes;
        self.done += operations;
        self.increments
            .push((bytes - self.bytes) / operations as f64);
        self.bytes = bytes;
    }

    /// Whether they agree, or there were as many as there may be; not before the operations that are wanted.
    pub(crate) fn are_enough(&self) -> bool {
        self.done >= self.least && (self.agree() || self.increments.len() >= PILOTS)
    }

    /// Whether the last three increments agree within a tenth, or within the floor.
    pub(crate) fn agree(&self) -> bool {
        let [.., a, b, c] = self.increments[..] else {
            return false;
        };
        let (low, high) = (a.min(b).min(c), a.max(b).max(c));
        high - low <= PILOT_FLOOR.max(0.1 * high.abs())
    }
}

/// A reading after every round.
struct Readings {
    /// Bytes, and blocks where they are counted.
    judged: Vec<Series>,
    /// Bytes of the process that the operation does not own.
    outside: Series,
    operations: u64,
}

impl Readings {
    fn new(meter: &Meter) -> Self {
        let most = LOOKS[LOOKS.len() - 1];
        // With room for all rounds: where the process is measured, so are we.
        let series = |metric: &str, quantity, resolution| Series {
            metric: metric.to_owned(),
            quantity,
            resolution,
            t_ns: Vec::with_capacity(most),
            value: Vec::with_capacity(most),
            ops: Vec::with_capacity(most),
            load: Vec::with_capacity(most),
            collected: Vec::with_capacity(most),
            epoch: Vec::with_capacity(most),
            response_bytes_per_op: Vec::with_capacity(most),
            operation_ns: Vec::with_capacity(most),
            error_share: Vec::with_capacity(most),
            ..Series::default()
        };
        let page = 4096.0;
        let judged = match meter.source {
            Source::Scope | Source::Process => vec![
                series("live_bytes", Quantity::Bytes, 1.0),
                series("live_blocks", Quantity::Count, 1.0),
            ],
            Source::Resident | Source::Nothing => {
                vec![series("rss_anon", Quantity::Bytes, page)]
            }
        };
        Self {
            judged,
            outside: series("live_bytes", Quantity::Bytes, 1.0),
            operations: 0,
        }
    }

    fn rounds(&self) -> usize {
        self.outside.t_ns.len()
    }

    fn push(&mut self, meter: &Meter, operations: u64, begun: Instant) {
        let now = meter.read();
        self.operations += operations;
        let reading = |value| Reading {
            t_ns: begun.elapsed().as_nanos() as u64,
            value,
            ops: self.operations as f64,
            collected: true,
            ..Reading::default()
        };
        for (series, value) in self.judged.iter_mut().zip([now.bytes, now.blocks]) {
            series.push(reading(value));
        }
        self.outside.push(reading(meter.read_outside()));
    }
}

/// What the judge says of bytes; blocks can only raise a leak, one that keeps few bytes for ever. (Over few operations a count
/// of blocks is too coarse to be cleared, and where bytes are bounded, blocks are.)
pub(crate) fn overall(verdicts: &[plimsoll_judge::Verdict]) -> Outcome {
    let mut outcomes = verdicts.iter().map(|verdict| &verdict.outcome);
    match (outcomes.next(), outcomes.next()) {
        (_, Some(Outcome::Leak)) => Outcome::Leak,
        (Some(bytes), _) => bytes.clone(),
        (None, _) => Verdict::default().outcome,
    }
}

/// Two more windows with the stack of every block kept, and all counts of the program's own beside. A growth that has
/// stopped withdraws the verdict.
fn explain(verdict: &mut Verdict, meter: &Meter, run: &mut dyn FnMut(u64)) {
    let operations = verdict.operations_per_round.min(WINDOW);
    let _watching = Watching::begin();
    let dropped = plimsoll_alloc::dropped_samples();
    let keep_stacks = |every| {
        if let Some(scope) = &meter.scope {
            scope.sample_every(every);
        }
    };
    keep_stacks(1);
    let before = meter.read();
    let counts = Counts::read();
    // One place to call from: stacks of both windows are to be the same.
    let [(first, between), (second, after)] = [(); 2].map(|()| {
        run(operations);
        Watching::forget_the_dead();
        let alive = meter.scope.as_ref().map(Alive::of).unwrap_or_default();
        (alive, Counts::read())
    });
    let now = meter.read();
    keep_stacks(0);
    let per_op = |from: f64, to: f64| (to - from) / (2 * operations) as f64;
    let grown = [
        per_op(before.bytes, now.bytes),
        per_op(before.blocks, now.blocks),
    ];
    let has_stopped = |(judged, grown): (&plimsoll_judge::Verdict, f64)| {
        // Steps may not fall into so short a window.
        judged.outcome != Outcome::Leak
            || judged.pattern == Pattern::Linear && grown <= judged.floor
    };
    let is_alone = meter.source == Source::Scope;
    if is_alone && verdict.judged.iter().zip(grown).all(has_stopped) {
        verdict.outcome = Outcome::Inconclusive {
            reason: Reason::StillFilling,
            more: More::default(),
        };
    }
    verdict.dropped_samples = plimsoll_alloc::dropped_samples() - dropped;
    verdict.survivors = first.survivors(&second, operations);
    verdict.grown = Counts::grown(&[counts, between, after], operations);
    if let Some(scope) = &meter.scope {
        verdict.cycles = Watching::cycles(scope);
    }
}
