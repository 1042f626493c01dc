//! Who belongs to a subject, and who among them is the service.
//!
//! A subject is started as the leader of a session, with a mark in its environment. To it belongs who is in that session,
//! who descends from one that does, who was seen to before its parents ended, and who carries the mark: a daemon that
//! forked twice and opened a session of its own is still found.
//!
//! Orphans become our children when this process is a subreaper, so walking from our children finds everybody in
//! microseconds per process. Otherwise they become children of init, and all of procfs is searched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use plimsoll_model::{ProcessId, ProcessInfo, Role};

use crate::os;
use crate::process::Process;
use crate::procfs::{self, Stat};
use crate::sockets::listener_owners;
use crate::subject::Subject;

/// The variable that marks a subject's environment.
pub(crate) const MARK: &str = "PLIMSOLL_SUBJECT_ID";

/// A process at the moment it was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) start_ticks: u64,
    pub(crate) is_dead: bool,
    threads: u64,
}

impl Seen {
    fn new(pid: u32, stat: &Stat) -> Self {
        Self {
            pid,
            parent: stat.parent,
            session: stat.session,
            start_ticks: stat.start_ticks,
            is_dead: stat.is_dead(),
            threads: stat.threads,
        }
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }
}

/// Looks at one process.
pub(crate) fn look(pid: u32) -> Option<Seen> {
    look_into(pid, &mut Vec::new())
}

pub(crate) fn look_into(pid: u32, buffer: &mut Vec<u8>) -> Option<Seen> {
    let stat = os::read_path(&format!("/proc/{pid}/stat"), buffer).ok()?;
    Some(Seen::new(pid, &Stat::parse(stat)?))
}

/// Looks at every process there is; about 10 µs each.
pub(crate) fn scan() -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut buffer = Vec::new();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| look_into(pid, &mut buffer))
        .collect()
}

/// The children of this process; `None` if the kernel keeps no lists of children.
pub(crate) fn own_children() -> Option<Vec<u32>> {
    let own = look(std::process::id())?;
    let mut children = Vec::new();
    children_of(&own, &mut children, &mut Vec::new()).then_some(children)
}

/// Adds the children of a process to `children`, from the lists its threads keep. False if this kernel keeps none.
pub(crate) fn children_of(seen: &Seen, children: &mut Vec<u32>, buffer: &mut Vec<u8>) -> bool {
    let pid = seen.pid;
    if seen.is_dead {
        // Its children are somebody else's by now.
        return true;
    }
    if seen.threads == 1 {
        let list = format!("/proc/{pid}/task/{pid}/children");
        if let Ok(pids) = os::read_path(&list, buffer) {
            children.extend(procfs::parse_pids(pids));
            return true;
        }
    }
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    let mut supported = true;
    for task in tasks.flatten() {
        let task = task.path();
        match os::read_path(&task.join("children").to_string_lossy(), buffer) {
            Ok(pids) => children.extend(procfs::parse_pids(pids)),
            // A thread that ended meanwhile lacks the file as well; a kernel that keeps no lists always does.
            Err(_) => supported = supported && !task.exists(),
        }
    }
    supported
}

/// The processes of one subject.
#[derive(Debug)]
pub(crate) struct Tree {
    root: ProcessId,
    /// What is in the environment of everybody it started; `None` for one that we did not start.
    mark: Option<String>,
    memory: Mutex<Memory>,
}

/// What was learnt by looking.
#[derive(Debug, Default)]
struct Memory {
    /// Everybody who belonged to the subject when last looked at.
    members: BTreeSet<ProcessId>,
    /// Handles on the living ones.
    handles: HashMap<ProcessId, Process>,
    /// Processes found not to carry the mark.
    strangers: BTreeSet<ProcessId>,
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// From parent to child, as often as a sampler ticks.
    Walk,
    /// Through all of procfs: sessions and marks too.
    Everywhere,
}

impl Tree {
    /// The tree below a child of ours that leads a session and whose environment holds `MARK=mark`.
    pub(crate) fn new(root: ProcessId, mark: String) -> Self {
        Self {
            root,
            mark: Some(mark),
            memory: Mutex::default(),
        }
    }

    /// The tree below a process that we did not start: its descendants, as long as they can be traced to it.
    pub(crate) fn below(root: ProcessId) -> Self {
        Self {
            root,
            mark: None,
            memory: Mutex::default(),
        }
    }

