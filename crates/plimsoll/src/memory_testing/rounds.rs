//! Rounds of a service's work, and the judge.
//!
//! Warm-up until the increments of memory agree, then rounds with a reading after each. The judge looks up to five times. A leak
//! is run two windows further, in which whatever grew is found out; growth that has stopped by then is no leak.

use std::time::{Duration, Instant};

use plimsoll_alloc::{Level, SAMPLED_EVERY, Scope};
use plimsoll_judge::{
    Axis, More, Outcome, Pattern, Quantity, Reading, Reason, Series, Terms, Verdict,
};

use super::apart::Other;
use super::config::MemoryTestConfig;
use super::load::{Load, Pace, Work};
use super::results::RoundReading;
use super::sources::Sources;
use crate::arc::Watching;
use crate::check::{Pilots, overall};
use crate::grown::Counts;
use crate::meter::{Meter, Source};
use crate::sizing::Sizing;
use crate::stacks::Alive;

/// Share of the time that warming up may take.
const WARM_UP_SHARE: f64 = 0.3;
/// Operations of a round at most.
const MOST_OPERATIONS: u64 = 20_000;
/// Operations of a window in which every surviving stack is kept.
const WINDOW: u64 = 256;
/// Windows that are run before at most, each twice as long as the one before, until another process heeds that stacks are asked for.
const HEEDED: u32 = 12;
/// Share of a round in which work is done where it is spread over time.
const WORK_SHARE: f64 = 0.2;

/// What the rounds of a scenario consist of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// `None` = nothing is done: the service is left alone.
    pub(crate) work: Option<Work>,
    pub(crate) pace: Pace,
    /// Operations of a round; unless said, as many as its time allows.
    pub(crate) operations: Option<u64>,
    /// Rounds are spread over all the time there is, and only a leak ends them before.
    pub(crate) spread: bool,
}

/// What rounds came to.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Of bytes and, where they are counted, blocks; empty if nothing was judged.
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) outcome: Outcome,
    /// Growth had stopped when it was to be explained.
    pub(crate) withdrawn: bool,
    pub(crate) sources: Sources,
    pub(crate) readings: Vec<RoundReading>,
    pub(crate) warm_up_operations: u64,
    pub(crate) warm_up_settled: bool,
    pub(crate) operations_per_round: u64,
}

/// How the warm-up ended.
struct Warm {
    done: u64,
    per_round: u64,
    settled: bool,
}

/// Who runs rounds.
pub(crate) struct Rounds<'a> {
    pub(crate) config: &'a MemoryTestConfig,
    pub(crate) meter: &'a Meter,
    pub(crate) begun: Instant,
    pub(crate) deadline: Instant,
    /// Exactly so many operations are to be measured.
    pub(crate) iterations: Option<u64>,
    pub(crate) warm_up_operations: u64,
}

