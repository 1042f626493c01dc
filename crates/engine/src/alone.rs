//! Which of several kinds of operation leaks: rounds of each alone, interleaved, until each is settled or time is over.
//!
//! The mix is judged first, as everything else is; but a leak in one of fifty endpoints is a fiftieth of it there. So
//! the kinds are asked one by one whatever the mix says, and a kind that leaks makes the run a leak. Kinds that are
//! settled drop out, so that many of them cost little more than few.

use std::time::{Duration, Instant};

use plimsoll_judge::{
    Interval as JudgedInterval, KindOutcome, KindRound, KindTerms, KindVerdict, judge_kinds,
};
use plimsoll_model::{
    Cx, Event, Finding, Growth, Interval, Mode, OpId, OperationGrowth, Outcome, Phase, RoundKind,
    RoundRecord, RoundSpec, Verdict, Window, units,
};

use crate::config::Explain;
use crate::drive::Drive;
use crate::explain::Explainer;
use crate::judged::{SWAY_ROUNDS, headline_metric, idle_growth_per_round};
use crate::pilot::{in_time, robust_sd};
use crate::rounds::{Journey, QUIET};
use crate::session::Stop;

/// Blocks after which the kinds are judged: all of them once per block.
const LOOKS: [u32; 4] = [4, 6, 8, 12];
/// Chance of naming any kind falsely, over all looks.
const ALPHA: f64 = 0.01;
/// Growth with the same input again is negligible below this part of the growth with new ones.
const NEGLIGIBLE: f64 = 0.25;
/// The standard error to aim for, in bytes per operation.
const WANTED_ERROR: f64 = 3.0;
/// Operations of a round at least; fewer would tell nothing over the noise of a collection.
const FEWEST_OPERATIONS: u64 = 100;
/// One part in so many of the time that is left is what driving between two explanation windows may take.
const WINDOWS_SHARE: f64 = 8.0;
/// Share of the time that is kept for these rounds.
pub(crate) const SHARE: f64 = 0.45;

/// What one kind went through.
struct Candidate {
    id: usize,
    /// Why it cannot be driven alone, if it cannot.
    refused: Option<String>,
    settled: bool,
}

/// A round that is not of the mix.
pub(crate) struct Asked {
    /// What it is called in a message.
    pub(crate) name: String,
    pub(crate) spec: RoundSpec,
}