    /// Everybody living who belongs to the subject, oldest first.
    pub(crate) fn living(&self, reach: Reach) -> Vec<ProcessId> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match reach {
            Reach::Walk if os::is_subreaper() || self.mark.is_none() => self.walk(&mut memory),
            _ => None,
        };
        let found = found.unwrap_or_else(|| self.search(&mut memory));
        let mut living: Vec<ProcessId> = found
            .iter()
            .filter(|seen| !seen.is_dead)
            .map(Seen::id)
            .collect();
        living.sort_by_key(|id| (id.start_ticks, id.pid));
        memory.members = living.iter().copied().collect();
        living
    }

    /// Handles on everybody living, oldest first. Who ends in between is left out.
    pub(crate) fn processes(&self, reach: Reach) -> Vec<Process> {
        let living = self.living(reach);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = std::mem::take(&mut memory.handles);
        let processes: Vec<Process> = living
            .into_iter()
            .filter_map(|id| match known.remove(&id) {
                Some(process) => Some(process),
                None => Process::open(id.pid).ok().filter(|p| p.id() == id),
            })
            .filter(Process::is_alive)
            .collect();
        memory.handles = processes.iter().map(|p| (p.id(), p.clone())).collect();
        processes
    }

    /// Lets go of all handles, so that there are descriptors for killing.
    pub(crate) fn forget_handles(&self) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.handles.clear();
    }

    /// From the root, from members seen earlier, and from orphans that became our children.
    fn walk(&self, memory: &mut Memory) -> Option<Vec<Seen>> {
        let own_children = own_children()?;
        let mut buffer = Vec::new();
        let mut looked: HashMap<u32, Option<Seen>> = HashMap::new();
        let mut look = |pid: u32, buffer: &mut Vec<u8>| {
            *looked.entry(pid).or_insert_with(|| look_into(pid, buffer))
        };
        let mut open: Vec<Seen> = look(self.root.pid, &mut buffer)
            .filter(|seen| self.mark.is_some() || seen.id() == self.root)
            .into_iter()
            .collect();
        for id in &memory.members {
            open.extend(look(id.pid, &mut buffer).filter(|seen| seen.id() == *id));
        }
        let own_session = os::own_session();
        let adopted: Vec<Seen> = own_children
            .into_iter()
            .filter_map(|pid| look(pid, &mut buffer))
            // Commands of ours that are no subject stay in our session.
            .filter(|seen| seen.session != own_session && seen.pid != self.root.pid)
            .collect();
        open.extend(adopted.iter().filter(|seen| self.belongs(seen, memory)));
        memory.forget_strangers_except(&adopted);

        let mut found: BTreeMap<u32, Seen> = BTreeMap::new();
        let mut children = Vec::new();
        while let Some(seen) = open.pop() {
            if found.insert(seen.pid, seen).is_some() {
                continue;
            }
            if !children_of(&seen, &mut children, &mut buffer) {
                return None;
            }
            open.extend(children.drain(..).filter_map(|pid| look(pid, &mut buffer)));
        }
        Some(found.into_values().collect())
    }

    /// Among all processes, by what they are themselves and by descent from those found so.
    fn search(&self, memory: &mut Memory) -> Vec<Seen> {
        let all = scan();
        // Nobody older than the subject is its own, and reading the environment of everybody would be dear.
        let younger: Vec<Seen> = all
            .iter()
            .filter(|seen| seen.start_ticks >= self.root.start_ticks)
            .copied()
            .collect();
        let belongs: BTreeSet<u32> = younger
            .iter()
            .filter(|seen| self.belongs(seen, memory))
            .map(|seen| seen.pid)
            .collect();
        memory.forget_strangers_except(&younger);

        let parents: HashMap<u32, u32> = all.iter().map(|seen| (seen.pid, seen.parent)).collect();
        let descends = |seen: &Seen| {
            // Up to the first ancestor that belongs; bounded, because a torn picture may hold a ring.
            std::iter::successors(Some(seen.pid), |pid| parents.get(pid).copied())
                .take(all.len())
                .any(|pid| belongs.contains(&pid))
        };
        younger
            .iter()
            .filter(|seen| descends(seen))
            .copied()
            .collect()
    }

    /// Whether a process belongs to the subject by itself, whatever its parent is.
    fn belongs(&self, seen: &Seen, memory: &mut Memory) -> bool {
        let id = seen.id();
        if id == self.root || memory.members.contains(&id) {
            return true;
        }
        let Some(own_mark) = &self.mark else {
            return false;
        };
        if seen.session == self.root.pid {
            return true;
        }
        // A zombie has no environment any more, and nothing to be sampled or killed.
        if seen.is_dead || memory.strangers.contains(&id) {
            return false;
        }
        let belongs = match mark_of(seen.pid) {
            Mark::Is(mark) => mark == *own_mark,
            // It cleared its environment, or is none of any subject's; as our orphan it can only be the former.
            Mark::None => {
                seen.parent == std::process::id()
                    && seen.session != os::own_session()
                    && os::is_subreaper()
                    && registry::is_only(self.root.pid)
            }
            Mark::Unreadable => false,
        };
        if !belongs {
            memory.strangers.insert(id);
        }
        belongs
    }
}

