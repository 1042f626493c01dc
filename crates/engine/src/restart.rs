//! A service that is started anew in mid-run: by a watcher when a file changes, or by whoever keeps it running.
//!
//! What it kept is gone with it, so what comes is a new epoch: a source of its own, a probe of its own, another warm-up. Growth
//! within the lives, put end to end, can still prove a leak; nothing can prove that there is none.

use std::time::{Duration, Instant};

use plimsoll_model::{Event, Finding, Phase, Role, SubjectHandle, units};
use plimsoll_store::Record;

use crate::config::Ready;
use crate::drive::Drive;
use crate::parts::{State, alone_in};
use crate::ready::accepts;
use crate::rounds::Journey;
use crate::session::{Session, Stop};

/// A service that is started anew more often is not measured but waited for.
const MOST: u32 = 8;
/// Poll period while waiting.
const POLL: Duration = Duration::from_millis(25);
/// Share of the time that is left which warming up once more may take.
const WARM_UP_SHARE: f64 = 0.1;

impl Session<'_> {
    /// After `stop`: waits until the same program serves again, if the service ended and what started it goes on. Gives back
    /// the stop otherwise.
    pub(crate) fn await_replacement(&mut self, stop: Stop) -> Result<(), Stop> {
        let Some(before) = &self.service else {
            return Err(stop);
        };
        let (process, command) = (before.process.clone(), before.info.command.clone());
        let starter = self.subject.process().id();
        let is_module = matches!(self.config.ready, Ready::Module);
        if is_module
            || matches!(stop, Stop::Interrupted)
            || process.is_alive()
            || starter == process.id()
        {
            return Err(stop);
        }
        if self.restarts >= MOST {
            return Err(Stop::failed(format!(
                "the service was started anew {} times: it does not live long enough to be measured",
                self.restarts
            ))
            .hint("see its output for why it ends, or check it without what restarts it"));
        }
        let detail = format!(
            "again: pid {} ended, and what started it goes on",
            process.id().pid
        );
        self.tell(Event::PhaseStarted {
            phase: Phase::Start,
            detail,
        });
        let deadline = Instant::now() + self.config.ready_timeout;
        let port = self.service_port();
        let service = loop {
            if self.cancel.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            self.absorb_hub_events();
            // Its last words are known once it has ended too.
            if !self.subject.process().is_alive() {
                return self.check_alive().and(Err(stop));
            }
            let found = self
                .answers_again()
                .then(|| plimsoll_probe::members(&self.subject, port))
                .flatten()
                .filter(|members| {
                    members.service.id() != process.id()
                        && members.service.info(Role::Service).command == command
                });
            if let Some(members) = found {
                break members;
            }
            if Instant::now() >= deadline {
                let within = units::duration(self.config.ready_timeout.as_secs_f64());
                return Err(stop.hint(format!(
                    "what started it goes on, but nothing took its place within {within}"
                )));
            }
            self.nap(POLL);
        };
        self.restarts += 1;
        let at = self.now();
        let what = format!(
            "the service was started anew: pid {} in place of {}",
            service.service.id().pid,
            process.id().pid
        );
        self.recorder.record(Record::Mark { at, what });
        // Whoever shared its work went with it.
        for part in &mut self.parts {
            if !part.process.is_alive() {
                part.state = State::Ended;
            }
        }
        self.adopt(service);
        self.name_restarts();
        self.tell(Event::PhaseEnded {
            phase: Phase::Start,
            detail: "ready again".to_owned(),
        });
        Ok(())
    }

    fn answers_again(&self) -> bool {
        match &self.config.ready {
            Ready::Url(url, statuses) => {
                let wire = &self.config.wire;
                plimsoll_load::probe_ready(url, wire, Duration::from_secs(2), statuses).is_ok()
            }
            Ready::Port(port) => accepts(*port),
            // What a module kept is gone with its process.
            Ready::Module => false,
            Ready::Log(_) | Ready::Started => self.service_port().is_none_or(accepts),
        }
    }

    /// Said once, with the number of times so far.
    fn name_restarts(&mut self) {
        const ID: &str = "restarted";
        let times = match self.restarts {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        self.findings.retain(|finding| finding.id != ID);
        self.found(Finding::warning(
            ID,
            format!("the service was started anew {times} in the run: each time its memory began anew"),
            Some("check it without what restarts it: `node server.js` instead of a watcher, and leave its files alone meanwhile"),
        ));
    }
}

impl Journey {
    /// Goes through a part of the journey, from its beginning again whenever the service was started anew in it.
    pub(crate) fn through(
        &mut self,
        drive: &mut Drive<'_, '_>,
        part: impl Fn(&mut Self, &mut Drive<'_, '_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        loop {
            let Err(stop) = part(self, drive) else {
                return Ok(());
            };
            self.begin_anew(drive, stop)?;
        }
    }

    /// Waits for the service's replacement and warms it up, in which it may be started anew again.
    fn begin_anew(&mut self, drive: &mut Drive<'_, '_>, mut stop: Stop) -> Result<(), Stop> {
        loop {
            let before = drive.session.judged_alone();
            drive.session.await_replacement(stop)?;
            // From here on there are several lives to tell apart, in the rounds before too.
            if let Some(source) = before {
                alone_in(&mut self.rounds, source);
            }
            match self.warm_up_again(drive) {
                Ok(()) => return Ok(()),
                Err(again) => stop = again,
            }
        }
    }

    fn warm_up_again(&mut self, drive: &mut Drive<'_, '_>) -> Result<(), Stop> {
        if let Some(service) = &drive.session.service {
            let process = service.process.id();
            drive
                .driver
                .prepare(&SubjectHandle { process })
                .map_err(|e| Stop::failed(format!("the load cannot go on: {e}")))?;
        }
        let until = Instant::now() + self.left().mul_f64(WARM_UP_SHARE);
        let mut left = self.plan.warm_up_operations;
        while left > 0 && Instant::now() < until {
            let n = self.in_a_round().min(left);
            self.warm(drive, n)?;
            left -= n;
        }
        Ok(())
    }
}