impl Journey {
    /// Drives each kind of operation alone, if there are several.
    pub(crate) fn alone(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        let kinds = drive.driver.operations().len();
        if kinds < 2 || self.rounds.iter().all(|r| r.kind != RoundKind::Measured) {
            return Ok(());
        }
        let Some(operations) = self.size_alone(kinds) else {
            drive.session.found(Finding::warning(
                "not-alone",
                format!("there was no time to drive each of {kinds} operations alone: which of them grows is not known"),
                Some("raise `--max-time`, or name fewer operations"),
            ));
            return Ok(());
        };
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::Alone,
            detail: format!(
                "{kinds} kinds x {} operations",
                units::count(operations as f64)
            ),
        });
        let mut candidates: Vec<Candidate> = (0..kinds)
            .map(|id| Candidate {
                id,
                refused: None,
                settled: false,
            })
            .collect();
        let mut rounds: Vec<KindRound> = Vec::new();
        let last = LOOKS[LOOKS.len() - 1];
        let mut slowest = Duration::ZERO;
        // The first block warms up what the mix kept cold; it is not judged.
        for block in 0..=last {
            let begun = Instant::now();
            for id in order(kinds, block) {
                if candidates[id].settled || candidates[id].refused.is_some() {
                    continue;
                }
                let warm_up = block == 0;
                let only = Some(OpId(u32::try_from(id).unwrap_or(u32::MAX)));
                let name = drive.driver.operations()[id].name.clone();
                let asked = Asked {
                    name: format!("the rounds of {name} alone"),
                    spec: RoundSpec {
                        only,
                        ..closed(drive, operations)
                    },
                };
                match self.one_round(drive, id, &asked)? {
                    Ok(round) if !warm_up => rounds.push(round),
                    Ok(_) => {}
                    Err(why) => candidates[id].refused = Some(why),
                }
                self.progress(drive, Phase::Alone, u64::from(block), Some(u64::from(last)));
            }
            slowest = slowest.max(begun.elapsed());
            let out_of_time = self.left() < slowest.mul_f64(1.1);
            if LOOKS.contains(&block) || out_of_time {
                self.judge_alone(drive, &rounds, kinds);
                for growth in &self.growth {
                    candidates[growth.operation.0 as usize].settled =
                        growth.outcome != Outcome::Inconclusive;
                }
            }
            let all = candidates.iter().all(|c| c.settled || c.refused.is_some());
            if out_of_time || (block > 0 && all) {
                break;
            }
        }
        Self::tell_refused(drive, &candidates);
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::Alone,
            detail: self.told(),
        });
        Ok(())
    }

    /// The noise of a judged round's growth, in bytes.
    pub(crate) fn noise_of_a_round(&self) -> f64 {
        let metric = headline_metric(&self.rounds);
        let levels: Vec<f64> = self
            .judged_rounds()
            .iter()
            .filter_map(|r| r.values.get(&metric).copied())
            .collect();
        let increments: Vec<f64> = levels.windows(2).map(|w| w[1] - w[0]).collect();
        robust_sd(&increments)
    }

    /// Operations of a round, so that four blocks fit into the time that is left; `None` if they do not.
    fn size_alone(&self, kinds: usize) -> Option<u64> {
        let cost = self.cost?;
        // Of a median of six: 1.25/√6 of one.
        let for_noise = (0.51 * self.noise_of_a_round() / WANTED_ERROR).ceil() as u64;
        let wanted = for_noise.max(crate::rounds::ROUND_OPERATIONS);
        let rounds = f64::from(LOOKS[0] + 1) * kinds as f64;
        let share = self.left().mul_f64(0.9).div_f64(rounds);
        let affordable = in_time(share.checked_sub(self.measuring)?, cost);
        let operations = wanted.min(affordable);
        (operations >= FEWEST_OPERATIONS).then_some(operations)
    }

    /// Explains kinds that leak where the mix, in which they are diluted, was not called a leak: between two windows each
    /// of them is driven alone, as often as the others.
    pub(crate) fn explain_alone(
        &mut self,
        drive: &mut Drive<'_, '_>,
        explainer: &mut dyn Explainer,
    ) -> Result<(), Stop> {
        let never = drive.session.config.check.explain == Explain::Never;
        let leaking: Vec<(OpId, f64)> = self.leaking().map(|g| (g.operation, g.rate)).collect();
        if never
            || leaking.is_empty()
            || self.explained()
            || explainer.wants(Window::Baseline, &self.facts).is_empty()
        {
            return Ok(());
        }
        let kinds = u32::try_from(leaking.len()).unwrap_or(u32::MAX);
        let share = self.left().div_f64(WINDOWS_SHARE) / kinds;
        let affordable = self.cost.map_or(0, |cost| in_time(share, cost));
        let operations = self.plan.operations_per_round.min(affordable);
        if operations < FEWEST_OPERATIONS {
            drive.session.found(Finding::warning(
                "not-explained",
                "there was no time to find out what holds the growth",
                Some("raise `--max-time`"),
            ));
            return Ok(());
        }
        self.windows(drive, explainer, RoundKind::Alone, |journey, drive| {
            for &(id, _) in &leaking {
                let kind = id.0 as usize;
                let asked = Asked {
                    name: "the explanation".to_owned(),
                    spec: RoundSpec {
                        only: Some(id),
                        ..closed(drive, operations)
                    },
                };
                if let Err(why) = journey.one_round(drive, kind, &asked)? {
                    return Err(Stop::failed(format!("the explanation failed: {why}")));
                }
            }
            Ok(operations)
        })?;
        let begin = Instant::now();
        drive.rest(self.round_length)?;
        self.measured(drive, RoundKind::Alone, begin, None)?;
        self.last_window(drive, explainer)?;
        self.facts.rate = Some(leaking.iter().map(|(_, rate)| rate).sum());
        Ok(())
    }

    /// One round that is not of the mix. `Err` in the inner result says why its operations fail.
    pub(crate) fn one_round(
        &mut self,
        drive: &mut Drive<'_, '_>,
        kind: usize,
        asked: &Asked,
    ) -> Result<Result<KindRound, String>, Stop> {
        drive.session.check_alive()?;
        drive.between_rounds()?;
        let metric = headline_metric(&self.rounds);
        let before = self
            .rounds
            .last()
            .and_then(|r| r.values.get(&metric))
            .copied();
        let begin = Instant::now();
        let operations = asked.spec.operations;
        let cx = Cx::within(drive.session.cancel, self.patience(drive, operations));
        let stats = match drive.driver.round(&asked.spec, &cx) {
            Ok(stats) => stats,
            Err(_) if drive.session.cancel.is_cancelled() => return Err(Stop::Interrupted),
            Err(error) => return Err(drive.lost(&asked.name, &error)),
        };
        self.count(&stats);
        let errors = stats.errors();
        drive.quiesce(&asked.name)?;
        drive.rest(QUIET)?;
        let after = self.measured(drive, RoundKind::Alone, begin, Some(&stats))?;
        if errors as f64 > drive.load.max_errors * operations as f64 {
            drive.session.check_alive()?;
            let kinds: Vec<&str> = stats.errors_by_kind.keys().map(String::as_str).collect();
            return Ok(Err(kinds.join(", ")));
        }
        let counts = stats
            .per_operation
            .iter()
            .map(|own| (own.done + own.errors) as f64);
        Ok(Ok(KindRound {
            kind,
            growth: before.map_or(f64::NAN, |before| after - before),
            operations: counts.collect(),
        }))
    }

    /// After a leak: whether it takes inputs that were never seen before, or the same one again is enough. Rounds of the
    /// one and the other are two kinds, judged as such.
    pub(crate) fn inputs(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        let mixed = self.judgement.as_ref().and_then(|j| j.verdict.as_ref());
        let leaks =
            mixed.is_some_and(|v| v.outcome == Outcome::Leak) || self.leaking().next().is_some();
        if !leaks || !drive.load.has_inputs() {
            return Ok(());
        }
        let not_compared = |why: &str| {
            Finding::info(
                "inputs",
                format!("whether inputs must be new to make it grow was not asked: {why}"),
            )
        };
        let Some(operations) = self.size_alone(1) else {
            let why = "no time was left, raise `--max-time`";
            drive.session.found(not_compared(why));
            return Ok(());
        };
        drive.session.tell(Event::PhaseStarted {
            phase: Phase::Alone,
            detail: "the same input again".to_owned(),
        });
        // What distinct inputs do, the judged rounds have told.
        let mut rounds = self.judged_growth();
        let mut verdicts = Vec::new();
        for block in 0..=LOOKS[1] {
            let begun = Instant::now();
            let asked = Asked {
                name: "the rounds that compare inputs".to_owned(),
                spec: RoundSpec {
                    distinct: false,
                    ..closed(drive, operations)
                },
            };
            let round = match self.one_round(drive, 1, &asked)? {
                Ok(round) => round,
                // A service may refuse the same input twice: then there is nothing to compare.
                Err(errors) => {
                    let why = format!("the service refuses the same input again ({errors})");
                    drive.session.found(not_compared(&why));
                    return Ok(());
                }
            };
            // The first one may find what was never asked twice before.
            if block > 0 {
                let operations = vec![0.0, round.operations.iter().sum()];
                rounds.push(KindRound {
                    operations,
                    ..round
                });
            }
            verdicts = judge_kinds(&rounds, 2, &self.kind_terms(drive, &rounds));
            let is_clear = compared(&verdicts).is_some();
            if is_clear || self.left() < begun.elapsed().mul_f64(1.2) {
                break;
            }
        }
        if let [Some(distinct), Some(same)] = &verdicts[..] {
            let shown = |v: &KindVerdict| {
                let (rate, interval) =
                    units::signed_bytes_with_interval(v.rate, v.interval.low, v.interval.high);
                format!("{rate} per operation (95 % CI {interval})")
            };
            let says = compared(&verdicts)
                .unwrap_or("whether inputs must be new to make it grow is not clear");
            let (distinct, same) = (shown(distinct), shown(same));
            drive.session.found(Finding::info(
                "inputs",
                format!("{says}: {distinct} with distinct inputs, {same} with the same one"),
            ));
        }
        drive.session.tell(Event::PhaseEnded {
            phase: Phase::Alone,
            detail: String::new(),
        });
        Ok(())
    }

    /// The judged rounds as rounds of one kind among two.
    fn judged_growth(&self) -> Vec<KindRound> {
        let metric = headline_metric(&self.rounds);
        let level = |round: &RoundRecord| round.values.get(&metric).copied();
        let judged = self.judged_rounds();
        let pairs = judged.windows(2).filter_map(|pair| {
            let growth = level(pair[1])? - level(pair[0])?;
            let operations = (pair[1].done + pair[1].errors) as f64;
            Some(KindRound {
                kind: 0,
                growth,
                operations: vec![operations, 0.0],
            })
        });
        pairs.collect()
    }

    fn kind_terms(&self, drive: &Drive<'_, '_>, rounds: &[KindRound]) -> KindTerms {
        let metric = headline_metric(&self.rounds);
        let per_round = rounds.first().map_or(1.0, |r| r.operations.iter().sum());
        let idle = idle_growth_per_round(&self.rounds, &metric).unwrap_or(0.0);
        let sway = drive.session.heap_sway() / SWAY_ROUNDS;
        KindTerms {
            alpha: ALPHA / LOOKS.len() as f64,
            unexplained: idle.max(sway) / f64::max(per_round, 1.0),
            floor: drive.session.config.check.floor,
        }
    }

    fn judge_alone(&mut self, drive: &mut Drive<'_, '_>, rounds: &[KindRound], kinds: usize) {
        let terms = self.kind_terms(drive, rounds);
        let verdicts = judge_kinds(rounds, kinds, &terms);
        self.growth = drive
            .driver
            .operations()
            .iter()
            .zip(verdicts)
            .filter_map(|(operation, verdict)| {
                let verdict = verdict?;
                let JudgedInterval { low, high } = verdict.interval;
                Some(OperationGrowth {
                    operation: operation.id,
                    name: operation.name.clone(),
                    outcome: match verdict.outcome {
                        KindOutcome::Leak => Outcome::Leak,
                        KindOutcome::NoLeak => Outcome::NoLeak,
                        KindOutcome::NotClear => Outcome::Inconclusive,
                    },
                    rate: verdict.rate,
                    interval: Interval { low, high },
                    p: verdict.p_value,
                    operations: verdict.operations as u64,
                    rounds: u32::try_from(verdict.rounds).unwrap_or(u32::MAX),
                })
            })
            .collect();
    }

    fn tell_refused(drive: &mut Drive<'_, '_>, candidates: &[Candidate]) {
        let refused: Vec<String> = candidates
            .iter()
            .filter_map(|c| {
                let name = &drive.driver.operations()[c.id].name;
                Some(format!("{name} ({})", c.refused.as_ref()?))
            })
            .collect();
        if !refused.is_empty() {
            drive.session.found(Finding::warning(
                "not-driven-alone",
                format!("cannot be driven alone: {}", refused.join("; ")),
                Some("move what it needs from other steps into `[[driver.setup]]`"),
            ));
        }
    }

    fn leaking(&self) -> impl Iterator<Item = &OperationGrowth> {
        self.growth.iter().filter(|g| g.outcome == Outcome::Leak)
    }

    fn told(&self) -> String {
        let names: Vec<&str> = self.leaking().map(|g| g.name.as_str()).collect();
        if names.is_empty() {
            "none of them grows alone".to_owned()
        } else {
            format!("growing: {}", names.join(", "))
        }
    }

    /// Brings the verdict on the mix and what the kinds said together: a kind that leaks makes the run a leak, and a
    /// mix that leaks though none of its kinds does is said to be one.
    pub(crate) fn combine_alone(&mut self) -> Option<Finding> {
        let worst = self
            .leaking()
            .max_by(|a, b| a.rate.total_cmp(&b.rate))
            .cloned();
        let settled =
            !self.growth.is_empty() && self.growth.iter().all(|g| g.outcome == Outcome::NoLeak);
        let judgement = self.judgement.as_mut()?;
        let verdict = judgement.verdict.as_mut()?;
        let mixed = verdict.outcome == Outcome::Leak;
        match worst {
            Some(worst) if !mixed => {
                judgement.reason = format!(
                    "{} grows by {} per operation when it is driven alone; in the mix that is diluted",
                    worst.name,
                    units::signed_bytes(worst.rate)
                );
                *verdict = Verdict {
                    outcome: Outcome::Leak,
                    reason: judgement.reason.clone(),
                    bound: None,
                    more_operations: None,
                    more_seconds: None,
                    leak_probability: 1.0 - worst.p,
                    pattern: "linear".to_owned(),
                    growth: Some(Growth {
                        rate: worst.rate,
                        interval: worst.interval,
                        per: "operation".to_owned(),
                        per_second: None,
                        per_second_interval: None,
                        per_operation: Some(worst.rate),
                        onset_s: None,
                        plateau: None,
                        time_to_limit: None,
                        acceleration: f64::NAN,
                        consistency: f64::NAN,
                        correlation: None,
                    }),
                    ..verdict.clone()
                };
                None
            }
            None if mixed && settled => Some(Finding::info(
                "only-the-mix",
                "none of the operations grows when it is driven alone: only their mix does",
            )),
            _ => None,
        }
    }
}

