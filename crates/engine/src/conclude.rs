//! What a driven journey says: the looks during it, and the verdict at its end.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_judge::Axis;
use plimsoll_model::{Metric, Outcome, RoundKind, RoundRecord, Verdict, units};

use crate::drive::Drive;
use crate::judged::{Judgement, RoundTerms, headline_metric, idle_growth_per_round, judge_rounds};
use crate::pilot::robust_sd;
use crate::rates::Other;
use crate::rounds::{Journey, LOOKS};
use crate::session::Session;
use crate::shared_work::{Turnover, reading};

/// What our own probe makes an idle server grow from one collection to the next, in bytes: none as a rule, and now and
/// then a step of 8 kB. Growth that is larger in every idle round is the subject's own.
const PROBE_IDLE_GROWTH: f64 = 2_048.0;

/// Whether the rounds, judged on time, surely grew, and by more than the heap sways by. Below that what grew while idle is
/// as likely what the load before left to settle.
fn shows_growth(on_time: &Judgement, rounds: &[&RoundRecord], session: &Session<'_>) -> bool {
    let growth = on_time.verdict.as_ref().and_then(|v| v.growth.as_ref());
    let (Some(growth), [first, .., last]) = (growth, rounds) else {
        return false;
    };
    growth.interval.low * last.end.since(first.end).as_secs_f64() > session.heap_sway()
}

impl Journey {
    /// Judges what has been measured so far.
    pub(crate) fn look(&mut self, drive: &mut Drive<'_, '_>) {
        self.looks_taken += 1;
        self.judgement = self.judge(drive.session);
    }

    fn terms(&self, session: &Session<'_>, axis: Axis) -> RoundTerms {
        let room = session.room();
        let check = &session.config.check;
        let stands_at = |metric: &Metric| {
            let last = self.rounds.iter().rev().find_map(|r| r.values.get(metric));
            room.level(metric, last.copied())
        };
        RoundTerms {
            floor: check.floor,
            look: self.looks_taken.max(1),
            looks: if check.rounds.is_some() {
                1
            } else {
                LOOKS.len() as u32
            },
            idle_growth_per_op: match axis {
                Axis::Operations => self.idle_growth_per_op(),
                Axis::Time => BTreeMap::new(),
            },
            is_v8: session.is_v8(),
            heap_limit: stands_at(&Metric::LIVE_BYTES),
            process_limit: stands_at(&Metric::RSS_ANON),
            expected_rate: check.expect_rate,
            warm_up_operations: self.plan.warm_up_operations,
            settled: self.plan.warm_up_settled,
            axis,
        }
    }

    /// What growth while idle would explain of the growth per operation. Falling while idle explains nothing.
    fn idle_growth_per_op(&self) -> BTreeMap<Metric, f64> {
        let metrics: BTreeSet<&Metric> = self.rounds.iter().flat_map(|r| r.values.keys()).collect();
        let operations = self.plan.operations_per_round.max(1) as f64;
        metrics
            .into_iter()
            .filter_map(|m| {
                let growth = idle_growth_per_round(&self.rounds, m).filter(|g| *g > 0.0)?;
                Some((m.clone(), growth / operations))
            })
            .collect()
    }

    /// The rounds that are judged start from the last state before them.
    pub(crate) fn judged_rounds(&self) -> Vec<&RoundRecord> {
        let Some(first) = self
            .rounds
            .iter()
            .position(|r| r.kind == RoundKind::Measured)
        else {
            return Vec::new();
        };
        let baseline = first.checked_sub(1).map(|i| &self.rounds[i]);
        baseline
            .into_iter()
            .chain(self.rounds.iter().filter(|r| r.kind == RoundKind::Measured))
            .collect()
    }

    /// Judges the rounds against operations, or, where memory grows just as fast without any, against time.
    fn judge(&mut self, session: &Session<'_>) -> Option<Judgement> {
        self.axis_is_open = false;
        let rounds = self.judged_rounds();
        if rounds.is_empty() {
            return None;
        }
        let source = session.judged_source(&rounds)?;
        let judge = |axis| {
            let terms = self.terms(session, axis);
            judge_rounds(&rounds, &source, &session.sources, &terms)
        };
        let judgement = judge(Axis::Operations);
        if self.changes_hands(session) || !self.grows_while_idle(&judgement) {
            return Some(judgement);
        }
        // The rounds alone: a busy service may do its own work at another pace than an idle one.
        let mut on_time = judge(Axis::Time);
        let of = |j: &Judgement| j.verdict.as_ref().map(|v| v.outcome);
        let grew = shows_growth(&on_time, &rounds, session);
        self.axis_is_open = of(&on_time) == Some(Outcome::Inconclusive);
        match of(&judgement) {
            _ if of(&on_time) == Some(Outcome::Leak) => {
                "grows with time, not with operations".clone_into(&mut on_time.reason);
                Some(on_time)
            }
            Some(Outcome::NoLeak) if self.axis_is_open && grew => {
                let reason = "grows while idle too: too little time to tell whether it goes on";
                Some(Judgement {
                    verdict: judgement.verdict.map(|v| v.reopened(reason)),
                    reason: reason.to_owned(),
                    ..judgement
                })
            }
            _ => Some(judgement),
        }
    }