impl Memory {
    fn forget_strangers_except(&mut self, seen: &[Seen]) {
        if !self.strangers.is_empty() {
            let present: BTreeSet<ProcessId> = seen.iter().map(Seen::id).collect();
            self.strangers.retain(|id| present.contains(id));
        }
    }
}

/// Which subject's mark is in a process's environment.
enum Mark {
    Is(String),
    None,
    Unreadable,
}

fn mark_of(pid: u32) -> Mark {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else {
        return Mark::Unreadable;
    };
    let mark = procfs::parse_strings(&environment).find_map(|entry| {
        entry
            .strip_prefix(MARK.as_bytes())?
            .strip_prefix(b"=")
            .map(|mark| String::from_utf8_lossy(mark).into_owned())
    });
    mark.map_or(Mark::None, Mark::Is)
}

/// The children of this process that are subjects: whoever reaps strangers must leave them alone.
pub(crate) mod registry {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    static SUBJECTS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

    /// The pids of all subjects not yet reaped. Held while one is started or reaped, so that nobody sees half of it.
    pub(crate) fn lock() -> MutexGuard<'static, BTreeSet<u32>> {
        SUBJECTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `pid` is the one subject there is.
    pub(crate) fn is_only(pid: u32) -> bool {
        let subjects = lock();
        subjects.len() == 1 && subjects.contains(&pid)
    }
}

/// The service of a subject and everybody around it.
#[derive(Debug, Clone)]
pub struct Members {
    /// The service.
    pub service: Process,
    /// Whether it only starts something else, which is not there yet: npm before its script.
    pub is_wrapper: bool,
    /// Everybody living, the service among them, oldest first.
    pub processes: Vec<ProcessInfo>,
    /// A handle on each of `processes`, in the same order.
    pub handles: Vec<Process>,
}

/// Finds the service among the processes of a subject, started or attached to, and what the others are to it.
///
/// With a port, the service holds a socket that listens on it; of several holders (a server that forks leaves its socket
/// to its workers) it is the one above the others, else the oldest, and the other holders are workers. `None` if nobody of
/// the subject listens there.
///
/// Without a port, the service is the command itself, or what it wraps: while that is a shell, npm or the like with exactly
/// one child, the child. `None` if nobody of the subject is left.
pub fn members(subject: &Subject, port: Option<u16>) -> Option<Members> {
    let handles = subject.tree();
    let owners: BTreeSet<ProcessId> = match port {
        Some(port) => listener_owners(port, &handles)
            .ok()?
            .iter()
            .map(Process::id)
            .collect(),
        None => BTreeSet::new(),
    };
    members_of(handles, subject.process().id().pid, port.is_some(), &owners)
}

/// The same for running processes that we did not start: `handles` oldest first, `root` the one they come of.
pub fn roles_of(handles: Vec<Process>, root: u32) -> Option<Members> {
    members_of(handles, root, false, &BTreeSet::new())
}

fn members_of(
    handles: Vec<Process>,
    root: u32,
    listens: bool,
    owners: &BTreeSet<ProcessId>,
) -> Option<Members> {
    let nodes: Vec<Node> = handles
        .iter()
        .map(|process| {
            let (executable, command) = process.command();
            Node {
                pid: process.id().pid,
                parent: process.stat().map_or(process.parent(), |stat| stat.parent),
                executable,
                command,
                listens: owners.contains(&process.id()),
            }
        })
        .collect();
    let service = if listens {
        listening_service(&nodes)?
    } else {
        wrapped_service(&nodes, root)?
    };
    let processes = handles
        .iter()
        .zip(roles(&nodes, service))
        .map(|(process, role)| process.info(role))
        .collect();
    Some(Members {
        service: handles[service].clone(),
        is_wrapper: nodes[service].is_wrapper(),
        processes,
        handles,
    })
}

