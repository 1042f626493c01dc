//! A Python command taken apart, so that another program can be put between the interpreter and what it runs.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::error::Error;

/// Options of the interpreter whose value is the next word.
const WITH_VALUE: [&str; 3] = ["-W", "-X", "--check-hash-based-pycs"];
/// Longest first line of a script that is looked at; the kernel's own limit is lower.
const FIRST_LINE: u64 = 512;

/// `INTERPRETER OPTIONS PROGRAM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Python {
    pub(super) interpreter: OsString,
    /// The interpreter's own.
    pub(super) options: Vec<OsString>,
    /// A script, `-m MODULE` or `-c CODE`, and its arguments.
    pub(super) program: Vec<OsString>,
}

impl Python {
    /// Takes a command apart: one of an interpreter, or a script whose first line names one.
    ///
    /// # Errors
    /// If it is neither, or runs no program.
    pub(super) fn of(command: &[OsString]) -> Result<Self, Error> {
        let Some((first, rest)) = command.split_first() else {
            return Err(no_python(OsStr::new("")));
        };
        if is_python(first) {
            return Self::of_interpreter(first.clone(), rest);
        }
        let script = plimsoll_probe::program_of(first)?;
        let mut words = interpreter_of(&script).ok_or_else(|| no_python(first))?;
        let interpreter = words.remove(0);
        words.push(script.into_os_string());
        words.extend(rest.iter().cloned());
        Self::of_interpreter(interpreter, &words)
    }

    fn of_interpreter(interpreter: OsString, rest: &[OsString]) -> Result<Self, Error> {
        let mut options = Vec::new();
        let mut words = rest.iter();
        while let Some(word) = words.as_slice().first() {
            let text = word.to_string_lossy();
            if !text.starts_with('-') || text == "-c" || text == "-m" {
                return Ok(Self {
                    interpreter,
                    options,
                    program: words.cloned().collect(),
                });
            }
            if text == "-" || (!text.starts_with("--") && text.ends_with(['c', 'm'])) {
                break;
            }
            let taken = if WITH_VALUE.contains(&text.as_ref()) {
                2
            } else {
                1
            };
            options.extend(words.by_ref().take(taken).cloned());
        }
        Err(Error::usage(
            "the command names no Python program",
            "give a script, `-m` and a module, or `-c` and code, each as a word of its own",
        ))
    }
}

/// Whether a word names an interpreter.
pub(super) fn is_python(word: &OsStr) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default();
    name.as_bytes().starts_with(b"python")
}

/// The words of a script's first line, if they start a Python.
fn interpreter_of(script: &Path) -> Option<Vec<OsString>> {
    let mut head = Vec::new();
    let file = std::fs::File::open(script).ok()?;
    file.take(FIRST_LINE).read_to_end(&mut head).ok()?;
    let line = head.split(|&byte| byte == b'\n').next()?;
    let line = line.strip_prefix(b"#!")?;
    let mut words: Vec<OsString> = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    let is_env = words.first()?.as_bytes().ends_with(b"/env");
    if is_env {
        words.remove(0);
    }
    is_python(words.first()?).then_some(words)
}

fn no_python(word: &OsStr) -> Error {
    Error::usage(
        format!("`{}` is no Python program", word.to_string_lossy()),
        "memray records Python: start it by its interpreter, for example `python -m gunicorn app`",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[track_caller]
    fn check(command: &str, expected: Option<(&str, &str, &str)>) {
        let found = Python::of(&words(command)).ok();
        let expected = expected.map(|(interpreter, options, program)| Python {
            interpreter: interpreter.into(),
            options: words(options),
            program: words(program),
        });
        assert_eq!(found, expected, "{command}");
    }

    #[test]
    fn interpreter_options_and_program_are_told_apart() {
        check("python3 app.py -m x", Some(("python3", "", "app.py -m x")));
        check(
            "/v/bin/python -u -X dev -W error app.py",
            Some(("/v/bin/python", "-u -X dev -W error", "app.py")),
        );
        check("python -m pkg -v", Some(("python", "", "-m pkg -v")));
        check("python -Xdev -c pass", Some(("python", "-Xdev", "-c pass")));
        for nothing in [
            "python",
            "python -u",
            "python -",
            "python -um pkg",
            "sh -c true",
        ] {
            check(nothing, None);
        }
    }

    #[test]
    fn a_script_is_run_by_what_its_first_line_names() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("serve");
        let write = |text: &str| {
            std::fs::write(&script, text).unwrap();
            std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let path = script.display().to_string();
        write("#!/v/bin/python3 -u\nimport app\n");
        let program = format!("{path} -w 2");
        check(&program, Some(("/v/bin/python3", "-u", &program)));
        write("#!/usr/bin/env python3\n");
        check(&path, Some(("python3", "", &path)));
        write("#!/bin/sh\n");
        check(&path, None);
    }
}
