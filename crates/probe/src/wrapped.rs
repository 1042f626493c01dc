//! A command that we stand before without being in its way: it keeps our standard streams, our session, our process group
//! and with them the terminal; signals that reach us are passed on to it, its orphans are reaped, and its exit status is
//! ours to repeat. Fit to be the first process of a container.
//!
//! Unlike a [`Subject`](crate::Subject) it is not ours to end: when we die, it lives.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Exit};

use crate::os::signals::{CHILD, SignalQueue};
use crate::process::Process;
use crate::subject::{Launch, find_program, spawn_error};
use crate::{Error, os, tree};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGHUP: i32 = 1;

/// The signals of this process, taken over to be passed on.
#[derive(Debug)]
pub struct Signals(SignalQueue);

impl Signals {
    /// From now on signals wait to be passed on, in this thread and in those it starts. Only for a program's `main`,
    /// before any other thread runs.
    ///
    /// # Errors
    /// If the system has no descriptors left.
    pub fn take() -> Result<Self, Error> {
        SignalQueue::block()
            .map(Self)
            .map_err(|error| Error::io("take over the signals", error))
    }
}

/// A command we wrap.
#[derive(Debug)]
pub struct Wrapped {
    process: Process,
    signals: Signals,
}

impl Wrapped {
    /// Starts the command. Its orphans become ours from here on.
    ///
    /// # Errors
    /// [`Error::CommandNotFound`] and [`Error::NotExecutable`] before anything is started; [`Error::Spawn`] if the system
    /// refuses.
    pub fn spawn(launch: &Launch, signals: Signals) -> Result<Self, Error> {
        let name: OsString = launch.command.first().cloned().unwrap_or_default();
        let program = find_program(&name, launch)?;
        os::keep_ended_children();
        // Where that is refused, orphans go to whoever takes them now.
        let _ = os::become_subreaper();
        let mut command = Command::new(&program);
        command
            .arg0(&name)
            .args(launch.command.iter().skip(1))
            .envs(launch.env.iter().map(|(name, value)| (name, value)));
        signals.0.restore_in(&mut command);
        let child = command
            .spawn()
            .map_err(|error| spawn_error(&name, &program, error))?;
        // Nobody but `attend` reaps, so even a command that has ended already can be opened.
        let process = Process::open_ended(child.id())?;
        Ok(Self { process, signals })
    }

    /// The process started.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether processes that came of the command outlived it.
    pub fn has_survivors(&self) -> bool {
        tree::own_children().is_some_and(|children| !children.is_empty())
    }

    /// Passes signals on and reaps until the command has ended; says how it did. Once `over` is asked for, the command is
    /// told to end (`SIGTERM`), and killed after `grace`; so is then what it left behind.
    pub fn attend(&self, over: Option<&Cancel>, grace: Duration) -> Exit {
        let mut kill_at: Option<Instant> = None;
        let mut killed = false;
        loop {
            // Taken from the queue before anybody is reaped: the news of a death in between must still wait there below.
            while let Some(arrived) = self.signals.0.next() {
                if arrived.signal != CHILD {
                    self.pass_on(arrived.signal, arrived.by_kernel);
                }
            }
            if let Some(exit) = self.reap() {
                if over.is_some_and(Cancel::is_cancelled) {
                    self.end_survivors(grace);
                }
                return exit;
            }
            if over.is_some_and(Cancel::is_cancelled) && kill_at.is_none() {
                let _ = self.process.signal(SIGTERM);
                kill_at = Some(Instant::now() + grace);
            }
            if kill_at.is_some_and(|at| Instant::now() >= at) && !killed {
                killed = true;
                let _ = self.process.signal(SIGKILL);
            }
            let signals = self.signals.0.as_fd();
            // Waiting cannot fail but for want of memory; a failure must not become a busy loop.
            let waited = match (kill_at, over) {
                (Some(at), _) if !killed => os::wait_readable([signals], Some(at)).map(|_| ()),
                (None, Some(over)) => os::wait_readable([signals, over.fd()], None).map(|_| ()),
                _ => os::wait_readable([signals], None).map(|_| ()),
            };
            if waited.is_err() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Ends what the command left behind: its orphans are our children.
    fn end_survivors(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let mut asked = BTreeSet::new();
        loop {
            self.reap();
            let left: Vec<Process> = tree::own_children()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|pid| Process::open(pid).ok())
                .collect();
            if left.is_empty() {
                return;
            }
            let late = Instant::now() >= deadline;
            for process in &left {
                // Children of those that end become ours only then: asked one after another.
                if late || asked.insert(process.id()) {
                    let _ = process.signal(if late { SIGKILL } else { SIGTERM });
                }
            }
            let fds: Vec<BorrowedFd<'_>> = left.iter().map(Process::pidfd).collect();
            let soon = Instant::now() + Duration::from_millis(50);
            if os::wait_any_readable(&fds, if late { soon } else { deadline }).is_err() {
                return;
            }
        }
    }

    /// A signal of the terminal has reached the command as well, unless it left our group.
    fn pass_on(&self, signal: i32, by_kernel: bool) {
        let shares_group = self
            .process
            .stat()
            .is_some_and(|stat| stat.group == os::own_group());
        // A hang-up reaches the leader of the session alone.
        if !by_kernel || !shares_group || signal == SIGHUP {
            let _ = self.process.signal(signal);
        }
    }

    /// Reaps everything that has ended; says how the command did, if it was among it.
    fn reap(&self) -> Option<Exit> {
        let mut own = None;
        while let Ok(Some((pid, exit))) = os::reap_any() {
            if pid == self.process.id().pid {
                own = Some(exit);
            }
        }
        own
    }
}
