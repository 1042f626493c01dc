//! `plimsoll suite`: a subject with everything is clean, bugs turn their own checks red, and bad subjects are said.
//! `cargo xtask suites` runs every suite with every bug; here are the short ones.

mod common;

use std::fs;
use std::process::Command;

use common::{Finished, Place, finish, namespaces, repository, settle};
use serde_json::Value;

fn command(place: &Place, subject: &str, mutant: &str, words: &[&str]) -> Command {
    let subject = repository(&format!("testdata/suite/{subject}"));
    let all: Vec<&str> = [&["suite", words[0], &subject], &words[1..]].concat();
    let mut command = place.command(&all);
    command.env("MUTANT", mutant);
    command
}

fn suite(place: &Place, subject: &str, mutant: &str, words: &[&str]) -> Finished {
    let mut command = command(place, subject, mutant, words);
    finish(&command.output().expect("plimsoll starts"))
}

fn document(finished: &Finished) -> Value {
    let run: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{}", finished.said()));
    assert_eq!(run["schema"], "plimsoll.suite/1");
    run
}

/// The checks that are not well, by full name.
fn red(finished: &Finished) -> Vec<String> {
    let run = document(finished);
    let checks = run["checks"].as_array().expect("checks").iter();
    checks
        .filter(|check| check["state"] != "passed")
        .map(|check| format!("{}.{}", check["test"], check["name"]).replace('"', ""))
        .collect()
}

/// A subject of a test's own.
fn write(place: &Place, text: &str) {
    fs::write(place.directory.path().join("subject.mjs"), text).expect("written");
}

#[test]
fn errors_leave_nothing_behind() {
    let place = Place::new();
    let words = ["fast", "--only", "error_recovery", "--json"];
    let clean = suite(&place, "ledger.mjs", "", &words);
    clean.expect_code(0);
    assert_eq!(red(&clean), [""; 0], "{}", clean.said());
    let run = document(&clean);
    assert_eq!(run["checks"].as_array().map(Vec::len), Some(7));
    let figures = run["checks"][0]["figures"].as_array().expect("figures");
    let growth = figures.iter().find(|f| f["name"] == "heap growth");
    let limit = growth.and_then(|f| f["limit"]["value"].as_f64());
    assert_eq!(limit, Some(5.0 * 1024.0 * 1024.0));
}

#[test]
fn what_is_refused_and_kept_is_named() {
    let place = Place::new();
    let words = ["fast", "--only", "error_recovery.invalid"];
    let leaks = suite(&place, "ledger.mjs", "invalid", &words);
    leaks
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("JavaScript memory grows by")
        .expect_said("Map `registered` (ledger.mjs)");
}

#[test]
fn linear_memory_that_is_not_given_back_is_no_leak_of_the_heap() {
    let place = Place::new();
    let words = [
        "fast",
        "--only",
        "wasm_memory.slack",
        "--only",
        "wasm_memory.auto_cycles",
        "--only",
        "gc_verification.basic",
        "--json",
    ];
    let leaks = suite(&place, "ledger.mjs", "block", &words);
    leaks.expect_code(1);
    assert_eq!(red(&leaks), ["wasm_memory.auto_cycles"], "{}", leaks.said());
    let clean = suite(&place, "ledger.mjs", "", &words);
    clean.expect_code(0);
}

#[test]
fn three_snapshots_say_how_many_remain() {
    let place = Place::new();
    let clean = suite(&place, "ledger.mjs", "", &["snapshot", "-o", "kept"]);
    clean
        .expect_code(0)
        .expect_said("cleaned up: all 1,000 Ledger are gone");
    let kept = fs::read_dir(place.directory.path().join("kept")).expect("made");
    assert_eq!(kept.count(), 3);
    let leaks = suite(&place, "ledger.mjs", "pairs", &["snapshot"]);
    leaks
        .expect_code(1)
        .expect_said("leak: 950 of 1,000 Ledger remain")
        .expect_said("event listeners");
}

