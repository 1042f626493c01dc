//! What a monitor keeps to judge in the end: the readings of each series, bounded, and the verdicts on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_judge as judge;
use plimsoll_model::{
    Metric, Ns, Outcome, Part, PointSet, Role, SeriesRecord, Source, SourceId, Verdict,
};

use crate::judged::{Judgement, series_id};
use crate::limits::Room;

/// Readings kept of all series together: 32 MiB. Then every second one goes, the higher of each pair.
const MOST_READINGS: usize = 2 << 20;
/// Processes judged by themselves at most: those that grew most. All count in the sum.
const MOST_JUDGED: usize = 16;
/// Points of a series in the run document; the log keeps all.
const POINTS: usize = 120;

/// Readings in the order in which they were taken.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    tracks: BTreeMap<(SourceId, Metric), Track>,
    readings: usize,
}

#[derive(Debug, Default)]
struct Track {
    t_ns: Vec<u64>,
    value: Vec<f64>,
}

impl Tracks {
    pub(super) fn add(&mut self, source: SourceId, metric: &Metric, at: Ns, value: f64) {
        let key = (source, metric.clone());
        let track = self.tracks.entry(key).or_default();
        track.t_ns.push(at.0);
        track.value.push(value);
        self.readings += 1;
        if self.readings >= MOST_READINGS {
            self.tracks.values_mut().for_each(Track::halve);
            self.readings = self.tracks.values().map(|t| t.value.len()).sum();
        }
    }

    /// Judges what there is: by process, and as a sum where there were several. A process counts by its heap where a probe
    /// told it, else by its resident anonymous memory, and only if it was there for half of the time.
    pub(super) fn judge(
        self,
        sources: &[Source],
        room: &Room,
        floor: Option<f64>,
        planned: Option<Duration>,
        watched: Ns,
    ) -> Judgement {
        let with_heap: BTreeSet<_> = self
            .tracks
            .keys()
            .filter(|(_, metric)| *metric == Metric::HEAP_USED)
            .filter_map(|(id, _)| sources.iter().find(|s| s.id == *id).map(|s| s.process))
            .collect();
        let long_enough =
            |track: &Track| track.value.len() >= 2 && track.span() * 2 >= watched.0 / 100 * 99;
        let mut chosen: Vec<(SourceId, Metric, Track, &Source)> = Vec::new();
        let mut sums = Vec::new();
        for ((id, metric), track) in self.tracks {
            let Some(source) = sources.iter().find(|s| s.id == id) else {
                continue;
            };
            if metric == Metric::RSS_ANON_SUM {
                sums.push((id, metric, track, source));
            } else if long_enough(&track)
                && source.role != Role::Wrapper
                && (metric == Metric::HEAP_USED || !with_heap.contains(&source.process))
            {
                chosen.push((id, metric, track, source));
            }
        }
        chosen.sort_by(|a, b| b.2.growth().total_cmp(&a.2.growth()));
        chosen.truncate(MOST_JUDGED);
        chosen.append(&mut sums);

        let mut verdicts: Vec<judge::Verdict> = chosen
            .iter()
            .map(|(_, metric, track, source)| {
                let terms = judge::Terms {
                    floor,
                    planned_ns: planned.map(|p| Ns::from_duration(p).0),
                    limit: room.level(metric, track.value.last().copied()),
                    ..judge::Terms::default()
                };
                judge::judge(&track.series(metric, source), &terms)
            })
            .collect();
        judge::correct_family(&mut verdicts);
        let outcome = judge::overall(&verdicts);
        let series: Vec<SeriesRecord> = chosen
            .into_iter()
            .zip(&verdicts)
            .map(|((source, metric, track, _), verdict)| SeriesRecord {
                unit: metric.unit(),
                part: Part::Judged,
                source,
                points: Some(track.thinned()),
                band: None,
                verdict: Some(Verdict::from(verdict)),
                metric,
            })
            .collect();
        combine(series, outcome, sources)
    }
}

/// The run's verdict: that of the series that leaks most, else that of the one that is least settled.
fn combine(series: Vec<SeriesRecord>, outcome: judge::Overall, sources: &[Source]) -> Judgement {
    let rate = |s: &SeriesRecord| {
        let growth = s.verdict.as_ref().and_then(|v| v.growth.as_ref());
        growth.map_or(0.0, |growth| growth.rate)
    };
    let wanted = match outcome {
        judge::Overall::Leak => Outcome::Leak,
        judge::Overall::NoLeak => Outcome::NoLeak,
        judge::Overall::Inconclusive => Outcome::Inconclusive,
    };
    let is_service = |s: &SeriesRecord| {
        let source = sources.iter().find(|source| source.id == s.source);
        source.is_some_and(|source| source.role == Role::Service)
    };
    let headline = (0..series.len())
        .filter(|&i| series[i].is(wanted))
        .max_by(|&a, &b| {
            let (a, b) = (&series[a], &series[b]);
            // The sum repeats what one process of it does.
            let is_sum = |s: &SeriesRecord| s.metric == Metric::RSS_ANON_SUM;
            (!is_sum(a))
                .cmp(&!is_sum(b))
                .then(rate(a).total_cmp(&rate(b)))
                .then(is_service(a).cmp(&is_service(b)))
        });
    let reason = if series.is_empty() {
        "no process was there for half of the time".to_owned()
    } else {
        String::new()
    };
    Judgement {
        verdict: headline.and_then(|i| series[i].verdict.clone()),
        headline,
        reason,
        series,
    }
}

