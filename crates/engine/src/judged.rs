//! From rounds to verdicts: builds the series, hands them to the judge, and combines its answers into one for the run.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_judge as judge;
use plimsoll_model::{
    Metric, Outcome, Part, PointSet, RoundKind, RoundRecord, SeriesRecord, Share, Source, SourceId,
    Unit, Verdict,
};

use crate::shared_work::{Turnover, bounded_by_recycling, parts_of, within_lives};

/// Largest growth the remainder outside the runtime's heap may show before it is called growth: a share of its level.
const GUARD_LEVEL_SHARE: f64 = 0.004;
/// The same in bytes; the larger of the two counts.
const GUARD_BYTES: f64 = 96.0 * 1024.0;

/// What live bytes of V8 rise by although nothing is kept: compiled code is thrown away by every eighth collection or so, and
/// made again in between. 30 to 100 KiB in a service of fifty lines.
pub(crate) const V8_SWAY: f64 = 128.0 * 1024.0;
/// Rounds in which they rise so far. The median of a few rounds sees the rise, and not the fall.
pub(crate) const SWAY_ROUNDS: f64 = 8.0;

/// Readings a counted kind must have to be judged.
const FEWEST_COUNTS: usize = 5;

/// What a set of rounds says.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    pub(crate) series: Vec<SeriesRecord>,
    pub(crate) headline: Option<usize>,
    pub(crate) verdict: Option<Verdict>,
    /// Why the run's outcome differs from its headline's, if it does.
    pub(crate) reason: String,
}

/// On what terms the rounds are judged.
#[derive(Debug, Clone)]
pub(crate) struct RoundTerms {
    pub(crate) floor: Option<f64>,
    pub(crate) look: u32,
    pub(crate) looks: u32,
    /// Growth per operation that the rounds without operations would explain, by metric.
    pub(crate) idle_growth_per_op: BTreeMap<Metric, f64>,
    /// Whether the runtime is V8, which throws compiled code away and makes it again.
    pub(crate) is_v8: bool,
    pub(crate) heap_limit: Option<f64>,
    pub(crate) process_limit: Option<f64>,
    pub(crate) expected_rate: Option<f64>,
    pub(crate) warm_up_operations: u64,
    pub(crate) settled: bool,
    pub(crate) axis: judge::Axis,
}

/// The metric a driven run is judged by: live bytes where collections could be forced, else resident anonymous memory.
pub(crate) fn headline_metric<'a>(rounds: impl IntoIterator<Item = &'a RoundRecord>) -> Metric {
    let collected = rounds
        .into_iter()
        .any(|r| r.values.contains_key(&Metric::LIVE_BYTES));
    if collected {
        Metric::LIVE_BYTES
    } else {
        Metric::RSS_ANON
    }
}

/// The part a metric plays in this run; `None` = it is not a series of its own.
fn part(metric: &Metric, headline: &Metric) -> Option<Part> {
    if metric == headline {
        return Some(Part::Judged);
    }
    if metric.as_counted().is_some() {
        return Some(Part::Judged);
    }
    let collected = *headline == Metric::LIVE_BYTES;
    let metric = metric.clone();
    if metric == Metric::THREADS {
        Some(Part::Judged)
    } else if metric == Metric::EXTERNAL {
        collected.then_some(Part::Judged)
    } else if metric == Metric::OUTSIDE_HEAP {
        Some(Part::Guard)
    } else if [
        Metric::RSS,
        Metric::RSS_ANON,
        Metric::HEAP_USED,
        Metric::HEAP_TOTAL,
        Metric::ARRAY_BUFFERS,
        Metric::DESCRIPTORS,
    ]
    .contains(&metric)
    {
        Some(Part::Context)
    } else {
        None
    }
}