/// What decides a process's role. Lists of them are sorted oldest first.
struct Node {
    pid: u32,
    parent: u32,
    executable: Option<String>,
    command: Vec<String>,
    listens: bool,
}

impl Node {
    /// What an interpreter runs: the first argument that is no flag.
    fn script(&self) -> Option<&str> {
        self.command
            .iter()
            .skip(1)
            .map(String::as_str)
            .find(|argument| !argument.starts_with('-'))
    }

    /// Whether it only starts something else and waits for it.
    fn is_wrapper(&self) -> bool {
        const WRAPPERS: &[&str] = &[
            "ash",
            "bash",
            "bun",
            "busybox",
            "cargo",
            "chroot",
            "concurrently",
            "corepack",
            "cross-env",
            "dash",
            "dotenv",
            "doppler",
            "dumb-init",
            "env",
            "env-cmd",
            "fish",
            "gosu",
            "go",
            "just",
            "ksh",
            "make",
            "nice",
            "nodemon",
            "nohup",
            "npm",
            "npx",
            "pipenv",
            "pnpm",
            "poetry",
            "setpriv",
            "setsid",
            "sh",
            "stdbuf",
            "strace",
            "su-exec",
            "sudo",
            "taskset",
            "time",
            "timeout",
            "tini",
            "ts-node-dev",
            "tsx",
            "turbo",
            "unshare",
            "uv",
            "xargs",
            "yarn",
            "zsh",
        ];
        // npm writes "npm start" over its arguments and runs from npm-cli.js.
        let name = |path: &str| {
            let path = path.split(' ').next().unwrap_or(path);
            let file = path.rsplit('/').next().unwrap_or(path);
            let stem = file.split('.').next().unwrap_or(file);
            stem.strip_suffix("-cli").unwrap_or(stem).to_owned()
        };
        let is_listed = |path: &str| WRAPPERS.contains(&name(path).as_str());
        let executable = self.executable.as_deref();
        executable.is_some_and(is_listed)
            || self.command.first().is_some_and(|name| is_listed(name))
            || executable
                .is_some_and(|path| matches!(name(path).as_str(), "node" | "python" | "python3"))
                && (self.script().is_some_and(is_listed) || self.watches())
    }

    /// Whether it is Node's own watcher, which starts the script in a process of its own, again and again.
    fn watches(&self) -> bool {
        let mut flags = self.command.iter().skip(1);
        flags
            .by_ref()
            .take_while(|word| word.starts_with('-'))
            .any(|word| word == "--watch" || word.starts_with("--watch-path"))
    }
}

fn position(nodes: &[Node], pid: u32) -> Option<usize> {
    nodes.iter().position(|node| node.pid == pid)
}

/// The ancestors of a node within the list, nearest first.
fn ancestors(nodes: &[Node], of: usize) -> impl Iterator<Item = usize> + '_ {
    std::iter::successors(position(nodes, nodes[of].parent), |&at| {
        position(nodes, nodes[at].parent)
    })
    .take(nodes.len())
}

fn listening_service(nodes: &[Node]) -> Option<usize> {
    (0..nodes.len()).find(|&at| {
        nodes[at].listens && !ancestors(nodes, at).any(|ancestor| nodes[ancestor].listens)
    })
}

fn wrapped_service(nodes: &[Node], root: u32) -> Option<usize> {
    // The command itself may have forked and ended: then the oldest of what it left.
    let mut service = position(nodes, root).or(if nodes.is_empty() { None } else { Some(0) })?;
    while nodes[service].is_wrapper() {
        let mut children =
            (0..nodes.len()).filter(|&at| nodes[at].parent == nodes[service].pid && at != service);
        match (children.next(), children.next()) {
            (Some(child), None) => service = child,
            _ => break,
        }
    }
    Some(service)
}

