//! `plimsoll check --module`: a function of a module is repeated in its own runtime, and judged.

mod common;

use std::process::Command;

use common::{Finished, Place};
use serde_json::Value;

/// Registers a ticket, counts its calls, prints more than it should, and closes when it is told to.
const TICKETS: &str = r#"
import { appendFileSync } from 'node:fs';

class Ticket {
  constructor(number) {
    this.number = number;
    this.seats = new Array(100).fill(number);
  }
}

const open = new Map();
let expected = 0;

export async function setup() {
  await null;
  appendFileSync('log', 'setup\n');
}

export function operation(i) {
  if (i !== expected++) throw new Error('not the next number');
  open.set(i, new Ticket(i));
  if (i % 100 === 0) console.log('{"done":1,"errors":{}}');
  if (process.env.KEEPS !== 'yes') open.delete(i);
}

export const teardown = () => appendFileSync('log', `teardown ${process.argv.length} ${process.argv[1]}\n`);
"#;

/// The same in Python.
const TICKETS_IN_PYTHON: &str = r#"
import os
import sys

class Ticket:
    def __init__(self, number):
        self.number = number
        self.seats = [number] * 100

_open = {}
_expected = 0

def setup():
    with open("log", "a") as log:
        log.write("setup\n")

def operation(i):
    global _expected
    if i != _expected:
        raise ValueError("not the next number")
    _expected += 1
    _open[i] = Ticket(i)
    if i % 100 == 0:
        print('{"done":1,"errors":{}}')
    if os.environ.get("KEEPS") != "yes":
        del _open[i]

def teardown():
    with open("log", "a") as log:
        log.write(f"teardown {sys.argv}\n")
"#;

/// Bytes an operation keeps, measured by nobody of ours.
const TRUTH: &str = r"
import(process.argv[1]).then(({ operation }) => {
  const read = () => { gc(); gc(); const m = process.memoryUsage(); return m.heapUsed + m.external; };
  console.log = () => {};
  let i = 0;
  const most = (n) => { while (i < n) operation(i++); return read(); };
  most(5000);
  const before = read();
  process.stdout.write(String((most(25000) - before) / 20000));
});
";
const TRUTH_IN_PYTHON: &str = r"
import contextlib, io, runpy, sys, tracemalloc
operation = runpy.run_path(sys.argv[1])['operation']
tracemalloc.start()
with contextlib.redirect_stdout(io.StringIO()):
    for i in range(20000):
        operation(i)
print(tracemalloc.get_traced_memory()[0] / 20000)
";

fn truth(place: &Place, words: &[&str]) -> f64 {
    let output = Command::new(words[0])
        .args(&words[1..])
        .current_dir(place.directory.path())
        .env("KEEPS", "yes")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("no figure: {output:?}"))
}

fn write(place: &Place, name: &str, text: &str) {
    std::fs::write(place.directory.path().join(name), text).expect("written");
}

/// A short check; `keeps` is what the module is told.
fn check(place: &Place, keeps: &str, more: &[&str]) -> Finished {
    let common = [
        "check",
        "--rounds",
        "6",
        "--operations",
        "1500",
        "--warm-up",
        "3000",
    ];
    let mut command = place.command(&[&common[..], more].concat());
    common::finish(&command.env("KEEPS", keeps).output().expect("it starts"))
}

/// What is in `log` by now, and not any more.
fn log(place: &Place) -> String {
    let path = place.directory.path().join("log");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    text
}

#[track_caller]
fn expect_leak(run: &Finished, place: &Place, truth: f64, parts: &[&str]) {
    run.expect_code(1);
    let document = place.last_run();
    let rate = document["verdict"]["growth"]["rate"]
        .as_f64()
        .expect("a rate");
    assert!(
        (rate / truth - 1.0).abs() < 0.1,
        "{rate} B and not {truth} B per operation\n{}",
        run.said()
    );
    for part in parts {
        run.expect_said(part);
    }
}

#[track_caller]
fn expect_quiet(run: &Finished, place: &Place) -> Value {
    // Over so few rounds a healthy module may stay open.
    assert!([0, 3].contains(&run.code), "{}", run.said());
    let document = place.last_run();
    assert_eq!(document["status"]["state"], "completed", "{}", run.said());
    assert_eq!(document["load"]["errors_by_kind"], serde_json::json!({}));
    document
}

