//! `plimsoll doctor`: what this machine and one process allow, with a remedy for each thing they do not.
//!
//! Nothing is guessed that can be tried: the probe is loaded into a real Node process, the noise is measured on it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use plimsoll_model::{Answer, Cancel, Cx, DIAGNOSIS_SCHEMA, Diagnosis, Health, units};
use plimsoll_probe::{
    Cgroup, Hub, HubEvent, HubOptions, IsolateInfo, Launch, Process, Subject, Surroundings,
};

use crate::environment::environment;
use crate::error::Error;

/// A run of a day at ten readings a second takes less.
const ENOUGH_DISK: u64 = 100 << 20;
/// Descriptors for a tree of some hundred processes.
const ENOUGH_DESCRIPTORS: u64 = 1024;
/// How long the probe may take to say hello.
const HELLO: Duration = Duration::from_secs(5);
/// Collections that the noise is measured by.
const COLLECTIONS: usize = 8;
/// Readings of a process by which its noise is measured, and the time between them.
const READINGS: u32 = 60;
const READING_PERIOD: Duration = Duration::from_millis(50);
/// A round of a check and its number, for the rate that could be detected: the defaults.
const OPERATIONS: f64 = 1000.0;
const ROUNDS: f64 = 12.0;
/// The time that the rate of a watched process is told for.
const WATCH_S: f64 = 600.0;
/// Growth below this is not called a leak on time, per run.
const FLOOR_BYTES: f64 = 96.0 * 1024.0;

/// Examines this machine, and a process if one is named.
///
/// # Errors
/// If there is no such process.
pub fn doctor(
    pid: Option<u32>,
    directories: &[PathBuf],
    cancel: &Cancel,
) -> Result<Diagnosis, Error> {
    let process = pid.map(Process::open).transpose()?;
    let around = Surroundings::look();
    let mut answers = machine(&around);
    answers.push(disk(directories));
    if let Some(process) = &process {
        answers.extend(of_process(process, &around, cancel));
    } else {
        answers.extend(group(std::process::id()));
        answers.extend(node(cancel));
        answers.push(python());
    }
    Ok(Diagnosis {
        schema: DIAGNOSIS_SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        pid,
        answers,
    })
}

fn answer(about: &str, state: Health, found: impl Into<String>, remedy: Option<&str>) -> Answer {
    Answer {
        about: about.to_owned(),
        state,
        found: found.into(),
        remedy: remedy.map(str::to_owned),
    }
}

fn ok(about: &str, found: impl Into<String>) -> Answer {
    answer(about, Health::Ok, found, None)
}

fn limited(about: &str, found: impl Into<String>, remedy: &str) -> Answer {
    answer(about, Health::Limited, found, Some(remedy))
}

fn machine(around: &Surroundings) -> Vec<Answer> {
    let mut answers = Vec::new();
    let kernel = around.kernel.clone().unwrap_or_default();
    answers.push(match Process::open(std::process::id()) {
        Ok(_) => ok("kernel", format!("Linux {kernel}: processes can be held")),
        Err(error) => answer(
            "kernel",
            Health::Missing,
            format!("Linux {kernel}: processes cannot be held ({error})"),
            Some("Linux 5.6 or newer is needed, with /proc mounted and `pidfd_open` allowed by the container's seccomp profile"),
        ),
    });
    answers.push(match &around.hidepid {
        None => ok("hidepid", "all processes are shown in /proc"),
        Some(value) => limited(
            "hidepid",
            format!("/proc is mounted with hidepid={value}: processes of other users are hidden"),
            "run as the user of the process, or `mount -o remount,hidepid=0 /proc`",
        ),
    });
    answers.push(match around.ptrace_scope {
        None | Some(0) => ok("ptrace", "processes of this user may be looked into"),
        Some(_) if around.may_trace_others => ok("ptrace", "any process may be looked into"),
        Some(scope) => limited(
            "ptrace",
            format!("kernel.yama.ptrace_scope = {scope}: only descendants may be traced"),
            "start the program by plimsoll, give it CAP_SYS_PTRACE, or `sysctl kernel.yama.ptrace_scope=0`",
        ),
    });
    let who = if around.may_trace_others {
        "with CAP_SYS_PTRACE: descriptors of other users' processes are seen too"
    } else {
        "without CAP_SYS_PTRACE: of other users' processes only memory, CPU and threads are seen"
    };
    answers.push(ok("user", format!("user {}, {who}", around.user)));
    answers.push(match around.sees_all_processes {
        Some(false) => ok(
            "namespaces",
            "inside a container: processes outside of it are not seen",
        ),
        _ => ok("namespaces", "all processes of the machine are in sight"),
    });
    answers.push(if around.tells_pressure {
        ok("pressure", "stalls for want of memory are told")
    } else {
        limited(
            "pressure",
            "the kernel does not tell stalls for want of memory",
            "boot with `psi=1`, on a kernel with CONFIG_PSI",
        )
    });
    answers.push(match around.descriptors {
        Some(most) if most < ENOUGH_DESCRIPTORS => limited(
            "descriptors",
            format!(
                "at most {most} can be open: enough for a tree of {}",
                most / 4
            ),
            "raise the hard limit: `ulimit -Hn 65536`",
        ),
        Some(most) => ok("descriptors", format!("up to {most} can be open")),
        None => ok("descriptors", "any number can be open"),
    });
    answers
}

