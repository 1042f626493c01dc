//! Real processes, looked at from outside.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests panic and print as tests do"
)]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use common::*;
use plimsoll_model::{Metric, Ns, Role, Sample, SourceId};
use plimsoll_probe::{Error, Process, ProcessSampler, Sampler, members};

fn tick(sampler: &mut ProcessSampler) -> Vec<Sample> {
    let mut samples = Vec::new();
    sampler.tick(Ns(1_000), &mut |sample| samples.push(sample));
    samples
}

/// The fields of `/proc/PID/status` that are in kB, in bytes.
fn status(pid: u32) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value: f64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            Some((name.to_owned(), value * 1024.0))
        })
        .collect()
}

#[test]
fn a_tick_reads_what_procfs_says() {
    // Asleep, so that two readings of it are the same.
    let subject = spawn(&["sleep", "1000"]);
    let pid = subject.process().id().pid;
    until("it sleeps", || state(pid) == Some('S'));
    let mut sampler = ProcessSampler::new();
    sampler.watch(SourceId(7), subject.process().clone());
    let samples = tick(&mut sampler);
    let status = status(pid);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let stat: Vec<f64> = stat[stat.rfind(')').unwrap() + 4..]
        .split_whitespace()
        .map(|field| field.parse().unwrap())
        .collect();
    // `stat` counts from the fourth field of proc_pid_stat(5) here.
    let field = |number: usize| stat[number - 4];
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let expected: BTreeMap<Metric, f64> = [
        (Metric::RSS, status["VmRSS"]),
        (Metric::RSS_ANON, status["RssAnon"]),
        (Metric::RSS_FILE, status["RssFile"]),
        (Metric::RSS_SHMEM, status["RssShmem"]),
        (Metric::RSS_PEAK, status["VmHWM"]),
        (Metric::SWAP, status["VmSwap"]),
        (Metric::THREADS, field(20)),
        (Metric::CPU_SECONDS, (field(14) + field(15)) / ticks),
        (Metric::MINOR_FAULTS, field(10)),
        (Metric::MAJOR_FAULTS, field(12)),
        (Metric::DESCRIPTORS, descriptors as f64),
    ]
    .into();
    assert!(
        samples
            .iter()
            .all(|sample| sample.source == SourceId(7) && sample.at >= Ns(1_000))
    );
    let read: BTreeMap<Metric, f64> = samples
        .iter()
        .map(|sample| (sample.metric.clone(), sample.value))
        .collect();
    assert_eq!(read.len(), samples.len());
    assert_eq!(read, expected);
    let memory = subject.process().memory().unwrap();
    assert_eq!(memory.rss as f64, status["VmRSS"]);
}

#[test]
fn a_zombie_is_dead() {
    let subject = shell("exit 0");
    let process = subject.process();
    let mut sampler = ProcessSampler::new();
    sampler.watch(SourceId(0), process.clone());
    wait(&subject);
    let pid = process.id().pid;
    assert_eq!(state(pid), Some('Z'), "unreaped until it is ended");
    assert!(!process.is_alive());
    assert_eq!(process.memory(), None);
    assert_eq!(process.cpu_seconds(), None);
    assert_eq!(process.descriptors_by_target(), None);
    assert_eq!(tick(&mut sampler), []);
    let parent = std::process::id();
    assert!(matches!(
        Process::open(pid),
        Err(Error::Zombie { pid: p, parent: of }) if (p, of) == (pid, parent)
    ));
    assert_eq!(process.info(Role::Service).id, process.id());
}

/// A process that has ended and was reaped, watched while it lived.
fn gone() -> (Process, ProcessSampler) {
    let mut subject = spawn(&["sleep", "1000"]);
    let process = subject.process().clone();
    let mut sampler = ProcessSampler::new();
    sampler.watch(SourceId(0), process.clone());
    assert!(!tick(&mut sampler).is_empty());
    assert_eq!(process.info(Role::Other).command, ["sleep", "1000"]);
    subject.end(std::time::Duration::ZERO);
    (process, sampler)
}

fn assert_unreadable(process: &Process, sampler: &mut ProcessSampler) {
    assert!(!process.is_alive());
    assert_eq!(process.memory(), None);
    assert_eq!(process.cpu_seconds(), None);
    assert_eq!(process.descriptors_by_target(), None);
    assert_eq!(tick(sampler), []);
    assert!(matches!(
        process.signal(15),
        Err(Error::NoSuchProcess { .. })
    ));
    // What was known of it stays known.
    assert_eq!(process.info(Role::Other).command, ["sleep", "1000"]);
}

#[test]
fn a_process_that_is_gone_reads_as_unknown() {
    let (process, mut sampler) = gone();
    assert_unreadable(&process, &mut sampler);
}

#[test]
fn a_reused_pid_is_never_read() {
    for _ in 0..50 {
        let (process, mut sampler) = gone();
        let pid = process.id().pid;
        // The kernel gives out the number after this one next, unless somebody else is quicker.
        let asked = std::fs::OpenOptions::new()
            .write(true)
            .open("/proc/sys/kernel/ns_last_pid")
            .and_then(|mut file| write!(file, "{}", pid - 1));
        if let Err(error) = asked {
            eprintln!("SKIPPED: pids cannot be chosen here: {error}");
            return;
        }
        let Ok(mut other) = std::process::Command::new("sleep").arg("1000").spawn() else {
            continue;
        };
        let is_reused = other.id() == pid;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if is_reused {
                assert_unreadable(&process, &mut sampler);
                assert!(is_running(pid));
                let other = Process::open(pid).unwrap();
                assert!(other.is_alive());
                // Start times are told in clock ticks: two processes of one tick differ by their descriptors alone,
                // which is what was asserted above. Another attempt shows the numbers apart too.
                other.id() != process.id()
            } else {
                false
            }
        }));
        other.kill().unwrap();
        other.wait().unwrap();
        match result {
            Ok(is_told_apart) if is_told_apart => return,
            Ok(_) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    eprintln!("SKIPPED: the pid was not given out again in a later clock tick, in 50 attempts");
}

