//! The driven journey: warm-up, rounds without operations, rounds, looks, explanation windows.
//!
//! Each round is: exactly N operations → quiet → collect → measure. What was done before a stop stays in the journey, so
//! that a verdict "until then" can always be given.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use plimsoll_load::Driver;
use plimsoll_model::{
    Cx, Event, Facts, Finding, Mark, Metric, OperationGrowth, Outcome, Phase, Plan, ProcessId,
    RoundKind, RoundRecord, RoundSpec, RoundStats, Scope, SubjectHandle, Window, units,
};
use plimsoll_store::Record;

use crate::config::{DEFAULT_ROUNDS, Explain, MAX_ROUNDS};
use crate::drive::Drive;
use crate::explain::Explainer;
use crate::judged::{Judgement, headline_metric, idle_growth_per_round};
use crate::load::Load;
use crate::pilot::{agree, in_time, middle, noise};
use crate::session::{Session, Stop};
use crate::shared_work;

/// Warm-up operations at least; JIT compilation and feedback take about this many in V8.
const WARM_UP_OPERATIONS: u64 = 5_000;
/// The same where one operation costs more than [`SLOW_OPERATION`].
const WARM_UP_SLOW_OPERATIONS: u64 = 200;
const SLOW_OPERATION: Duration = Duration::from_millis(5);
/// Share of the time that warm-up may take.
const WARM_UP_SHARE: f64 = 0.30;
/// Operations that tell how long one takes, or as many as fit into [`FIRST_LENGTH`].
const FIRST_OPERATIONS: u64 = 200;
const FIRST_LENGTH: Duration = Duration::from_secs(5);
/// A round without operations lasts at least so long.
const ROUND_LENGTH: Duration = Duration::from_millis(500);
/// A round has at least so many operations where time allows: collection noise belongs to the round, not the operation.
pub(crate) const ROUND_OPERATIONS: u64 = 1_000;
/// How long a round is at least, and what bounds that where operations are fast.
#[derive(Debug, Clone, Copy)]
struct Scale {
    length: Duration,
    /// Half a second of a fast function is a million operations: where there are more than so many in a round,
    many: u64,
    /// what they make grow stays below so many bytes. Snapshots have to be taken of it, and looked at.
    growth: f64,
}

/// A service behind a client, connections and queues that have to come to an average.
const SERVICE: Scale = Scale {
    length: ROUND_LENGTH,
    many: 10 * ROUND_OPERATIONS,
    growth: 4.0 * 1024.0 * 1024.0,
};
/// Calls inside the subject: nothing stands between them and what they leave behind, and somebody waits for a function to be
/// judged as one waits for a test.
const CALLS: Scale = Scale {
    length: Duration::from_millis(100),
    many: ROUND_OPERATIONS,
    growth: 1024.0 * 1024.0,
};
/// Pilots of calls at most. They take a moment each, and a table that doubles now and then keeps them from agreeing for long.
const MOST_PILOTS_OF_CALLS: u32 = 9;
/// The rate a run should resolve, in bytes per operation; sizes the rounds.
const WANTED_FLOOR: f64 = 16.0;
/// Rounds without operations, before and after.
const IDLE_ROUNDS: u32 = 3;
/// A round without operations takes at most this part of the time that is left, however long the others are.
const IDLE_SHARE: u32 = 40;
/// Between the last answer and the collection.
pub(crate) const QUIET: Duration = Duration::from_millis(100);
/// Numbers of rounds after which the judge may look: geometrically spaced, then each extension.
pub(crate) const LOOKS: [u32; 8] = [6, 8, 12, 18, 24, 30, 36, 48];
/// An early leak verdict stands only once its interval is this narrow, as a share of the rate.
const EARLY_HALF_WIDTH: f64 = 0.05;
/// A census may cost this share of a round.
const CENSUS_SHARE: f64 = 0.10;
/// A census looks at the whole heap twice. Of a larger one than this that is dear where snapshots do so too.
const CENSUS_LARGE: f64 = 64.0 * 1024.0 * 1024.0;
/// A round that takes this many times its expected length, and no less than [`HANG_LEAST`], hangs.
const HANG_FACTOR: f64 = 10.0;
const HANG_LEAST: Duration = Duration::from_secs(20);

