//! Who else shares the service's work: its worker processes, and the worker threads of all of them.
//!
//! Each is measured in every round beside the main isolate, at the same time, and judged by itself and as a part of the
//! sum. One that does not answer a collection in time (a thread asleep in `Atomics.wait`) becomes context: it is named,
//! its memory stays with the guard of its process, and it is not asked again. One that ended leaves its readings.

use std::time::Duration;

use plimsoll_model::{
    Census, Collected, Cx, Finding, Gap, Mark, ProcessId, ProcessInfo, Role, RoundRecord, Scope,
    Source, SourceId,
};
use plimsoll_probe::{Error as ProbeError, IsolateInfo, Process};
use plimsoll_store::Record;

use crate::measure::kept;
use crate::session::{Inside, Session, Stop};

/// How long a part may take to answer. The main isolate has a minute; a thread that sleeps for good must not cost that.
const PATIENCE: Duration = Duration::from_secs(5);
/// Parts are isolates with a thread of ours each while they are asked; what exceeds this is not followed.
const MOST: usize = 256;

/// A worker process seen from outside, or an isolate that is not the service's main one.
pub(crate) struct Part {
    pub(crate) process: Process,
    /// `None` while the process is seen from outside only.
    pub(crate) isolate: Option<u32>,
    pub(crate) source: SourceId,
    pub(crate) inside: Option<Inside>,
    pub(crate) name: String,
    pub(crate) state: State,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Working,
    /// It did not answer in time, once.
    Silent,
    Ended,
}

impl Part {
    /// Whether the readings of its whole process are told with it: those of the service go with its main isolate.
    pub(crate) fn leads_its_process(&self, service: ProcessId) -> bool {
        self.process.id() != service && self.isolate.unwrap_or(0) == 0
    }
}

/// What the main isolate and the parts, in their order, said.
pub(crate) struct Answers<T> {
    pub(crate) main: Option<Result<T, ProbeError>>,
    pub(crate) parts: Vec<Option<T>>,
}

