//! `plimsoll snapshot` and `plimsoll explain`: snapshots of a running process, and every question to them.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Place, finish, namespaces};
use serde_json::Value;

/// Keeps parcels, more with each line of its input.
const SUBJECT: &str = "
  class Parcel { constructor(i) { this.secret = 'hunter2-' + i + '-0123456789'; } }
  const depot = new Map();
  let packed = 0;
  function pack(n) { for (let i = 0; i < n; i++) depot.set(++packed, new Parcel(packed)); }
  pack(1000);
  globalThis.size = () => depot.size;
  process.stdin.on('data', () => { pack(1000); console.log('packed'); });
  console.log('packed');";

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start() -> Self {
        let mut child = Command::new("node")
            .args(["-e", SUBJECT])
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut running = Self { child, lines };
        running.wait();
        running
    }

    fn wait(&mut self) {
        let line = self.lines.next().expect("it lives").expect("it prints");
        assert_eq!(line, "packed");
    }

    fn pack(&mut self) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(b"x").expect("it lives");
        self.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Snapshots of one process, `grown` times with a thousand parcels more, taken in one go.
fn taken(place: &Place, directory: &str, grown: usize) -> Vec<PathBuf> {
    let mut running = Running::start();
    let pid = running.child.id().to_string();
    let count = (grown + 1).to_string();
    let mut command = place.command(&["snapshot", "take", "--pid", &pid, "-o", directory]);
    let mut taking = command
        .args(["--count", &count])
        .stdin(Stdio::piped())
        .spawn()
        .expect("plimsoll starts");
    let mut said = BufReader::new(taking.stderr.take().expect("piped"));
    let mut enter = taking.stdin.take().expect("piped");
    for _ in 0..grown {
        let mut line = String::new();
        said.read_line(&mut line).expect("it says that it waits");
        assert!(line.contains("Enter takes the next"), "{line}");
        running.pack();
        enter.write_all(b"\n").expect("it reads");
    }
    let output = taking.wait_with_output().expect("it ends");
    let run = finish(&output);
    run.expect_code(0);
    let mut files: Vec<PathBuf> = std::fs::read_dir(place.directory.path().join(directory))
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), grown + 1, "{}", run.said());
    files
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    let run = place.run(arguments);
    run.expect_code(0);
    serde_json::from_str(&run.stdout).expect("JSON")
}