/// What the driven journey has so far.
pub(crate) struct Journey {
    pub(crate) rounds: Vec<RoundRecord>,
    pub(crate) plan: Plan,
    pub(crate) totals: Totals,
    pub(crate) facts: Facts,
    /// The final judgement, or the one "until then".
    pub(crate) judgement: Option<Judgement>,
    /// Whether memory grows while idle too, and the rounds do not tell yet whether that goes on.
    pub(crate) axis_is_open: bool,
    pub(crate) driver_cpu: Duration,
    pub(crate) looks_taken: u32,
    scale: Scale,
    /// How long a round lasts, and so one without operations.
    pub(crate) round_length: Duration,
    /// What one operation took in the last round that had any.
    pub(crate) cost: Option<Duration>,
    /// What quiet, collection and readings took the last time.
    pub(crate) measuring: Duration,
    /// What each kind of operation makes grow, if there are several.
    pub(crate) growth: Vec<OperationGrowth>,
    /// What operations and what time make grow, if it was asked.
    pub(crate) split: Option<plimsoll_judge::Split>,
    pub(crate) census: CensusPace,
    deadline: Instant,
    max_time: Duration,
    /// How long the subject may keep things on purpose.
    pub(crate) max_ttl: Option<Duration>,
    /// Share of the time that is kept for the rounds of each kind alone.
    kept: f64,
}

/// Spaces censuses so that they take no more than their share of the time.
#[derive(Debug, Default)]
pub(crate) struct CensusPace {
    last: Option<(Instant, Duration)>,
    /// The next one is taken whatever it costs.
    pub(crate) wanted: bool,
}

impl CensusPace {
    fn is_due(&self) -> bool {
        self.wanted
            || self
                .last
                .is_none_or(|(at, cost)| at.elapsed() >= cost.div_f64(CENSUS_SHARE))
    }

    fn taken(&mut self, cost: Duration) {
        self.last = Some((Instant::now(), cost));
    }

    /// Whether one census costs more than its share of a round.
    fn is_slow(&self, round: Duration) -> bool {
        self.last
            .is_some_and(|(_, cost)| cost > round.mul_f64(CENSUS_SHARE))
    }
}

/// Sums over all rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) operations: u64,
    pub(crate) errors_by_kind: BTreeMap<String, u64>,
    pub(crate) measured_operations: u64,
    pub(crate) measured_time: Duration,
    /// Of the measured operations, by the process that answered, where several share the work.
    pub(crate) per_process: BTreeMap<ProcessId, u64>,
    /// The same of those between the windows of the explanation.
    pub(crate) explaining: BTreeMap<ProcessId, u64>,
}

impl Journey {
    pub(crate) fn new(max_time: Duration) -> Self {
        Self {
            rounds: Vec::new(),
            plan: Plan {
                max_time_s: max_time.as_secs_f64(),
                warm_up_settled: true,
                ..Plan::default()
            },
            totals: Totals::default(),
            facts: Facts::default(),
            judgement: None,
            axis_is_open: false,
            driver_cpu: Duration::ZERO,
            looks_taken: 0,
            scale: SERVICE,
            round_length: ROUND_LENGTH,
            cost: None,
            measuring: QUIET,
            growth: Vec::new(),
            split: None,
            census: CensusPace::default(),
            deadline: Instant::now() + max_time,
            max_time,
            max_ttl: None,
            kept: 0.0,
        }
    }