/// Judges the rounds of one source, or, where several share the work, of their sum and of each. `sources` are all there
/// are, `source` the one that the rounds' own values are about.
pub(crate) fn judge_rounds(
    rounds: &[&RoundRecord],
    source: &Source,
    sources: &[Source],
    terms: &RoundTerms,
) -> Judgement {
    let headline = headline_metric(rounds.iter().copied());
    let turnover = Turnover::of(rounds, sources);
    let metrics: BTreeSet<Metric> = rounds
        .iter()
        .flat_map(|r| r.values.keys().cloned())
        .collect();
    let mut records = Vec::new();
    let mut inputs = Vec::new();
    for metric in metrics {
        let Some(mut part) = part(&metric, &headline) else {
            continue;
        };
        let mut series = series_of(rounds, &metric, source, terms.axis);
        if turnover.is_any() {
            if metric.as_counted().is_some() {
                // Whoever came and went took its things along.
                part = Part::Context;
            } else if let Some(continuous) = within_lives(rounds, sources, &metric) {
                series.value = continuous;
            }
        }
        // Counts may be too dear for every round; a handful of them is shown, not judged.
        let known = series.value.iter().filter(|v| v.is_finite()).count();
        if metric.as_counted().is_some() && known < FEWEST_COUNTS {
            part = Part::Context;
        }
        records.push(record_of(rounds, metric, part, source.id, &series));
        inputs.push(series);
    }
    for (record, input) in parts_of(rounds, sources, terms.axis) {
        records.push(record);
        inputs.push(input);
    }

    // The family of the Holm correction: what was known when the rounds began. Kinds first seen later form a second
    // family with half of alpha, so that a run cannot buy alarms by inventing kinds.
    let first: BTreeSet<&Metric> = rounds
        .first()
        .map(|r| r.values.keys().collect())
        .unwrap_or_default();
    for known in [true, false] {
        let members: Vec<usize> = (0..records.len())
            .filter(|&i| {
                let is_first = first.contains(&records[i].metric)
                    && inputs[i]
                        .value
                        .first()
                        .is_some_and(|v| v.is_finite() || records[i].source == source.id);
                records[i].part == Part::Judged && is_first == known
            })
            .collect();
        let mut family: Vec<judge::Verdict> = members
            .iter()
            .map(|&i| {
                let mut own = judge_terms(terms, &records[i].metric, &headline);
                if !known {
                    own.alpha /= 2.0;
                }
                judge::judge(&inputs[i], &own)
            })
            .collect();
        judge::correct_family(&mut family);
        for (&i, verdict) in members.iter().zip(&family) {
            records[i].verdict = Some(Verdict::from(verdict));
        }
    }
    for (record, input) in records
        .iter_mut()
        .zip(&inputs)
        .filter(|(r, _)| r.part == Part::Guard)
    {
        record.verdict = guard(input, terms).map(|v| Verdict::from(&v));
    }
    // Nearly the same readings as live bytes: judged to divide the growth, never a second chance for an alarm.
    for (record, input) in records.iter_mut().zip(&inputs) {
        if record.metric == Metric::HEAP_USED
            && record.source == source.id
            && headline == Metric::LIVE_BYTES
        {
            let own = judge_terms(terms, &record.metric, &headline);
            record.verdict = Some(Verdict::from(&judge::judge(input, &own)));
        }
    }
    bounded_by_recycling(combine(records, source, sources, &headline), turnover)
}

/// Each metric is judged on terms of its own: `--floor` and limits are meant for bytes, and growth while idle is that of
/// the metric itself.
fn judge_terms(terms: &RoundTerms, metric: &Metric, headline: &Metric) -> judge::Terms {
    let bytes = metric.unit() == Unit::Bytes;
    let limit = if *headline == Metric::LIVE_BYTES {
        terms.heap_limit
    } else {
        terms.process_limit
    };
    judge::Terms {
        floor: terms.floor.filter(|_| bytes),
        look: terms.look,
        looks: terms.looks,
        idle_growth_per_op: terms.idle_growth_per_op.get(metric).copied().unwrap_or(0.0),
        sway: if terms.is_v8 && bytes { V8_SWAY } else { 0.0 },
        limit: limit.filter(|_| metric == headline),
        expected_rate: terms.expected_rate,
        warm_up_operations: terms.warm_up_operations,
        settled: terms.settled,
        ..judge::Terms::default()
    }
}

/// Whose series it is, as the judge tells them apart.
pub(crate) fn series_id(source: &Source) -> judge::SeriesId {
    judge::SeriesId {
        role: source.role.as_str().to_owned(),
        pid: source.process.pid,
        start_ticks: source.process.start_ticks,
        isolate: source.isolate.unwrap_or(0),
        ..judge::SeriesId::default()
    }
}

/// What the run document says of a series over the rounds, before it is judged.
pub(crate) fn record_of(
    rounds: &[&RoundRecord],
    metric: Metric,
    part: Part,
    source: SourceId,
    series: &judge::Series,
) -> SeriesRecord {
    SeriesRecord {
        unit: metric.unit(),
        part,
        source,
        points: Some(PointSet {
            t: rounds.iter().map(|r| r.end).collect(),
            operations: rounds.iter().map(|r| r.operations_so_far as f64).collect(),
            value: series.value.clone(),
        }),
        band: None,
        verdict: None,
        metric,
    }
}