/// Where runs go, and whether there is room.
fn disk(directories: &[PathBuf]) -> Answer {
    let remedy = "set `PLIMSOLL_DIR` to a directory that this user may write; without one, runs live in memory only";
    let Some((place, first)) = directories
        .iter()
        .enumerate()
        .find_map(|(i, directory)| Some((writable(directory)?, i == 0)))
    else {
        let named: Vec<String> = directories
            .iter()
            .map(|d| d.display().to_string())
            .collect();
        let found = format!("none of {} can be written", named.join(", "));
        return limited("disk", found, remedy);
    };
    let free = plimsoll_probe::free_space(&place).unwrap_or(0);
    let found = format!("{} free in {}", units::bytes(free as f64), place.display());
    if free < ENOUGH_DISK {
        limited(
            "disk",
            found,
            "free 100 MiB, or set `PLIMSOLL_DIR` to another disk",
        )
    } else if first {
        ok("disk", found)
    } else {
        limited(
            "disk",
            format!("the first choice cannot be written; {found}"),
            remedy,
        )
    }
}

/// The directory, or the nearest above it, if a file can be made there.
fn writable(directory: &Path) -> Option<PathBuf> {
    let there = directory.ancestors().find(|d| d.is_dir())?;
    let there = if there.as_os_str().is_empty() {
        Path::new(".")
    } else {
        there
    };
    let trial = there.join(format!(".plimsoll-doctor-{}", std::process::id()));
    std::fs::File::create_new(&trial).ok()?;
    let _ = std::fs::remove_file(&trial);
    Some(there.to_owned())
}

fn group(pid: u32) -> Option<Answer> {
    let process = Process::open(pid).ok()?;
    let Some(group) = Cgroup::of(&process) else {
        return Some(limited(
            "cgroup",
            "the memory of its control group cannot be read",
            "mount /sys/fs/cgroup into the container, read-only; limits are then told",
        ));
    };
    let reading = group.read();
    let bytes = |value: Option<u64>| value.map_or("unknown".to_owned(), |b| units::bytes(b as f64));
    let limit = match (reading.limit, reading.high) {
        (None, None) => "no limit".to_owned(),
        (Some(max), None) => format!("limit {}", units::bytes(max as f64)),
        (None, Some(high)) => format!("slowed above {}", units::bytes(high as f64)),
        (Some(max), Some(high)) => format!(
            "limit {}, slowed above {}",
            units::bytes(max as f64),
            units::bytes(high as f64)
        ),
    };
    let used = bytes(reading.working_set);
    let found = format!("{}, {used} used, {limit}", group.version());
    let is_tight = reading
        .room
        .zip(reading.working_set)
        .is_some_and(|((room, _), used)| room < used / 10);
    Some(if is_tight {
        limited(
            "cgroup",
            found,
            "raise the limit of the control group: what is nearly full is slowed and killed",
        )
    } else {
        ok("cgroup", found)
    })
}

/// What a program says of its version, if it is there at all.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .trim()
        .trim_start_matches("Python ")
        .trim_start_matches('v');
    output.status.success().then(|| version.to_owned())
}

fn python() -> Answer {
    match version_of("python3") {
        Some(version) => ok("python", format!("python3 {version}")),
        None => limited(
            "python",
            "no python3 on PATH",
            "install Python 3 to test Python programs",
        ),
    }
}

