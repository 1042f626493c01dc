//! Real programs, started, watched and ended, in a process that is no subreaper.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::*;
use plimsoll_model::{Cancel, Exit};
use plimsoll_probe::{Error, Subject};

#[test]
fn how_a_program_ends_is_told_for_as_long_as_anybody_asks() {
    for (script, exit) in [
        ("exit 0", Exit::Status(0)),
        ("exit 7", Exit::Status(7)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -TERM $$", Exit::Signal(15)),
    ] {
        let mut subject = shell(script);
        assert_eq!(wait(&subject), exit, "{script}");
        assert!(!subject.process().is_alive());
        assert!(subject.end(Duration::ZERO).is_empty());
        assert_eq!(subject.exit(), Some(exit), "after its end: {script}");
    }
}

#[test]
fn waiting_ends_with_the_time_or_the_cancel() {
    let subject = spawn(&["sleep", "1000"]);
    let cancel = Cancel::try_new().unwrap();
    assert_eq!(subject.wait_exit(Duration::from_millis(1), &cancel), None);
    cancel.cancel();
    assert_eq!(subject.wait_exit(DEADLINE, &cancel), None);
    assert!(subject.process().is_alive());
}

#[test]
fn a_command_that_is_not_there_is_told_before_anything_starts() {
    for command in [
        "plimsoll-no-such-command",
        "./no/such/file",
        "/no/such/file",
        "",
    ] {
        let error = Subject::spawn(&launch(&[command])).unwrap_err();
        assert!(
            matches!(&error, Error::CommandNotFound { command: told } if told == command),
            "{error:?}"
        );
    }
    let error = Subject::spawn(&launch(&[])).unwrap_err();
    assert!(matches!(error, Error::CommandNotFound { .. }), "{error:?}");
}

#[test]
fn a_file_that_cannot_run_is_told_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let paths = [
        directory.path().to_str().unwrap().to_owned(),
        file("plain", "#!/bin/sh\n", 0o644),
        file("orphan", "#!/no/such/interpreter\n", 0o755),
    ];
    for path in paths {
        let error = Subject::spawn(&launch(&[&path])).unwrap_err();
        assert!(
            matches!(&error, Error::NotExecutable { path: told, .. } if *told == path),
            "{error:?}"
        );
    }
    // On PATH, a file that may not run is told if there is no better one.
    let mut plain = launch(&["plain"]);
    plain.env = vec![("PATH".into(), directory.path().into())];
    let error = Subject::spawn(&plain).unwrap_err();
    assert!(matches!(error, Error::NotExecutable { .. }), "{error:?}");
}

#[test]
fn the_command_keeps_its_name_and_gets_its_variables() {
    let mut launch = launch(&[
        "sh",
        "-c",
        "echo \"$0 $EXTRA\"; tr '\\0' '\\n' </proc/$$/cmdline",
    ]);
    launch.env = vec![("EXTRA".into(), "two words".into())];
    let subject = Subject::spawn(&launch).unwrap();
    wait(&subject);
    let lines = subject.last_lines(9);
    assert_eq!(&lines[..2], ["sh two words", "sh"]);
}

#[test]
fn a_subject_leads_a_session_and_reads_nothing() {
    let subject = shell(
        "cat; echo end of input; echo group $(ps -o pgid= $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat)",
    );
    let pid = subject.process().id().pid;
    assert_eq!(number(&subject, "group *"), pid);
    assert_eq!(wait(&subject), Exit::Status(0));
    assert_eq!(subject.last_lines(2)[0], "end of input");
}

#[test]
fn the_last_words_of_a_program_are_there_when_its_end_is() {
    for _ in 0..20 {
        let subject =
            shell("echo starting; echo \"Error: cannot find module 'express'\" >&2; exit 1");
        assert_eq!(wait(&subject), Exit::Status(1));
        assert_eq!(
            subject.output().last_lines,
            ["starting", "Error: cannot find module 'express'"]
        );
    }
}