#[test]
fn a_tight_loop_is_given_its_turns() {
    let place = Place::new();
    let words = ["tight-loop", "--operations", "20000"];
    suite(&place, "ledger.mjs", "", &words)
        .expect_code(0)
        .expect_said("created 20,000")
        .expect_said("told, not judged");
}

#[test]
fn requests_are_answered_and_their_memory_comes_back() {
    let place = Place::new();
    let words = ["http", "--hours", "0.3", "--compress", "400", "--json"];
    let clean = suite(&place, "ledger.mjs", "", &words);
    clean.expect_code(0);
    let notes = document(&clean)["notes"].to_string();
    assert!(notes.contains("compressed 400x"), "{notes}");
    suite(&place, "ledger.mjs", "totals", &words[..5])
        .expect_code(1)
        .expect_said("Array `totals` (ledger.mjs)");
}

/// Rows of a table without its heading.
fn rows(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.directory.path().join("soak.csv")).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_soak_that_was_killed_goes_on_without_a_lost_or_doubled_row() {
    let place = Place::new();
    let words = |compress: &'static str| {
        [
            "soak",
            "--hours",
            "1.5",
            "--csv",
            "soak.csv",
            "--compress",
            compress,
        ]
    };
    let mut killed = command(&place, "ledger.mjs", "", &words("120"))
        .spawn()
        .expect("plimsoll starts");
    settle(|| (rows(&place).len() >= 5).then_some(()));
    killed.kill().expect("it runs");
    killed.wait().expect("it ended");
    let before = rows(&place);
    assert!(before.len() < 90, "it was killed too late to show anything");

    suite(&place, "ledger.mjs", "", &words("3600"))
        .expect_code(2)
        .expect_said("--resume");
    let resumed = [&words("3600")[..], &["--resume"]].concat();
    let done = suite(&place, "ledger.mjs", "", &resumed);
    done.expect_code(0).expect_said("goes on after row");
    let after = rows(&place);
    assert_eq!(after.len(), 90, "{}", done.said());
    assert_eq!(after[..before.len()], before[..]);
    for (at, row) in after.iter().enumerate() {
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert_eq!(cells[4], ((at + 1) * 100).to_string(), "{row}");
    }
}

#[test]
fn a_full_disk_ends_a_soak_with_whole_rows() {
    let Some(mut isolated) = namespaces(&["--user", "--map-root-user", "--mount"]) else {
        return;
    };
    let place = Place::new();
    let disk = place.directory.path().join("disk");
    fs::create_dir(&disk).expect("made");
    let ledger = repository("testdata/suite/ledger.mjs");
    let script = format!(
        "mount -t tmpfs -o size=8k none {disk} && cd {disk} && {plimsoll} suite soak {ledger} --hours 3 --compress 36000; echo code $?; cat soak_test_results.csv",
        disk = disk.display(),
        plimsoll = env!("CARGO_BIN_EXE_plimsoll"),
    );
    let output = isolated.args(["sh", "-c", &script]).output();
    let ended = finish(&output.expect("unshare starts"));
    ended
        .expect_said("code 4")
        .expect_said("No space left on device")
        .expect_said("`--resume` goes on after the last whole row");
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert_eq!(last.split(',').count(), 5, "{}", ended.said());
    assert!(ended.stdout.ends_with('\n'));
}

#[test]
fn what_a_session_leaves_open_is_counted() {
    let place = Place::new();
    for (mutant, check) in [
        ("listener", "sessions.listeners"),
        ("timer", "sessions.timers"),
        ("file", "sessions.file_handles"),
    ] {
        let words = [
            "session",
            "--json",
            "--only",
            "sessions.listeners",
            "--only",
            "sessions.timers",
            "--only",
            "sessions.file_handles",
        ];
        let leaks = suite(&place, "desks.mjs", mutant, &words);
        leaks.expect_code(1);
        assert_eq!(red(&leaks), [check], "{mutant}: {}", leaks.said());
    }
}

