//! Rounds of a service whose work several processes or isolates share: the series of each, and a sum that survives those
//! who come and go.
//!
//! A worker that is replaced begins anew: a new epoch, as a source of its own. What is kept within the lives of all of
//! them, put end to end, can still prove a leak; that memory stays bounded proves nothing, because it is given back by
//! ending whoever holds it.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_judge as judge;
use plimsoll_model::{
    Metric, Outcome, Part, ProcessId, ProcessOperations, Role, RoundRecord, RoundStats,
    SeriesRecord, Source, SourceId,
};
use plimsoll_probe::Process;

use crate::judged::{Judgement, headline_metric, record_of, series_of};
use crate::session::Session;

/// Readings of one part that can be judged.
const FEWEST_READINGS: usize = 5;

/// Adds who answered how many operations of a round, where several share the work and their connections are still open.
pub(crate) fn add(sums: &mut BTreeMap<ProcessId, u64>, session: &Session<'_>, stats: &RoundStats) {
    let port = session.service_port();
    let Some((port, service)) = port.zip(session.service.as_ref()) else {
        return;
    };
    let shares = |role| matches!(role, Role::Service | Role::Worker);
    let all = service.processes.iter().filter(|p| shares(p.role));
    let family: Vec<Process> = all.filter_map(|p| Process::open(p.id.pid).ok()).collect();
    if family.len() < 2 || stats.per_port.is_empty() {
        return;
    }
    for share in operations_by_process(port, &family, &stats.per_port) {
        *sums.entry(share.process).or_default() += share.operations;
    }
}

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
    /// Whether somebody went, and all who did had not seen as many operations as the warm-up had.
    went_cold: bool,
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
            went_cold: false,
        };
        let warm_from = warm_from(rounds, sources);
        let mut last_seen: BTreeMap<SourceId, u64> = BTreeMap::new();
        for pair in rounds.windows(2) {
            let (before, after) = (present(pair[0]), present(pair[1]));
            // Without parts there is one isolate, which leads the list once it has company.
            if !before.is_empty() {
                turnover.went += before.difference(&after).count();
                for source in before.difference(&after) {
                    last_seen.insert(*source, pair[0].operations_so_far);
                }
            }
            turnover.came += after
                .difference(&before)
                .count()
                .saturating_sub(usize::from(before.is_empty()));
        }
        turnover.went_cold = turnover.went > 0
            && last_seen
                .iter()
                .all(|(source, at)| *at <= warm_from[source]);
        turnover
    }

    pub(crate) fn is_any(self) -> bool {
        self.came > 0 || self.went > 0
    }
}

/// From how many operations on each part of the rounds counts in a sum of parts that come and go.
///
/// Who comes is cold and grows for a while without keeping anything: it counts once it has seen as many operations as the
/// warm-up had. Who goes may have been cold still at the first reading, so it counts as just come. A service that was
/// started anew had a warm-up of its own.
fn warm_from(rounds: &[&RoundRecord], sources: &[Source]) -> BTreeMap<SourceId, u64> {
    let (Some(first), Some(last)) = (rounds.first(), rounds.last()) else {
        return BTreeMap::new();
    };
    let is_in = |round: &RoundRecord, id| round.parts.iter().any(|part| part.source == id);
    let mut from = BTreeMap::new();
    for (at, round) in rounds.iter().enumerate() {
        for part in &round.parts {
            from.entry(part.source).or_insert_with(|| {
                let id = part.source;
                let is_service = sources
                    .iter()
                    .any(|source| source.id == id && source.role == Role::Service);
                if is_in(first, id) && (is_service || is_in(last, id)) {
                    0
                } else if is_service {
                    // What it does from its first reading to its second is left out.
                    rounds.get(at + 1).map_or(u64::MAX, |r| r.operations_so_far)
                } else {
                    round.operations_so_far + first.operations_so_far
                }
            });
        }
    }
    from
}

/// The sum of a metric over parts that come and go: what each grows while it lives and is warm, put end to end. `None` if
/// no part tells the metric.
pub(crate) fn within_lives(
    rounds: &[&RoundRecord],
    sources: &[Source],
    metric: &Metric,
) -> Option<Vec<f64>> {
    let reading = |round: &RoundRecord, source: SourceId| {
        let part = round.parts.iter().find(|part| part.source == source)?;
        part.values.get(metric).copied()
    };
    let first = rounds.first()?;
    let mut level: f64 = if first.parts.is_empty() {
        *first.values.get(metric)?
    } else {
        let own = first.parts.iter();
        own.filter_map(|part| part.values.get(metric)).sum()
    };
    let warm_from = warm_from(rounds, sources);
    let mut sum = vec![level];
    let mut told = false;
    for pair in rounds.windows(2) {
        for part in &pair[1].parts {
            let (Some(before), Some(after)) =
                (reading(pair[0], part.source), part.values.get(metric))
            else {
                continue;
            };
            told = true;
            if pair[0].operations_so_far >= warm_from[&part.source] {
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
    let warm_from = warm_from(rounds, sources);
    let of = |id: SourceId| {
        let own: Vec<RoundRecord> = rounds.iter().map(|round| alone(round, id)).collect();
        let own: Vec<&RoundRecord> = own.iter().collect();
        let source = sources.iter().find(|source| source.id == id)?;
        let metric = headline_metric(own.iter().copied());
        let mut series = series_of(&own, &metric, source, axis);
        if !series.value.iter().any(|value| value.is_finite()) {
            return None;
        }
        let is_warm = |round: &RoundRecord| round.operations_so_far >= warm_from[&id];
        let warm = rounds
            .iter()
            .zip(&series.value)
            .filter(|(round, value)| is_warm(round) && value.is_finite());
        let part = if warm.count() < FEWEST_READINGS {
            Part::Context
        } else {
            Part::Judged
        };
        let record = record_of(rounds, metric, part, id, &series);
        for (round, value) in rounds.iter().zip(&mut series.value) {
            if !is_warm(round) {
                *value = f64::NAN;
            }
        }
        Some((record, series))
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
        Turnover {
            went, went_cold, ..
        } => {
            let when = if went_cold {
                "before they were warm"
            } else {
                "in between"
            };
            format!("bounded by recycling: {} {when}", words(went, "ended"))
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