/// What rounds with distinct inputs and with the same one say beside each other, if that is clear.
fn compared(verdicts: &[Option<KindVerdict>]) -> Option<&'static str> {
    let [Some(distinct), Some(same)] = verdicts else {
        return None;
    };
    // The question is one of comparison: what may be nothing, and is at the most a small part of the other, need not lie
    // below the floor of a verdict of its own.
    let is_negligible =
        same.interval.low <= 0.0 && same.interval.high < NEGLIGIBLE * distinct.interval.low;
    match (distinct.outcome, same.outcome) {
        (KindOutcome::Leak, KindOutcome::Leak) => Some("the same input again makes it grow too"),
        (KindOutcome::Leak, outcome) if outcome == KindOutcome::NoLeak || is_negligible => {
            Some("only inputs never seen before make it grow")
        }
        _ => None,
    }
}

/// A closed loop of so many operations.
fn closed(drive: &Drive<'_, '_>, operations: u64) -> RoundSpec {
    let concurrency = drive.load.concurrency;
    RoundSpec::new(operations, Mode::Closed { concurrency })
}

/// The order of a block: every other one is the one before it backwards, and each two begin elsewhere, so that what one kind
/// leaves behind does not always fall to the same other.
fn order(kinds: usize, block: u32) -> Vec<usize> {
    let shift = block as usize / 2 % kinds;
    let mut order: Vec<usize> = (0..kinds).map(|i| (i + shift) % kinds).collect();
    if block % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_holds_every_kind_in_another_order() {
        for kinds in [2, 5, 12] {
            let orders: Vec<Vec<usize>> = (0..4).map(|block| order(kinds, block)).collect();
            for own in &orders {
                let mut sorted = own.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..kinds).collect::<Vec<_>>());
            }
            assert_ne!(orders[0], orders[1]);
            assert_ne!(orders[0], orders[2]);
        }
    }
}