/// The series of one metric over the rounds. A counted kind that a round does not mention is absent, that is zero;
/// anything else that is missing is a gap.
pub(crate) fn series_of(
    rounds: &[&RoundRecord],
    metric: &Metric,
    source: &Source,
    axis: judge::Axis,
) -> judge::Series {
    let censused = |r: &RoundRecord, family: &str| {
        r.counted
            || r.values
                .keys()
                .any(|m| m.as_counted().is_some_and(|(f, _)| f == family))
    };
    let value = |r: &RoundRecord| match (r.values.get(metric), metric.as_counted()) {
        (Some(&value), _) => value,
        (None, Some((family, _))) if censused(r, family) => 0.0,
        (None, _) => f64::NAN,
    };
    // What an operation consisted of; a round without any, such as the state the rounds start from, says nothing of it.
    let operations = |r: &RoundRecord| (r.done + r.errors) as f64;
    let work = |of: &dyn Fn(&RoundRecord) -> Option<f64>| -> Vec<f64> {
        let known = |r: &RoundRecord| of(r).filter(|_| r.done + r.errors > 0);
        rounds
            .iter()
            .map(|r| known(r).unwrap_or(f64::NAN))
            .collect()
    };
    judge::Series {
        id: series_id(source),
        metric: metric.as_str().to_owned(),
        quantity: if metric.unit() == Unit::Count {
            judge::Quantity::Count
        } else {
            judge::Quantity::Bytes
        },
        axis,
        t_ns: rounds.iter().map(|r| r.end.0).collect(),
        value: rounds.iter().map(|r| value(r)).collect(),
        ops: rounds.iter().map(|r| r.operations_so_far as f64).collect(),
        response_bytes_per_op: work(&|r| {
            (r.bytes_in > 0).then(|| r.bytes_in as f64 / operations(r))
        }),
        operation_ns: work(&|r| (r.done > 0).then_some(r.latency.p50_ns as f64)),
        error_share: work(&|r| Some(r.errors as f64 / operations(r))),
        collected: rounds.iter().map(|r| r.collected).collect(),
        epoch: Vec::new(),
        resolution: if metric.unit() == Unit::Count || rounds.iter().any(|r| r.collected) {
            1.0
        } else {
            4096.0
        },
        ..judge::Series::default()
    }
}

/// Judges what the runtime cannot see. Its floor is a size per run, not a rate per operation: resident memory moves in
/// steps that have nothing to do with single operations.
fn guard(series: &judge::Series, terms: &RoundTerms) -> Option<judge::Verdict> {
    let known: Vec<f64> = series
        .value
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    let (first, last) = (series.ops.first()?, series.ops.last()?);
    let span = match terms.axis {
        judge::Axis::Operations => last - first,
        judge::Axis::Time => (*series.t_ns.last()? - *series.t_ns.first()?) as f64 / 1e9,
    };
    if known.is_empty() || span <= 0.0 {
        return None;
    }
    let level = known.iter().sum::<f64>() / known.len() as f64;
    let floor = GUARD_BYTES.max(GUARD_LEVEL_SHARE * level) / span;
    let mut series = series.clone();
    // Resident memory is not what a collection leaves behind: judged as raw readings.
    series.collected = vec![false; series.value.len()];
    series.resolution = 4096.0;
    Some(judge::judge(
        &series,
        &judge::Terms {
            floor: Some(floor),
            ..judge_terms(terms, &Metric::OUTSIDE_HEAP, &Metric::OUTSIDE_HEAP)
        },
    ))
}