#[test]
fn a_program_that_prints_without_end_never_waits_and_is_kept_in_bounds() {
    const MIB: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let mut launch = launch(&[
        "sh",
        "-c",
        "echo the start; head -c 67108864 /dev/zero; echo; echo the end",
    ]);
    launch.output_dir = Some(directory.path().to_owned());
    let mut subject = Subject::spawn(&launch).unwrap();
    assert_eq!(wait(&subject), Exit::Status(0));
    let output = subject.output();
    let total = 64 * MIB + "the start\n\nthe end\n".len() as u64;
    assert_eq!(output.bytes, total);
    assert_eq!(output.dropped_bytes, total - 9 * MIB);
    assert_eq!(output.last_lines.last().unwrap(), "the end");

    subject.end(Duration::ZERO);
    let kept = std::fs::read(directory.path().join("output.log")).unwrap();
    assert!(kept.starts_with(b"the start\n\0\0"));
    assert!(kept.ends_with(b"\0\nthe end\n"));
    assert!((kept.len() as u64) < 9 * MIB + 100);
}

#[test]
fn endless_output_keeps_nobody_waiting() {
    let subject = shell("exec yes 'one line'");
    let lines = subject.on_line(regex("^one line$"));
    line(&lines);
    for _ in 0..10 {
        assert!(subject.last_lines(3).len() <= 3);
        assert!(subject.output().bytes > 0);
    }
}

#[test]
fn a_line_is_found_before_and_after_it_is_printed() {
    let subject = shell("echo listening on 1; read never; true");
    wait(&subject);
    assert_eq!(number(&subject, "listening on"), 1);

    let subject = shell("sleep 0.1; echo port 2; printf 'ready> '; sleep 1000");
    assert_eq!(number(&subject, "port"), 2);
    let prompt = subject.on_line(regex("^ready> $"));
    assert_eq!(line(&prompt), "ready> ");
}

#[test]
fn the_grace_lets_a_program_end_in_its_own_way() {
    let mut subject =
        shell("trap 'echo goodbye; exit 3' TERM; echo set; while :; do sleep 0.05; done");
    line(&subject.on_line(regex("^set$")));
    assert!(subject.end(DEADLINE).is_empty());
    assert_eq!(subject.exit(), Some(Exit::Status(3)));
    assert_eq!(subject.last_lines(1), ["goodbye"]);
}

#[test]
fn after_the_grace_nobody_is_asked_again() {
    let mut subject = shell("trap '' TERM; echo pid $$; while :; do sleep 0.05; done");
    number(&subject, "pid");
    let start = Instant::now();
    assert!(subject.end(Duration::from_millis(200)).is_empty());
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(subject.exit(), Some(Exit::Signal(9)));
}

#[test]
fn a_stopped_program_can_be_ended() {
    let mut subject =
        shell("trap 'exit 5' TERM; echo set; kill -STOP $$; while :; do sleep 0.05; done");
    line(&subject.on_line(regex("^set$")));
    let pid = subject.process().id().pid;
    until("it stops", || state(pid) == Some('T'));
    assert!(subject.end(DEADLINE).is_empty());
    assert_eq!(subject.exit(), Some(Exit::Status(5)));
}

/// Prints the pids of a child in a session of its own and of a daemon that forked twice, then waits or ends.
const FAMILY: &str = "
    setsid sh -c 'echo session $$; exec sleep 1000' &
    (setsid sh -c 'echo daemon $$; exec sleep 1000' &) ;
    sleep 1000 & echo child $!;";

#[test]
fn sessions_and_daemons_are_of_the_tree_and_die_with_it() {
    let mut subject = shell(&format!("{FAMILY} echo shell $$; wait"));
    let mut expected = ["session", "daemon", "child", "shell"].map(|name| number(&subject, name));
    expected.sort_unstable();
    // Who was started under the name `sh` may just be becoming `sleep`; the tree is the same.
    let mut tree: Vec<u32> = subject.tree().iter().map(|p| p.id().pid).collect();
    tree.sort_unstable();
    assert_eq!(tree, expected);

    assert!(subject.end(Duration::ZERO).is_empty());
    for pid in expected {
        assert!(!is_running(pid), "{pid}");
    }
    assert!(subject.tree().is_empty());
}