fn node(cancel: &Cancel) -> Vec<Answer> {
    let Some(version) = version_of("node") else {
        let remedy = "install Node 20 or newer to test Node programs, or put it on PATH";
        return vec![limited("node", "no node on PATH", remedy)];
    };
    let major: u32 = version
        .split('.')
        .next()
        .and_then(|m| m.parse().ok())
        .unwrap_or(0);
    let mut answers = vec![if major >= 20 {
        ok("node", format!("node {version}"))
    } else {
        limited(
            "node",
            format!("node {version}"),
            "Node 20 or newer tells what is held; older ones are seen from outside",
        )
    }];
    answers.extend(probe(cancel));
    answers
}

/// Loads the probe into a real process, and measures on it what a forced collection leaves to chance.
fn probe(cancel: &Cancel) -> Vec<Answer> {
    let remedy = "check that NODE_OPTIONS may be set, and that the temporary directory can be written by this user";
    let failed = |why: String| vec![limited("probe", format!("does not load: {why}"), remedy)];
    let hub = match Hub::start(Instant::now(), &HubOptions::default()) {
        Ok(hub) => hub,
        Err(error) => return failed(error.to_string()),
    };
    let command: Vec<OsString> = ["node", "-e", "setInterval(() => 0, 1000)"]
        .map(OsString::from)
        .into();
    let (env, _) = environment(&command, &[], &hub);
    let launch = Launch {
        command,
        env,
        output_dir: None,
    };
    let started = Instant::now();
    let subject = match Subject::spawn(&launch) {
        Ok(subject) => subject,
        Err(error) => return failed(error.to_string()),
    };
    let Some(isolate) = hello(&hub, started + HELLO, cancel) else {
        let said = subject.last_lines(1).pop().unwrap_or_default();
        return failed(format!("no hello within 5 s {said}"));
    };
    let took = units::duration(started.elapsed().as_secs_f64());
    let mut answers = vec![ok(
        "probe",
        format!("loads into node {took} after its start"),
    )];
    let mut runtime = hub.runtime(&isolate);
    let levels: Vec<f64> = (0..COLLECTIONS + 2)
        .map_while(|_| {
            let collected = runtime.collect(&Cx::within(cancel, HELLO)).ok()?;
            let live = collected
                .values
                .iter()
                .find(|(metric, _)| *metric == plimsoll_model::Metric::LIVE_BYTES);
            live.map(|(_, value)| *value)
        })
        // The first ones still drop what starting left behind.
        .skip(2)
        .collect();
    if let Some(noise) = deviation(&steps(&levels)) {
        // A line through 12 readings: Draper and Smith, Applied Regression Analysis, 1.4.
        let error = noise * (12.0 / (ROUNDS * (ROUNDS * ROUNDS - 1.0))).sqrt() / OPERATIONS;
        let rate = (3.0 * error).max(4.0);
        answers.push(ok(
            "noise",
            format!(
                "{} between collections of an idle node: 12 rounds of 1,000 operations find {} per operation",
                units::bytes(noise.round()),
                units::bytes(rate)
            ),
        ));
    }
    drop(subject);
    answers
}

fn hello(hub: &Hub, deadline: Instant, cancel: &Cancel) -> Option<IsolateInfo> {
    while Instant::now() < deadline && !cancel.is_cancelled() {
        let event = hub.events().recv_timeout(Duration::from_millis(50));
        if let Ok(HubEvent::Up(isolate)) = event {
            return Some(isolate);
        }
    }
    None
}

fn of_process(process: &Process, around: &Surroundings, cancel: &Cancel) -> Vec<Answer> {
    let id = process.id();
    let mut answers = vec![ok("process", format!("pid {}: {}", id.pid, process.name()))];
    let owner = process.owner();
    let is_ours = owner == Some(around.user);
    answers.push(match owner {
        Some(owner) if !is_ours && !around.may_trace_others => limited(
            "owner",
            format!("it belongs to user {owner}, we are {}: memory, CPU and threads are seen, descriptors are not", around.user),
            "run as that user, or with CAP_SYS_PTRACE",
        ),
        Some(owner) => ok("owner", format!("it belongs to user {owner}")),
        None => answer("owner", Health::Missing, "it has ended", None),
    });
    answers.push(if process.memory().is_some() {
        ok("memory", "can be read")
    } else {
        answer(
            "memory",
            Health::Missing,
            "cannot be read: a kernel thread, or it has ended",
            None,
        )
    });
    answers.push(if process.descriptors_by_target().is_some() {
        ok("descriptors", "can be counted by what they are open on")
    } else {
        limited(
            "descriptors",
            "cannot be read",
            "run as the user of the process, or with CAP_SYS_PTRACE",
        )
    });
    answers.push(namespaces(process));
    answers.extend(group(id.pid));
    answers.push(match plimsoll_probe::may_be_attached(process) {
        Ok(()) => ok("inside", "the probe can be put into it while it runs: `plimsoll check --pid`"),
        Err(why) => limited(
            "inside",
            format!("seen from outside only: {why}"),
            why.remedy().unwrap_or("start it by plimsoll: `plimsoll monitor -- COMMAND` loads the probe into Node programs"),
        ),
    });
    answers.extend(noise_of(process, cancel));
    answers
}