    /// The verdict of the whole journey: the rounds once more with what the idle rounds afterwards said, then checked
    /// against the explanation windows.
    pub(crate) fn conclude(&mut self, session: &mut Session<'_>) {
        let metric = headline_metric(&self.rounds);
        self.plan.idle_growth_per_round = idle_growth_per_round(&self.rounds, &metric);
        self.judgement = self.judge(session);
        self.await_ttl();
        let Some(judgement) = &self.judgement else {
            return;
        };
        if judgement
            .verdict
            .as_ref()
            .is_none_or(|v| v.outcome != Outcome::Leak)
        {
            return;
        }
        if self.changes_hands(session) {
            return;
        }
        match self.not_by_operations() {
            Some(Other::Time) => {
                let rounds = self.judged_rounds();
                let source = session.judged_source(&rounds);
                let judged = source.map(|source| {
                    let terms = self.terms(session, Axis::Time);
                    judge_rounds(&rounds, &source, &session.sources, &terms)
                });
                if let Some(mut on_time) = judged {
                    "grows with time under load, not with operations"
                        .clone_into(&mut on_time.reason);
                    self.judgement = Some(on_time);
                }
                return;
            }
            Some(Other::Passing(why)) => {
                let reason =
                    format!("{why}: kept for a time, not for ever? name how long with `--max-ttl`");
                if let Some(judgement) = &mut self.judgement {
                    judgement.verdict = judgement.verdict.take().map(|v| v.reopened(&reason));
                    judgement.reason = reason;
                }
                return;
            }
            None => {}
        }
        if let Some(reason) = self.growth_stopped(judgement)
            && let Some(judgement) = &mut self.judgement
        {
            let more = self.plan.operations_per_round * u64::from(self.plan.rounds) * 2;
            judgement.verdict = judgement.verdict.take().map(|v| Verdict {
                more_operations: Some(more),
                ..v.reopened(&reason)
            });
            judgement.reason = reason;
        }
    }

    /// Whether somebody came or went since the rounds began: readings of the sum before and after are then of different
    /// processes, and only growth within lives can be compared.
    fn changes_hands(&self, session: &Session<'_>) -> bool {
        let first = self.judged_rounds().first().map(|round| round.index);
        let rounds: Vec<&RoundRecord> = self
            .rounds
            .iter()
            .filter(|round| first.is_some_and(|first| round.index >= first))
            .collect();
        Turnover::of(&rounds, &session.sources).is_any()
    }

    /// What is kept for a time on purpose looks like a leak until that time is over: before twice of it nothing is judged.
    fn await_ttl(&mut self) {
        let Some(ttl) = self.max_ttl else { return };
        let rounds = self.judged_rounds();
        let Some((first, last)) = rounds.first().zip(rounds.last()) else {
            return;
        };
        let measured = last.end.since(first.end).as_secs_f64();
        let needed = ttl.as_secs_f64() * 2.0;
        if measured >= needed {
            return;
        }
        if let Some(judgement) = &mut self.judgement {
            let reason = format!(
                "measured for {}, and what lives up to {} is known after {}: raise `--max-time`",
                units::duration(measured),
                units::duration(ttl.as_secs_f64()),
                units::duration(needed)
            );
            judgement.verdict = judgement.verdict.take().map(|v| v.reopened(&reason));
            judgement.reason = reason;
        }
    }

    /// Whether the rounds without operations grew at more than half the pace of those with them, and by more than our
    /// own probe makes an idle server grow.
    fn grows_while_idle(&self, judgement: &Judgement) -> bool {
        let Some(record) = judgement.headline.map(|i| &judgement.series[i]) else {
            return false;
        };
        let growth = record.verdict.as_ref().and_then(|v| v.growth.as_ref());
        let Some(per_second) = growth.and_then(|g| g.per_second) else {
            return false;
        };
        let mut idle: Vec<(f64, f64)> = self
            .rounds
            .windows(2)
            .filter(|pair| pair.iter().all(|r| r.kind == RoundKind::Idle))
            .filter_map(|pair| {
                let grown = reading(&pair[1], record)? - reading(&pair[0], record)?;
                let seconds = pair[1].end.since(pair[0].end).as_secs_f64();
                Some((grown / seconds.max(1e-3), grown))
            })
            .collect();
        idle.sort_by(|a, b| a.0.total_cmp(&b.0));
        // With an even number, the lower of the two in the middle: one spike must not decide.
        let (Some(least), Some(middle)) =
            (idle.first(), idle.get(idle.len().saturating_sub(1) / 2))
        else {
            return false;
        };
        idle.len() >= 2 && least.1 > PROBE_IDLE_GROWTH && middle.0 > 0.5 * per_second
    }

    /// Whether the explanation windows grew less than the verdict's interval, given the noise of single rounds.
    fn growth_stopped(&self, judgement: &Judgement) -> Option<String> {
        let record = &judgement.series[judgement.headline?];
        let growth = record.verdict.as_ref()?.growth.as_ref()?;
        if growth.per != "operation" {
            return None;
        }
        let windows: Vec<&RoundRecord> = self
            .rounds
            .iter()
            .filter(|r| r.kind == RoundKind::Explain)
            .collect();
        let last = windows.last()?;
        let baseline = self
            .rounds
            .iter()
            .rfind(|r| r.kind == RoundKind::Measured)?;
        let grown = reading(last, record)? - reading(baseline, record)?;
        let operations = (last.operations_so_far - baseline.operations_so_far) as f64;
        let points = record.points.as_ref()?;
        let residuals: Vec<f64> = points
            .operations
            .windows(2)
            .zip(points.value.windows(2))
            .map(|(o, v)| (v[1] - v[0]) - growth.rate * (o[1] - o[0]))
            .collect();
        // Two readings differ by the noise of both: three standard errors of that difference are allowed.
        let tolerance = 3.0 * robust_sd(&residuals) / operations;
        let rate = grown / operations;
        (rate < growth.interval.low - tolerance && rate < 0.75 * growth.rate).then(|| {
            format!(
                "growth stopped: {} per operation in the rounds, {} after them",
                units::signed_bytes(growth.rate),
                units::signed_bytes(rate)
            )
        })
    }
}