    /// Drives the subject to a verdict. On a stop, what was recorded until then is in `self`.
    pub(crate) fn travel(
        &mut self,
        session: &mut Session<'_>,
        driver: &mut dyn Driver,
        load: &Load,
        explainer: &mut dyn Explainer,
    ) -> Result<(), Stop> {
        let mut drive = Drive {
            session,
            driver,
            load,
        };
        if let Some(service) = &drive.session.service {
            let handle = SubjectHandle {
                process: service.process.id(),
            };
            drive
                .driver
                .prepare(&handle)
                .map_err(|e| Stop::failed(format!("the load cannot start: {e}")))?;
        }
        if drive.driver.operations().len() > 1 {
            self.kept = crate::alone::SHARE;
        }
        if drive.is_module() {
            self.scale = CALLS;
        }
        self.max_ttl = drive.session.config.check.max_ttl;
        self.through(&mut drive, Self::warm_up)?;
        self.through(&mut drive, Self::idle)?;
        self.through(&mut drive, Self::measure)?;
        if drive.session.restarts > 0 {
            // What began anew holds nothing of what grew, and windows of one heap cannot be compared with those of another.
            return Ok(());
        }
        let explained = self.look_closer(&mut drive, explainer);
        explained.or_else(|stop| drive.session.await_replacement(stop))
    }

    /// What comes after the rounds: explanation, the idle rounds that close them, and more questions.
    fn look_closer(
        &mut self,
        drive: &mut Drive<'_, '_>,
        explainer: &mut dyn Explainer,
    ) -> Result<(), Stop> {
        self.explain(drive, explainer)?;
        self.idle(drive)?;
        self.last_window(drive, explainer)?;
        self.two_rates(drive)?;
        self.alone(drive)?;
        self.explain_alone(drive, explainer)?;
        self.inputs(drive)
    }

    /// Does so many operations that do not count.
    pub(crate) fn warm(&mut self, drive: &mut Drive<'_, '_>, operations: u64) -> Result<(), Stop> {
        self.operate(drive, operations, RoundKind::WarmUp).map(drop)
    }

    /// Operations that take as long as a round at least.
    pub(crate) fn in_a_round(&self) -> u64 {
        in_time(self.scale.length, self.cost.unwrap_or_default()).max(1)
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    // ---- warm-up ----

    fn warm_up(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        let started = Instant::now();
        let budget = self.left().mul_f64(WARM_UP_SHARE);
        let check = &drive.session.config.check;
        let (fixed, operations) = (check.warm_up, check.operations);
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::WarmUp,
            detail: String::new(),
        });

        // How long one operation takes decides everything that follows: asked of one batch in flight, then of more.
        let batch = u64::from(drive.load.concurrency);
        let mut cost = self.cost_of(drive, batch)?;
        cost = self.cost_of(
            drive,
            FIRST_OPERATIONS.min(in_time(FIRST_LENGTH, cost)).max(batch),
        )?;
        let least = fixed.unwrap_or(if cost > SLOW_OPERATION {
            WARM_UP_SLOW_OPERATIONS
        } else {
            WARM_UP_OPERATIONS
        });
        // A declared warm-up is carried out whatever share of the time it takes.
        let in_budget = |now: &Self| match fixed {
            Some(_) => !now.left().is_zero(),
            None => started.elapsed() < budget,
        };
        while self.totals.operations < least && in_budget(self) {
            let n = in_time(self.scale.length, cost)
                .max(1)
                .min(least - self.totals.operations);
            cost = self.cost_of(drive, n)?;
            self.progress(drive, Phase::WarmUp, self.totals.operations, Some(least));
        }

