//! Orphans, in a process that is a subreaper. One at a time: what becomes of an orphan depends on who else is there.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic and print as tests do"
)]

mod common;

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::*;
use plimsoll_model::Exit;
use plimsoll_probe::{become_subreaper, raise_descriptor_limit, reap_strangers};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn subreaper() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    become_subreaper().unwrap();
    guard
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].split(' ').nth(1)?.parse().ok()
}

#[test]
fn a_daemon_becomes_our_child_and_stays_in_the_tree() {
    let _guard = subreaper();
    let mut subject = shell("(setsid sh -c 'echo daemon $$; exec sleep 1000' &) ; sleep 1000");
    let daemon = number(&subject, "daemon");
    until("it is handed to us", || {
        parent(daemon) == Some(std::process::id())
    });
    assert!(subject.tree().iter().any(|p| p.id().pid == daemon));
    assert!(subject.end(Duration::ZERO).is_empty());
    // Killed and reaped: not even a zombie is left.
    assert_eq!(state(daemon), None);
}

#[test]
fn a_daemon_that_cleared_its_environment_is_found_too() {
    let _guard = subreaper();
    let mut subject =
        shell("(setsid env -i PATH=\"$PATH\" sh -c 'echo daemon $$; exec sleep 1000' &) ; exit 0");
    let daemon = number(&subject, "daemon");
    assert_eq!(wait(&subject), Exit::Status(0));
    until("it is handed to us", || {
        parent(daemon) == Some(std::process::id())
    });
    assert!(subject.tree().iter().any(|p| p.id().pid == daemon));
    assert!(subject.end(Duration::ZERO).is_empty());
    assert!(!is_running(daemon));
}

#[test]
fn strangers_are_reaped_and_nobody_else() {
    let _guard = subreaper();
    let subject = shell("(setsid sh -c 'echo stranger $$' &) ; exit 4");
    let stranger = number(&subject, "stranger");
    assert_eq!(wait(&subject), Exit::Status(4));
    let mut ours = Command::new("sh")
        .args(["-c", "exit 6"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("both have ended", || {
        state(ours.id()) == Some('Z') && matches!(state(stranger), Some('Z') | None)
    });
    until("the stranger is reaped", || {
        reap_strangers();
        state(stranger).is_none()
    });
    // The subject's status is still there to be asked for, and so is our own command's.
    assert_eq!(state(subject.process().id().pid), Some('Z'));
    assert_eq!(subject.exit(), Some(Exit::Status(4)));
    assert_eq!(ours.wait().unwrap().code(), Some(6));
}

#[test]
fn a_tree_that_forks_while_it_is_killed_dies() {
    let _guard = subreaper();
    let mut subject = shell(
        "i=0; while [ $i -lt 400 ]; do i=$((i+1)); setsid sleep 1000 & [ $i = 20 ] && echo going $i; done; wait",
    );
    number(&subject, "going");
    assert!(subject.end(Duration::ZERO).is_empty());
    assert!(subject.tree().is_empty());
}

#[test]
fn a_raised_limit_of_descriptors_is_not_the_subjects() {
    let _guard = subreaper();
    let before = shell("ulimit -Sn");
    wait(&before);
    raise_descriptor_limit().unwrap();
    let after = shell("ulimit -Sn");
    wait(&after);
    assert_eq!(before.last_lines(1), after.last_lines(1));
}
