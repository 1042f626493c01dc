//! Calls of the operating system live in `probe::os`; everything else asks that room.

use super::Problem;
use crate::workspace::{File, Tree};

/// The room of the calls.
const ROOM: [&str; 2] = ["crates/probe/src/os.rs", "crates/probe/src/os/"];

/// What such a call is made by. Files, paths and sockets of `std::os::unix` are no calls of their own.
const BY: [&str; 9] = [
    "libc::",
    "rustix::",
    "nix::",
    "mio::",
    "signal_hook::",
    "std::os::linux::",
    "std::os::unix::process::",
    "std::os::unix::thread::",
    "linux_raw_sys::",
];

/// Who may all the same: the file, by what, and why.
const EXCEPTIONS: [(&str, &str, &str); 16] = [
    (
        "crates/cli/src/main.rs",
        "signal_hook::",
        "signal handlers belong to a program, never to a library",
    ),
    (
        "crates/load/src/connection.rs",
        "mio::",
        "readiness of thousands of sockets, behind the driver",
    ),
    (
        "crates/load/src/transport.rs",
        "mio::",
        "the socket below TLS, behind the driver",
    ),
    (
        "crates/load/src/http.rs",
        "mio::",
        "readiness of thousands of sockets, behind the driver",
    ),
    (
        "crates/engine/src/around.rs",
        "std::os::unix::process::",
        "a command around the load leads a group of its own",
    ),
    (
        "crates/engine/src/profile/memray.rs",
        "std::os::unix::process::",
        "becomes memray's live view, which has the terminal for itself",
    ),
    (
        "crates/load/src/clock.rs",
        "rustix::",
        "the timer descriptor among the sockets; load does not know probe",
    ),
    (
        "crates/load/src/command.rs",
        "rustix::",
        "pipe and group of a program that drives; load does not know probe",
    ),
    (
        "crates/load/src/command.rs",
        "std::os::unix::process::",
        "a program that drives leads a group of its own",
    ),
    (
        "crates/load/src/module/channel.rs",
        "rustix::",
        "waits for the host of a module; load does not know probe",
    ),
    (
        "crates/load/src/meter.rs",
        "rustix::",
        "the CPU clock of its own thread; load does not know probe",
    ),
    (
        "crates/probe/src/subject.rs",
        "std::os::unix::process::",
        "the name a command is started under",
    ),
    (
        "crates/probe/src/wrapped.rs",
        "std::os::unix::process::",
        "the name a command is started under",
    ),
    (
        "crates/probe/src/attach.rs",
        "std::os::linux::",
        "the name of an abstract socket",
    ),
    (
        "crates/plimsoll/src/memory_testing/system.rs",
        "rustix::",
        "the limit of its own memory; a user's tests do not know probe",
    ),
    (
        "crates/plimsoll/src/memory_testing/exhaustion.rs",
        "std::os::unix::process::",
        "the signal that a child died of; a user's tests do not know probe",
    ),
];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        let is_source = file.extension() == "rs"
            && file.path.starts_with("crates/")
            && file.path.contains("/src/");
        if is_source && !ROOM.iter().any(|room| file.path.starts_with(room)) {
            calls(file, &mut problems);
        }
    }
    for (path, by, _) in EXCEPTIONS {
        let is_needed = tree
            .file(path)
            .is_none_or(|file| file.text.lines().any(|line| calls_by(line, by)));
        if !is_needed {
            let what = format!("no longer calls by `{by}`: take it off the exceptions");
            problems.push(Problem::of_file(path, what));
        }
    }
    problems
}

fn calls(file: &File, problems: &mut Vec<Problem>) {
    for (number, line) in file.lines() {
        for by in BY.iter().filter(|by| calls_by(line, by)) {
            let is_excepted = EXCEPTIONS
                .iter()
                .any(|(path, with, _)| *path == file.path && with == by);
            if !is_excepted {
                let what = format!(
                    "`{by}` is a call of the operating system: those live in crates/probe/src/os.rs"
                );
                problems.push(Problem::of_line(file, number, what));
            }
        }
    }
}

/// Whether code of this line names `by` from its root, comments apart.
fn calls_by(line: &str, by: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(by).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::printed;
    use crate::workspace::Tree;

    fn problems(path: &str, text: &str) -> Vec<String> {
        printed(&check(&Tree::of(&[(path, text)])))
    }

    #[test]
    fn a_call_outside_its_room_is_a_problem() {
        for by in [
            "libc::",
            "rustix::",
            "std::os::linux::",
            "std::os::unix::process::",
        ] {
            let text = format!("//! A room.\nuse {by}x;\n");
            assert_eq!(
                problems("crates/store/src/lib.rs", &text),
                [format!(
                    "crates/store/src/lib.rs:2: `{by}` is a call of the operating system: those live in crates/probe/src/os.rs"
                )]
            );
            assert_eq!(problems("crates/probe/src/os/net.rs", &text), [""; 0]);
            assert_eq!(problems("crates/store/tests/it.rs", &text), [""; 0]);
        }
    }

    #[test]
    fn words_that_only_look_like_it_are_none() {
        let text = "//! A room.\n// libc::x\nuse std::os::unix::fs::OpenOptionsExt;\nmy_libc::x();\ncrate::nix::y();\n";
        assert_eq!(problems("crates/store/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn an_exception_that_is_not_needed_any_more_is_told() {
        assert_eq!(
            problems("crates/load/src/meter.rs", "//! A room.\n"),
            ["crates/load/src/meter.rs: no longer calls by `rustix::`: take it off the exceptions"]
        );
        assert_eq!(
            problems("crates/load/src/meter.rs", "//! A room.\nrustix::x();\n"),
            [""; 0]
        );
    }
}