/// One answer for the run: leak if any judged series leaks, no leak if all are, else inconclusive. External
/// memory, a part of live bytes, can only raise a leak: where the sum is bounded, one part growing while the other falls
/// is no leak.
fn combine(
    series: Vec<SeriesRecord>,
    source: &Source,
    sources: &[Source],
    headline: &Metric,
) -> Judgement {
    let main = series
        .iter()
        .position(|s| s.metric == *headline && s.source == source.id && s.verdict.is_some());
    let Some(main) = main else {
        return Judgement {
            series,
            headline: None,
            verdict: None,
            reason: "nothing could be judged".to_owned(),
        };
    };
    let of = |outcome| {
        series
            .iter()
            .position(|s| s.part == Part::Judged && s.is(outcome))
    };
    let counts = |outcome| {
        series.iter().position(|s| {
            let is_part = s.source != source.id;
            s.part == Part::Judged && (s.metric.as_counted().is_some() || is_part) && s.is(outcome)
        })
    };
    let own = series[main].verdict.clone();
    if series[main].is(Outcome::Leak) {
        return Judgement {
            headline: Some(main),
            verdict: own,
            reason: String::new(),
            series,
        };
    }
    if let Some(other) = of(Outcome::Leak) {
        let verdict = series[other].verdict.clone();
        return Judgement {
            headline: Some(other),
            verdict,
            reason: String::new(),
            series,
        };
    }
    if let Some(g) = series
        .iter()
        .find(|s| s.part == Part::Guard && s.is(Outcome::Leak))
    {
        let rate = g
            .verdict
            .as_ref()
            .and_then(|v| v.growth.as_ref())
            .map_or(0.0, |growth| growth.rate);
        let per = g
            .verdict
            .as_ref()
            .and_then(|v| v.growth.as_ref())
            .map_or("operation", |growth| growth.per.as_str());
        let reason = format!(
            "growth outside the heap: {} per {per} of resident memory that the runtime cannot see",
            plimsoll_model::units::signed_bytes(rate)
        );
        let verdict = own.map(|v| v.reopened(&reason));
        return Judgement {
            headline: Some(main),
            verdict,
            reason,
            series,
        };
    }
    if series[main].is(Outcome::NoLeak)
        && let Some(other) = counts(Outcome::Inconclusive)
    {
        let why = series[other]
            .verdict
            .as_ref()
            .map_or("", |v| v.reason.as_str());
        let reason = match sources.iter().find(|s| s.id == series[other].source) {
            Some(part) if part.id != source.id => {
                format!("{} of {part}: {why}", series[other].metric)
            }
            _ => format!("{}: {why}", series[other].metric),
        };
        let verdict = own.map(|v| v.reopened(&reason));
        return Judgement {
            headline: Some(main),
            verdict,
            reason,
            series,
        };
    }
    Judgement {
        headline: Some(main),
        verdict: own,
        reason: String::new(),
        series,
    }
}

/// How the growth divides over heap, external and the rest. What is not distinguishable from nothing is zero.
pub(crate) fn shares(series: &[SeriesRecord], runtime: Option<&str>) -> Vec<Share> {
    let rate = |metric: &Metric| {
        let own = series.iter().find(|s| s.metric == *metric)?;
        let verdict = own.verdict.as_ref()?;
        let growth = verdict.growth.as_ref()?;
        // What a runtime keeps resident beside its heap goes up and down by megabytes: only what is called growth counts.
        let grows = own.part != Part::Guard || verdict.outcome == Outcome::Leak;
        Some(if grows && growth.interval.low > 0.0 {
            growth.rate
        } else {
            0.0
        })
    };
    let heap = if runtime == Some("node") {
        "V8 heap"
    } else {
        "heap"
    };
    let parts: Vec<(&str, f64)> = [
        (heap, Metric::HEAP_USED),
        ("external", Metric::EXTERNAL),
        ("outside the heap", Metric::OUTSIDE_HEAP),
    ]
    .into_iter()
    .filter_map(|(name, metric)| rate(&metric).map(|r| (name, r)))
    .collect();
    let total: f64 = parts.iter().map(|(_, r)| r).sum();
    if total <= 0.0 {
        return Vec::new();
    }
    parts
        .into_iter()
        .map(|(name, rate)| Share {
            name: name.to_owned(),
            rate,
            ratio: rate / total,
        })
        .collect()
}

/// Growth per round without operations: the median of the increments, before and after alike; `None` if not measured.
pub(crate) fn idle_growth_per_round(rounds: &[RoundRecord], metric: &Metric) -> Option<f64> {
    let mut increments: Vec<f64> = rounds
        .windows(2)
        .filter(|pair| pair[1].kind == RoundKind::Idle)
        // The first idle round after work also shows what that work left to settle.
        .filter(|pair| pair[0].kind == RoundKind::Idle)
        .filter_map(|pair| Some(pair[1].values.get(metric)? - pair[0].values.get(metric)?))
        .collect();
    if increments.is_empty() {
        return None;
    }
    increments.sort_by(f64::total_cmp);
    let middle = increments.len() / 2;
    Some(if increments.len() % 2 == 1 {
        increments[middle]
    } else {
        f64::midpoint(increments[middle - 1], increments[middle])
    })
}

#[cfg(test)]
mod tests {
    use plimsoll_model::{Latency, Ns, ProcessId, Role};

    use super::*;

