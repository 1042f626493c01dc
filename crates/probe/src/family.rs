//! Running processes and all that come of them, looked at again and again: who joined, who left, who became another program.
//!
//! Nothing is asked of them and nothing is changed. A process that was seen once as a descendant stays one when its parent
//! ends before it. What forks twice and ends between two looks was never there for us.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use plimsoll_model::{Cancel, ProcessId};

use crate::process::Process;
use crate::tree::{self, Seen};
use crate::{Error, os};

/// Up to so many members, every look asks each whether it became another program.
const ASKED: usize = 128;

/// Processes and their descendants.
#[derive(Debug)]
pub struct Family {
    members: BTreeMap<ProcessId, Member>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    process: Process,
    is_root: bool,
    command: (Option<String>, Vec<String>),
}

/// What changed since the last look.
#[derive(Debug, Default)]
pub struct FamilyChange {
    /// New members, oldest first.
    pub joined: Vec<Process>,
    /// Members that became another program.
    pub replaced: Vec<Process>,
    /// Members that ended.
    pub left: Vec<Process>,
}

impl Family {
    /// These processes; their descendants are found by the first [`Family::look`], which tells the roots as joined too.
    pub fn of(roots: Vec<Process>) -> Self {
        let members = roots.into_iter().map(|process| {
            let member = Member {
                command: (None, Vec::new()),
                is_root: true,
                process,
            };
            (member.process.id(), member)
        });
        Self {
            members: members.collect(),
            buffer: Vec::new(),
        }
    }

    /// Everybody living, oldest first.
    pub fn members(&self) -> impl Iterator<Item = &Process> {
        self.members.values().map(|member| &member.process)
    }

    /// Whether one of the processes it began with still lives.
    pub fn has_root(&self) -> bool {
        self.members.values().any(|member| member.is_root)
    }

    /// Looks for who joined and who left; about 10 µs per member.
    pub fn look(&mut self) -> FamilyChange {
        let mut change = FamilyChange::default();
        self.members.retain(|_, member| {
            let lives = member.process.is_alive();
            if !lives {
                change.left.push(member.process.clone());
            }
            lives
        });
        for seen in self.descendants() {
            let id = seen.id();
            if self.members.contains_key(&id) {
                continue;
            }
            // Opened and still the same: it cannot be mistaken from here on.
            let Some(process) = Process::open(id.pid).ok().filter(|p| p.id() == id) else {
                continue;
            };
            let member = Member {
                command: (None, Vec::new()),
                is_root: false,
                process,
            };
            self.members.insert(id, member);
        }
        let few = self.members.len() <= ASKED;
        for member in self.members.values_mut() {
            let is_new = member.command.1.is_empty() && member.command.0.is_none();
            if !(is_new || few) {
                continue;
            }
            let command = member.process.command();
            if is_new {
                change.joined.push(member.process.clone());
            } else if command != member.command {
                change.replaced.push(member.process.clone());
            }
            member.command = match command {
                // A kernel thread has neither: known by something all the same.
                (None, words) if words.is_empty() => (Some(String::new()), words),
                command => command,
            };
        }
        change
            .joined
            .sort_by_key(|p| (p.id().start_ticks, p.id().pid));
        change
    }

    fn descendants(&mut self) -> Vec<Seen> {
        let mut found = Vec::new();
        let mut known: BTreeSet<u32> = self.members.keys().map(|id| id.pid).collect();
        let mut open: Vec<Seen> = self
            .members
            .keys()
            .filter_map(|id| tree::look_into(id.pid, &mut self.buffer).filter(|s| s.id() == *id))
            .collect();
        let mut children = Vec::new();
        while let Some(parent) = open.pop() {
            children.clear();
            if !tree::children_of(&parent, &mut children, &mut self.buffer) {
                return self.search();
            }
            for pid in children.drain(..) {
                if known.insert(pid)
                    && let Some(child) = tree::look_into(pid, &mut self.buffer)
                    && !child.is_dead
                {
                    found.push(child);
                    open.push(child);
                }
            }
        }
        found
    }

    /// Where the kernel keeps no lists of children: all of procfs.
    fn search(&self) -> Vec<Seen> {
        let mut rest: Vec<Seen> = tree::scan();
        rest.retain(|seen| !seen.is_dead);
        let mut known: BTreeSet<u32> = self.members.keys().map(|id| id.pid).collect();
        let mut found = Vec::new();
        loop {
            let before = found.len();
            rest.retain(|seen| {
                let is_child = known.contains(&seen.parent) && known.insert(seen.pid);
                if is_child {
                    found.push(*seen);
                }
                !is_child
            });
            if found.len() == before {
                return found;
            }
        }
    }
}

/// Waits until one of the processes has ended, `cancel` is asked for, or the deadline is reached.
pub fn wait_for_end(processes: &[&Process], cancel: &Cancel, deadline: Instant) {
    let fds: Vec<BorrowedFd<'_>> = processes
        .iter()
        .map(|process| process.pidfd())
        .chain([cancel.fd()])
        .collect();
    // An error leaves nothing to wait with; the next look is merely early, and never in a busy loop.
    if os::wait_any_readable(&fds, deadline).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The running processes of this name, oldest first: by the name of the executable, of the program as it calls itself, or of
/// the script that an interpreter runs. Without this process.
///
/// # Errors
/// If there are more than `most`: a name that means everything is no name.
pub fn processes_named(name: &str, most: usize) -> Result<Vec<Process>, Error> {
    let own = std::process::id();
    let mut found: Vec<Process> = tree::scan()
        .into_iter()
        .filter(|seen| !seen.is_dead && seen.pid != own)
        .filter_map(|seen| Process::open(seen.pid).ok().filter(|p| p.id() == seen.id()))
        .filter(|process| is_named(&process.command(), name))
        .collect();
    found.sort_by_key(|p| (p.id().start_ticks, p.id().pid));
    if found.len() > most {
        return Err(Error::TooMany {
            what: format!("{} processes are named `{name}`", found.len()),
            most,
        });
    }
    Ok(found)
}

fn is_named((executable, words): &(Option<String>, Vec<String>), name: &str) -> bool {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    // npm writes "npm start" over its arguments.
    let title = words
        .first()
        .map(|word| word.split(' ').next().unwrap_or(word).to_owned());
    let script = words.iter().skip(1).find(|word| !word.starts_with('-'));
    executable.iter().any(|path| base(path) == name)
        || title
            .iter()
            .any(|word| base(word.trim_end_matches(':')) == name)
        || script.is_some_and(|word| base(word) == name && word.contains(['/', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_program_its_title_or_its_script() {
        let command = |executable: &str, line: &str| {
            let words = line.split(' ').map(str::to_owned).collect();
            (Some(executable.to_owned()), words)
        };
        let node = command("/usr/bin/node", "node --trace-gc src/server.js --port 1");
        for (name, expected) in [
            ("node", true),
            ("server.js", true),
            ("server", false),
            ("--port", false),
            ("nod", false),
        ] {
            assert_eq!(is_named(&node, name), expected, "{name}");
        }
        assert!(is_named(
            &command("/usr/bin/python3.11", "gunicorn: worker"),
            "gunicorn"
        ));
        assert!(is_named(&(None, vec!["npm start".to_owned()]), "npm"));
        // A word that is no file is an argument.
        assert!(!is_named(&command("/bin/echo", "echo node"), "node"));
        assert!(!is_named(&(None, Vec::new()), "node"));
    }
}
