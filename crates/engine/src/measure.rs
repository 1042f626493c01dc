//! One measurement: everything there is to read about the service at one moment, after a forced collection where a probe
//! answers.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_model::{Census, Collected, Cx, Finding, Gap, Mark, Metric, Ns, Sample, Scope, units};
use plimsoll_probe::Error as ProbeError;

use crate::session::{Inside, Session, Stop};

/// How long a forced collection may take before the subject counts as hanging.
const COLLECT_DEADLINE: Duration = Duration::from_mins(1);

/// Readings at one moment.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) at: Ns,
    pub(crate) collected: bool,
    pub(crate) values: BTreeMap<Metric, f64>,
    /// What the census cost the subject, if one was taken.
    pub(crate) census_pause: Option<Duration>,
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
    /// Reads everything there is to read about the service now: after a forced collection if there is a probe, with a
    /// census if one is wanted.
    pub(crate) fn measure(&mut self, census: bool) -> Result<Measurement, Stop> {
        self.check_alive()?;
        match self.collect(COLLECT_DEADLINE)? {
            Answer::Collected(collected) => self.read(Some(&collected), census),
            Answer::NoProbe => self.read(None, census),
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
        match self.collect(patience)? {
            Answer::Collected(collected) => self.read(Some(&collected), false).map(Some),
            Answer::NoProbe => Ok(None),
            Answer::Silent => {
                let what = "live bytes at times".to_owned();
                let why = "the subject was too busy to answer a forced collection".to_owned();
                self.gap(Gap { what, why });
                Ok(None)
            }
        }
    }

    fn read(&mut self, collected: Option<&Collected>, census: bool) -> Result<Measurement, Stop> {
        let at = self.now();
        let mut values: BTreeMap<Metric, f64> = collected
            .iter()
            .flat_map(|c| c.values.iter().cloned())
            .collect();
        self.read_process(&mut values);
        let census = if census { self.census()? } else { None };
        for row in census.iter().flat_map(|c| &c.rows) {
            values.insert(Metric::counted(&row.family, &row.kind), row.count as f64);
        }
        self.watch.mark();
        if let (Some(_), Some(inside)) = (collected, self.inside()) {
            for metric in [Metric::LIVE_BYTES, Metric::HEAP_USED, Metric::EXTERNAL] {
                if let Some(&value) = values.get(&metric) {
                    self.recorder.sample(Sample {
                        at,
                        source: inside.source,
                        metric,
                        value,
                    });
                }
            }
        }
        Ok(Measurement {
            at,
            collected: collected.is_some(),
            values,
            census_pause: census.map(|c| Duration::from_nanos(c.pause_ns)),
        })
    }

    /// Tells the service's probe where the run is. Never waits.
    pub(crate) fn mark(&mut self, mark: Mark) {
        if let Some(inside) = self.inside_mut() {
            inside.runtime.mark(mark);
        }
    }

    fn inside(&self) -> Option<&Inside> {
        self.service.as_ref()?.runtime.as_ref()
    }

    fn inside_mut(&mut self) -> Option<&mut Inside> {
        self.service.as_mut()?.runtime.as_mut()
    }

    /// Forces a collection.
    fn collect(&mut self, patience: Duration) -> Result<Answer, Stop> {
        let cx = Cx::within(self.cancel, patience);
        let Some(inside) = self.inside_mut() else {
            return Ok(Answer::NoProbe);
        };
        match inside.runtime.collect(&cx) {
            Ok(answer) => {
                self.pause += Duration::from_nanos(answer.pause_ns);
                Ok(Answer::Collected(Box::new(answer)))
            }
            Err(ProbeError::Cancelled) => Err(Stop::Interrupted),
            Err(ProbeError::Deadline { .. }) => Ok(Answer::Silent),
            Err(error @ ProbeError::Unsupported { .. }) => {
                // Without collections the probe tells nothing that may be judged: process level from here on.
                if let Some(service) = self.service.as_mut() {
                    service.runtime = None;
                }
                self.gap(Gap {
                    what: "live bytes".to_owned(),
                    why: error.to_string(),
                });
                Ok(Answer::NoProbe)
            }
            Err(error) => {
                // A probe that is lost because its process died is no news of its own.
                self.check_alive()?;
                Err(Stop::failed(format!("the probe was lost: {error}")))
            }
        }
    }

    /// Counts what can be counted; a census that fails is a gap, not the end of the run.
    fn census(&mut self) -> Result<Option<Census>, Stop> {
        let cx = Cx::within(self.cancel, COLLECT_DEADLINE);
        let Some(inside) = self.inside_mut() else {
            return Ok(None);
        };
        match inside.runtime.census(Scope::Resources, &cx) {
            Ok(answer) => {
                let gaps = inside.runtime.capabilities().gaps.clone();
                self.pause += Duration::from_nanos(answer.pause_ns);
                for gap in gaps {
                    self.gap(gap);
                }
                Ok(Some(answer))
            }
            Err(ProbeError::Cancelled) => Err(Stop::Interrupted),
            Err(error) => {
                self.check_alive()?;
                self.gap(Gap {
                    what: "counts of listeners and timers".to_owned(),
                    why: error.to_string(),
                });
                self.found(Finding::warning(
                    "census-failed",
                    format!("no census: {error}"),
                    None,
                ));
                Ok(None)
            }
        }
    }

    /// Level 0: memory, descriptors by target, and what of resident memory the runtime does not account for.
    fn read_process(&self, values: &mut BTreeMap<Metric, f64>) {
        let Some(service) = &self.service else { return };
        if let Some(memory) = service.process.memory() {
            values.insert(Metric::RSS, memory.rss as f64);
            if let Some(anon) = memory.rss_anon {
                values.insert(Metric::RSS_ANON, anon as f64);
                let runtime =
                    [Metric::HEAP_PHYSICAL, Metric::EXTERNAL].map(|m| values.get(&m).copied());
                if let [Some(heap), Some(external)] = runtime {
                    values.insert(Metric::OUTSIDE_HEAP, anon as f64 - heap - external);
                }
            }
        }
        if let Some(threads) = service.process.threads() {
            values.insert(Metric::THREADS, threads as f64);
        }
        if let Some(kinds) = service.process.descriptors_by_target() {
            values.insert(Metric::DESCRIPTORS, kinds.values().sum::<u64>() as f64);
            for (kind, count) in kinds {
                values.insert(Metric::counted("descriptors", &kind), count as f64);
            }
        }
    }
}
