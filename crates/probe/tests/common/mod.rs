//! What the tests with real processes share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test binary around this module uses a part of it"
)]

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use plimsoll_model::{Cancel, Exit};
use plimsoll_probe::{Launch, Line, Subject};

/// Far beyond what a loaded computer needs; reached only by a failing test.
pub const DEADLINE: Duration = Duration::from_mins(1);

pub fn launch(command: &[&str]) -> Launch {
    Launch {
        command: command.iter().map(OsString::from).collect(),
        ..Launch::default()
    }
}

pub fn spawn(command: &[&str]) -> Subject {
    Subject::spawn(&launch(command)).unwrap()
}

pub fn shell(script: &str) -> Subject {
    spawn(&["sh", "-c", script])
}

pub fn regex(pattern: &str) -> regex_lite::Regex {
    regex_lite::Regex::new(pattern).unwrap()
}

pub fn wait(subject: &Subject) -> Exit {
    let cancel = Cancel::try_new().unwrap();
    subject.wait_exit(DEADLINE, &cancel).expect("ends in time")
}

pub fn line(lines: &Receiver<Line>) -> String {
    lines
        .recv_timeout(DEADLINE)
        .expect("is printed in time")
        .text
}

/// The number the subject prints as `NAME N`.
pub fn number(subject: &Subject, name: &str) -> u32 {
    let lines = subject.on_line(regex(&format!("^{name} [0-9]+$")));
    let line = line(&lines);
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until a condition without an event of its own holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The first letter of a process's state; `None` if there is no such process.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

pub fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}
