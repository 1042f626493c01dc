//! Python 3.14 and newer run a script that another process names, at the next moment that is safe for them (PEP 768):
//! `sys.remote_exec`. The script starts the same probe that spawned subjects load.
//!
//! It has to be called by a Python of the same version, so the process's own executable is started for that, isolated and
//! for a moment. Nothing is interrupted: a process that sleeps in a system call takes the probe in when it wakes.

use std::process::{Command, Stdio};

use super::{Attached, NotAttached, Way, gone};
use crate::Error;
use crate::hub::Hub;
use crate::os::net::own_uid;
use crate::process::Process;
use crate::python;

/// Exits with 3 where it cannot be done at all, with 4 where it was refused; standard output says why.
const ASK: &str = "\
import sys
if not hasattr(sys, 'remote_exec'):
    print(sys.version.split()[0])
    sys.exit(3)
try:
    sys.remote_exec(int(sys.argv[1]), sys.argv[2])
except BaseException as error:
    print(f'{type(error).__name__}: {error}')
    sys.exit(4)
";
/// Variables that the dynamic linker finds a Python's own library by.
const LINKER: &str = "LD_LIBRARY_PATH";
/// Set to anything, it keeps everybody out.
const DISABLED: &str = "PYTHON_DISABLE_REMOTE_DEBUG";

/// The first minor version of Python 3 that takes a script in.
const FIRST: u32 = 14;

/// Whether it could be, as far as can be known from outside.
pub(super) fn may_be_attached(process: &Process) -> Result<(), NotAttached> {
    let (owner, own) = (process.owner().ok_or_else(|| gone(process))?, own_uid());
    if owner != own {
        // It has to read our files, which are private.
        return Err(NotAttached::OtherUser { owner, own });
    }
    if process.shares_files() == Some(false) {
        let (name, needs) = ("mount", "a plimsoll inside");
        return Err(NotAttached::OtherNamespace { name, needs });
    }
    if process
        .variable(DISABLED)
        .is_some_and(|value| !value.is_empty())
    {
        return Err(NotAttached::Refused(format!("{DISABLED} is set")));
    }
    if let Some(minor) = minor_of(&process.name()).filter(|minor| *minor < FIRST) {
        return Err(NotAttached::OldPython(format!("3.{minor}")));
    }
    Ok(())
}

pub(super) fn attach(process: &Process, hub: &Hub) -> Result<Attached, NotAttached> {
    let (executable, _) = process.command();
    let executable = executable.ok_or(NotAttached::Unreadable)?;
    let mut ask = Command::new(&executable);
    ask.args(["-I", "-S", "-c", ASK])
        .arg(process.id().pid.to_string())
        .arg(hub.python_entry())
        .stdin(Stdio::null());
    if let Some(libraries) = process.variable(LINKER) {
        ask.env(LINKER, libraries);
    }
    let told = ask
        .output()
        .map_err(|error| Error::io(format!("start {executable}"), error))?;
    let said = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    match told.status.code() {
        Some(0) => Ok(Attached {
            way: Way::RemoteExec,
            injected_bytes: python::source_bytes(),
            workers: 0,
            gaps: Vec::new(),
        }),
        Some(3) => Err(NotAttached::OldPython(said)),
        _ if !process.is_alive() => Err(gone(process)),
        _ => Err(NotAttached::Refused(if said.is_empty() {
            format!("{executable} ended with {}", told.status)
        } else {
            said
        })),
    }
}

/// The minor version that an executable's name tells: `python3.11`.
fn minor_of(name: &str) -> Option<u32> {
    name.strip_prefix("python3.")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_tell_the_version() {
        assert_eq!(minor_of("python3.9"), Some(9));
        assert_eq!(minor_of("python3.14"), Some(14));
        for name in ["python", "python3", "python3.14t", "python2.7", "pypy3.11"] {
            assert_eq!(minor_of(name), None, "{name}");
        }
    }
}
