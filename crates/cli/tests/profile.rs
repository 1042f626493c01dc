//! `plimsoll profile`: what is refused before anything runs; and, where memray is installed, recordings of real programs.
//!
//! memray comes from `PyPI` by `cargo xtask services` into `target/services`; without it those tests say that they are
//! skipped.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Place, repository};

/// 2,000 lists that stay, made by one function.
const LEAKY: &str = "\
import sys
KEPT = []
def keep(number):
    KEPT.append([number] * 30)
for number in range(2000):
    keep(number)
print('done', len(KEPT), *sys.argv[1:])
";

fn script(place: &Place, text: &str) -> String {
    let path = place.directory.path().join("leaky.py");
    std::fs::write(&path, text).expect("a script");
    path.display().to_string()
}

/// An interpreter that has memray.
fn with_memray() -> Option<String> {
    let python = repository("target") + "/services/bin/python";
    if Path::new(&python).exists() {
        return Some(python);
    }
    eprintln!("skipped: memray is not installed; `cargo xtask services` does that");
    None
}

#[test]
fn what_cannot_be_recorded_is_refused_with_the_way_out() {
    let place = Place::new();
    let script = script(&place, LEAKY);
    // Isolated and without its packages, no interpreter has memray.
    place
        .run(&[
            "profile", "record", "--memray", "--", "python3", "-I", "-S", &script,
        ])
        .expect_code(2)
        .expect_said("memray is not installed for `python3`")
        .expect_said("`python3 -m pip install memray` installs it")
        .expect_unsaid("done");
    place
        .run(&["profile", "record", "--memray", "--", "sleep", "1"])
        .expect_code(2)
        .expect_said("`sleep` is no Python program");
    place
        .run(&["profile", "record", "--memray", "--", "python3"])
        .expect_code(2)
        .expect_said("names no Python program");
    place
        .run(&["profile", "record", "--", "python3", &script])
        .expect_code(2)
        .expect_said("--memray");
    place
        .run(&["profile", "record", "--memray", "-p", "999999999"])
        .expect_code(2)
        .expect_said("no process");
    place
        .run(&["profile", "flamegraph"])
        .expect_code(2)
        .expect_said("nothing was recorded here");
    // Nothing was begun, so nothing is listed.
    place.run(&["history"]).expect_said("no runs yet");
}

#[test]
fn a_program_is_recorded_and_shown() {
    let Some(python) = with_memray() else { return };
    let place = Place::new();
    let script = script(&place, LEAKY);
    let run = place.run(&[
        "profile", "record", "--memray", "--", &python, &script, "-n", "7",
    ]);
    run.expect_code(0).expect_said("RECORDED");
    assert_eq!(run.stdout, "done 2000 -n 7\n", "its output is its own");
    place.run(&["history"]).expect_said("recorded");
    assert_eq!(place.last_run()["artefacts"][0]["path"], "memray.bin");

    for view in ["flamegraph", "table"] {
        let shown = place.run(&["profile", view, "--leaks"]);
        shown.expect_code(0);
        let page = std::fs::read_to_string(shown.stdout.trim()).expect("a page");
        assert!(page.contains("keep"), "{view} does not name the function");
    }
    place
        .run(&["profile", "stats"])
        .expect_code(0)
        .expect_said("leaky.py");
    place
        .run(&["profile", "summary"])
        .expect_code(0)
        .expect_said("keep");
}