impl Track {
    fn span(&self) -> u64 {
        match (self.t_ns.first(), self.t_ns.last()) {
            (Some(first), Some(last)) => last.saturating_sub(*first),
            _ => 0,
        }
    }

    fn growth(&self) -> f64 {
        match (self.value.first(), self.value.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0.0,
        }
    }

    /// Keeps the lower of each pair of readings: the judge looks at the lower envelope.
    fn halve(&mut self) {
        let kept: Vec<usize> = (0..self.value.len())
            .step_by(2)
            .map(|i| match self.value.get(i + 1) {
                Some(next) if *next < self.value[i] => i + 1,
                _ => i,
            })
            .collect();
        self.t_ns = kept.iter().map(|&i| self.t_ns[i]).collect();
        self.value = kept.iter().map(|&i| self.value[i]).collect();
    }

    fn series(&self, metric: &Metric, source: &Source) -> judge::Series {
        judge::Series {
            id: series_id(source),
            metric: metric.as_str().to_owned(),
            quantity: judge::Quantity::Bytes,
            axis: judge::Axis::Time,
            t_ns: self.t_ns.clone(),
            value: self.value.clone(),
            resolution: if *metric == Metric::HEAP_USED {
                1.0
            } else {
                4096.0
            },
            ..judge::Series::default()
        }
    }

    /// The lowest reading of each of at most [`POINTS`] equal stretches: what a report draws.
    fn thinned(&self) -> PointSet {
        let stride = self.value.len().div_ceil(POINTS).max(1);
        let mut points = PointSet::default();
        for start in (0..self.value.len()).step_by(stride) {
            let stretch = start..(start + stride).min(self.value.len());
            let lowest = stretch.min_by(|&a, &b| self.value[a].total_cmp(&self.value[b]));
            if let Some(i) = lowest {
                points.t.push(Ns(self.t_ns[i]));
                points.value.push(self.value[i]);
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_model::ProcessId;

    fn source(id: u32, role: Role) -> Source {
        Source {
            id: SourceId(id),
            process: ProcessId {
                pid: 100 + id,
                start_ticks: 1,
            },
            isolate: None,
            role,
        }
    }

    fn add(tracks: &mut Tracks, id: u32, metric: &Metric, value: impl Fn(u64) -> f64) {
        for i in 0..600 {
            let noise = (i * 7919 % 13) as f64 * 4096.0;
            tracks.add(SourceId(id), metric, Ns(i * 100_000_000), value(i) + noise);
        }
    }

    fn judged(tracks: Tracks, sources: &[Source]) -> Judgement {
        tracks.judge(
            sources,
            &Room::default(),
            None,
            Some(Duration::from_mins(1)),
            Ns(60_000_000_000),
        )
    }

    #[test]
    fn one_of_several_that_grows_is_found_and_named() {
        let sources: Vec<Source> = (0..3).map(|id| source(id, Role::Service)).collect();
        let mut tracks = Tracks::default();
        for id in 0..3 {
            let slope = if id == 1 { 40_000.0 } else { 0.0 };
            add(&mut tracks, id, &Metric::RSS_ANON, |i| {
                5e7 + slope * i as f64
            });
        }
        add(&mut tracks, 0, &Metric::RSS_ANON_SUM, |i| {
            15e7 + 40_000.0 * i as f64
        });
        let judgement = judged(tracks, &sources);
        let headline = &judgement.series[judgement.headline.unwrap()];
        assert_eq!(headline.source, SourceId(1));
        assert_eq!(headline.metric, Metric::RSS_ANON);
        assert!(headline.is(Outcome::Leak));
        let sum = judgement
            .series
            .iter()
            .find(|s| s.metric == Metric::RSS_ANON_SUM);
        assert!(sum.unwrap().is(Outcome::Leak));
    }

    #[test]
    fn a_heap_speaks_for_its_process_and_a_wrapper_for_nobody() {
        let sources = [source(0, Role::Service), source(1, Role::Wrapper)];
        let mut tracks = Tracks::default();
        add(&mut tracks, 0, &Metric::RSS_ANON, |i| {
            5e7 + 40_000.0 * i as f64
        });
        add(&mut tracks, 0, &Metric::HEAP_USED, |_| 2e7);
        add(&mut tracks, 1, &Metric::RSS_ANON, |i| {
            5e7 + 40_000.0 * i as f64
        });
        let judgement = judged(tracks, &sources);
        let metrics: Vec<&Metric> = judgement.series.iter().map(|s| &s.metric).collect();
        assert_eq!(metrics, [&Metric::HEAP_USED]);
        assert!(!judgement.series[0].is(Outcome::Leak));
    }

    #[test]
    fn who_was_there_for_a_moment_is_not_judged() {
        let mut tracks = Tracks::default();
        for i in 0..10 {
            let at = Ns(i * 100_000_000);
            tracks.add(SourceId(0), &Metric::RSS_ANON, at, i as f64 * 1e7);
        }
        let judgement = judged(tracks, &[source(0, Role::Service)]);
        assert!(judgement.verdict.is_none() && !judgement.reason.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_stays_the_lower_edge() {
        let mut track = Track::default();
        for i in 0..1001_u64 {
            track.t_ns.push(i);
            track.value.push(if i % 2 == 0 { 5.0 } else { 9.0 });
        }
        track.halve();
        assert_eq!(track.value, vec![5.0; 501]);
        assert_eq!(track.t_ns[500], 1000);
    }
}
