//! From "it grows" to what grows: explainers turn counts at several windows into culprits.

use std::collections::BTreeSet;
use std::io;

use crate::containers;
use plimsoll_model::{
    Census, Culprit, EvidenceRequest, Facts, Metric, Outcome, Scope, Sink, Window, units,
};

use crate::holders::Holders;

/// Explains growth. Pure: it is given facts and evidence, and answers with culprits.
pub trait Explainer {
    /// What it wants captured at this window.
    fn wants(&self, at: Window, facts: &Facts) -> Vec<EvidenceRequest>;

    /// Where the bytes of that evidence go, captured at this window.
    fn sink(&mut self, at: Window, request: &EvidenceRequest) -> Box<dyn Sink>;

    /// Who holds the growth, the largest first.
    fn culprits(self: Box<Self>, facts: &Facts) -> Vec<Culprit>;
}

/// Explains growth by all there is: what can be counted, and who holds what in the heap.
#[derive(Debug, Default)]
pub(crate) struct All {
    counts: Counts,
    pub(crate) holders: Holders,
}

impl Explainer for All {
    fn wants(&self, at: Window, facts: &Facts) -> Vec<EvidenceRequest> {
        let mut wanted = self.counts.wants(at, facts);
        wanted.extend(self.holders.wants(at, facts));
        wanted
    }

    fn sink(&mut self, at: Window, request: &EvidenceRequest) -> Box<dyn Sink> {
        match request {
            EvidenceRequest::Census(_) => self.counts.sink(at, request),
            _ => self.holders.sink(at, request),
        }
    }

    fn culprits(self: Box<Self>, facts: &Facts) -> Vec<Culprit> {
        let mut counted = Box::new(self.counts).culprits(facts);
        let mut held = containers::culprits(facts);
        held.extend(crate::native::culprits(facts));
        held.extend(Box::new(self.holders).culprits(facts));
        if !held.is_empty() {
            // Classes were counted in case memory would not suffice for all snapshots.
            counted.retain(|c| c.pattern != OBJECTS);
        }
        merge(held, counted)
    }
}

/// One culprit for each thing: where a holder is known for what was counted, the count becomes its evidence.
fn merge(mut held: Vec<Culprit>, counted: Vec<Culprit>) -> Vec<Culprit> {
    for count in counted {
        let same = held.iter_mut().find(|h| h.pattern == count.pattern);
        match same {
            Some(holder) => {
                holder
                    .evidence
                    .push(format!("{}: {}", count.kind, count.evidence.join(", ")));
            }
            None => held.push(count),
        }
    }
    held
}

/// Explains growth by what can be counted: listeners, timers, active resources, descriptors.
///
/// A kind is named only if it grew by the same amount per operation in both explanation windows and was still there after
/// idling, and if the judge, where it had enough counts, does not call it level: a pool that fills is no culprit.
#[derive(Debug, Default)]
pub struct Counts;

/// Fewer than one in two hundred operations is not called growth: the floor of counts.
const LEAST_RATE: f64 = 0.005;

/// The family that the kernel tells, census or not.
const OPEN: &str = "descriptors";

/// Swallows bytes: censuses reach the explainer through its facts.
#[derive(Debug)]
struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl Explainer for Counts {
    fn wants(&self, _: Window, _: &Facts) -> Vec<EvidenceRequest> {
        vec![EvidenceRequest::Census(Scope::Resources)]
    }

    fn sink(&mut self, _: Window, _: &EvidenceRequest) -> Box<dyn Sink> {
        Box::new(Nowhere)
    }

    fn culprits(self: Box<Self>, facts: &Facts) -> Vec<Culprit> {
        let counted = facts
            .censuses
            .iter()
            .flat_map(|(_, census)| &census.rows)
            .map(|r| Metric::counted(&r.family, &r.kind));
        let judged = facts.verdicts.iter().map(|(metric, _)| metric.clone());
        let kinds: BTreeSet<Metric> = counted
            .chain(judged)
            .filter(|m| {
                m.as_counted()
                    .is_some_and(|(family, _)| family != MADE && !containers::is_ours(family))
            })
            .collect();
        let mut found: Vec<Culprit> = kinds
            .iter()
            .filter_map(|kind| culprit(kind, facts))
            .collect();
        found.sort_by(|a, b| {
            b.count_per_op
                .unwrap_or(0.0)
                .total_cmp(&a.count_per_op.unwrap_or(0.0))
        });
        told_apart(&mut found, facts);
        found
    }
}

/// Sampled allocations: they tell where, not how many.
const MADE: &str = "allocations";
/// Objects by class, counted where no snapshot could be taken.
const OBJECTS: &str = "objects kept";
/// Classes that everything consists of.
const GENERAL: [&str; 5] = ["Object", "Array", "Function", "Promise", "string"];

