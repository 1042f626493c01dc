//! Which limit would be met first, and how much is left below it.
//!
//! A heap limit is a level of the heap. Limits of control groups and of the machine bound what many share, so they are no
//! level of anything we judge: what counts is the room left below them, on top of where the judged series stands.

use plimsoll_model::{EffectiveLimit, LimitKind, Limits, Metric};
use plimsoll_probe::{Cgroup, Process};

use crate::judged::Judgement;
use crate::session::Session;

/// The limits that apply to one process, and the room below them now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Room {
    pub(crate) limits: Limits,
    left: Option<(u64, LimitKind)>,
}

impl Room {
    /// What limits a process, and the heap inside it if that has a limit.
    pub(crate) fn of(process: Option<&Process>, heap: Option<u64>) -> Self {
        let cgroup = process
            .and_then(Cgroup::of)
            .map(|cgroup| cgroup.read())
            .unwrap_or_default();
        let host = plimsoll_probe::available_memory().map(|bytes| (bytes, LimitKind::Host));
        Self {
            limits: Limits {
                heap,
                cgroup: cgroup.limit,
                host: plimsoll_probe::host_memory(),
                cgroup_high: cgroup.high,
                effective: None,
            },
            left: cgroup
                .room
                .into_iter()
                .chain(host)
                .min_by_key(|&(room, _)| room),
        }
    }

    /// Memory that could still be taken on this computer and in its control groups, in bytes.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left.map(|(room, _)| room)
    }

    /// The limit that a series of this metric meets first, from where it stands.
    pub(crate) fn effective(&self, metric: &Metric, stands_at: f64) -> Option<EffectiveLimit> {
        let stands_at = stands_at.max(0.0) as u64;
        let shared = self.left.map(|(room, kind)| EffectiveLimit {
            kind,
            room,
            level: stands_at.saturating_add(room),
        });
        let heap = self.limits.heap.filter(|_| is_in_heap(metric));
        heap.map(|level| EffectiveLimit {
            kind: LimitKind::Heap,
            room: level.saturating_sub(stands_at),
            level,
        })
        .into_iter()
        .chain(shared)
        .min_by_key(|limit| limit.level)
    }

    /// The same as a level for the judge.
    pub(crate) fn level(&self, metric: &Metric, stands_at: Option<f64>) -> Option<f64> {
        let stands_at = stands_at.filter(|value| value.is_finite())?;
        self.effective(metric, stands_at)
            .map(|limit| limit.level as f64)
    }

    /// The limits, with the one that counts for what a judgement is about.
    pub(crate) fn told_for(&self, judgement: Option<&Judgement>) -> Limits {
        let headline = judgement.and_then(|j| j.series.get(j.headline?));
        let last = headline.and_then(|series| {
            let values = &series.points.as_ref()?.value;
            let value = values.iter().rev().find(|value| value.is_finite())?;
            Some((&series.metric, *value))
        });
        Limits {
            effective: last.and_then(|(metric, value)| self.effective(metric, value)),
            ..self.limits
        }
    }
}

fn is_in_heap(metric: &Metric) -> bool {
    [
        Metric::LIVE_BYTES,
        Metric::HEAP_USED,
        Metric::HEAP_USED_AFTER_GC,
    ]
    .contains(metric)
}

impl Session<'_> {
    /// What limits the service now.
    pub(crate) fn room(&self) -> Room {
        let service = self.service.as_ref();
        let heap = service
            .and_then(|s| s.runtime.as_ref())
            // Each isolate has a heap of its own: what several have together meets no such limit.
            .filter(|_| self.parts.is_empty())
            .and_then(|r| r.heap_limit);
        Room::of(service.map(|s| &s.process), heap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(heap: Option<u64>, left: Option<(u64, LimitKind)>) -> Room {
        Room {
            limits: Limits {
                heap,
                ..Limits::default()
            },
            left,
        }
    }

    #[test]
    fn the_first_limit_to_be_met_is_named() {
        let both = room(Some(1000), Some((300, LimitKind::Cgroup)));
        let found = both.effective(&Metric::LIVE_BYTES, 400.0).unwrap();
        assert_eq!(
            (found.kind, found.room, found.level),
            (LimitKind::Cgroup, 300, 700)
        );
        let found = both.effective(&Metric::LIVE_BYTES, 800.0).unwrap();
        assert_eq!(
            (found.kind, found.room, found.level),
            (LimitKind::Heap, 200, 1000)
        );
        // Resident memory may pass what the heap may hold.
        let found = both.effective(&Metric::RSS_ANON, 900.0).unwrap();
        assert_eq!((found.kind, found.level), (LimitKind::Cgroup, 1200));
    }

    #[test]
    fn without_limits_there_is_none() {
        assert_eq!(room(None, None).effective(&Metric::LIVE_BYTES, 1.0), None);
        let heap_only = room(Some(10), None);
        assert_eq!(heap_only.effective(&Metric::RSS_ANON, 1.0), None);
        assert_eq!(heap_only.level(&Metric::LIVE_BYTES, None), None);
    }
}
