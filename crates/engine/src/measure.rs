//! One measurement: everything there is to read about the service at one moment, after a forced collection where a probe
//! answers.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_model::{
    Collected, Finding, Gap, Metric, Ns, PartReadings, Role, Sample, Scope, SourceId, units,
};
use plimsoll_probe::{Error as ProbeError, Process, Published};

use crate::judged::V8_SWAY;
use crate::parts::State;
use crate::session::{Session, Stop};

/// How long a forced collection may take before the subject counts as hanging.
const COLLECT_DEADLINE: Duration = Duration::from_mins(1);

/// Readings at one moment.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) at: Ns,
    pub(crate) collected: bool,
    pub(crate) values: BTreeMap<Metric, f64>,
    /// Of each who shares the work, where there are several.
    pub(crate) parts: Vec<PartReadings>,
    /// What the census cost the subject, if one was taken.
    pub(crate) census_pause: Option<Duration>,
}

/// What of a part is kept with a round; the rest is only in the sum.
const KEPT: [Metric; 5] = [
    Metric::LIVE_BYTES,
    Metric::HEAP_USED,
    Metric::EXTERNAL,
    Metric::RSS_ANON,
    Metric::OUTSIDE_HEAP,
];

/// Readings of one moment by their source, the main isolate's first.
type Readings = Vec<(SourceId, BTreeMap<Metric, f64>)>;

/// What a round keeps of a part.
pub(crate) fn kept(source: SourceId, mut values: BTreeMap<Metric, f64>) -> PartReadings {
    values.retain(|metric, _| KEPT.contains(metric));
    PartReadings { source, values }
}

/// What became of a forced collection.
enum Answer {
    Collected(Box<Collected>),
    /// There is nobody to ask.
    NoProbe,
    /// No answer in time.
    Silent,
}

