//! `plimsoll check --pid`: a service that ran before and goes on afterwards.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Place, example, free_port, is_alive};

/// A service started by somebody else. Ended when dropped.
struct Running {
    child: Child,
    inspector: u16,
}

impl Running {
    /// Starts `node SCRIPT` on the place's port and waits until it listens.
    fn node(place: &Place, script: &str, flags: &[&str]) -> Self {
        let inspector = free_port();
        let mut command = Command::new("node");
        command
            .arg(format!("--inspect-port={inspector}"))
            .arg(script)
            .args(flags)
            .env("PORT", place.port.to_string())
            .env("LIFETIME_S", "240")
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("node starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert!(line.contains("listening"), "{line}");
        // Somebody has to read on, or it would wait for us once it has printed much.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { child, inspector }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn expect_left_alone(&mut self) {
        assert!(
            self.child.try_wait().expect("a child of ours").is_none(),
            "it was ended"
        );
        let inspector = std::net::TcpStream::connect(("127.0.0.1", self.inspector));
        assert!(inspector.is_err(), "its inspector still listens");
    }
}

/// A Python that somebody else started, which sleeps. Ended when dropped.
struct Sleeping(Child);

impl Sleeping {
    fn python(environment: &[(&str, &str)]) -> Self {
        let text = "import time; print('up', flush=True); time.sleep(240)";
        let mut child = Command::new("python3")
            .args(["-c", text])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n");
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_service_is_judged_and_left_alone() {
    let place = Place::new();
    let mut service = Running::node(&place, &example("node/request-listener/server.js"), &[]);
    let url = place.url("/front-page");
    place
        .run(&["check", "--pid", &service.pid(), "--url", &url])
        .expect_code(1)
        .expect_said("config-reloaded")
        .expect_said("were put in through its inspector")
        .expect_said("SIGUSR1 and closed again");
    service.expect_left_alone();
    let document = place.last_run();
    assert_eq!(document["subject"]["command"], serde_json::json!([]));
    assert_eq!(
        document["subject"]["service"]["id"]["pid"],
        service.child.id()
    );
    assert_eq!(document["culprits"][0]["pattern"], "event listeners");
}

#[test]
fn its_fixed_twin_is_no_leak() {
    let place = Place::new();
    let mut service = Running::node(
        &place,
        &example("node/request-listener/server.js"),
        &["--fixed"],
    );
    let url = place.url("/front-page");
    place
        .run(&["check", "--pid", &service.pid(), "--url", &url])
        .expect_code(0)
        .expect_unsaid("held by");
    service.expect_left_alone();
}

#[test]
fn without_attaching_it_is_only_looked_at() {
    let place = Place::new();
    let mut service = Running::node(&place, &example("faults/all-500.js"), &[]);
    let pid = service.pid();
    let run = place.run(&["check", "--pid", &pid, "--no-attach", "--duration", "2s"]);
    run.expect_said("`--no-attach` was given; process level only")
        .expect_unsaid("were put in");
    service.expect_left_alone();
}

#[test]
fn without_a_load_a_running_service_is_watched_from_inside() {
    let place = Place::new();
    let mut service = Running::node(&place, &example("faults/grows-with-time.js"), &[]);
    place
        .run(&["check", "--pid", &service.pid(), "--duration", "25s"])
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("were put in");
    service.expect_left_alone();
}

#[test]
fn a_service_that_ends_meanwhile_is_no_memory_verdict() {
    let place = Place::new();
    let service = Running::node(&place, &example("faults/dies-after.js"), &[]);
    let url = place.url("/");
    place
        .run(&["check", "--pid", &service.pid(), "--url", &url])
        .expect_code(4)
        .expect_said("the subject ended");
}

#[test]
fn the_port_must_be_the_process_s_own() {
    let (place, other) = (Place::new(), Place::new());
    let service = Running::node(&place, &example("faults/all-500.js"), &[]);
    let stranger = Running::node(&other, &example("faults/all-500.js"), &[]);
    let url = other.url("/");
    place
        .run(&["check", "--pid", &service.pid(), "--url", &url])
        .expect_code(4)
        .expect_said("is answered by a process that is not part of the subject")
        .expect_said(&format!("`--pid {}`", stranger.pid()));
}

#[test]
fn a_process_that_is_not_there() {
    let place = Place::new();
    place
        .run(&["check", "--pid", "4194303"])
        .expect_code(2)
        .expect_said("no process has pid 4194303")
        .expect_said("hint:");
    let mut child = Command::new("true").spawn().expect("a command");
    let pid = i64::from(child.id());
    while is_alive(pid) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    place
        .run(&["check", "--pid", &pid.to_string()])
        .expect_code(2)
        .expect_said(&format!("process {pid} has ended"))
        .expect_said("a zombie");
    child.wait().expect("a zombie of ours");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let place = Place::new();
    for (arguments, said) in [
        (&["check", "--pid", "0"][..], "--pid"),
        (
            &["check", "--pid", "1", "--", "node"],
            "cannot be used with",
        ),
        (
            &["check", "--pid", "1", "--ready-log", "up"],
            "--ready-log reads the output",
        ),
        (
            &["check", "--pid", "1", "--url", "http://192.0.2.7/"],
            "not on this machine",
        ),
    ] {
        place.run(arguments).expect_code(2).expect_said(said);
    }
}

#[test]
fn a_program_of_another_language_is_watched_from_outside() {
    let place = Place::new();
    let mut child = Command::new("sleep").arg("60").spawn().expect("a command");
    let run = place.run(&[
        "check",
        "--pid",
        &child.id().to_string(),
        "--duration",
        "2s",
    ]);
    run.expect_said("`sleep` is neither Node.js nor Python; process level only");
    assert!(child.try_wait().expect("a child of ours").is_none());
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
}

#[test]
fn a_python_that_takes_nothing_in_is_seen_from_outside() {
    let place = Place::new();
    let mut closed = Sleeping::python(&[("PYTHON_DISABLE_REMOTE_DEBUG", "1")]);
    place
        .run(&["check", "--pid", &closed.pid(), "--duration", "1s"])
        .expect_said(
            "does not take the probe in: PYTHON_DISABLE_REMOTE_DEBUG is set; process level only",
        );
    assert!(closed.0.try_wait().expect("ours").is_none());

    let open = Sleeping::python(&[]);
    let run = place.run(&["check", "--pid", &open.pid(), "--duration", "1s"]);
    let told = Command::new("python3")
        .args(["-c", "import sys; print(hasattr(sys, 'remote_exec'))"])
        .output()
        .expect("python3 starts");
    if String::from_utf8_lossy(&told.stdout).starts_with("False") {
        run.expect_said("takes no probe in while it runs; 3.14 and newer do; process level only");
    } else {
        // It takes it in when it wakes.
        run.expect_said("was asked to run it and has not within 2 s");
    }
}

#[test]
fn a_running_python_is_judged_and_left_alone() {
    let Ok(python) = std::env::var("PLIMSOLL_PYTHON_3_14") else {
        eprintln!("skipped: PLIMSOLL_PYTHON_3_14 names no CPython 3.14");
        return;
    };
    let place = Place::new();
    let child = Command::new(python)
        .arg(example("python/job-worker/server.py"))
        .env("PORT", place.port.to_string())
        .spawn()
        .expect("it starts");
    let mut service = Sleeping(child);
    let url = place.url("/");
    let port = place.port.to_string();
    let pid = service.pid();
    let ready = ["--url", &url, "--ready-port", &port];
    place
        .run(
            &[
                &["check", "--pid", &pid, "--max-time", "2m"],
                ready.as_slice(),
            ]
            .concat(),
        )
        .expect_code(1)
        .expect_said("of probe were put in by `sys.remote_exec`")
        .expect_said("JOB_RESULTS");
    assert!(service.0.try_wait().expect("ours").is_none());
}