#[test]
fn other_tools_read_what_was_recorded() {
    let Some(python) = with_memray() else { return };
    let place = Place::new();
    let script = script(&place, LEAKY);
    place
        .run(&["profile", "record", "--memray", "--", &python, &script])
        .expect_code(0);
    let export = |format: &str| -> PathBuf {
        let told = place.run(&["profile", "export", "--format", format, "--leaks"]);
        told.expect_code(0);
        PathBuf::from(told.stdout.trim())
    };
    let folded = std::fs::read_to_string(export("folded")).expect("stacks");
    let kept: u64 = folded
        .lines()
        .filter(|line| line.contains("keep (") && line.contains("leaky.py:4"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    // 2,000 lists of 30 pointers, and their heads.
    assert!((480_000..=700_000).contains(&kept), "{kept} B in\n{folded}");

    let text = std::fs::read_to_string(export("speedscope")).expect("a document");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let profile = &document["profiles"][0];
    let weights = profile["weights"].as_array().expect("weights");
    let total: u64 = weights.iter().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(profile["endValue"], total);
    assert!(total >= kept);

    let packed = export("pprof");
    let unpacked = Command::new("gzip")
        .arg("-dc")
        .arg(&packed)
        .output()
        .expect("gzip");
    assert!(unpacked.status.success());
    let strings = String::from_utf8_lossy(&unpacked.stdout);
    assert!(strings.contains("inuse_space") && strings.contains("keep"));
}

#[test]
fn a_program_that_fails_keeps_what_was_recorded() {
    let Some(python) = with_memray() else { return };
    let place = Place::new();
    let script = script(&place, &format!("{LEAKY}sys.exit(3)\n"));
    place
        .run(&["profile", "record", "--memray", "--", &python, &script])
        .expect_code(4)
        .expect_said("the program failed (status 3)");
    place
        .run(&["profile", "export", "--format", "folded"])
        .expect_code(0);
}

#[test]
fn a_forked_process_has_a_recording_of_its_own() {
    let Some(python) = with_memray() else { return };
    let place = Place::new();
    let text = format!(
        "import os\n{LEAKY}child = os.fork()\nif child == 0:\n    for number in range(20000):\n        keep(number)\nelse:\n    os.waitpid(child, 0)\n    print(child)\n"
    );
    let script = script(&place, &text);
    let run = place.run(&[
        "profile",
        "record",
        "--memray",
        "--follow-fork",
        "--",
        &python,
        &script,
    ]);
    run.expect_code(0).expect_said("RECORDED");
    let child = run.stdout.lines().last().expect("the child's pid");
    let name = format!("memray.bin.{child}");
    assert_eq!(place.last_run()["artefacts"][1]["path"], name);
    place
        .run(&["profile", "summary", "--process", child])
        .expect_code(0)
        .expect_said("keep");
    place
        .run(&["profile", "summary", "--process", "1"])
        .expect_code(2)
        .expect_said("holds no recording memray.bin.1")
        .expect_said(&name);
}

/// Runs a command in a terminal of its own and presses a key once a word was drawn; ends as the command does.
const IN_A_TERMINAL: &str = "\
import fcntl, os, pty, struct, sys, termios
word, key, *command = sys.argv[1:]
child, screen = pty.fork()
if child == 0:
    os.environ['TERM'] = 'xterm-256color'
    os.execvp(command[0], command)
fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 160, 0, 0))
drawn, pressed = b'', False
while True:
    try:
        piece = os.read(screen, 65536)
    except OSError:
        break
    if not piece:
        break
    drawn += piece
    if word.encode() in drawn and not pressed:
        pressed = True
        os.write(screen, key.encode())
status = os.waitpid(child, 0)[1]
sys.exit(0 if pressed and status == 0 else repr(drawn[-2000:]))
";

#[test]
fn what_is_walked_takes_a_terminal() {
    let Some(python) = with_memray() else { return };
    let place = Place::new();
    let text = format!("{LEAKY}__import__('time').sleep(60 if 'wait' in sys.argv else 0)\n");
    let leaky = script(&place, &text);
    place
        .run(&["profile", "record", "--memray", "--", &python, &leaky])
        .expect_code(0);
    place
        .run(&["profile", "tree"])
        .expect_code(2)
        .expect_said("the tree is walked in a terminal, and there is none");
    let live = ["profile", "live", "--", &python, &leaky, "wait"];
    place
        .run(&live)
        .expect_code(2)
        .expect_said("a live view is shown in a terminal, and there is none");
    for view in [["profile", "tree"].as_slice(), &live] {
        let shown = Command::new(&python)
            .args([
                "-c",
                IN_A_TERMINAL,
                "Quit",
                "q",
                env!("CARGO_BIN_EXE_plimsoll"),
            ])
            .args(view)
            .current_dir(place.directory.path())
            .env_remove("PLIMSOLL_DIR")
            .output()
            .expect("python");
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{view:?}: {said}");
    }
}

/// A program that somebody else started. Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_process_is_entered_and_left() {
    // Below 3.14 it takes a debugger, and what debuggers may do differs from machine to machine.
    let Ok(python) = std::env::var("PLIMSOLL_PYTHON_3_14") else {
        eprintln!("skipped: PLIMSOLL_PYTHON_3_14 names no CPython 3.14 that has memray");
        return;
    };
    let place = Place::new();
    let text = LEAKY.replace("range(2000)", "__import__('itertools').count()");
    let text = text.replace(
        "    keep(number)\n",
        "    keep(number)\n    __import__('time').sleep(0.001)\n",
    );
    let child = Command::new(&python)
        .arg(script(&place, &text))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut running = Running(child);
    let pid = running.0.id().to_string();
    place
        .run(&["profile", "record", "--memray", "-p", &pid, "-d", "2s"])
        .expect_code(0)
        .expect_said("RECORDED");
    let ended = running.0.try_wait().expect("ours");
    assert!(ended.is_none(), "it was ended: {ended:?}");
    let export = ["profile", "export", "--format", "folded", "--leaks"];
    let told = place.run(&[export.as_slice(), &["-o", "kept"]].concat());
    told.expect_code(0);
    let folded = std::fs::read_to_string(place.directory.path().join("kept")).expect("stacks");
    assert!(folded.contains("leaky.py"), "{folded}");
}