impl Rounds<'_> {
    fn interval(&self) -> Duration {
        Duration::from_millis(self.config.leak_detection.sampling_interval_ms)
    }

    fn time_is_over(&self, load: &Load) -> bool {
        Instant::now() >= self.deadline || load.is_stuck()
    }

    /// Rounds after which the judge looks.
    fn looks(&self) -> [u64; 5] {
        let least = u64::from(self.config.leak_detection.min_samples);
        [10, 15, 23, 34, 40].map(|tenths| (least * tenths).div_ceil(10))
    }

    pub(crate) async fn run(&self, load: &mut Load, plan: Plan) -> Judged {
        let warm = self.warm_up(load, plan).await;
        tracing::debug!(
            phase = "warm-up",
            operations = warm.done,
            settled = warm.settled,
            per_round = warm.per_round
        );
        load.restart();
        let looks = self.looks();
        let most = looks[looks.len() - 1];
        let mut series = self.series(plan, most as usize);
        let mut judged = Judged {
            verdicts: Vec::new(),
            outcome: Outcome::Inconclusive {
                reason: Reason::TooFewReadings { have: 0, need: 5 },
                more: More::default(),
            },
            withdrawn: false,
            sources: Sources::default(),
            readings: Vec::with_capacity(most as usize),
            warm_up_operations: warm.done,
            warm_up_settled: warm.settled,
            operations_per_round: warm.per_round,
        };
        let rounds = self.iterations.map_or(most, |all| all.min(most));
        let slot = self.deadline.saturating_duration_since(Instant::now()) / most as u32;
        let mut operations = 0;
        for (number, look) in looks.into_iter().enumerate() {
            let look = look.min(rounds);
            while (judged.readings.len() as u64) < look && !self.time_is_over(load) {
                let round = judged.readings.len() as u64;
                // What does not divide evenly comes first.
                let of_round = self.iterations.map_or(warm.per_round, |all| {
                    all / rounds + u64::from(round < all % rounds)
                });
                let started = Instant::now();
                let begun_before = load.tally.begun();
                self.work(load, plan, of_round).await;
                if plan.spread {
                    tokio::time::sleep(slot.saturating_sub(started.elapsed())).await;
                }
                operations += load.tally.begun() - begun_before;
                self.read(load, &mut series, &mut judged.readings, operations);
            }
            if !self.config.leak_detection.enabled {
                continue;
            }
            let terms = Terms {
                alpha: 1.0 - self.config.leak_detection.significance_threshold,
                look: number as u32 + 1,
                looks: looks.len() as u32,
                warm_up_operations: warm.done,
                settled: warm.settled,
                ..Terms::default()
            };
            judged.verdicts = plimsoll_judge::judge_family(&series, &terms);
            judged.outcome = overall(&judged.verdicts);
            tracing::debug!(
                phase = "look",
                rounds = judged.readings.len(),
                outcome = ?judged.outcome
            );
            let is_decided = match judged.outcome {
                Outcome::Leak => true,
                Outcome::NoLeak(_) => !plan.spread && self.iterations.is_none(),
                Outcome::Inconclusive { .. } => false,
            };
            if is_decided || look == rounds || self.time_is_over(load) {
                break;
            }
        }
        judged
    }

    fn series(&self, plan: Plan, most: usize) -> Vec<Series> {
        let axis = match plan.work {
            Some(_) => Axis::Operations,
            None => Axis::Time,
        };
        let of = |metric: &str, quantity, resolution| Series {
            metric: metric.to_owned(),
            quantity,
            axis,
            resolution,
            t_ns: Vec::with_capacity(most),
            value: Vec::with_capacity(most),
            ops: Vec::with_capacity(most),
            collected: Vec::with_capacity(most),
            ..Series::default()
        };
        match self.meter.source {
            Source::Scope | Source::Process => vec![
                of("live_bytes", Quantity::Bytes, 1.0),
                of("live_blocks", Quantity::Count, 1.0),
            ],
            Source::Resident | Source::Nothing => vec![of("rss_anon", Quantity::Bytes, 4096.0)],
        }
    }

    /// The work of a round.
    async fn work(&self, load: &mut Load, plan: Plan, operations: u64) {
        match plan.work {
            Some(work) => load.round(work, plan.pace, operations).await,
            None => tokio::time::sleep(self.interval()).await,
        }
        load.settle().await;
        // The last task gives its memory back on its own worker.
        tokio::task::yield_now().await;
    }

    fn read(
        &self,
        load: &Load,
        series: &mut [Series],
        readings: &mut Vec<RoundReading>,
        operations: u64,
    ) {
        let now = self.meter.read();
        let t_ns = self.begun.elapsed().as_nanos() as u64;
        for (series, value) in series.iter_mut().zip([now.bytes, now.blocks]) {
            series.push(Reading {
                t_ns,
                value,
                ops: operations as f64,
                // Nothing in a counting allocator waits to be collected.
                collected: true,
                ..Reading::default()
            });
        }
        readings.push(RoundReading {
            t_ns,
            operations,
            bytes: now.bytes,
            blocks: now.blocks,
        });
        tracing::trace!(
            phase = "round",
            operations,
            bytes = now.bytes,
            failed = load.tally.failed
        );
    }

    /// Runs until memory grows evenly, and finds out how many operations make a round.
    async fn warm_up(&self, load: &mut Load, plan: Plan) -> Warm {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let limit = Instant::now() + left.mul_f64(WARM_UP_SHARE);
        let Some(work) = plan.work else {
            // Whatever a service does first, it does now.
            self.work(load, plan, 0).await;
            return Warm {
                done: 0,
                per_round: 0,
                settled: true,
            };
        };
        let is_over = |load: &Load| Instant::now() >= limit || load.is_stuck();
        let (per_round, done) = match (plan.operations, plan.pace) {
            (Some(operations), _) => (operations, 0),
            (None, Pace::Open(rate, _)) => {
                let fits = rate * self.interval().as_secs_f64();
                (fits.max(1.0) as u64, 0)
            }
            (None, Pace::Closed(concurrency)) => {
                let time = if plan.spread {
                    (left / self.looks()[4] as u32).mul_f64(WORK_SHARE)
                } else {
                    self.interval()
                };
                // Kinds differ: a batch has to have as many of each.
                let kinds = match work {
                    Work::Operations => load.kinds().len(),
                    Work::Payloads(_) => 1,
                };
                let unit = u64::from(concurrency).max(kinds as u64);
                let mut sizing = Sizing::new(time, unit, MOST_OPERATIONS);
                loop {
                    let started = Instant::now();
                    load.round(work, plan.pace, sizing.batch).await;
                    if sizing.is_known_after(started.elapsed()) || is_over(load) {
                        break;
                    }
                }
                (sizing.operations(), sizing.done)
            }
        };
        let mut pilots = Pilots::after(done, self.warm_up_operations, self.meter);
        while !pilots.are_enough() && !is_over(load) {
            self.work(load, plan, per_round).await;
            pilots.add(per_round, self.meter);
        }
        Warm {
            done: pilots.done,
            per_round,
            settled: pilots.agree(),
        }
    }

    /// Two more windows with the stack of every block kept, and all counts of the program's own beside. Growth that has stopped
    /// withdraws the verdict.
    pub(crate) async fn explain(&self, load: &mut Load, plan: Plan, judged: &mut Judged) {
        tracing::debug!(phase = "explain");
        let operations = judged.operations_per_round.clamp(1, WINDOW);
        let watching = Watching::begin();
        let apart = self.meter.whose.other();
        let with_stacks = apart.is_none() && plimsoll_alloc::installed() == Some(Level::Scopes);
        let alive_apart = || {
            let found = apart.and_then(Other::surviving).unwrap_or_default();
            Alive::of_another(&found.blocks, 1)
        };
        if let Some(other) = apart {
            other.sample_every(1);
            self.until_heeded(load, plan, operations, || !alive_apart().is_empty())
                .await;
        }
        let alive_before = alive_apart();
        if with_stacks {
            plimsoll_alloc::sample_every(1);
            load.scope = Scope::open("explain").ok();
            rouse(load.scope.as_ref()).await;
        }
        let started = Instant::now();
        let counts = Counts::read();
        let before = self.meter.read();
        // What is found out takes memory of this process too.
        let mut own = [0.0; 2];
        let mut alive = [Alive::default(), Alive::default()];
        let mut later = [None, None];
        for (alive, later) in alive.iter_mut().zip(&mut later) {
            match plan.work {
                Some(_) => self.work(load, plan, operations).await,
                None => {
                    for _ in 0..4 {
                        self.work(load, plan, 0).await;
                    }
                }
            }
            Watching::forget_the_dead();
            let done = self.meter.read();
            if with_stacks {
                plimsoll_alloc::sample_every(0);
                *alive = Alive::of_process();
            }
            if apart.is_some() {
                *alive = alive_apart().since(&alive_before);
            }
            *later = Some(Counts::read());
            if with_stacks {
                plimsoll_alloc::sample_every(1);
            }
            let seen = self.meter.read();
            if apart.is_none() {
                own[0] += seen.bytes - done.bytes;
                own[1] += seen.blocks - done.blocks;
            }
        }
        let now = self.meter.read();
        let seconds = started.elapsed().as_secs_f64();
        if with_stacks {
            plimsoll_alloc::sample_every(0);
            rouse(load.scope.take().as_ref()).await;
        }
        // By operation; where there are none, by second.
        let (units, per) = match plan.work {
            Some(_) => (operations as f64, "operation"),
            None => (seconds / 2.0, "second"),
        };
        let grown = [
            now.bytes - before.bytes - own[0],
            now.blocks - before.blocks - own[1],
        ];
        let grown = grown.map(|grown| grown / (2.0 * units));
        let has_stopped = |(judged, grown): (&Verdict, f64)| {
            judged.outcome != Outcome::Leak
                || judged.pattern == Pattern::Linear && grown <= judged.floor
        };
        judged.withdrawn = judged.verdicts.iter().zip(grown).all(has_stopped);
        if judged.withdrawn {
            judged.outcome = Outcome::Inconclusive {
                reason: Reason::StillFilling,
                more: More::default(),
            };
        }
        let [first, second] = alive;
        let mut survivors = first.survivors(&second, 1);
        if let Some(other) = apart {
            other.sample_every(SAMPLED_EVERY);
            other.name(&mut survivors);
        }
        let [Some(between), Some(after)] = later else {
            return;
        };
        judged.sources = Sources {
            cycles: Watching::all_cycles(),
            grown: Counts::grown(&[counts, between, after], 1),
            survivors,
            bytes: grown[0],
            units,
            per,
        };
        drop(watching);
    }
}

impl Rounds<'_> {
    /// Works until another process samples as it was asked to. Its threads heed that when they have allocated some more: the first that
    /// does says that the others are about to.
    async fn until_heeded(
        &self,
        load: &mut Load,
        plan: Plan,
        operations: u64,
        is_heeded: impl Fn() -> bool,
    ) {
        for turn in 0..HEEDED {
            let longer = (operations << turn).min(4 * WINDOW);
            self.work(load, plan, longer).await;
            if is_heeded() {
                break;
            }
        }
        self.work(load, plan, operations).await;
    }
}

/// Has the runtime's workers heed what was asked of the allocator: each does when it enters or leaves a scope.
async fn rouse(scope: Option<&Scope>) {
    let Some(scope) = scope else { return };
    let enter = || {
        tokio::spawn(scope.wrap(async {
            // Long enough for the others to be woken, and take one of these.
            std::thread::sleep(Duration::from_micros(200));
        }))
    };
    let tasks: Vec<_> = (0..64).map(|_| enter()).collect();
    for task in tasks {
        let _ = task.await;
    }
}
