//! Runs one command of a step, shows what it prints and counts the tests in it.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;

use crate::tally::{Runner, Tally};

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) tally: Tally,
}

/// Runs `command` to its end; both its outputs go to ours line by line, in the order they arrive. What `runner`
/// says about tests is counted; without a runner nothing is.
pub(crate) fn run(command: &mut Command, runner: Option<Runner>) -> anyhow::Result<Ran> {
    run_into(command, runner, &mut std::io::stdout())
}

fn run_into(
    command: &mut Command,
    runner: Option<Runner>,
    out: &mut dyn Write,
) -> anyhow::Result<Ran> {
    let name = command.get_program().to_string_lossy().into_owned();
    if std::io::stdout().is_terminal() {
        command
            .env("CARGO_TERM_COLOR", "always")
            .env("FORCE_COLOR", "1");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let (lines, arrived) = mpsc::sync_channel(1024);
    forward(child.stdout.take().expect("piped above"), lines.clone());
    forward(child.stderr.take().expect("piped above"), lines);

    let mut tally = Tally::default();
    // Ends when both pipes do. A process that outlives the runner would hold them open, and so a
    // test that leaves one behind is seen here as a step that does not end.
    for line in arrived {
        tally += runner.map(|runner| runner.tally(&line)).unwrap_or_default();
        // A closed terminal is no reason to stop counting.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {name}"))?;
    Ok(Ran {
        succeeded: status.success(),
        tally,
    })
}

fn forward(pipe: impl Read + Send + 'static, lines: mpsc::SyncSender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while reader
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            bytes.clear();
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::run_into;
    use crate::tally::{Runner, Tally};

    #[test]
    fn both_outputs_are_counted_and_the_status_is_kept() {
        let script = "echo 'ℹ pass 2'; echo 'ℹ fail 1' >&2; printf 'no newline \\377'; exit 3";
        let mut out = Vec::new();
        let ran = run_into(
            Command::new("sh").args(["-c", script]),
            Some(Runner::Node),
            &mut out,
        )
        .unwrap();
        assert!(!ran.succeeded);
        assert!(
            String::from_utf8(out)
                .unwrap()
                .contains("no newline \u{fffd}\n")
        );
        assert_eq!(
            ran.tally,
            Tally {
                passed: 2,
                failed: 1
            }
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error =
            run_into(&mut Command::new("no-such-runner"), None, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot run no-such-runner");
    }
}