#[test]
fn a_function_in_node_is_judged_and_its_holder_named() {
    let place = Place::new();
    write(&place, "tickets.mjs", TICKETS);
    let path = place.directory.path().join("tickets.mjs");
    let path = path.to_str().expect("a readable path");
    let truth = truth(&place, &["node", "--expose-gc", "-e", TRUTH, path]);
    let leaky = check(&place, "yes", &["--module", "tickets.mjs"]);
    let holder = ["Ticket in Map `open`", "tickets.mjs:", "unbounded map"];
    expect_leak(&leaky, &place, truth, &holder);
    leaky.expect_said("node tickets.mjs");
    let told = log(&place);
    assert_eq!(
        told,
        format!("setup\nteardown 2 tickets.mjs\n"),
        "{}",
        leaky.said()
    );
    let fixed = check(&place, "no", &["--module", "tickets.mjs"]);
    let document = expect_quiet(&fixed, &place);
    assert_eq!(document["load"]["operation_word"], "operation");
}

#[test]
fn a_function_in_python_is_judged_and_its_holder_named() {
    let place = Place::new();
    write(&place, "tickets.py", TICKETS_IN_PYTHON);
    let truth = truth(&place, &["python3", "-c", TRUTH_IN_PYTHON, "tickets.py"]);
    let leaky = check(&place, "yes", &["--module", "tickets.py"]);
    expect_leak(&leaky, &place, truth, &["Ticket", "_open", "tickets.py:"]);
    let told = log(&place);
    let path = place.directory.path().canonicalize().expect("a path");
    let path = path.join("tickets.py");
    assert_eq!(
        told,
        format!("setup\nteardown [{:?}]\n", path.display().to_string()).replace('"', "'")
    );
    expect_quiet(&check(&place, "no", &["--module", "tickets.py"]), &place);
}

/// A check that nobody gave a plan: somebody waits for it as for a test, so that it does not do more than so many operations.
#[track_caller]
fn expect_few(name: &str, text: &str, code: i32, most: u64) {
    let place = Place::new();
    write(&place, name, text);
    let run = place.run(&["check", "--explain", "never", "--module", name]);
    run.expect_code(code);
    let done = place.last_run()["load"]["total_operations"].as_u64();
    assert!(
        done.is_some_and(|done| done <= most),
        "{done:?} operations\n{}",
        run.said()
    );
}

#[test]
fn a_fast_function_is_judged_by_few_calls() {
    expect_few(
        "idle.mjs",
        "export const operation = () => {};\n",
        0,
        6_000_000,
    );
}

#[test]
fn a_fast_function_in_python_is_judged_by_few_calls() {
    expect_few("idle.py", "def operation(i):\n    pass\n", 0, 6_000_000);
}

#[test]
fn what_a_fast_function_keeps_fits_into_memory() {
    // Some 150 B a call, and a table that doubles: the heap has to hold all of it, and snapshots are taken of that.
    let keeps = "const kept = new Map();\nexport const operation = (i) => void kept.set(i, { seats: [i, i, i] });\n";
    expect_few("keeps.mjs", keeps, 1, 700_000);
}

#[test]
fn asynchronous_functions_and_other_forms_of_export() {
    let place = Place::new();
    let keeping = "const kept = [];\nconst keep = async (i) => { await null; kept.push({ i, text: `${i}`.repeat(40) }); };\n";
    write(
        &place,
        "named.cjs",
        &format!("{keeping}exports.operation = keep;\n"),
    );
    write(
        &place,
        "default.mjs",
        &format!("{keeping}export default keep;\n"),
    );
    write(
        &place,
        "object.mjs",
        &format!("{keeping}export default {{ operation: keep }};\n"),
    );
    for module in ["named.cjs", "default.mjs", "object.mjs"] {
        let flags = ["--module", module, "-c", "4", "--explain", "never"];
        check(&place, "", &flags).expect_code(1).expect_said("LEAK");
    }
    write(
        &place,
        "waits.py",
        "import asyncio\nkept = []\nasync def operation(i):\n    await asyncio.sleep(0)\n    kept.append(str(i) * 40)\n",
    );
    let flags = [
        "--module",
        "waits.py",
        "-c",
        "4",
        "--explain",
        "never",
        "--",
        "python3",
        "-O",
    ];
    let run = check(&place, "", &flags);
    run.expect_code(1).expect_said("python3 -O waits.py");
}