fn roles(nodes: &[Node], service: usize) -> impl Iterator<Item = Role> + '_ {
    let wrappers: BTreeSet<usize> = ancestors(nodes, service).collect();
    (0..nodes.len()).map(move |at| {
        let (node, main) = (&nodes[at], &nodes[service]);
        let is_below = || ancestors(nodes, at).any(|ancestor| ancestor == service);
        let same_executable = node.executable.is_some() && node.executable == main.executable;
        if at == service {
            Role::Service
        } else if wrappers.contains(&at) {
            Role::Wrapper
        } else if same_executable
            // Whoever shares the socket is a worker even if it changed its title and with it its arguments.
            && (node.listens || is_below() && node.script() == main.script())
        {
            Role::Worker
        } else {
            Role::Other
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pid: u32, parent: u32, command: &str, listens: bool) -> Node {
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        Node {
            pid,
            parent,
            executable: Some(format!("/usr/bin/{}", command[0])),
            command,
            listens,
        }
    }

    fn told(nodes: &[Node], service: Option<usize>) -> Vec<(u32, Role)> {
        service.map_or_else(Vec::new, |service| {
            nodes
                .iter()
                .map(|n| n.pid)
                .zip(roles(nodes, service))
                .collect()
        })
    }

    #[test]
    fn behind_npm_and_a_shell_the_service_is_who_listens() {
        let mut npm = node(10, 1, "node", false);
        npm.command = vec!["npm start".to_owned()];
        let nodes = [
            npm,
            node(11, 10, "sh -c node server.js", false),
            node(12, 11, "node server.js", true),
            node(13, 12, "node --inspect=1 server.js", false),
            node(14, 12, "node other.js", false),
            node(15, 13, "ps ax", false),
        ];
        let expected = [
            (10, Role::Wrapper),
            (11, Role::Wrapper),
            (12, Role::Service),
            (13, Role::Worker),
            (14, Role::Other),
            (15, Role::Other),
        ];
        assert_eq!(told(&nodes, listening_service(&nodes)), expected);
        // Without a port, the service itself has children and ends the chain.
        assert_eq!(told(&nodes, wrapped_service(&nodes, 10)), expected);
    }

    #[test]
    fn of_several_who_listen_the_one_above_is_the_service() {
        let mut worker = node(21, 20, "gunicorn", true);
        worker.command = vec!["gunicorn: worker [app]".to_owned()];
        let nodes = [node(20, 1, "gunicorn app:app", true), worker];
        assert_eq!(
            told(&nodes, listening_service(&nodes)),
            [(20, Role::Service), (21, Role::Worker)]
        );
        // Each with a socket of its own, below one that has none.
        let nodes = [
            node(30, 1, "node cluster.js", false),
            node(31, 30, "node cluster.js", true),
            node(32, 30, "node cluster.js", true),
        ];
        assert_eq!(
            told(&nodes, listening_service(&nodes)),
            [(30, Role::Wrapper), (31, Role::Service), (32, Role::Worker)]
        );
    }

    #[test]
    fn without_a_port_only_wrappers_with_one_child_are_passed() {
        let shell = [
            node(40, 1, "sh -c job", false),
            node(41, 40, "job", false),
            node(42, 41, "helper", false),
        ];
        assert_eq!(wrapped_service(&shell, 40), Some(1));
        let two = [
            node(40, 1, "sh -c job", false),
            node(41, 40, "job", false),
            node(42, 40, "job", false),
        ];
        assert_eq!(wrapped_service(&two, 40), Some(0));
        let plain = [
            node(50, 1, "server x", false),
            node(51, 50, "helper", false),
        ];
        assert_eq!(wrapped_service(&plain, 50), Some(0));
        // The command forked and ended.
        assert_eq!(wrapped_service(&plain[1..], 50), Some(0));
        assert_eq!(wrapped_service(&[], 50), None);
        assert_eq!(listening_service(&plain), None);
    }

    #[test]
    fn scripts_of_wrappers_are_known_by_their_names() {
        for (command, expected) in [
            (
                "node /usr/lib/node_modules/npm/bin/npm-cli.js run dev",
                true,
            ),
            ("node /opt/yarn/bin/yarn.js start", true),
            ("node /srv/npm-mirror.js", false),
            ("node server.js npm", false),
            ("python3 /usr/bin/poetry run app", true),
            ("bash", true),
            ("bashful", false),
        ] {
            assert_eq!(
                node(1, 0, command, false).is_wrapper(),
                expected,
                "{command}"
            );
        }
    }
}