#[test]
fn snapshots_of_a_running_process_answer_every_question() {
    let place = Place::new();
    let files = taken(&place, "shots", 2);
    for file in &files {
        let mode = std::fs::metadata(file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What `DevTools` opens begins so.
        let text = std::fs::read(file).expect("readable");
        assert!(text.starts_with(b"{\"snapshot\":{\"meta\":{"));
    }
    let [a, b, c] = [0, 1, 2].map(|i| files[i].to_str().expect("readable"));

    let summary = json(&place, &["snapshot", "summary", c, "--json", "-n", "500"]);
    assert_eq!(parcels(&summary["rows"])["count"], 3000);
    place
        .run(&["snapshot", "summary", c])
        .expect_code(0)
        .expect_said("retained");

    let diff = json(&place, &["snapshot", "diff", a, b, "--json", "-n", "500"]);
    assert_eq!(parcels(&diff["rows"])["new"], 1000);
    assert_eq!(parcels(&diff["rows"])["gone"], 0);
    place
        .run(&["snapshot", "-c", a, b])
        .expect_code(0)
        .expect_said("Parcel");

    let leaks = json(
        &place,
        &[
            "snapshot",
            "leaks",
            a,
            b,
            c,
            c,
            "--json",
            "--operations",
            "1000",
        ],
    );
    assert_eq!(leaks["rows"][0]["kind"], "Parcel", "{leaks}");
    assert!(
        leaks["rows"][0]["holder"]
            .as_str()
            .expect("a holder")
            .contains("depot"),
        "{leaks}"
    );
    let table = json(
        &place,
        &["snapshot", "leaks", a, b, c, "--class", "Parcel", "--json"],
    );
    assert_eq!(
        table["facts"]["outcome"],
        "leak: 2000 of 2000 Parcel remain"
    );
    assert_eq!(table["rows"][1]["count"], 2000);

    let retainers = json(&place, &["snapshot", "retainers", c, "Parcel", "--json"]);
    let path = retainers["facts"]["path"].as_str().expect("a path");
    assert!(path.contains("depot"), "{path}");
    json(&place, &["snapshot", "dominators", c, "Parcel", "--json"]);
    let found = json(
        &place,
        &["snapshot", "query", c, "--property", "depot", "--json"],
    );
    assert_eq!(found["facts"]["found"], 1);
    json(&place, &["snapshot", "strings", c, "--json"]);
    json(&place, &["snapshot", "collections", c, "--json"]);
    let contexts = json(&place, &["snapshot", "contexts", c, "--json"]);
    assert!(
        contexts["rows"][0]["variables"]
            .as_str()
            .expect("names")
            .contains("depot"),
        "{contexts}"
    );
    place
        .run(&["snapshot", "query", c, "--class", "Parcle"])
        .expect_code(2)
        .expect_said("the nearest name is `Parcel`");

    a_copy_hides_what_strings_say(&place, c, &parcels(&summary["rows"]));
}

/// What is bound and listens, a method of an object of its own each time or one function, and what waits for ever.
const FUNCTIONS: &str = "
  async function reserve(i) { const order = { text: 'order ' + i }; await opened; return order; }
  const opened = new Promise(() => {});
  const rates = new (require('node:events').EventEmitter)().setMaxListeners(0);
  class Teller { constructor(i) { this.name = 'teller ' + i; } take() {} }
  function note() {}
  const [what] = process.argv.slice(2);
  const listener = (i) => what === 'method' ? Teller.prototype.take.bind(new Teller(i)) : note.bind(null, 'no. ' + i);
  for (let i = 0; i < 1500; i++) {
    if (what === 'waiting') reserve(i);
    else rates.on('change', listener(i));
    if (i % 500 === 499) require('node:v8').writeHeapSnapshot(`${i}.heapsnapshot`);
  }";

#[test]
fn functions_are_called_by_their_class_or_by_what_was_written() {
    let place = Place::new();
    let directory = place.directory.path();
    std::fs::write(directory.join("rates.js"), FUNCTIONS).expect("the script is written");
    for (what, kind, pattern) in [
        ("method", "Teller", "event listeners"),
        ("function", "function bound note", "event listeners"),
        (
            "waiting",
            "variables of function reserve",
            "pending promises/tasks",
        ),
    ] {
        let status = Command::new("node")
            .args(["rates.js", what])
            .current_dir(directory)
            .status();
        assert!(status.expect("node starts").success());
        let files = ["499", "999", "1499", "1499"].map(|i| format!("{i}.heapsnapshot"));
        let mut arguments = vec!["snapshot", "leaks", "--json", "--operations", "500"];
        arguments.extend(files.iter().map(String::as_str));
        let row = &json(&place, &arguments)["rows"][0];
        assert_eq!(row["kind"], kind, "{row}");
        assert_eq!(row["pattern"], pattern, "{row}");
    }
}

fn parcels(rows: &Value) -> Value {
    let rows = rows.as_array().expect("rows").clone();
    rows.into_iter()
        .find(|r| r["class"] == "Parcel")
        .expect("parcels")
}

fn a_copy_hides_what_strings_say(place: &Place, c: &str, parcel: &Value) {
    let copy = place.directory.path().join("shared.heapsnapshot");
    let copy = copy.to_str().expect("readable");
    let secret = json(
        place,
        &["snapshot", "query", c, "--text", "hunter2", "--json"],
    );
    assert!(secret["facts"]["found"].as_u64().expect("a count") > 0);
    place
        .run(&["snapshot", "anonymize", c, "-o", copy])
        .expect_code(0);
    place
        .run(&["snapshot", "query", copy, "--text", "hunter2"])
        .expect_code(2);
    let copied = json(place, &["snapshot", "summary", copy, "--json", "-n", "500"]);
    assert_eq!(parcels(&copied["rows"])["retained"], parcel["retained"]);
    place
        .run(&["snapshot", "anonymize", c, "-o", copy])
        .expect_code(2)
        .expect_said("cannot be written");
}

#[test]
fn a_disk_that_fills_up_is_told_and_nothing_half_is_left() {
    let Some(mut unshare) = namespaces(&["--mount"]) else {
        return;
    };
    let place = Place::new();
    let script = format!(
        "mount -t tmpfs -o size=1m none {disk} && cd {disk} && mkfifo up && \
         {{ node --inspect-port={port} -e 'console.log(`up`); setInterval(() => {{}}, 1000)' > up & read line < up; \
            {plimsoll} snapshot take --pid $! -o shots; echo code $?; ls -A shots | wc -l; kill $!; }}",
        disk = place.directory.path().display(),
        plimsoll = env!("CARGO_BIN_EXE_plimsoll"),
        port = common::free_port(),
    );
    let output = unshare.args(["sh", "-c", &script]).output();
    let run = finish(&output.expect("unshare runs"));
    run.expect_said("No space left on device")
        .expect_said("name another directory with `-o`");
    assert_eq!(run.stdout, "code 2\n0\n", "{}", run.said());
}

#[test]
fn snapshots_of_two_processes_are_not_compared() {
    let place = Place::new();
    let one = taken(&place, "one", 0);
    let other = taken(&place, "other", 0);
    let [a, b] = [&one[0], &other[0]].map(|f| f.to_str().expect("readable"));
    place
        .run(&["snapshot", "diff", a, b])
        .expect_code(2)
        .expect_said("cannot be compared");
}

#[test]
fn variables_that_nobody_can_read_are_listed_where_the_runtime_tells_them() {
    let place = Place::new();
    let of = |name: &str| {
        common::repository(&format!(
            "crates/heap/tests/snapshots/{name}.heapsnapshot.zst"
        ))
    };
    let page = of("chromium-detached");
    let dead = json(&place, &["snapshot", "contexts", &page, "--dead", "--json"]);
    assert_eq!(dead["facts"]["unread_variables"], 3, "{dead}");
    assert_eq!(dead["rows"][0]["variable"], "unread");
    assert_eq!(dead["rows"][0]["function"], "make");
    place
        .run(&["snapshot", "contexts", &of("node20-kept")])
        .expect_code(0)
        .expect_said("unread ones are not known");
    place
        .run(&["snapshot", "contexts", &of("node20-kept"), "--dead"])
        .expect_code(2)
        .expect_said("does not say which variables functions read");
}

#[test]
fn what_is_no_snapshot_is_refused_with_its_place() {
    let place = Place::new();
    let file = place.directory.path().join("cut.heapsnapshot");
    std::fs::write(&file, "{\"snapshot\":{\"meta\":").expect("written");
    let file = file.to_str().expect("readable");
    place
        .run(&["snapshot", "summary", file])
        .expect_code(2)
        .expect_said("cut off")
        .expect_said("cut.heapsnapshot");
    place
        .run(&["snapshot", "summary", "no-such-file"])
        .expect_code(2)
        .expect_said("No such file");
    place
        .run(&["snapshot", "take", "--pid", &std::process::id().to_string()])
        .expect_code(2)
        .expect_said("no snapshot of pid");
}

/// Runs its arguments on a terminal of their own, typing what comes on standard input once it is asked.
const TERMINAL: &str = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b''
for line in sys.stdin.buffer.read().splitlines():
    while not said.rstrip(b'\\r\\n').endswith(b'> '):
        said += os.read(terminal, 65536)
    sys.stdout.buffer.write(said)
    said = b''
    os.write(terminal, line + b'\\n')
try:
    while True:
        part = os.read(terminal, 65536)
        if not part:
            break
        sys.stdout.buffer.write(part)
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// Bun's own format: what it tells is answered, what it does not is said.
#[test]
fn snapshots_of_bun_are_answered_as_far_as_they_go() {
    let place = Place::new();
    let write = |name: &str, parcels: u32| {
        let numbers = 10..10 + parcels;
        let nodes: Vec<String> = numbers.clone().map(|id| format!("{id},48,2,0")).collect();
        let edges: Vec<String> = numbers.map(|id| format!("1,{id},2,{id}")).collect();
        let text = format!(
            r#"{{"version":3,"type":"Inspector","nodes":[0,0,0,0,1,32,1,0,{}],"nodeClassNames":["<root>","Depot","Parcel"],"edges":[0,1,1,0,{}],"edgeTypes":["Internal","Property","Index","Variable"],"edgeNames":["depot"]}}"#,
            nodes.join(","),
            edges.join(",")
        );
        let path = place.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a readable path").to_owned()
    };
    let (a, b) = (write("a.json", 100), write("b.json", 350));
    let summary = place.run(&["snapshot", "summary", &b]);
    summary
        .expect_code(0)
        .expect_said("JavaScriptCore's own format: it tells neither")
        .expect_said("Parcel");
    let diff = json(&place, &["snapshot", "diff", &a, &b, "--json"]);
    assert_eq!(diff["rows"][0]["class"], "Parcel", "{diff}");
    assert_eq!(diff["rows"][0]["count"], 250, "{diff}");
    let path = json(&place, &["snapshot", "retainers", &b, "@300", "--json"]);
    assert!(
        path["facts"]["path"]
            .as_str()
            .is_some_and(|path| path.contains(".depot Depot @1")),
        "{path}"
    );
    for (arguments, why) in [
        (vec!["strings", &*b], "does not say what strings say"),
        (
            vec!["leaks", &*a, &*a, &*b],
            "an object has another number each time",
        ),
        (
            vec!["anonymize", &*b, "-o", "c.json"],
            "no texts of strings to replace",
        ),
    ] {
        let refused = place.run(&[&["snapshot"], &arguments[..]].concat());
        refused.expect_code(2).expect_said(why);
    }
    assert!(!place.directory.path().join("c.json").exists());
}

#[test]
fn a_snapshot_is_explored_on_a_terminal() {
    let place = Place::new();
    let files = taken(&place, "shots", 0);
    let file = files[0].to_str().expect("readable");
    let mut command = Command::new("python3");
    let mut session = command
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_plimsoll")])
        .args(["--color", "never", "snapshot", "browse", file])
        .env("COLUMNS", "120")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let typed = "class Parcel\n1\npath\ndominators\n1\nback\nforward\nrefs\nid x\nnonsense\nquit\n";
    let mut input = session.stdin.take().expect("piped");
    input.write_all(typed.as_bytes()).expect("it reads");
    drop(input);
    let run = finish(&session.wait_with_output().expect("it ends"));
    run.expect_code(0)
        .expect_said("and 985 more")
        .expect_said("->depot")
        .expect_said("`x` is no id")
        .expect_said("`nonsense` is not known")
        .expect_said("@");
}

#[test]
fn patterns_are_explained_with_code() {
    let place = Place::new();
    place
        .run(&["explain"])
        .expect_code(0)
        .expect_said("unbounded-map")
        .expect_said("closure-capture");
    place
        .run(&["explain", "Event listeners"])
        .expect_code(0)
        .expect_said("BAD")
        .expect_said("GOOD");
    place
        .run(&["explain", "event-listners"])
        .expect_code(2)
        .expect_said("the nearest is `event-listeners`");
}