/// A module that is wrong: how the run ends, and what is said.
#[track_caller]
fn expect_wrong(place: &Place, name: &str, text: &str, code: i32, parts: &[&str]) {
    write(place, name, text);
    let run = check(place, "", &["--timeout", "2s", "--module", name]);
    run.expect_code(code);
    // Lines are broken where the terminal ends.
    let said = run.said().split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(
            said.contains(part),
            "`{part}` was not said:\n{}",
            run.said()
        );
    }
}

#[test]
fn what_is_wrong_with_a_module_is_said() {
    let place = Place::new();
    for (name, text, parts) in [
        (
            "empty.mjs",
            "export const other = () => {};",
            &[
                "exports neither `operation` nor a default that is a function; functions there: other",
            ][..],
        ),
        (
            "empty.py",
            "def other():\n    pass\n",
            &["has no `operation`; functions there: other"],
        ),
        (
            "broken.mjs",
            "export const operation = (;\n",
            &["SyntaxError", "broken.mjs:1"],
        ),
        (
            "broken.py",
            "def operation(i:\n",
            &["(broken.py, line 1)", "broken.py\", line 1"],
        ),
        (
            "needs.mjs",
            "import 'not-installed-anywhere';\n",
            &["not-installed-anywhere", "install it there"],
        ),
        (
            "setup.mjs",
            "export const operation = () => {};\nexport const setup = () => { throw new Error('no database'); };\n",
            &["failed in its setup(): Error: no database"],
        ),
        (
            "setup.py",
            "operation = print\ndef setup():\n    raise OSError('no database')\n",
            &["failed in its setup(): OSError: no database"],
        ),
    ] {
        expect_wrong(&place, name, text, 4, parts);
    }
    expect_wrong(&place, "op.rb", "", 2, &["not known by its extension"]);
    let missing = check(&place, "", &["--module", "missing.mjs"]);
    missing.expect_code(2).expect_said("there is no such file");
    let both = check(
        &place,
        "",
        &["--module", "op.rb", "--url", "http://127.0.0.1:1/"],
    );
    both.expect_code(2).expect_said("exclude each other");
}

#[test]
fn operations_that_fail_hang_or_end_their_process_end_the_run() {
    let place = Place::new();
    for (name, text, parts) in [
        (
            "throws.mjs",
            "export const operation = (i) => { if (i % 2) throw new TypeError(`no seat ${i}`); };\n",
            &["TypeError: no seat #", "allowed: 1", "the first to do so"][..],
        ),
        (
            "rejects.mjs",
            "export const operation = async () => { throw 'a text'; };\n",
            &["x a text"],
        ),
        (
            "throws.py",
            "def operation(i):\n    raise ValueError(f'no seat {i}')\n",
            &["ValueError: no seat #"],
        ),
        (
            "exits.mjs",
            "export const operation = (i) => { if (i === 3) process.exit(0); };\n",
            &[
                "the subject died (status 0) in the warm-up",
                "let it return, or throw",
            ],
        ),
        (
            "exits.py",
            "import sys\ndef operation(i):\n    sys.exit(7)\n",
            &["the subject died (status 7)"],
        ),
        (
            "hangs.mjs",
            "export const operation = (i) => i < 3 ? null : new Promise(() => {});\n",
            &["operation 3 has not settled for 2"],
        ),
        (
            "blocks.py",
            "import threading\ndef operation(i):\n    threading.Event().wait()\n",
            &["has not come back for 2"],
        ),
    ] {
        expect_wrong(&place, name, text, 4, parts);
    }
    let torn = "export const operation = () => {};\nexport const teardown = () => { throw new Error('open files'); };\n";
    write(&place, "torn.mjs", torn);
    let run = check(&place, "", &["--module", "torn.mjs"]);
    run.expect_said("teardown() of torn.mjs failed: Error: open files");
}