impl Session<'_> {
    /// Looks for parts that came since the last time.
    pub(crate) fn find_parts(&mut self) {
        self.absorb_hub_events();
        let port = self.service_port();
        let Some(service) = &self.service else { return };
        let main = service.process.id();
        let members = plimsoll_probe::members(&self.subject, port);
        if let Some(members) = &members {
            self.tell_tree(&members.processes);
        }
        // Members are told from the service they find; while one server replaces another that may be nobody.
        let workers: Vec<Process> = members
            .filter(|members| members.service.id() == main)
            .iter()
            .flat_map(|members| members.processes.iter().zip(&members.handles))
            .filter(|(info, _)| info.role == Role::Worker)
            .map(|(_, handle)| handle.clone())
            .collect();
        for worker in workers {
            self.add_worker(&worker);
        }
        let known: Vec<u64> = self
            .parts
            .iter()
            .filter_map(|part| part.inside.as_ref())
            .chain(self.service.as_ref().and_then(|s| s.runtime.as_ref()))
            .map(|inside| inside.key)
            .collect();
        let came: Vec<IsolateInfo> = self
            .isolates
            .iter()
            .filter(|isolate| !known.contains(&isolate.key) && !self.gone.contains(&isolate.key))
            .cloned()
            .collect();
        for isolate in came {
            self.add_isolate(&isolate);
        }
    }

    /// Records who joined the subject's tree since the last look, and who left.
    fn tell_tree(&mut self, living: &[ProcessInfo]) {
        let at = self.now();
        for info in living {
            if self.told.insert(info.id) {
                let process = Box::new(info.clone());
                self.recorder.record(Record::Process { at, process });
            }
        }
        let is_gone = |id: &ProcessId| living.iter().all(|info| info.id != *id);
        let gone: Vec<ProcessId> = self.told.iter().copied().filter(is_gone).collect();
        for process in gone {
            self.told.remove(&process);
            // How it ended, only its parent knows.
            let exit = None;
            self.recorder.record(Record::Exit { at, process, exit });
        }
    }

    fn add_worker(&mut self, worker: &Process) {
        let id = worker.id();
        if self.parts.iter().any(|part| part.process.id() == id) || self.parts.len() >= MOST {
            return;
        }
        let source = self.add_source(id, None, Role::Worker);
        self.watch.watch(source, worker.clone());
        if let Some(service) = &mut self.service
            && !service.processes.iter().any(|known| known.id == id)
        {
            service.processes.push(worker.info(Role::Worker));
        }
        self.parts.push(Part {
            process: worker.clone(),
            isolate: None,
            source,
            inside: None,
            name: format!("worker pid {}", id.pid),
            state: State::Working,
        });
        let has_probe = self.isolates.iter().any(|isolate| isolate.process == id);
        if !has_probe && self.may_attach(worker) {
            if let Err(why) = self.enter(worker) {
                self.gap(Gap {
                    what: format!("live bytes of worker pid {}", id.pid),
                    why: why.to_string(),
                });
            }
            self.hello_of(worker, PATIENCE);
        }
    }

    fn add_isolate(&mut self, isolate: &IsolateInfo) {
        let Some(service) = &self.service else { return };
        let id = isolate.process;
        let is_of_service = id == service.process.id();
        let leader = self
            .parts
            .iter()
            .position(|part| part.process.id() == id && part.isolate.unwrap_or(0) == 0);
        let process = match leader {
            _ if is_of_service => service.process.clone(),
            Some(at) => self.parts[at].process.clone(),
            // npm, a helper: not what is judged.
            None => return,
        };
        if is_of_service && service.runtime.is_none() || self.parts.len() >= MOST {
            return;
        }
        let role = if is_of_service {
            Role::Service
        } else {
            Role::Worker
        };
        let Some(runtime) = self.hub.as_ref().map(|hub| hub.runtime(isolate)) else {
            return;
        };
        let source = self.add_source(id, Some(isolate.isolate), role);
        let inside = Inside {
            runtime,
            source,
            info: isolate.capabilities.runtime.clone(),
            heap_limit: isolate.heap_limit,
            key: isolate.key,
        };
        for gap in &isolate.capabilities.gaps {
            self.gap(gap.clone());
        }
        match leader.filter(|_| isolate.isolate == 0) {
            Some(at) => {
                let part = &mut self.parts[at];
                part.isolate = Some(0);
                part.source = source;
                part.inside = Some(inside);
            }
            None => self.parts.push(Part {
                process,
                isolate: Some(isolate.isolate),
                source,
                inside: Some(inside),
                name: thread_name(isolate, is_of_service),
                state: State::Working,
            }),
        }
    }

    /// The source that rounds without parts are about.
    pub(crate) fn judged_alone(&self) -> Option<SourceId> {
        let service = self.service.as_ref()?;
        let main = service.runtime.as_ref();
        Some(main.map_or(service.source, |inside| inside.source))
    }

    /// What the values of these rounds are about: the service's main isolate, or the sum where others share its work.
    pub(crate) fn judged_source(&self, rounds: &[&RoundRecord]) -> Option<Source> {
        let id = match self.sum {
            Some(sum) if rounds.iter().any(|round| !round.parts.is_empty()) => sum,
            _ => self.judged_alone()?,
        };
        self.sources.iter().find(|source| source.id == id).cloned()
    }

    pub(crate) fn add_source(
        &mut self,
        process: ProcessId,
        isolate: Option<u32>,
        role: Role,
    ) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        let source = Source {
            id,
            process,
            isolate,
            role,
        };
        self.recorder.record(Record::Source(source.clone()));
        self.sources.push(source);
        id
    }

    /// Asks the main isolate and all parts to collect, at the same time.
    pub(crate) fn collect_everywhere(
        &mut self,
        patience: Duration,
    ) -> Result<Answers<Collected>, Stop> {
        self.ask_everywhere(patience, |inside, cx| inside.runtime.collect(cx))
    }

    /// The same for a census.
    pub(crate) fn count_everywhere(
        &mut self,
        scope: Scope,
        patience: Duration,
    ) -> Result<Answers<Census>, Stop> {
        self.ask_everywhere(patience, |inside, cx| inside.runtime.census(scope, cx))
    }

    /// Tells the main isolate and all parts where the run is. Never waits.
    pub(crate) fn mark(&mut self, mark: &Mark) {
        let parts = self
            .parts
            .iter_mut()
            .filter_map(|part| part.inside.as_mut());
        let main = self.service.as_mut().and_then(|s| s.runtime.as_mut());
        for inside in main.into_iter().chain(parts) {
            inside.runtime.mark(mark.clone());
        }
    }

    fn ask_everywhere<T: Send>(
        &mut self,
        patience: Duration,
        ask: impl Fn(&mut Inside, &Cx) -> Result<T, ProbeError> + Sync,
    ) -> Result<Answers<T>, Stop> {
        let cx = Cx::within(self.cancel, patience);
        let part_cx = cx.at_most(PATIENCE);
        let main = self.service.as_mut().and_then(|s| s.runtime.as_mut());
        let (main, answers) = std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .parts
                .iter_mut()
                .map(|part| {
                    let is_working = part.state == State::Working;
                    let inside = part.inside.as_mut().filter(|_| is_working)?;
                    let (ask, cx) = (&ask, &part_cx);
                    Some(scope.spawn(move || ask(inside, cx)))
                })
                .collect();
            let main = main.map(|inside| ask(inside, &cx));
            // A thread that panicked has no answer; its part is as good as gone.
            let answers: Vec<_> = asked
                .into_iter()
                .map(|one| one.map(|one| one.join().unwrap_or(Err(ProbeError::IsolateGone))))
                .collect();
            (main, answers)
        });
        let mut parts = Vec::with_capacity(answers.len());
        for (at, answer) in answers.into_iter().enumerate() {
            parts.push(match answer {
                None => None,
                Some(Ok(answer)) => Some(answer),
                Some(Err(error)) => {
                    self.part_failed(at, &error)?;
                    None
                }
            });
        }
        Ok(Answers { main, parts })
    }

    fn part_failed(&mut self, at: usize, error: &ProbeError) -> Result<(), Stop> {
        let name = self.parts[at].name.clone();
        match error {
            ProbeError::Cancelled => return Err(Stop::Interrupted),
            ProbeError::IsolateGone => self.parts[at].state = State::Ended,
            ProbeError::Deadline { .. } => {
                self.parts[at].state = State::Silent;
                self.found(Finding::info(
                    &format!("silent-{}", self.parts[at].source.0),
                    format!(
                        "{name} does not answer: it is not judged by itself, and not asked again"
                    ),
                ));
            }
            error => self.gap(Gap {
                what: format!("live bytes or counts of {name}"),
                why: error.to_string(),
            }),
        }
        Ok(())
    }
}

/// In rounds that one isolate had to itself, it is told as their only part: others will follow.
pub(crate) fn alone_in(rounds: &mut [RoundRecord], source: SourceId) {
    for round in rounds.iter_mut().filter(|round| round.parts.is_empty()) {
        round.parts.push(kept(source, round.values.clone()));
    }
}

fn thread_name(isolate: &IsolateInfo, is_of_service: bool) -> String {
    let name = match &isolate.name {
        Some(name) if !name.is_empty() => format!("worker thread {} ({name})", isolate.isolate),
        _ => format!("worker thread {}", isolate.isolate),
    };
    if is_of_service {
        name
    } else {
        format!("{name} of pid {}", isolate.process.pid)
    }
}
