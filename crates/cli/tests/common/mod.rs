//! Runs the built binary against real subjects, each on a port and in a directory of its own.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses a part of it"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A directory of its own and a free port.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) port: u16,
}

/// What a run of `plimsoll` left.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `plimsoll` with these arguments, in this place, on this port.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PORT", self.port.to_string())
            .env("LIFETIME_S", "240")
            .env_remove("NODE_OPTIONS")
            .env_remove("PLIMSOLL_DIR")
            .env("COLUMNS", "120")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&self.command(arguments).output().expect("plimsoll starts"))
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("plimsoll starts")
    }

    /// The document of the newest run.
    pub(crate) fn last_run(&self) -> Value {
        let shown = self.run(&["report", "last", "--json"]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        serde_json::from_str(&shown.stdout).expect("the report is JSON")
    }
}

pub(crate) fn finish(output: &Output) -> Finished {
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Finished {
    /// Everything it said, for a failed assertion.
    pub(crate) fn said(&self) -> String {
        format!(
            "exit {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }

    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}", self.said());
        self
    }

    #[track_caller]
    pub(crate) fn expect_said(&self, part: &str) -> &Self {
        assert!(
            self.stdout.contains(part) || self.stderr.contains(part),
            "`{part}` was not said:\n{}",
            self.said()
        );
        self
    }

    #[track_caller]
    pub(crate) fn expect_unsaid(&self, part: &str) -> &Self {
        assert!(
            !self.stdout.contains(part) && !self.stderr.contains(part),
            "`{part}` was said:\n{}",
            self.said()
        );
        self
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize()
        .expect("the repository")
        .join(path)
        .to_str()
        .expect("a readable path")
        .to_owned()
}

pub(crate) fn example(path: &str) -> String {
    repository(&format!("examples/{path}"))
}

/// A port that nobody listens on, below those that the system gives to connections: the ten thousand that tests open beside this
/// one would be given it before the server has it.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(16);
    (0..1_000)
        .map(|_| begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % 20_000)
        .filter_map(|at| u16::try_from(10_000 + at).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Whether a process of this pid is alive (a zombie is not).
pub(crate) fn is_alive(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn settle<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "nothing settled");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// `unshare` with these flags, to be given a command; `None`, and said loudly, where that is not permitted.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn namespaces(flags: &[&str]) -> Option<Command> {
    let tried = Command::new("unshare").args(flags).arg("true").output();
    let why = match tried {
        Ok(output) if output.status.success() => {
            let mut command = Command::new("unshare");
            command
                .args(flags)
                .env_remove("NODE_OPTIONS")
                .env_remove("PLIMSOLL_DIR")
                .stdin(Stdio::null());
            return Some(command);
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!(
        "SKIPPED: `unshare {}` is not possible here: {why}",
        flags.join(" ")
    );
    None
}