#[test]
fn sessions_are_looked_at_in_snapshots_before_a_deployment() {
    let place = Place::new();
    let words = [
        "session",
        "--pre-deploy",
        "--only",
        "heap_snapshots",
        "-o",
        "kept",
    ];
    suite(&place, "desks.mjs", "", &words)
        .expect_code(0)
        .expect_said("cleaned up: all 1,000 Desk are gone");
    let kept = fs::read_dir(place.directory.path().join("kept")).expect("made");
    assert_eq!(kept.count(), 3);
}

#[test]
fn a_loop_that_keeps_too_much_is_left_early() {
    let place = Place::new();
    write(
        &place,
        "const kept = [];
        export const create = (i) => { kept.push(new Array(1100).fill(i)); return { i }; };",
    );
    let words = [
        "suite",
        "tight-loop",
        "subject.mjs",
        "--operations",
        "20000",
    ];
    place
        .run(&words)
        .expect_code(1)
        .expect_said("of 20,000 objects: the peak")
        .expect_said("JavaScript memory leak +")
        .expect_said("in Array `kept`");
}

#[test]
fn a_suite_is_a_run_like_any_other() {
    let place = Place::new();
    let words = ["fast", "--only", "gc_verification.rapid"];
    suite(&place, "ledger.mjs", "rapid", &words).expect_code(1);
    place
        .run(&["history"])
        .expect_code(0)
        .expect_said("red")
        .expect_said("suite fast");
    let again = place.run(&["report", "last"]);
    again
        .expect_code(0)
        .expect_said(" per operation (95 % CI")
        .expect_said("live objects leak 1.00/operation (1.00 … 1.00), linear")
        .expect_said("1 checks: 1 leak");
    place
        .run(&["analyze", "last"])
        .expect_code(2)
        .expect_said("`plimsoll report` shows it");
}

#[test]
fn a_server_of_the_subject_is_asked_and_its_holder_named() {
    let place = Place::new();
    write(
        &place,
        "export const server = 'server.mjs /upload';
        export const create = (i) => ({ i });",
    );
    fs::write(
        place.directory.path().join("server.mjs"),
        "import http from 'node:http';
        const uploads = [];
        http.createServer((request, response) => {
          const parts = [];
          request.on('data', (part) => parts.push(part));
          request.on('end', () => {
            if (request.url !== '/upload') return response.writeHead(404).end();
            const rows = Buffer.concat(parts).toString().split('\\n').length;
            uploads.push({ rows, marks: new Array(64).fill(rows) });
            response.end(JSON.stringify({ rows }));
          });
        }).listen(Number(process.env.PORT), '127.0.0.1');",
    )
    .expect("written");
    place
        .run(&[
            "suite",
            "http",
            "subject.mjs",
            "--hours",
            "0.3",
            "--compress",
            "400",
        ])
        .expect_code(1)
        .expect_said("Array `uploads` (server.mjs)");
}

#[test]
fn what_a_subject_lacks_is_skipped_and_said() {
    let place = Place::new();
    write(&place, "export const create = (i) => ({ i });");
    let only = [
        "suite",
        "fast",
        "subject.mjs",
        "--only",
        "gc_verification.rapid",
        "--only",
        "wasm_memory.slack",
    ];
    place
        .run(&only)
        .expect_code(3)
        .expect_said("skipped")
        .expect_said("exports no `dispose`")
        .expect_said("no WebAssembly memory");
    // As on Node 14.0 to 14.5.
    fs::write(
        place.directory.path().join("old.cjs"),
        "delete globalThis.FinalizationRegistry;",
    )
    .expect("written");
    let old = [
        "suite",
        "fast",
        "subject.mjs",
        "--only",
        "gc_verification.basic",
        "--",
        "node",
        "--require",
        "./old.cjs",
    ];
    place
        .run(&old)
        .expect_code(3)
        .expect_said("has no FinalizationRegistry")
        .expect_said("14.6");
    write(
        &place,
        "const gone = new FinalizationRegistry(() => {});\nexport const create = () => ({});",
    );
    place
        .run(&old)
        .expect_code(4)
        .expect_said("FinalizationRegistry is not defined")
        .expect_said("14.6");
}