/// Of classes that grow, those that say something; and where the growth is allocated.
fn told_apart(found: &mut Vec<Culprit>, facts: &Facts) {
    let is_general = |c: &Culprit| GENERAL.iter().any(|g| c.kind == format!("{g} objects"));
    let is_class = |c: &Culprit| c.pattern == OBJECTS;
    if found.iter().any(|c| is_class(c) && !is_general(c)) {
        found.retain(|c| !is_class(c) || !is_general(c));
    }
    let made = facts.censuses.iter().rev().find_map(|(_, census)| {
        let rows = census.rows.iter().filter(|r| r.family == MADE);
        rows.max_by_key(|r| r.bytes)
    });
    let (Some(first), Some(made)) = (found.iter_mut().find(|c| is_class(c)), made) else {
        return;
    };
    if let Some((function, place)) = made.kind.split_once(' ') {
        let place = crate::snapshot::object::relative(crate::snapshot::object::file(place));
        first.place = Some(place.to_owned());
        first.evidence.push(format!(
            "most of it is allocated by {function} ({place}), sampled"
        ));
    }
}

/// How growth of a family reads: noun, pattern, advice.
pub(crate) fn wording(family: &str, kind: &str) -> (String, &'static str, &'static str) {
    match family {
        "listeners" => {
            let (emitter, event) = kind.split_once(':').unwrap_or((kind, "any event"));
            (
                format!("listeners for `{event}` on {emitter}"),
                "event listeners",
                "a listener is added per operation and never removed: use `once`, `off` in a `finally`, or an AbortSignal",
            )
        }
        "timers" => (
            format!("{kind} timers"),
            "timers",
            "a timer is started per operation and never cleared: keep its handle and clear it when the operation ends",
        ),
        "tasks" => (
            format!("unfinished asyncio tasks of `{kind}`"),
            "pending promises/tasks",
            "a task is started per operation and never ends: await it, cancel it in a `finally`, or use a task group",
        ),
        "threads" => (
            format!("threads named `{kind}`"),
            "threads",
            "a thread is started per operation and never ends: use a pool, or tell the thread to stop and join it",
        ),
        "objects" => (
            format!("{kind} objects"),
            OBJECTS,
            "see what keeps them where they are made: only a heap snapshot would name their holder",
        ),
        "descriptors" if kind == "socket" => (
            "open sockets".to_owned(),
            "connections left open",
            "a connection is opened per operation and never closed: return it to a pool, or close it in a `finally`",
        ),
        "descriptors" => (
            format!("open descriptors to {kind}"),
            "descriptors",
            "something is opened per operation and never closed: close it in a `finally`",
        ),
        _ if kind == "Worker" => (
            "running Workers".to_owned(),
            "workers left running",
            "a worker is started per operation and never ends: `terminate` it, or keep a pool",
        ),
        _ if kind == "MessagePort" => (
            "open MessagePorts".to_owned(),
            "handles left open",
            "a port is opened per operation and never closed: `close` it; closing one of two closes both",
        ),
        _ => (
            format!("active {kind}"),
            "pending promises/tasks",
            "something is started per operation and never ends: see that each one is awaited, destroyed or closed",
        ),
    }
}

/// The culprit of one counted kind, if it is one.
fn culprit(metric: &Metric, facts: &Facts) -> Option<Culprit> {
    let (family, kind) = metric.as_counted()?;
    let verdict = facts
        .verdicts
        .iter()
        .find(|(m, _)| m == metric)
        .map(|(_, v)| v);
    let judged = verdict
        .filter(|v| v.outcome == Outcome::Leak)
        .and_then(|v| v.growth.as_ref());
    if verdict.is_some_and(|v| v.outcome == Outcome::NoLeak) {
        return None;
    }
    let windows = Windows::of(family, kind, facts);
    let rate = match (&windows, judged) {
        (Some(windows), _) => windows.rate(),
        (None, Some(growth)) => growth.rate,
        (None, None) => return None,
    };
    if rate < LEAST_RATE
        || windows
            .as_ref()
            .is_some_and(|w| !w.agree(judged.map_or(rate, |g| g.rate)))
    {
        return None;
    }
    let (noun, pattern, advice) = wording(family, kind);
    let mut evidence = Vec::new();
    if let Some(growth) = judged {
        evidence.push(format!(
            "{} more per operation (95 % CI {} … {})",
            units::count(growth.rate),
            units::count(growth.interval.low),
            units::count(growth.interval.high)
        ));
    }
    evidence.extend(windows.map(|w| w.to_string()));
    Some(Culprit {
        kind: noun,
        holder: None,
        place: None,
        count_per_op: Some(judged.map_or(rate, |g| g.rate)),
        bytes_per_op: None,
        share: None,
        pattern: pattern.to_owned(),
        advice: advice.to_owned(),
        evidence,
    })
}