        let slow = cost > SLOW_OPERATION;
        // Nobody knows yet what an operation leaves behind: the first pilot shows what the next ones may be.
        let mut pilot = operations.unwrap_or_else(|| {
            let in_round = in_time(self.scale.length, cost);
            if slow {
                in_round.max(50)
            } else {
                in_round.clamp(ROUND_OPERATIONS, self.scale.many)
            }
        });
        let mut pilots = 0;
        let mut recent: VecDeque<f64> = VecDeque::new();
        let mut settled = false;
        let mut previous = self.measured(drive, RoundKind::WarmUp, Instant::now(), None)?;
        // With a declared warm-up the pilots still run: they tell the noise that sizes the rounds.
        loop {
            let begin = Instant::now();
            let stats = self.operate(drive, pilot, RoundKind::WarmUp)?;
            cost = self.cost.unwrap_or(cost);
            let level = self.measured(drive, RoundKind::WarmUp, begin, Some(&stats))?;
            recent.push_back((level - previous) / pilot as f64);
            previous = level;
            if recent.len() > 3 {
                recent.pop_front();
            }
            self.progress(drive, Phase::WarmUp, self.totals.operations, None);
            if recent.len() == 3 {
                settled = agree(recent.make_contiguous());
                if settled || fixed.is_some() {
                    break;
                }
            }
            pilots += 1;
            let enough = drive.is_module() && pilots >= MOST_PILOTS_OF_CALLS;
            if enough || !in_budget(self) {
                break;
            }
            if operations.is_none() && !slow {
                let rate = middle(recent.make_contiguous());
                pilot = self.in_length(cost, rate).max(ROUND_OPERATIONS);
            }
        }
        self.plan.warm_up_operations = self.totals.operations;
        self.plan.warm_up_settled = settled;
        self.plan.rounds = drive.session.config.check.rounds.unwrap_or(DEFAULT_ROUNDS);
        self.plan.operations_per_round = operations.unwrap_or_else(|| {
            let increments = recent.make_contiguous();
            // What already grows need not be resolved finer than the interval an early verdict needs.
            let rate = middle(increments);
            let resolution = WANTED_FLOOR.max(EARLY_HALF_WIDTH * rate.abs());
            self.size_round(cost, noise(increments) * pilot as f64, resolution, rate)
        });
        let round = cost.mul_f64(self.plan.operations_per_round as f64);
        self.round_length = round.min(self.left() / IDLE_SHARE).max(ROUND_LENGTH);
        let word = if settled { "settled" } else { "not settled" };
        let detail = format!(
            "{} operations, {word}",
            units::count(self.totals.operations as f64)
        );
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::WarmUp,
            detail,
        });
        Ok(())
    }

    /// Does so many warm-up operations; what one of them took.
    fn cost_of(&mut self, drive: &mut Drive<'_, '_>, operations: u64) -> Result<Duration, Stop> {
        let stats = self.operate(drive, operations, RoundKind::WarmUp)?;
        Ok(stats.elapsed.div_f64(operations as f64))
    }

    /// Operations that take as long as a round at least, or fewer if those make too much grow at `rate` bytes per operation.
    fn in_length(&self, cost: Duration, rate: f64) -> u64 {
        let most = ((self.scale.growth / rate.max(1.0)) as u64).max(self.scale.many);
        in_time(self.scale.length, cost).min(most)
    }

    /// Operations per round: enough that noise of `noise` bytes per round leaves a rate of `resolution` bytes per
    /// operation visible, the worth of a round's least length, and no more than the time that is left allows.
    fn size_round(&self, cost: Duration, noise: f64, resolution: f64, rate: f64) -> u64 {
        let rounds = f64::from(self.plan.rounds);
        let for_noise = (6.0 * noise / (resolution * rounds.sqrt())).ceil() as u64;
        // What lives for a time must have had the time to go, twice.
        let for_ttl = self
            .max_ttl
            .map_or(0, |ttl| in_time((ttl * 2).div_f64(rounds), cost));
        let wanted = for_noise
            .max(self.in_length(cost, rate))
            .max(for_ttl)
            .max(ROUND_OPERATIONS);
        // Two explanation rounds and six idle ones come on top; a tenth stays in reserve.
        let share = self.left().mul_f64(0.9 - self.kept).div_f64(rounds + 8.0);
        // Where measuring takes all of that, fewer rounds say more than rounds of nothing.
        let left = share
            .saturating_sub(self.measuring * 2)
            .max(self.measuring / 2);
        wanted.min(in_time(left, cost)).max(1)
    }

    // ---- rounds ----

    /// Rounds without operations, each as long as a round.
    fn idle(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::Idle,
            detail: String::new(),
        });
        for done in 0..IDLE_ROUNDS {
            let begin = Instant::now();
            drive.rest(self.round_length)?;
            // The last one after an explanation closes it: its counts are wanted whatever they cost.
            let explained = self.explained();
            let last = done + 1 == IDLE_ROUNDS || self.left() < self.round_length * 2;
            self.census.wanted = explained && last;
            self.measured(drive, RoundKind::Idle, begin, None)?;
            self.progress(
                drive,
                Phase::Idle,
                u64::from(done) + 1,
                Some(u64::from(IDLE_ROUNDS)),
            );
            if self.left().is_zero() {
                break;
            }
        }
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::Idle,
            detail: String::new(),
        });
        let metric = headline_metric(&self.rounds);
        self.plan.idle_growth_per_round = idle_growth_per_round(&self.rounds, &metric);
        Ok(())
    }

    fn measure(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        let operations = self.plan.operations_per_round;
        let fixed = drive.session.config.check.rounds;
        let detail = format!(
            "{} x {} operations",
            self.plan.rounds,
            units::count(operations as f64)
        );
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::Rounds,
            detail,
        });
        let is_measured = |round: &&RoundRecord| round.kind == RoundKind::Measured;
        let mut done = self.rounds.iter().filter(is_measured).count() as u32;
        let mut slowest = Duration::ZERO;
        loop {
            let begin = Instant::now();
            let stats = self.operate(drive, operations, RoundKind::Measured)?;
            self.totals.measured_operations += operations;
            self.totals.measured_time += stats.elapsed;
            shared_work::add(&mut self.totals.per_process, drive.session, &stats);
            self.measured(drive, RoundKind::Measured, begin, Some(&stats))?;
            slowest = slowest.max(begin.elapsed());
            done += 1;
            let planned = if done < self.plan.rounds {
                self.plan.rounds
            } else {
                done
            };
            self.progress(
                drive,
                Phase::Rounds,
                u64::from(done),
                Some(u64::from(planned)),
            );
            // Explanation and idling afterwards need about five rounds' time.
            // So do the rounds of each kind alone, if there are several; but a mix that was never looked at is no verdict.
            let kept = if done < LOOKS[0] {
                Duration::ZERO
            } else {
                self.max_time.mul_f64(self.kept)
            };
            let out_of_time = self.left() < slowest * 6 + kept;
            // What the mix leaves open is better asked of each kind alone.
            let most = if self.kept > 0.0 {
                self.plan.rounds
            } else {
                MAX_ROUNDS
            };
            let last = fixed.is_some_and(|n| done >= n) || done >= most || out_of_time;
            // A plan given by hand is carried out whatever a look would say: looking would only spend alpha.
            if !last && (fixed.is_some() || !LOOKS.contains(&done)) {
                continue;
            }
            self.look(drive);
            let Some(verdict) = self.judgement.as_ref().and_then(|j| j.verdict.as_ref()) else {
                break;
            };
            if last {
                break;
            }
            let narrow = verdict.growth.as_ref().is_some_and(|g| {
                (g.interval.high - g.interval.low) / 2.0 <= EARLY_HALF_WIDTH * g.rate.abs()
            });
            let stop = match verdict.outcome {
                // Early stopping is for leaks alone.
                Outcome::Leak => !self.axis_is_open && (narrow || done >= self.plan.rounds),
                Outcome::NoLeak => done >= self.plan.rounds,
                // More of work that changes would settle nothing.
                Outcome::Inconclusive => verdict.work_change.is_some() && done >= self.plan.rounds,
            };
            if stop {
                break;
            }
        }
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::Rounds,
            detail: format!("{done} x {} operations", units::count(operations as f64)),
        });
        Ok(())
    }

    /// The explanation windows: +N, +2N. Their growth is judged against the verdict too.
    fn explain(
        &mut self,
        drive: &mut Drive<'_, '_>,
        explainer: &mut dyn Explainer,
    ) -> Result<(), Stop> {
        let leak = self
            .judgement
            .as_ref()
            .and_then(|j| j.verdict.as_ref())
            .is_some_and(|v| v.outcome == Outcome::Leak);
        let wanted = match drive.session.config.check.explain {
            Explain::OnLeak => leak,
            Explain::Always => true,
            Explain::Never => false,
        };
        if !wanted || explainer.wants(Window::Baseline, &self.facts).is_empty() {
            return Ok(());
        }
        let operations = self.plan.operations_per_round;
        self.windows(drive, explainer, RoundKind::Explain, |journey, drive| {
            let begin = Instant::now();
            let stats = journey.operate(drive, operations, RoundKind::Explain)?;
            shared_work::add(&mut journey.totals.explaining, drive.session, &stats);
            journey.measured(drive, RoundKind::Explain, begin, Some(&stats))?;
            Ok(operations)
        })
    }

    /// Baseline, +N, +2N: `drive_once` drives between them and says how many operations that were.
    pub(crate) fn windows<'s, 'd>(
        &mut self,
        drive: &mut Drive<'s, 'd>,
        explainer: &mut dyn Explainer,
        kind: RoundKind,
        drive_once: impl Fn(&mut Self, &mut Drive<'s, 'd>) -> Result<u64, Stop>,
    ) -> Result<(), Stop> {
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::Explain,
            detail: String::new(),
        });
        drive.session.mark(&Mark::ExplanationStart);
        // Counts may be missing from the last round, where they were too dear for every round.
        self.census.wanted = true;
        self.measured(drive, kind, Instant::now(), None)?;
        drive.session.sample_stacks(Some(self.growth_of_a_window()));
        let mut operations = self.totals.operations;
        self.window(drive, explainer, Window::Baseline, operations)?;
        for (window, done) in [(Window::PlusN, 1), (Window::Plus2N, 2)] {
            operations += drive_once(self, drive)?;
            self.window(drive, explainer, window, operations)?;
            self.progress(drive, Phase::Explain, done, Some(2));
        }
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::Explain,
            detail: String::new(),
        });
        Ok(())
    }

    /// Bytes that a window of the explanation is expected to keep.
    fn growth_of_a_window(&self) -> f64 {
        let judged = self.judgement.as_ref().and_then(|j| j.verdict.as_ref());
        let of_mix = judged.and_then(|v| v.growth.as_ref()?.per_operation);
        let of_kinds = self.growth.iter().map(|growth| growth.rate);
        let rate = of_mix.into_iter().chain(of_kinds).fold(0.0, f64::max);
        rate.max(1.0) * self.plan.operations_per_round as f64
    }

    /// Whether the windows of an explanation were all reached.
    pub(crate) fn explained(&self) -> bool {
        let mut windows = self.facts.operations.iter().map(|(window, _)| *window);
        windows.any(|window| window == Window::Plus2N)
    }

    /// The state after idling closes the explanation.
    pub(crate) fn last_window(
        &mut self,
        drive: &mut Drive<'_, '_>,
        explainer: &mut dyn Explainer,
    ) -> Result<(), Stop> {
        if self.explained() {
            self.window(drive, explainer, Window::Final, self.totals.operations)?;
            self.census.wanted = false;
            drive.session.release();
            drive.session.sample_stacks(None);
            drive.session.mark(&Mark::ExplanationEnd);
        }
        Ok(())
    }

    /// Keeps the counts of the last round as those of a window, and captures what is wanted at it.
    fn window(
        &mut self,
        drive: &mut Drive<'_, '_>,
        explainer: &mut dyn Explainer,
        window: Window,
        operations: u64,
    ) -> Result<(), Stop> {
        self.facts.operations.push((window, operations));
        if let Some(last) = self.rounds.last() {
            let rows = last
                .values
                .iter()
                .filter_map(|(metric, &count)| {
                    let (family, kind) = metric.as_counted()?;
                    Some(plimsoll_model::CensusRow {
                        family: family.to_owned(),
                        kind: kind.to_owned(),
                        count: count as u64,
                        bytes: None,
                    })
                })
                .collect();
            let method = plimsoll_model::Method::Exact;
            self.facts.censuses.push((
                window,
                plimsoll_model::Census {
                    at: last.end,
                    method,
                    rows,
                    pause_ns: 0,
                },
            ));
        }
        let at = drive.session.now();
        drive.session.recorder.record(Record::Mark {
            at,
            what: format!("window {window:?}"),
        });
        let wanted = explainer.wants(window, &self.facts);
        let counted = drive
            .session
            .capture(explainer, window, &wanted, &self.rounds)?;
        let live = drive.session.live_of_explained_part(&self.rounds);
        self.facts.part.extend(live.map(|bytes| (window, bytes)));
        let answered = drive
            .session
            .explained_process()
            .and_then(|process| self.totals.explaining.get(&process));
        self.facts
            .answered
            .push((window, answered.copied().unwrap_or(0)));
        let native = drive.session.native_heap();
        self.facts.native.extend(native.map(|heap| (window, heap)));
        if let (Some(counted), Some((_, census))) = (counted, self.facts.censuses.last_mut()) {
            census.rows.extend(counted.rows);
        }
        Ok(())
    }

    // ---- one round ----

    /// Exactly `operations` operations and quiet; errors beyond the allowed share end the run.
    fn operate(
        &mut self,
        drive: &mut Drive<'_, '_>,
        operations: u64,
        kind: RoundKind,
    ) -> Result<RoundStats, Stop> {
        drive.session.check_alive()?;
        if self.totals.operations > 0 {
            drive.between_rounds()?;
        }
        // A URL without `{{seq}}` is not changed by distinct inputs; one with it asks for them.
        let spec = RoundSpec::new(operations, drive.load.mode());
        let cx = Cx::within(drive.session.cancel, self.patience(drive, operations));
        let number = self.number(kind);
        let result = drive.driver.round(&spec, &cx);
        let (stats, error) = match result {
            Ok(stats) => (stats, None),
            Err(error) => (error.stats().cloned().unwrap_or_default(), Some(error)),
        };
        self.count(&stats);
        if let Some(error) = error {
            if drive.session.cancel.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            return Err(drive.lost(&number, &error));
        }
        let errors = stats.errors();
        if errors as f64 > drive.load.max_errors * operations as f64 {
            // A subject that died shows as errors first: the death is the better message.
            drive.session.check_alive_after_errors()?;
            return Err(drive.too_many_errors(&number, operations, &stats));
        }
        drive.quiesce(&number)?;
        drive.rest(QUIET)?;
        Ok(stats)
    }

    /// How long a round may take before it counts as hanging.
    pub(crate) fn patience(&self, drive: &Drive<'_, '_>, operations: u64) -> Duration {
        let expected = self.cost.unwrap_or_default().mul_f64(operations as f64);
        let least = HANG_LEAST.max(drive.load.timeout() + Duration::from_secs(5));
        least.max(expected.mul_f64(HANG_FACTOR))
    }

    /// Adds a round to the sums.
    pub(crate) fn count(&mut self, stats: &RoundStats) {
        self.driver_cpu += stats.cpu;
        if stats.done > 0 {
            self.cost = Some(stats.elapsed.div_f64((stats.done + stats.errors()) as f64));
        }
        self.totals.operations += stats.done + stats.errors();
        for (kind, n) in &stats.errors_by_kind {
            *self.totals.errors_by_kind.entry(kind.clone()).or_default() += n;
        }
    }

    /// What this round is called in a message.
    fn number(&self, kind: RoundKind) -> String {
        match kind {
            RoundKind::Measured => {
                format!(
                    "round {}",
                    self.rounds
                        .iter()
                        .filter(|r| r.kind == RoundKind::Measured)
                        .count()
                        + 1
                )
            }
            RoundKind::Explain => "the explanation".to_owned(),
            _ => "the warm-up".to_owned(),
        }
    }

    /// Measures, keeps and tells a round; returns the headline's reading.
    pub(crate) fn measured(
        &mut self,
        drive: &mut Drive<'_, '_>,
        kind: RoundKind,
        begin: Instant,
        stats: Option<&RoundStats>,
    ) -> Result<f64, Stop> {
        let of_explanation = self.census.wanted || !self.facts.operations.is_empty();
        let is_due = match kind {
            RoundKind::WarmUp => false,
            RoundKind::Alone => self.census.wanted,
            RoundKind::Explain => true,
            _ => self.census.is_due(),
        };
        let heap = self
            .rounds
            .last()
            .and_then(|r| r.values.get(&Metric::HEAP_USED));
        let is_large = heap.is_some_and(|bytes| *bytes > CENSUS_LARGE);
        let census = is_due.then(|| {
            // Snapshots tell as much of listeners and timers.
            if is_large && of_explanation && drive.session.takes_snapshots() {
                Scope::Handles
            } else {
                Scope::Resources
            }
        });
        let started = Instant::now();
        let measurement = drive.session.measure(census)?;
        self.measuring = QUIET + started.elapsed();
        let counted = measurement
            .census_pause
            .filter(|_| census == Some(Scope::Resources));
        if let Some(pause) = counted {
            self.census.taken(pause);
            if self.census.is_slow(begin.elapsed().max(ROUND_LENGTH)) {
                let took = units::duration(pause.as_secs_f64());
                let kinds = drive.session.counted();
                drive.session.found(Finding::info(
                    "census-thinned",
                    format!("counting {kinds} takes {took}: done in some rounds only"),
                ));
            }
        }
        let empty = RoundStats::default();
        let done = stats.unwrap_or(&empty);
        let start = plimsoll_model::Ns::from_duration(begin.duration_since(drive.session.epoch));
        let record = RoundRecord {
            index: u32::try_from(self.rounds.len()).unwrap_or(u32::MAX),
            kind,
            start,
            end: measurement.at,
            done: done.done,
            errors: done.errors(),
            operations_so_far: self.totals.operations,
            reconnects: done.reconnects,
            connections: done.connections,
            latency: done.latency,
            bytes_in: done.bytes_in,
            driver_cpu_s: done.cpu.as_secs_f64(),
            collected: measurement.collected,
            counted: counted.is_some(),
            values: measurement.values,
            parts: measurement.parts,
        };
        let headline = if measurement.collected {
            Metric::LIVE_BYTES
        } else {
            Metric::RSS_ANON
        };
        let level = record.values.get(&headline).copied().unwrap_or(f64::NAN);
        drive
            .session
            .recorder
            .record(Record::Round(Box::new(record.clone())));
        drive.session.tell(Event::Round(Box::new(record.clone())));
        self.rounds.push(record);
        Ok(level)
    }

    pub(crate) fn progress(
        &self,
        drive: &mut Drive<'_, '_>,
        phase: Phase,
        done: u64,
        planned: Option<u64>,
    ) {
        let headline = headline_metric(&self.rounds);
        let measured = self.judged_rounds();
        let rate = match (measured.first(), measured.last()) {
            (Some(first), Some(last)) if last.operations_so_far > first.operations_so_far => {
                let grown = last
                    .values
                    .get(&headline)
                    .zip(first.values.get(&headline))
                    .map(|(b, a)| b - a);
                grown.map(|g| g / (last.operations_so_far - first.operations_so_far) as f64)
            }
            _ => None,
        };
        let live_bytes = self
            .rounds
            .last()
            .and_then(|r| r.values.get(&headline))
            .copied();
        let seconds_left = Some(self.left().as_secs_f64());
        drive.session.tell(Event::Progress {
            phase,
            done,
            planned,
            live_bytes,
            rate,
            seconds_left,
        });
    }
}