    fn round(index: u32, values: &[(Metric, f64)]) -> RoundRecord {
        RoundRecord {
            index,
            kind: RoundKind::Measured,
            start: Ns(u64::from(index) * 1_000_000_000),
            end: Ns(u64::from(index) * 1_000_000_000 + 900_000_000),
            done: 1000,
            errors: 0,
            operations_so_far: 5000 + 1000 * u64::from(index),
            reconnects: 0,
            connections: 10,
            latency: Latency::default(),
            bytes_in: 150_000,
            driver_cpu_s: 0.0,
            collected: true,
            counted: true,
            parts: Vec::new(),
            values: values.iter().cloned().collect::<BTreeMap<_, _>>(),
        }
    }

    fn source() -> Source {
        Source {
            id: SourceId(1),
            process: ProcessId {
                pid: 4121,
                start_ticks: 7,
            },
            isolate: Some(0),
            role: Role::Service,
        }
    }

    fn terms() -> RoundTerms {
        RoundTerms {
            floor: None,
            look: 1,
            looks: 1,
            idle_growth_per_op: BTreeMap::new(),
            is_v8: false,
            heap_limit: None,
            process_limit: None,
            expected_rate: None,
            warm_up_operations: 5000,
            settled: true,
            axis: judge::Axis::Operations,
        }
    }

    fn judged(level: impl Fn(u32) -> Vec<(Metric, f64)>) -> Judgement {
        let rounds: Vec<RoundRecord> = (0..13).map(|i| round(i, &level(i))).collect();
        judge_rounds(
            &rounds.iter().collect::<Vec<_>>(),
            &source(),
            &[source()],
            &terms(),
        )
    }

    #[test]
    fn live_bytes_that_grow_are_the_headline() {
        let j = judged(|i| vec![(Metric::LIVE_BYTES, 2e7 + 1_884_000.0 * f64::from(i))]);
        let verdict = j.verdict.unwrap();
        assert_eq!(verdict.outcome, Outcome::Leak);
        assert!((verdict.growth.unwrap().rate - 1884.0).abs() < 1.0);
    }

    #[test]
    fn a_count_that_grows_is_a_leak_although_bytes_are_flat() {
        let listeners = Metric::counted("listeners", "Bus:change");
        let j = judged(|i| {
            vec![
                (Metric::LIVE_BYTES, 2e7),
                (listeners.clone(), 1000.0 * f64::from(i)),
            ]
        });
        assert_eq!(j.verdict.unwrap().outcome, Outcome::Leak);
        assert_eq!(j.series[j.headline.unwrap()].metric, listeners);
    }

    #[test]
    fn growth_that_the_runtime_cannot_see_is_never_no_leak() {
        let j = judged(|i| {
            vec![
                (Metric::LIVE_BYTES, 2e7),
                (Metric::OUTSIDE_HEAP, 5e7 + 4e6 * f64::from(i)),
            ]
        });
        assert_eq!(j.verdict.unwrap().outcome, Outcome::Inconclusive);
        assert!(j.reason.contains("outside the heap"), "{}", j.reason);
    }

    #[test]
    fn memory_that_grows_with_its_answers_is_no_leak_verdict() {
        let grows = |i: u32| vec![(Metric::LIVE_BYTES, 2e7 + 64_000.0 * f64::from(i))];
        let mut rounds: Vec<RoundRecord> = (0..13).map(|i| round(i, &grows(i))).collect();
        for (record, bytes) in rounds.iter_mut().zip((150_000..).step_by(20_000)) {
            record.bytes_in = bytes;
        }
        let all: Vec<&RoundRecord> = rounds.iter().collect();
        let verdict = judge_rounds(&all, &source(), &[source()], &terms())
            .verdict
            .unwrap();
        assert_eq!(verdict.outcome, Outcome::Inconclusive);
        let change = verdict.work_change.expect("the answers grew");
        assert_eq!(change.work, plimsoll_model::Work::ResponseBytes);
        assert!(change.from < 200.0 && change.to > 340.0, "{change:?}");
        // The same memory behind answers that stay as they are.
        let constant = judged(grows).verdict.unwrap();
        assert_eq!(constant.outcome, Outcome::Leak);
    }

    #[test]
    fn a_flat_service_is_no_leak() {
        let j = judged(|i| {
            vec![
                (Metric::LIVE_BYTES, 2e7 + f64::from(i % 3) * 200.0),
                (Metric::OUTSIDE_HEAP, 5e7 + f64::from(i % 2) * 4096.0),
            ]
        });
        assert_eq!(j.verdict.unwrap().outcome, Outcome::NoLeak);
    }
}