#[test]
fn what_a_program_leaves_behind_is_still_its_tree() {
    let mut subject = shell(FAMILY);
    let pids = ["session", "daemon", "child"].map(|name| number(&subject, name));
    assert_eq!(wait(&subject), Exit::Status(0));
    let tree = subject.tree();
    assert_eq!(tree.len(), 3, "{tree:?}");
    // Asked kindly, all of them end: the group first, then those who left it.
    assert!(subject.end(DEADLINE).is_empty());
    assert!(pids.into_iter().all(|pid| !is_running(pid)));
}

#[test]
fn dropping_and_panicking_kill() {
    let subject = shell(&format!("{FAMILY} wait"));
    let pids = ["session", "daemon", "child"].map(|name| number(&subject, name));
    drop(subject);
    assert!(pids.into_iter().all(|pid| !is_running(pid)));

    let subject = shell(&format!("{FAMILY} wait"));
    let pids = ["session", "daemon", "child"].map(|name| number(&subject, name));
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _subject = subject;
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    assert!(pids.into_iter().all(|pid| !is_running(pid)));
}

#[test]
fn two_subjects_do_not_share_their_trees() {
    let first = shell(&format!("{FAMILY} wait"));
    let second = shell(&format!("{FAMILY} wait"));
    for name in ["session", "daemon", "child"] {
        number(&first, name);
        number(&second, name);
    }
    let pids = |subject: &Subject| -> Vec<u32> {
        subject
            .tree()
            .iter()
            .map(|process| process.id().pid)
            .collect()
    };
    let (one, two) = (pids(&first), pids(&second));
    assert_eq!((one.len(), two.len()), (4, 4));
    assert!(one.iter().all(|pid| !two.contains(pid)));
    drop(first);
    assert_eq!(pids(&second), two);
}

#[test]
fn when_the_observer_is_killed_the_command_is_told_to_end() {
    let mut observer = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "observer_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(observer.stdout.take().unwrap());
    let mut line = String::new();
    let pid: u32 = loop {
        line.clear();
        assert_ne!(
            std::io::BufRead::read_line(&mut output, &mut line).unwrap(),
            0
        );
        // libtest prints the test's name on the same line first.
        if let Some((_, pid)) = line.trim_end().split_once("subject ") {
            break pid.parse().unwrap();
        }
    };
    assert!(is_running(pid));
    observer.kill().unwrap();
    observer.wait().unwrap();
    until("the subject ends", || !is_running(pid));
}

#[test]
#[ignore = "started and killed by when_the_observer_is_killed_the_command_is_told_to_end"]
fn observer_to_be_killed() {
    let subject = spawn(&["sleep", "1000"]);
    println!("subject {}", subject.process().id().pid);
    wait(&subject);
}

#[test]
fn an_ignored_sigchld_loses_no_exit_status() {
    let output = std::process::Command::new("env")
        .arg("--ignore-signal=CHLD")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "observer_that_ignores_sigchld", "--ignored"])
        .output()
        .unwrap();
    if output.status.code() == Some(125) {
        eprintln!("SKIPPED: this `env` cannot ignore signals");
        return;
    }
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "started by an_ignored_sigchld_loses_no_exit_status"]
fn observer_that_ignores_sigchld() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status
        .lines()
        .find_map(|l| l.strip_prefix("SigIgn:"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let sigchld = rustix::process::Signal::CHILD.as_raw();
    assert_ne!(ignored & 1 << (sigchld - 1), 0, "ignored when we start");
    assert_eq!(wait(&shell("exit 7")), Exit::Status(7));
}
