//! After a leak by operations: whether it is the operations or the time they take. Operations done slowly, beside those of the
//! judged rounds, which were done as fast as could be, tell bytes per operation from bytes per second.

use std::time::Duration;

use plimsoll_judge::{Split, TimedRound, split_growth};
use plimsoll_model::{Event, Finding, Mode, Outcome, Phase, RoundRecord, RoundSpec, units};

use crate::alone::Asked;
use crate::drive::Drive;
use crate::judged::headline_metric;
use crate::load::Means;
use crate::pilot::in_time;
use crate::rounds::Journey;
use crate::session::Stop;

/// Slow rounds.
const ROUNDS: u32 = 3;
/// An operation takes so many times as long in them.
const SLOWER: u32 = 4;
/// And at least so long: what time does must have had some.
const LEAST: Duration = Duration::from_millis(600);
/// The growth of a round over the noise of one: the share of the operations is then known to about a seventh.
const OVER_NOISE: f64 = 12.0;
/// Operations of a round at least.
const FEWEST: u64 = 200;
/// All of it together takes at most this part of the time that is left, and no longer than this: the holder is known, and
/// somebody waits for it.
const SHARE: u32 = 4;
const MOST: Duration = Duration::from_secs(15);
/// Growth of which more than this part goes while nothing is done is no leak yet. A runtime that idles gives back some of
/// every growth: code that was compiled, room that was kept.
const MOST_OF_IT: f64 = 0.5;
/// What is at most this part of the growth is negligible.
const NEGLIGIBLE: f64 = 0.25;

impl Journey {
    /// Drives slow rounds after the fast ones that were judged, where a leak was found and the load is ours to slow down.
    pub(crate) fn two_rates(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        let verdict = self.judgement.as_ref().and_then(|j| j.verdict.as_ref());
        let leak = verdict.filter(|v| v.outcome == Outcome::Leak);
        let growth = leak.and_then(|v| v.growth.as_ref());
        let rate = growth.filter(|g| g.per == "operation").map(|g| g.rate);
        let ours = matches!(drive.load.means, Means::Http(_));
        let Some((rate, operations)) = rate.filter(|_| ours).zip(self.size_split(rate)) else {
            return Ok(());
        };
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::Alone,
            detail: "slowly".to_owned(),
        });
        let concurrency = drive.load.concurrency;
        let fast_time = self.cost.unwrap_or_default().mul_f64(operations as f64);
        let slow_time = (fast_time * SLOWER).max(LEAST);
        let slowly = Mode::Open {
            rate: operations as f64 / slow_time.as_secs_f64(),
            concurrency,
            most: concurrency,
        };
        let asked = Asked {
            name: "the rounds at another rate".to_owned(),
            spec: RoundSpec::new(operations, slowly),
        };
        let before = self.rounds.len().saturating_sub(1);
        for _ in 0..ROUNDS {
            if self.one_round(drive, 0, &asked)?.is_err() {
                return Ok(());
            }
        }
        let slow: Vec<&RoundRecord> = self.rounds[before..].iter().collect();
        self.split = split_growth(&timed(&self.judged_rounds()), &timed(&slow));
        if let Some(split) = &self.split {
            drive.session.found(told(split, rate));
        }
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::Alone,
            detail: String::new(),
        });
        Ok(())
    }

    /// Operations of a round, so that its growth stands out and all rounds fit; `None` if they do not.
    fn size_split(&self, rate: Option<f64>) -> Option<u64> {
        let cost = self.cost?;
        let wanted = (OVER_NOISE * self.noise_of_a_round() / rate?.max(1.0)).ceil() as u64;
        let wanted = wanted.max(FEWEST);
        let each = (self.left() / SHARE).min(MOST) / ROUNDS;
        let affordable = in_time(each.checked_sub(self.measuring + LEAST)? / SLOWER, cost);
        (affordable >= wanted).then_some(wanted)
    }

    /// Why what was called a leak by operations is not one, if the two rates or the idle rounds afterwards say so.
    pub(crate) fn not_by_operations(&self) -> Option<Other> {
        if let Some(split) = &self.split {
            let [op, second] = [split.per_operation_interval, split.per_second_interval];
            let total = self
                .judgement
                .as_ref()?
                .verdict
                .as_ref()?
                .growth
                .as_ref()?
                .rate;
            if second.low > 0.0 && op.high < NEGLIGIBLE * total {
                return Some(Other::Time);
            }
        }
        let released = self.released()?;
        (released.share > MOST_OF_IT).then(|| {
            Other::Passing(format!(
                "{} of what had grown went within {} of idling",
                units::percent(released.share),
                units::duration(released.seconds)
            ))
        })
    }

    /// What of the growth was given back in the rounds without operations after it.
    fn released(&self) -> Option<Released> {
        use plimsoll_model::RoundKind::{Explain, Idle, Measured};
        let metric = headline_metric(&self.rounds);
        let level = |at: usize| self.rounds[at].values.get(&metric).copied();
        let first = self.rounds.iter().position(|r| r.kind == Measured)?;
        let last = self
            .rounds
            .iter()
            .rposition(|r| matches!(r.kind, Measured | Explain) && r.done > 0)?;
        let idle = (last + 1..self.rounds.len()).rfind(|at| self.rounds[*at].kind == Idle)?;
        let top = level(last)?;
        let grown = top - level(first.checked_sub(1)?)?;
        Some(Released {
            share: (top - level(idle)?) / grown,
            seconds: self.rounds[idle]
                .end
                .since(self.rounds[last].end)
                .as_secs_f64(),
        })
    }
}

/// What a leak by operations may be instead.
pub(crate) enum Other {
    /// Growth with time.
    Time,
    /// Something kept for a time only; why.
    Passing(String),
}

struct Released {
    /// Of what had grown.
    share: f64,
    seconds: f64,
}

/// Rounds in a row, the first of which only tells where the second began.
fn timed(rounds: &[&RoundRecord]) -> Vec<TimedRound> {
    let metric = headline_metric(rounds.iter().copied());
    let level = |round: &RoundRecord| round.values.get(&metric).copied().unwrap_or(f64::NAN);
    let pairs = rounds.windows(2).map(|pair| TimedRound {
        operations: (pair[1].done + pair[1].errors) as f64,
        seconds: pair[1].end.since(pair[0].end).as_secs_f64(),
        growth: level(pair[1]) - level(pair[0]),
    });
    pairs.collect()
}

/// Both rates, for people.
fn told(split: &Split, rate: f64) -> Finding {
    let shown = |rate: f64, low: f64, high: f64| {
        let (rate, interval) = units::signed_bytes_with_interval(rate, low, high);
        format!("{rate} (95 % CI {interval})")
    };
    let op = split.per_operation_interval;
    let second = split.per_second_interval;
    let says = if second.low > 0.0 && op.high < NEGLIGIBLE * rate {
        "it is the time, not the operations"
    } else if second.low > 0.0 && op.low > 0.0 {
        "operations and time both make it grow"
    } else if second.low > 0.0 {
        "time makes it grow; whether operations do too is not clear"
    } else if second.high < 0.0 {
        "done slowly they make it grow less"
    } else if op.low > 0.0 {
        "it is the operations, not the time they take"
    } else {
        "whether operations or time make it grow is not clear"
    };
    Finding::info(
        "two-rates",
        format!(
            "{says}: {} per operation and {} per hour, from rounds done fast and slowly",
            shown(split.per_operation, op.low, op.high),
            shown(
                split.per_second * 3600.0,
                second.low * 3600.0,
                second.high * 3600.0
            ),
        ),
    )
}