/// Counts of one kind at the four windows.
struct Windows {
    counts: [f64; 4],
    operations: [f64; 3],
}

impl Windows {
    fn of(family: &str, kind: &str, facts: &Facts) -> Option<Self> {
        let count = |window: Window| {
            let census: &Census = facts
                .censuses
                .iter()
                .find(|(w, _)| *w == window)
                .map(|(_, c)| c)?;
            let own = census
                .rows
                .iter()
                .find(|r| r.family == family && r.kind == kind);
            // A kind that is absent is zero only where its family was counted; a service always has some listener.
            let counted = census
                .rows
                .iter()
                .any(|r| r.family == family || (family != OPEN && r.family == "listeners"));
            own.map(|r| r.count as f64).or(counted.then_some(0.0))
        };
        let operations = |window: Window| {
            facts
                .operations
                .iter()
                .find(|(w, _)| *w == window)
                .map(|&(_, n)| n as f64)
        };
        let [baseline, plus_n, plus_2n, last] = Window::ALL;
        Some(Self {
            counts: [
                count(baseline)?,
                count(plus_n)?,
                count(plus_2n)?,
                count(last)?,
            ],
            operations: [
                operations(baseline)?,
                operations(plus_n)?,
                operations(plus_2n)?,
            ],
        })
    }

    /// Growth per operation over both windows.
    fn rate(&self) -> f64 {
        (self.counts[2] - self.counts[0]) / (self.operations[2] - self.operations[0]).max(1.0)
    }

    /// Whether both windows grew at the rate of the rounds, within a quarter, and nothing was given back after idling.
    fn agree(&self, rate: f64) -> bool {
        let grown = |a: usize, b: usize| {
            let operations = self.operations[b] - self.operations[a];
            operations > 0.0
                && ((self.counts[b] - self.counts[a]) / operations - rate).abs()
                    <= 0.25 * rate.abs()
        };
        grown(0, 1)
            && grown(1, 2)
            && self.counts[3] - self.counts[0] >= 0.75 * (self.counts[2] - self.counts[0])
    }
}

impl std::fmt::Display for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d] = self.counts.map(units::count);
        write!(
            f,
            "counted {a}, {b} after +N, {c} after +2N, {d} after idling"
        )
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_model::{CensusRow, Growth, Interval, Method, Ns, Verdict};

    use super::*;

    fn facts(counts: [u64; 4]) -> Facts {
        let census = |count| Census {
            at: Ns(0),
            method: Method::Exact,
            rows: vec![CensusRow {
                family: "listeners".to_owned(),
                kind: "Bus:change".to_owned(),
                count,
                bytes: None,
            }],
            pause_ns: 0,
        };
        let verdict = Verdict {
            outcome: Outcome::Leak,
            reason: String::new(),
            more_operations: None,
            more_seconds: None,
            leak_probability: 1.0,
            pattern: "linear".to_owned(),
            growth: Some(Growth {
                rate: 1.0,
                interval: Interval {
                    low: 1.0,
                    high: 1.0,
                },
                per: "operation".to_owned(),
                per_second: None,
                per_second_interval: None,
                per_operation: Some(1.0),
                onset_s: None,
                plateau: None,
                time_to_limit: None,
                acceleration: 1.0,
                consistency: 1.0,
                correlation: None,
            }),
            bound: None,
            detectable: None,
            floor: 0.005,
            alpha: 0.01,
            warm_up_operations: 0,
            repairs: vec![],
            bets_p_value: None,
            work_change: None,
            slowdown: None,
            curve: None,
        };
        Facts {
            verdicts: vec![(Metric::counted("listeners", "Bus:change"), verdict)],
            operations: vec![
                (Window::Baseline, 10_000),
                (Window::PlusN, 11_000),
                (Window::Plus2N, 12_000),
            ],
            rate: None,
            censuses: Window::ALL.into_iter().zip(counts.map(census)).collect(),
            part: vec![],
            answered: vec![],
            native: vec![],
        }
    }

    #[test]
    fn a_kind_that_grows_alike_in_both_windows_is_named() {
        let culprits = Box::new(Counts).culprits(&facts([10_000, 11_000, 12_000, 12_000]));
        assert_eq!(culprits.len(), 1);
        assert_eq!(culprits[0].kind, "listeners for `change` on Bus");
        assert_eq!(culprits[0].pattern, "event listeners");
    }

    #[test]
    fn a_pool_that_stops_filling_or_empties_when_idle_is_not() {
        assert!(
            Box::new(Counts)
                .culprits(&facts([10_000, 11_000, 11_000, 11_000]))
                .is_empty()
        );
        assert!(
            Box::new(Counts)
                .culprits(&facts([10_000, 11_000, 12_000, 10_000]))
                .is_empty()
        );
    }
}