#[test]
fn subjects_that_cannot_be_used_are_said() {
    let place = Place::new();
    for (text, said) in [
        (
            "export const make = () => 1;",
            "exports neither `create` nor `parse`; there are: make",
        ),
        (
            "export const create = 5;",
            "exports a `create` that is no function",
        ),
        ("throw new Error('no ledger today');", "no ledger today"),
        (
            "export const create = () => 1;\nexport const setup = async () => { throw new Error('no disk'); };",
            "failed in its setup(): Error: no disk",
        ),
        (
            "export const create = () => process.exit(9);",
            "the subject died (status 9)",
        ),
        (
            "const memory = new WebAssembly.Memory({ initial: 1, maximum: 64 });\nexport const create = () => ({ page: memory.grow(1) });",
            "17 of 80 operations failed (17 x RangeError: WebAssembly.Memory.grow()",
        ),
        (
            "export const create = async () => { throw new TypeError('no'); };",
            "TypeError: no",
        ),
    ] {
        write(&place, text);
        place
            .run(&[
                "suite",
                "fast",
                "subject.mjs",
                "--only",
                "gc_verification.basic",
            ])
            .expect_code(4)
            .expect_said(said);
    }
    write(
        &place,
        "export const create = () => 1;\nexport const setup = () => new Promise(() => {});",
    );
    place
        .run(&["suite", "fast", "subject.mjs", "--ready-timeout", "1s"])
        .expect_code(4)
        .expect_said("was not loaded and set up within 1.0 s");
    place
        .run(&["suite", "fast", "missing.mjs"])
        .expect_code(2)
        .expect_said("there is no such file");
    place
        .run(&["suite", "fast", "subject.mjs", "--only", "gc_verificatoin"])
        .expect_code(2)
        .expect_said("the nearest is `gc_verification`");
}

#[test]
fn what_never_settles_is_told_where() {
    let place = Place::new();
    write(
        &place,
        "export const create = (i) => new Promise(() => {});",
    );
    place
        .run(&[
            "suite",
            "fast",
            "subject.mjs",
            "--only",
            "error_recovery.after_create",
        ])
        .expect_code(4)
        .expect_said("create(0) has not settled");
}

#[test]
fn finalisers_that_are_slow_are_waited_for_when_that_is_asked() {
    let place = Place::new();
    write(
        &place,
        "let open = 0;
        const gone = new FinalizationRegistry(() => setTimeout(() => open--, 700));
        export const kind = 'Slow';
        export const create = () => { const slow = { rows: [1, 2, 3] }; open++; gone.register(slow, 0); return slow; };
        export const live = () => open;",
    );
    let words = [
        "suite",
        "fast",
        "subject.mjs",
        "--only",
        "gc_verification.finalisation",
    ];
    place
        .run(&words)
        .expect_code(1)
        .expect_said("slowest finalisation not reached")
        .expect_said("waits longer");
    place
        .run(&[&words[..], &["--finalizer-wait", "5s"]].concat())
        .expect_code(0);
}

#[test]
fn a_server_that_dies_is_no_verdict() {
    let place = Place::new();
    write(
        &place,
        "let left = 2500;
        export const parse = (text) => { if (--left < 0) process.exit(7); return text.split('\\n'); };
        export const aggregate = (rows) => rows.length;",
    );
    place
        .run(&[
            "suite",
            "http",
            "subject.mjs",
            "--hours",
            "0.1",
            "--compress",
            "400",
        ])
        .expect_code(4)
        .expect_said("the subject died (status 7)");
}

#[test]
fn machines_get_a_test_for_each_check() {
    let place = Place::new();
    let words = [
        "fast",
        "--only",
        "gc_verification.rapid",
        "--only",
        "gc_verification.basic",
        "--format",
        "junit",
    ];
    let leaks = suite(&place, "ledger.mjs", "rapid", &words);
    leaks.expect_code(1);
    leaks.expect_said("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\"");
    leaks.expect_said("classname=\"plimsoll.suite.gc_verification\" name=\"rapid\"");
}