impl Session<'_> {
    /// Reads everything there is to read about the service and who shares its work: after a forced collection where there
    /// is a probe, with a census if one is wanted.
    pub(crate) fn measure(&mut self, census: Option<Scope>) -> Result<Measurement, Stop> {
        self.check_alive()?;
        self.find_parts();
        let (main, parts) = self.collect(COLLECT_DEADLINE)?;
        match main {
            Answer::Collected(collected) => self.read(Some(&collected), &parts, census),
            Answer::NoProbe => self.read(None, &parts, census),
            Answer::Silent => {
                self.check_alive()?;
                Err(Stop::failed(format!(
                    "the subject hangs: it did not answer a forced collection within {}",
                    units::duration(COLLECT_DEADLINE.as_secs_f64())
                )))
            }
        }
    }

    /// The same with other patience: a subject that does not answer in time leaves a gap, not a failed run.
    pub(crate) fn try_measure(&mut self, patience: Duration) -> Result<Option<Measurement>, Stop> {
        self.find_parts();
        let (main, parts) = self.collect(patience)?;
        match main {
            Answer::Collected(collected) => self.read(Some(&collected), &parts, None).map(Some),
            Answer::NoProbe if self.has_allocator() => self.read(None, &parts, None).map(Some),
            Answer::NoProbe => Ok(None),
            Answer::Silent => {
                let what = "live bytes at times".to_owned();
                let why = "the subject was too busy to answer a forced collection".to_owned();
                self.gap(Gap { what, why });
                Ok(None)
            }
        }
    }

    /// Whether the runtime of the service is V8.
    pub(crate) fn is_v8(&self) -> bool {
        let runtime = self.service.as_ref().and_then(|s| s.runtime.as_ref());
        runtime.is_some_and(|inside| ["node", "deno"].contains(&inside.info.name.as_str()))
    }

    /// Bytes that the service's heap rises by although nothing is kept.
    pub(crate) fn heap_sway(&self) -> f64 {
        if self.is_v8() { V8_SWAY } else { 0.0 }
    }

    /// Whether the service's allocator publishes what it counts.
    pub(crate) fn has_allocator(&self) -> bool {
        let process = self.service.as_ref().map(|service| &service.process);
        process.is_some_and(|process| self.published(process).is_some())
    }

    fn read(
        &mut self,
        main: Option<&Collected>,
        parts: &[Option<Collected>],
        census: Option<Scope>,
    ) -> Result<Measurement, Stop> {
        let at = self.now();
        let readings = self.readings(main, parts);
        let mut values: BTreeMap<Metric, f64> = BTreeMap::new();
        for (_, own) in &readings {
            for (metric, value) in own {
                *values.entry(metric.clone()).or_default() += value;
            }
        }
        self.watch.mark();
        for &(source, ref own) in &readings {
            let headlines = [Metric::LIVE_BYTES, Metric::HEAP_USED, Metric::EXTERNAL];
            let sample = |metric: Metric| {
                let value = *own.get(&metric)?;
                Some(Sample {
                    at,
                    source,
                    metric,
                    value,
                })
            };
            self.recorder
                .row(&mut headlines.into_iter().filter_map(sample).collect());
        }
        let census_pause = match census {
            Some(scope) => self.census(scope, &mut values)?,
            None => None,
        };
        let parts: Vec<PartReadings> = match readings.len() {
            // One is not told apart from the whole, unless it took the place of another.
            0 | 1 if self.restarts == 0 => Vec::new(),
            _ => readings.into_iter().map(|(s, v)| kept(s, v)).collect(),
        };
        if !parts.is_empty() && self.sum.is_none() {
            let process = self.service.as_ref().map(|s| s.process.id());
            self.sum = process.map(|process| self.add_source(process, None, Role::Sum));
        }
        // What an allocator counts is alive: nothing of it waits to be collected.
        let is_exact = main.is_some() || values.contains_key(&Metric::LIVE_BYTES);
        Ok(Measurement {
            at,
            collected: is_exact,
            values,
            parts,
            census_pause,
        })
    }

    /// Sorts what isolates said and the kernel knows of their processes by who it is about.
    fn readings(&self, main: Option<&Collected>, parts: &[Option<Collected>]) -> Readings {
        let Some(service) = &self.service else {
            return Vec::new();
        };
        let values = |collected: Option<&Collected>| -> BTreeMap<Metric, f64> {
            let all = collected.into_iter().flat_map(|c| &c.values);
            all.cloned().collect()
        };
        let source = service
            .runtime
            .as_ref()
            .map_or(service.source, |r| r.source);
        let mut own = values(main);
        read_process(
            &service.process,
            self.known_to(&service.process, main, parts),
            &mut own,
        );
        self.read_allocator(&service.process, &mut own);
        let mut readings = vec![(source, own)];
        for (part, collected) in self.parts.iter().zip(parts) {
            if part.state == State::Ended {
                continue;
            }
            let mut own = values(collected.as_ref());
            if part.leads_its_process(service.process.id()) {
                let known = self.known_to(&part.process, None, parts);
                read_process(&part.process, known, &mut own);
                self.read_allocator(&part.process, &mut own);
            }
            if !own.is_empty() {
                readings.push((part.source, own));
            }
        }
        readings
    }

    /// Live bytes by the program's own allocator, where it publishes them and no runtime has told of its.
    fn read_allocator(&self, process: &Process, values: &mut BTreeMap<Metric, f64>) {
        if let Some(published) = self.published(process)
            && !values.contains_key(&Metric::LIVE_BYTES)
        {
            values.insert(Metric::LIVE_BYTES, published.live_bytes as f64);
        }
    }

    /// What the allocator of a process publishes, if it does.
    pub(crate) fn published(&self, process: &Process) -> Option<Published> {
        // What cannot be read is said when the subject is ready.
        self.hub.as_ref()?.published(process.id()).ok().flatten()
    }

    /// What the runtime of a process accounts for of its resident memory, over all isolates that answered.
    fn known_to(
        &self,
        process: &Process,
        main: Option<&Collected>,
        parts: &[Option<Collected>],
    ) -> Option<f64> {
        let parts = self
            .parts
            .iter()
            .zip(parts)
            .filter(|(part, _)| part.process.id() == process.id())
            .filter_map(|(_, collected)| collected.as_ref());
        let mut known = None;
        for collected in main.into_iter().chain(parts) {
            let both = [Metric::HEAP_PHYSICAL, Metric::EXTERNAL].map(|m| collected.get(&m));
            if let [Some(heap), Some(external)] = both {
                *known.get_or_insert(0.0) += heap + external;
            }
        }
        known
    }

    /// Forces a collection everywhere.
    fn collect(&mut self, patience: Duration) -> Result<(Answer, Vec<Option<Collected>>), Stop> {
        let answers = self.collect_everywhere(patience)?;
        for answer in answers.parts.iter().flatten() {
            self.pause += Duration::from_nanos(answer.pause_ns);
        }
        let main = match answers.main {
            None => Answer::NoProbe,
            Some(Ok(answer)) => {
                self.pause += Duration::from_nanos(answer.pause_ns);
                Answer::Collected(Box::new(answer))
            }
            Some(Err(ProbeError::Cancelled)) => return Err(Stop::Interrupted),
            Some(Err(ProbeError::Deadline { .. })) => Answer::Silent,
            Some(Err(error @ ProbeError::Unsupported { .. })) => {
                // Without collections the probe tells nothing that may be judged: process level from here on.
                if let Some(service) = self.service.as_mut() {
                    service.runtime = None;
                }
                self.gap(Gap {
                    what: "live bytes".to_owned(),
                    why: error.to_string(),
                });
                Answer::NoProbe
            }
            Some(Err(error)) => {
                // A probe that is lost because its process died is no news of its own.
                self.check_alive()?;
                return Err(Stop::failed(format!("the probe was lost: {error}")));
            }
        };
        Ok((main, answers.parts))
    }

    /// What a census counts, in the words of the service's runtime.
    pub(crate) fn counted(&self) -> &'static str {
        let inside = self.service.as_ref().and_then(|s| s.runtime.as_ref());
        match inside.map(|inside| inside.info.name.as_str()) {
            Some("python") => "threads and tasks",
            _ => "listeners and timers",
        }
    }

    /// Counts what can be counted, everywhere; a census that fails is a gap, not the end of the run. What it cost.
    fn census(
        &mut self,
        scope: Scope,
        values: &mut BTreeMap<Metric, f64>,
    ) -> Result<Option<Duration>, Stop> {
        let answers = self.count_everywhere(scope, COLLECT_DEADLINE)?;
        let main = match answers.main {
            None => None,
            Some(Ok(answer)) => Some(answer),
            Some(Err(ProbeError::Cancelled)) => return Err(Stop::Interrupted),
            // Said when it introduced itself.
            Some(Err(ProbeError::Unsupported { .. })) => return Ok(None),
            Some(Err(error)) => {
                self.check_alive()?;
                self.gap(Gap {
                    what: format!("counts of {}", self.counted()),
                    why: error.to_string(),
                });
                self.found(Finding::warning(
                    "census-failed",
                    format!("no census: {error}"),
                    None,
                ));
                return Ok(None);
            }
        };
        let main_inside = self.service.as_ref().and_then(|s| s.runtime.as_ref());
        let gaps = main_inside.map(|inside| inside.runtime.capabilities().gaps.clone());
        for gap in gaps.into_iter().flatten() {
            self.gap(gap);
        }
        let mut pause = None;
        for census in main.into_iter().chain(answers.parts.into_iter().flatten()) {
            let took = Duration::from_nanos(census.pause_ns);
            self.pause += took;
            *pause.get_or_insert(Duration::ZERO) += took;
            for row in &census.rows {
                let metric = Metric::counted(&row.family, &row.kind);
                *values.entry(metric).or_default() += row.count as f64;
            }
        }
        Ok(pause)
    }
}

/// Level 0: memory, descriptors by target, and what of resident memory its runtime does not account for.
fn read_process(process: &Process, known: Option<f64>, values: &mut BTreeMap<Metric, f64>) {
    if let Some(memory) = process.memory() {
        values.insert(Metric::RSS, memory.rss as f64);
        if let Some(anon) = memory.rss_anon {
            values.insert(Metric::RSS_ANON, anon as f64);
            if let Some(known) = known {
                values.insert(Metric::OUTSIDE_HEAP, anon as f64 - known);
            }
        }
    }
    if let Some(threads) = process.threads() {
        values.insert(Metric::THREADS, threads as f64);
    }
    if let Some(kinds) = process.descriptors_by_target() {
        values.insert(Metric::DESCRIPTORS, kinds.values().sum::<u64>() as f64);
        for (kind, count) in kinds {
            values.insert(Metric::counted("descriptors", &kind), count as f64);
        }
    }
}
