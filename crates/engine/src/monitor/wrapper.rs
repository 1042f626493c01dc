//! `monitor -- CMD`: the command comes first. It is started, its signals are passed on and its orphans reaped by a thread
//! that does nothing else; everything that could fail happens in another one.

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Event, Exit, Run};
use plimsoll_probe::{Hub, Launch, Wrapped};

use super::{Monitor, Watched};
use crate::environment::environment;
use crate::error::Error;
use crate::place::Chosen;

/// How long a command may take to end once the planned time is over.
const GRACE: Duration = Duration::from_secs(10);

/// A command that was started to be watched.
#[derive(Debug)]
pub struct Wrapper {
    command: Vec<OsString>,
    wrapped: Wrapped,
    hub: Option<Hub>,
    no_probe: Option<String>,
    place: Option<Chosen>,
    epoch: Instant,
}

impl Wrapper {
    /// Starts the command with our own standard streams, and takes over the signals of this process: only for a program's
    /// `main`, before it has other threads that should act on them.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn start(command: Vec<OsString>, interval: Duration) -> Result<Self, Error> {
        let epoch = Instant::now();
        // Started before any thread: the hub's must have the signals blocked too.
        let signals = plimsoll_probe::Signals::take()?;
        let (hub, mut no_probe) = match Hub::start(epoch, &super::hub_options(interval)) {
            Ok(hub) => (Some(hub), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut env = Vec::new();
        if let Some(hub) = &hub {
            let (merged, why_not) = environment(&command, &[], hub);
            env = merged;
            no_probe = why_not.map(str::to_owned);
        }
        let wrapped = spawn(command.clone(), env, signals)?;
        Ok(Self {
            command,
            wrapped,
            hub,
            no_probe,
            place: None,
            epoch,
        })
    }

    /// The same for a command that another one is run by, which writes into the place of the run; no probe is put in.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start_by(
        runner: Vec<OsString>,
        command: Vec<OsString>,
        place: Chosen,
    ) -> Result<Self, Error> {
        let epoch = Instant::now();
        let signals = plimsoll_probe::Signals::take()?;
        Ok(Self {
            wrapped: spawn(runner, Vec::new(), signals)?,
            command,
            hub: None,
            no_probe: None,
            place: Some(place),
            epoch,
        })
    }

    /// Watches the command until it has ended; after the planned time it is told to. Says how it ended, and what was seen:
    /// `None` if watching failed, which the command never notices.
    pub fn monitor(
        self,
        config: &Monitor,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> (Exit, Option<Result<Run, Error>>) {
        self.watch(config, events, |_| {})
    }

    /// The same; the run is completed before it is written.
    pub(crate) fn watch(
        self,
        config: &Monitor,
        events: &mut (dyn FnMut(Event) + Send),
        complete: impl FnOnce(&mut Run) + Send,
    ) -> (Exit, Option<Result<Run, Error>>) {
        let Self {
            command,
            wrapped,
            hub,
            no_probe,
            place,
            epoch,
        } = self;
        let ended = OnceLock::new();
        let cancels = Cancel::try_new().and_then(|over| Ok((over, Cancel::try_new()?)));
        let Ok((over, stop)) = cancels else {
            // No descriptors left: the command still gets its signals, for as long as it lives.
            return (wrapped.attend(None, GRACE), None);
        };
        let (exit, run) = std::thread::scope(|scope| {
            let watched = Watched {
                command: &command,
                roots: vec![wrapped.process().clone()],
                hub: hub.as_ref(),
                no_probe,
                said: Vec::new(),
                exit: &ended,
                place,
            };
            let (over, stop) = (&over, &stop);
            let watching = std::thread::Builder::new()
                .name("monitor".to_owned())
                .spawn_scoped(scope, move || {
                    let watch = AssertUnwindSafe(|| {
                        super::conclude(config, watched, epoch, events, stop)
                            .map(|run| run.keep_with(complete))
                    });
                    let run = std::panic::catch_unwind(watch);
                    // Either the command has ended, or the planned time is over, or we failed, and it goes on.
                    if matches!(run, Ok(Ok(_))) && !stop.is_cancelled() {
                        over.cancel();
                    }
                    run.ok()
                });
            let exit = wrapped.attend(Some(over), GRACE);
            let _ = ended.set(exit);
            stop.cancel();
            let run = watching.ok().and_then(|thread| thread.join().ok()?);
            (exit, run)
        });
        if wrapped.has_survivors() {
            // A daemon it left behind may still start programs with the carrier: a file that is gone would stop them.
            std::mem::forget(hub);
        }
        (exit, run)
    }
}

/// Starts a command whose signals are ours to pass on.
fn spawn(
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    signals: plimsoll_probe::Signals,
) -> Result<Wrapped, Error> {
    let launch = Launch {
        command,
        env,
        output_dir: None,
    };
    let wrapped = Wrapped::spawn(&launch, signals)?;
    // Afterwards: the command keeps the limit there was.
    let _ = plimsoll_probe::raise_descriptor_limit();
    Ok(wrapped)
}