#[test]
fn watching_again_replaces_and_unwatching_ends() {
    let (first, second) = (spawn(&["sleep", "1000"]), spawn(&["sleep", "1000"]));
    let mut sampler = ProcessSampler::new();
    sampler.watch(SourceId(1), first.process().clone());
    sampler.watch(SourceId(1), second.process().clone());
    assert_eq!(sampler.sources().collect::<Vec<_>>(), [SourceId(1)]);
    drop(first);
    assert!(!tick(&mut sampler).is_empty());
    sampler.unwatch(SourceId(1));
    assert_eq!(tick(&mut sampler), []);
}

/// Where a program is, or a loud reason to skip.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

const NODE_SERVER: &str = "
    const server = require('node:http').createServer((q, r) => r.end('ok'));
    server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port));";

const PYTHON_SERVER: &str = "
import socket, time
s = socket.create_server(('127.0.0.1', 0))
print('port', s.getsockname()[1], flush=True)
time.sleep(1000)";

#[test]
fn the_service_behind_a_shell_is_who_listens() {
    let mut tried = 0;
    for (program, flag, code) in [
        ("node", "-e", NODE_SERVER),
        ("python3", "-c", PYTHON_SERVER),
    ] {
        if find(program).is_none() {
            continue;
        }
        tried += 1;
        // `; true` keeps the shell from becoming the server.
        let mut launch = launch(&[
            "sh",
            "-c",
            "sleep 1000 & \"$@\"; true",
            "sh",
            program,
            flag,
            code,
        ]);
        launch.env = vec![("PLAIN".into(), "1".into())];
        let subject = plimsoll_probe::Subject::spawn(&launch).unwrap();
        let port = u16::try_from(number(&subject, "port")).unwrap();
        let members = members(&subject, Some(port)).unwrap();
        let info = members.service.info(Role::Service);
        assert_ne!(members.service.id(), subject.process().id());
        assert!(info.command.iter().any(|a| a == code), "{info:?}");
        let role = |name: &str| {
            let of = |p: &&plimsoll_model::ProcessInfo| p.command[0].ends_with(name);
            members.processes.iter().find(of).map(|p| p.role)
        };
        assert_eq!(role("sh"), Some(Role::Wrapper));
        assert_eq!(role("sleep"), Some(Role::Other));
        assert_eq!(members.handles.len(), members.processes.len());
        assert_eq!(
            plimsoll_probe::port_holder(port).map(|holder| holder.id),
            Some(members.service.id())
        );
        let kinds = members.service.descriptors_by_target().unwrap();
        assert!(kinds["socket"] >= 1, "{kinds:?}");
        assert!(plimsoll_probe::members(&subject, Some(1)).is_none());
    }
    assert!(tried > 0 || find("node").is_none() && find("python3").is_none());
}

#[test]
fn npm_and_its_shell_are_wrappers() {
    if find("npm").is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let package =
        r#"{"name": "subject", "version": "1.0.0", "scripts": {"start": "node server.js"}}"#;
    std::fs::write(directory.path().join("package.json"), package).unwrap();
    std::fs::write(directory.path().join("server.js"), NODE_SERVER).unwrap();
    let directory = directory.path().to_str().unwrap();
    let subject = spawn(&["npm", "--prefix", directory, "start"]);
    let port = u16::try_from(number(&subject, "port")).unwrap();
    for found in [members(&subject, Some(port)), members(&subject, None)] {
        let found = found.unwrap();
        let service = found.service.info(Role::Service);
        assert_eq!(service.command, ["node", "server.js"]);
        let others = found.processes.iter().filter(|p| p.id != service.id);
        assert!(others.clone().count() > 0);
        for other in others {
            assert_eq!(other.role, Role::Wrapper, "{other:?}");
        }
    }
}

#[test]
fn workers_of_a_cluster_run_the_same_script() {
    if find("node").is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("cluster.js");
    std::fs::write(
        &script,
        "const cluster = require('node:cluster');
        if (cluster.isPrimary) {
          let ready = 0;
          for (let i = 0; i < 2; i++) cluster.fork();
          cluster.on('listening', (w, a) => { if (++ready === 2) console.log('port ' + a.port); });
        } else require('node:http').createServer((q, r) => r.end('ok')).listen(0, '127.0.0.1');",
    )
    .unwrap();
    let subject = spawn(&["node", script.to_str().unwrap()]);
    let port = u16::try_from(number(&subject, "port")).unwrap();
    let members = members(&subject, Some(port)).unwrap();
    let mut roles: Vec<Role> = members.processes.iter().map(|p| p.role).collect();
    roles.sort();
    assert_eq!(roles, [Role::Service, Role::Worker, Role::Worker]);
    assert_eq!(members.service.id(), subject.process().id());
}

#[test]
fn without_a_port_the_service_is_what_is_wrapped() {
    let subject = shell("sleep 1000; true");
    let mut found = None;
    until("the shell starts it", || {
        found = members(&subject, None);
        found
            .as_ref()
            .is_some_and(|m| m.service.info(Role::Service).command[0] == "sleep")
    });
    assert_eq!(found.unwrap().processes[0].role, Role::Wrapper);

    let mut subject = spawn(&["sleep", "1000"]);
    assert_eq!(
        members(&subject, None).unwrap().service.id(),
        subject.process().id()
    );
    subject.end(std::time::Duration::ZERO);
    assert!(members(&subject, None).is_none());
}
