//! `plimsoll monitor`, in front of commands and beside running processes.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use common::{Place, finish, namespaces, settle};

/// Keeps 20 kB more every 10 ms, and drops much more than that. (Run with a nursery of fixed size: while that grows, so does
/// the heap, ever more slowly.)
const KEEPS: &str = "const kept = []; let g; setInterval(() => { kept.push(new Array(2500).fill(kept.length + 0.5)); \
    for (let i = 0; i < 30; i++) g = new Array(5000).fill(i + 0.5) }, 10)";

/// The same without keeping anything.
const DROPS: &str = "let g; setInterval(() => { for (let i = 0; i < 30; i++) g = new Array(5000).fill(i + 0.5) }, 10)";

// ---- in front of a command ----

#[test]
fn a_command_keeps_its_streams_and_its_status() {
    let place = Place::new();
    for (script, code) in [("exit 7", 7), ("kill -SEGV $$", 139), ("exit 0", 0)] {
        place
            .run(&["monitor", "--", "sh", "-c", script])
            .expect_code(code);
    }
    let mut child = place
        .command(&["monitor", "--", "sh", "-c", "cat; echo to stderr >&2"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"to stdin\n").expect("written");
    drop(stdin);
    let finished = finish(&child.wait_with_output().expect("ends"));
    finished.expect_code(0).expect_said("to stderr");
    // Its signals are its own: none is blocked that was not before.
    let mask = |finished: &common::Finished| {
        let lines = finished.stdout.lines();
        lines
            .filter(|l| l.starts_with("SigBlk"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let wrapped = place.run(&["monitor", "-q", "--", "cat", "/proc/self/status"]);
    let alone = Command::new("cat")
        .arg("/proc/self/status")
        .output()
        .expect("cat runs");
    assert_eq!(mask(&wrapped), mask(&finish(&alone)));
    // Not a word of ours among it.
    assert_eq!(finished.stdout, "to stdin\n");
}

#[test]
fn a_command_that_cannot_be_started_is_a_usage_error() {
    let place = Place::new();
    place
        .run(&["monitor", "--", "no-such-command-here"])
        .expect_code(2)
        .expect_said("hint:");
}

/// A command that says `ready`, then waits for signals and tells of each.
fn listening(place: &Place) -> (Child, BufReader<std::process::ChildStdout>) {
    let script = "for s in USR1 HUP; do trap \"echo $s\" $s; done; trap 'echo TERM; exit 3' TERM; \
        echo ready; while :; do sleep 0.05; done";
    let mut child = place.spawn(&["monitor", "-q", "--", "sh", "-c", script]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    expect_line(&mut lines, "ready");
    (child, lines)
}

#[track_caller]
fn expect_line(lines: &mut impl BufRead, expected: &str) {
    let mut line = String::new();
    lines.read_line(&mut line).expect("readable");
    assert_eq!(line.trim_end(), expected);
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn signals_reach_the_command_and_its_answer_comes_back() {
    let place = Place::new();
    let (mut child, mut lines) = listening(&place);
    for name in ["USR1", "HUP"] {
        signal(&child, name);
        expect_line(&mut lines, name);
    }
    signal(&child, "TERM");
    expect_line(&mut lines, "TERM");
    assert_eq!(child.wait().expect("ends").code(), Some(3));
    let run = place.last_run();
    assert_eq!(run["verb"], "monitor");
    assert_eq!(run["subject"]["exit"]["status"], 3);
    assert_eq!(run["exit_code"], 3);
}

#[test]
fn our_own_failure_never_reaches_the_command() {
    let place = Place::new();
    let output = place
        .command(&[
            "monitor",
            "-i",
            "20",
            "--",
            "sh",
            "-c",
            "sleep 0.5; echo done; exit 5",
        ])
        .env("PLIMSOLL_TEST_PANIC", "1")
        .output()
        .expect("starts");
    let finished = finish(&output);
    finished
        .expect_code(5)
        .expect_said("a failure on purpose")
        .expect_said("watching failed");
    assert_eq!(finished.stdout, "done\n");
}

#[test]
fn a_command_outlives_a_killed_monitor_and_the_log_can_be_read() {
    let place = Place::new();
    let mut child = place.spawn(&[
        "monitor",
        "-i",
        "50",
        "--",
        "sh",
        "-c",
        "echo $$; exec sleep 60",
    ]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("readable");
    let pid: i64 = line.trim().parse().expect("a pid");
    settle(|| {
        let rows = place.run(&["export", "last", "--metric", "rss"]).stdout;
        (rows.lines().count() > 1).then_some(())
    });
    place.run(&["history"]).expect_said("running");
    signal(&child, "KILL");
    child.wait().expect("ends");
    assert!(common::is_alive(pid), "the command went down with us");
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.expect("kill runs").success());
    place.run(&["history"]).expect_said("unfinished");
    // What was recorded until a second before is there, and nothing else is torn.
    let exported = place.run(&["export", "last", "--metric", "rss"]);
    exported.expect_code(0);
    assert!(exported.stdout.lines().count() > 1, "{}", exported.said());
}

#[test]
fn after_the_planned_time_the_command_is_ended_and_that_is_no_failure() {
    let place = Place::new();
    // What the command would leave behind is ended too, or this would wait for the output of `sleep` for a minute.
    let begun = std::time::Instant::now();
    let script = "sleep 60; echo late";
    let finished = place.run(&["monitor", "-i", "50", "-d", "600", "--", "sh", "-c", script]);
    finished.expect_code(0);
    assert_eq!(finished.stdout, "");
    assert!(begun.elapsed() < std::time::Duration::from_secs(50));
}

#[test]
fn as_the_first_process_of_a_container_it_reaps_and_passes_on() {
    let Some(mut unshare) = namespaces(&["--pid", "--fork", "--mount-proc"]) else {
        return;
    };
    let place = Place::new();
    // Twenty orphans that end at once; once they are reaped, the first process, which is the monitor, and the shell are alone.
    let script = "for i in $(seq 20); do (sh -c 'true &' &); done; \
        i=0; set -- /proc/[0-9]*; while [ $i -lt 200 ] && [ $# -gt 2 ]; do sleep 0.05; i=$((i+1)); set -- /proc/[0-9]*; done; \
        echo $#; cat /proc/1/comm; kill -TERM 1; sleep 60";
    let output = unshare
        .arg(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["monitor", "-q", "-i", "50", "--", "sh", "-c", script])
        .current_dir(place.directory.path())
        .output()
        .expect("unshare runs");
    let finished = finish(&output);
    assert_eq!(finished.stdout, "2\nplimsoll\n", "{}", finished.said());
    // `sh` dies of the signal that was sent to us.
    finished.expect_code(143);
}

#[test]
fn the_heap_of_a_node_command_is_told_and_its_leak_found() {
    let place = Place::new();
    let finished = place.run(&[
        "monitor",
        "-i",
        "100",
        "-d",
        "14s",
        "--fail-on",
        "leak",
        "-o",
        "run.json",
        "--csv",
        "t.csv",
        "--columns",
        "soak",
        "-l",
        "m.log",
        "--",
        "node",
        "--max-semi-space-size=1",
        "-e",
        KEEPS,
    ]);
    finished
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("heap used");
    let text = std::fs::read_to_string(place.directory.path().join("run.json")).expect("written");
    let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(run["exit_code"], 1);
    assert_eq!(run["subject"]["service"]["runtime"]["name"], "node");
    // At most 2 MB a second are kept, in whatever the machine leaves of a timer of 10 ms.
    let rate = run["verdict"]["growth"]["rate"].as_f64().expect("a rate");
    assert!((2e5..4e6).contains(&rate), "{rate}");
    let table = std::fs::read_to_string(place.directory.path().join("t.csv")).expect("written");
    assert!(table.starts_with("timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n"));
    assert!(table.lines().count() > 30, "{table}");
    let log = std::fs::read_to_string(place.directory.path().join("m.log")).expect("written");
    assert!(log.contains("Z  ") && log.contains("heap"), "{log}");
    // So does what was recorded.
    let csv = place.run(&["export", "last", "--metric", "heap_used"]);
    csv.expect_code(0);
    assert!(csv.stdout.lines().count() > 60, "{}", csv.said());
    let lines = place.run(&["export", "last", "--format", "jsonl"]);
    for kind in ["collection", "process", "source", "clock", "reading"] {
        lines.expect_said(&format!("\"record\":\"{kind}\""));
    }
    // The table goes back before the same judge.
    place
        .run(&[
            "analyze",
            "--column",
            "heap_mb",
            "--time-column",
            "timestamp",
            "t.csv",
        ])
        .expect_code(1)
        .expect_said("LEAK");
}

#[test]
fn a_command_that_keeps_nothing_does_not_leak() {
    let place = Place::new();
    place
        .run(&[
            "monitor",
            "-i",
            "100",
            "-d",
            "6s",
            "--fail-on",
            "leak",
            "--",
            "node",
            "--max-semi-space-size=1",
            "-e",
            DROPS,
        ])
        .expect_code(0)
        .expect_unsaid("LEAK   +");
}

// ---- beside running processes ----

/// A process that is ended when the test is.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("starts"))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn several_processes_are_a_table_with_a_sum_and_live_on() {
    let place = Place::new();
    let mut both = [
        Running::start("sleep", &["60"]),
        Running::start("sleep", &["60"]),
    ];
    let (a, b) = (both[0].pid(), both[1].pid());
    let finished = place.run(&[
        "monitor", "--pid", &a, "--pid", &b, "-i", "50", "-d", "1200", "--json",
    ]);
    finished
        .expect_code(0)
        .expect_said("2 processes")
        .expect_said(&a)
        .expect_said(&b);
    let run: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(
        run["subject"]["processes"].as_array().map(Vec::len),
        Some(2)
    );
    let series = run["series"].as_array().expect("a list");
    assert!(
        series.iter().any(|s| s["metric"] == "rss_anon_sum"),
        "{series:?}"
    );
    for process in &mut both {
        assert!(
            process.0.try_wait().expect("asked").is_none(),
            "it was ended"
        );
    }
}

#[test]
fn a_running_node_is_read_only_unless_attaching_is_asked_for() {
    let place = Place::new();
    let node = Running::start(
        "node",
        &["-e", "setInterval(() => 0, 50); console.log('up')"],
    );
    let mut node = node;
    let mut line = String::new();
    let stdout = node.0.stdout.take().expect("piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("readable");
    let pid = node.pid();
    let outside = place.run(&["monitor", "--pid", &pid, "-i", "100", "-d", "600", "--json"]);
    outside
        .expect_code(0)
        .expect_said("`--attach`")
        .expect_unsaid("heap_used");
    let inside = place.run(&[
        "monitor", "--attach", "--pid", &pid, "-i", "100", "-d", "3s", "--json",
    ]);
    inside
        .expect_code(0)
        .expect_said("attached to pid")
        .expect_said("heap_used");
    assert!(node.0.try_wait().expect("asked").is_none(), "it was ended");
}

#[test]
fn children_that_come_and_go_are_followed() {
    let place = Place::new();
    let parent = Running::start("sh", &["-c", "while :; do sleep 0.3; done"]);
    let finished = place.run(&[
        "monitor",
        "--pid",
        &parent.pid(),
        "-i",
        "50",
        "-d",
        "1500",
        "--json",
    ]);
    finished.expect_code(0);
    let run: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let processes = run["subject"]["processes"].as_array().expect("a list");
    let sleeps = processes
        .iter()
        .filter(|p| p["command"][0] == "sleep")
        .count();
    assert!(sleeps >= 2, "{processes:?}");
}

#[test]
fn a_process_is_found_by_its_script_and_its_end_is_the_end() {
    let place = Place::new();
    let script = place.directory.path().join("watched-by-name.sh");
    std::fs::write(&script, "read line\n").expect("written");
    let mut child = Command::new("sh")
        .arg(&script)
        .stdin(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut monitor = place.spawn(&["monitor", "--name", "watched-by-name.sh", "-i", "50"]);
    let mut stderr = BufReader::new(monitor.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("readable");
    assert!(line.contains("rss"), "{line}");
    // Its standard input ends, and with it the script.
    drop(child.stdin.take());
    child.wait().expect("ends");
    let finished = finish(&monitor.wait_with_output().expect("ends"));
    finished.expect_code(0).expect_said("plimsoll report");
}

#[test]
fn told_to_stop_it_says_what_it_saw() {
    let place = Place::new();
    let process = Running::start("sleep", &["60"]);
    let mut monitor = place.spawn(&["monitor", "--pid", &process.pid(), "-i", "50"]);
    let mut stderr = BufReader::new(monitor.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("readable");
    signal(&monitor, "INT");
    let mut report = String::new();
    monitor
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut report)
        .expect("readable");
    assert_eq!(monitor.wait().expect("ends").code(), Some(0));
    assert!(
        report.contains("plimsoll monitor") && report.contains("INCONCLUSIVE"),
        "{report}"
    );
}

#[test]
fn what_cannot_be_watched_or_written_is_said_before_anything_begins() {
    let place = Place::new();
    place
        .run(&["monitor", "--pid", "4194399"])
        .expect_code(2)
        .expect_said("no process has pid 4194399");
    place
        .run(&["monitor", "--name", "no-such-program-here"])
        .expect_code(2)
        .expect_said("no running process is named");
    place.run(&["monitor"]).expect_code(2);
    place
        .run(&["monitor", "--csv", "no/such/place.csv", "--", "true"])
        .expect_code(2)
        .expect_said("no/such/place.csv cannot be written");
    place
        .run(&[
            "monitor",
            "--csv",
            "t.csv",
            "--columns",
            "rss,heapused",
            "--",
            "true",
        ])
        .expect_code(2)
        .expect_said("`heapused` is no column");
    place
        .run(&["monitor", "-i", "0", "--", "true"])
        .expect_code(2)
        .expect_said("millisecond");
}