fn namespaces(process: &Process) -> Answer {
    let others: Vec<&str> = ["mnt", "net", "pid", "user"]
        .into_iter()
        .filter(|name| process.other_namespace(&[name]).is_some())
        .collect();
    if others.is_empty() {
        return ok("namespaces", "it lives in the same as we do");
    }
    let own = process.own_pid().filter(|own| *own != process.id().pid);
    let known = own.map_or_else(String::new, |own| format!(", where its pid is {own}"));
    limited(
        "namespaces",
        format!(
            "it lives in other ones ({}){known}: what that keeps from us is said below",
            others.join(", ")
        ),
        "run plimsoll inside, in its image or as root by `nsenter -at PID plimsoll`",
    )
}

/// How much its resident memory moves by itself, and what could be told from that.
fn noise_of(process: &Process, cancel: &Cancel) -> Option<Answer> {
    let mut readings = Vec::new();
    for _ in 0..READINGS {
        if cancel.is_cancelled() {
            return None;
        }
        readings.push(process.memory()?.rss_anon? as f64);
        plimsoll_probe::wait_for_end(&[process], cancel, Instant::now() + READING_PERIOD);
    }
    let noise = deviation(&steps(&readings))?;
    let level = readings.iter().sum::<f64>() / readings.len() as f64;
    let floor = FLOOR_BYTES.max(0.004 * level) / WATCH_S;
    // A line through a reading a second, as above.
    let error = noise * (12.0 / WATCH_S.powi(3)).sqrt();
    let rate = (3.0 * error).max(floor) * 3600.0;
    Some(ok(
        "noise",
        format!(
            "resident memory moves by {} from reading to reading: 10 minutes of watching find {}/h",
            units::bytes(noise.round()),
            units::bytes(rate)
        ),
    ))
}

/// From each value to the next: growth that is there already is no noise.
fn steps(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The standard deviation of single values, from that of their differences.
fn deviation(steps: &[f64]) -> Option<f64> {
    let n = steps.len() as f64;
    if n < 2.0 {
        return None;
    }
    let mean = steps.iter().sum::<f64>() / n;
    let sum: f64 = steps.iter().map(|step| (step - mean).powi(2)).sum();
    Some((sum / (n - 1.0) / 2.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_what_remains_without_growth() {
        let growing: Vec<f64> = (0..100).map(|i| f64::from(i) * 1000.0).collect();
        assert!(deviation(&steps(&growing)).unwrap() < 1e-6);
        // ±50 around a line: a deviation of 50.
        let noisy: Vec<f64> = (0..1000)
            .map(|i| f64::from(i) * 7.0 + if i % 2 == 0 { 50.0 } else { -50.0 })
            .collect();
        let found = deviation(&steps(&noisy)).unwrap();
        assert!((found - 70.7).abs() < 1.0, "{found}");
        assert_eq!(deviation(&steps(&[1.0, 2.0])), None);
    }

    #[test]
    fn this_machine_can_be_measured_on() {
        let place = tempfile::tempdir().unwrap();
        let cancel = Cancel::try_new().unwrap();
        let own = std::process::id();
        let directories = [place.path().join("runs")];
        let diagnosis = doctor(Some(own), &directories, &cancel).unwrap();
        assert!(diagnosis.health() < Health::Missing, "{diagnosis:?}");
        for about in ["kernel", "disk", "memory", "noise", "inside"] {
            assert!(
                diagnosis.answers.iter().any(|a| a.about == about),
                "{about}"
            );
        }
        let bad = diagnosis.answers.iter().filter(|a| a.state != Health::Ok);
        assert!(bad.clone().all(|a| a.remedy.is_some()), "{bad:?}");
        // Nothing is left behind by looking.
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
