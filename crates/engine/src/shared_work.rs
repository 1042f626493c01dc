//! Rounds of a service whose work several processes or isolates share: the series of each, and a sum that survives those
//! who come and go.
//!
//! A worker that is replaced begins anew: a new epoch, as a source of its own. What is kept within the lives of all of
//! them, put end to end, can still prove a leak; that memory stays bounded proves nothing, because it is given back by
//! ending whoever holds it.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_judge as judge;
use plimsoll_model::{
    Metric, Outcome, Part, ProcessId, ProcessOperations, Role, RoundRecord, SeriesRecord, Source,
    SourceId,
};
use plimsoll_probe::Process;

use crate::judged::{Judgement, headline_metric, record_of, series_of};

/// Readings of one part that can be judged.
const FEWEST_READINGS: usize = 5;

/// Which process answered how many operations: `per_port` has them by the client's port of each connection to `port`.
pub(crate) fn operations_by_process(
    port: u16,
    family: &[Process],
    per_port: &[(u16, u64)],
) -> Vec<ProcessOperations> {
    let holders = plimsoll_probe::connection_holders(port, family);
    let mut sums: BTreeMap<ProcessId, u64> = BTreeMap::new();
    for (client, operations) in per_port {
        if let Some(process) = holders.get(client) {
            *sums.entry(*process).or_default() += operations;
        }
    }
    let shares = sums.into_iter();
    shares
        .map(|(process, operations)| ProcessOperations {
            process,
            operations,
        })
        .collect()
}

/// Who came and who went between the first and the last of the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turnover {
    came: usize,
    went: usize,
    /// How often the service itself was started anew in the run.
    restarts: usize,
}

impl Turnover {
    pub(crate) fn of(rounds: &[&RoundRecord], sources: &[Source]) -> Self {
        let present = |round: &RoundRecord| -> BTreeSet<SourceId> {
            round.parts.iter().map(|part| part.source).collect()
        };
        let services: BTreeSet<ProcessId> = sources
            .iter()
            .filter(|source| source.role == Role::Service)
            .map(|source| source.process)
            .collect();
        let mut turnover = Self {
            came: 0,
            went: 0,
            restarts: services.len().saturating_sub(1),
        };
        for pair in rounds.windows(2) {
            let (before, after) = (present(pair[0]), present(pair[1]));
            // Without parts there is one isolate, which leads the list once it has company.
            if !before.is_empty() {
                turnover.went += before.difference(&after).count();
            }
            turnover.came += after
                .difference(&before)
                .count()
                .saturating_sub(usize::from(before.is_empty()));
        }
        turnover
    }

    pub(crate) fn is_any(self) -> bool {
        self.came > 0 || self.went > 0
    }
}

/// The sum of a metric over parts that come and go: what each grows while it lives, put end to end. What a part does from
/// its first reading to its second is its own warm-up and left out. `None` if no part tells the metric.
pub(crate) fn within_lives(rounds: &[&RoundRecord], metric: &Metric) -> Option<Vec<f64>> {
    let reading = |round: &RoundRecord, source: SourceId| {
        let part = round.parts.iter().find(|part| part.source == source)?;
        part.values.get(metric).copied()
    };
    let first = rounds.first()?;
    let mut level: f64 = if first.parts.is_empty() {
        *first.values.get(metric)?
    } else {
        let own = first
            .parts
            .iter()
            .filter_map(|part| part.values.get(metric));
        own.sum()
    };
    let mut sum = vec![level];
    let mut told = false;
    for (at, pair) in rounds.windows(2).enumerate() {
        for part in &pair[1].parts {
            let is_new = at > 0 && reading(rounds[at - 1], part.source).is_none();
            if let (Some(before), Some(after)) =
                (reading(pair[0], part.source), part.values.get(metric))
                && !is_new
            {
                told = true;
                level += after - before;
            }
        }
        sum.push(level);
    }
    told.then_some(sum)
}

/// The series of each part, where there are several: live bytes, or resident memory where it tells no better.
pub(crate) fn parts_of(
    rounds: &[&RoundRecord],
    sources: &[Source],
    axis: judge::Axis,
) -> Vec<(SeriesRecord, judge::Series)> {
    let ids: BTreeSet<SourceId> = rounds
        .iter()
        .flat_map(|round| round.parts.iter().map(|part| part.source))
        .collect();
    let of = |id: SourceId| {
        let own: Vec<RoundRecord> = rounds.iter().map(|round| alone(round, id)).collect();
        let own: Vec<&RoundRecord> = own.iter().collect();
        let source = sources.iter().find(|source| source.id == id)?;
        let metric = headline_metric(own.iter().copied());
        let series = series_of(&own, &metric, source, axis);
        let known = series.value.iter().filter(|v| v.is_finite()).count();
        if known == 0 {
            return None;
        }
        let part = if known < FEWEST_READINGS {
            Part::Context
        } else {
            Part::Judged
        };
        Some((record_of(rounds, metric, part, id, &series), series))
    };
    ids.into_iter().filter_map(of).collect()
}

/// A round as one part saw it.
fn alone(round: &RoundRecord, source: SourceId) -> RoundRecord {
    let part = round.parts.iter().find(|part| part.source == source);
    let values = part.map(|part| part.values.clone()).unwrap_or_default();
    RoundRecord {
        collected: values.contains_key(&Metric::LIVE_BYTES),
        counted: false,
        values,
        parts: Vec::new(),
        ..round.clone()
    }
}

/// A reading of a series' source in a round.
pub(crate) fn reading(round: &RoundRecord, record: &SeriesRecord) -> Option<f64> {
    match round.parts.iter().find(|part| part.source == record.source) {
        Some(part) => part.values.get(&record.metric),
        None => round.values.get(&record.metric),
    }
    .copied()
}

/// Memory that is given back by ending whoever holds it says nothing of what is kept: never "no leak".
pub(crate) fn bounded_by_recycling(mut judgement: Judgement, turnover: Turnover) -> Judgement {
    let Some(verdict) = &mut judgement.verdict else {
        return judgement;
    };
    let words = |n: usize, what: &str| match n {
        1 => format!("1 worker {what}"),
        n => format!("{n} workers {what}"),
    };
    let reason = match turnover {
        Turnover { restarts: 1, .. } => {
            "bounded by a restart: the service was started anew in the run".to_owned()
        }
        Turnover { restarts, .. } if restarts > 0 => {
            format!("bounded by restarts: the service was started anew {restarts} times in the run")
        }
        Turnover {
            went: 0, came: 0, ..
        } => return judgement,
        Turnover { went: 0, came, .. } => {
            format!(
                "{} in between: what they keep is not known yet",
                words(came, "came")
            )
        }
        Turnover { went, .. } => {
            format!("bounded by recycling: {} in between", words(went, "ended"))
        }
    };
    match verdict.outcome {
        Outcome::NoLeak => {
            *verdict = verdict.clone().reopened(&reason);
            judgement.reason = reason;
        }
        Outcome::Leak if turnover.went > 0 => judgement.reason = reason,
        Outcome::Leak if turnover.restarts > 0 => {}
        _ => {
            verdict.reason = format!("{reason}; {}", verdict.reason);
            judgement.reason.clone_from(&verdict.reason);
        }
    }
    judgement
}
