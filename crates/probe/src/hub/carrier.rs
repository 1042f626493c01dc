//! The files of a hub: a private directory, the socket in it, and the carrier (probe source with the run's secrets).
//!
//! Everything a probe needs rides in the carrier, whose path rides in `NODE_OPTIONS`: build tools that strip unknown
//! variables from the environment leave it alone.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::{Error, node, os, python};

/// Where the kernel keeps the path of a Unix socket there is room for this many bytes and a terminator.
const SOCKET_PATH_MAX: usize = 107;

/// Where a user of no name can mostly write, also in a container whose root is read-only.
pub(super) const BASES: [&str; 4] = ["/tmp", "/dev/shm", "/run", "/var/tmp"];

/// The directory with its files; dropping it removes them.
#[derive(Debug)]
pub(crate) struct Carrier {
    directory: PathBuf,
    path: PathBuf,
    socket: String,
    token: String,
}

impl Carrier {
    /// In the user's runtime directory, else in the temporary one; where those are missing, read-only or too long for a
    /// socket, in the first of [`BASES`] or in `PLIMSOLL_DIR` that will do.
    pub(crate) fn create() -> Result<(Self, UnixListener), Error> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let named = ["XDG_RUNTIME_DIR", "TMPDIR"]
            .into_iter()
            .filter_map(variable);
        let bases = named
            .chain(BASES.map(PathBuf::from))
            .chain(variable("PLIMSOLL_DIR"));
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for base in bases {
            match Self::create_in(&base) {
                Ok(made) => return Ok(made),
                Err(error) => failed = error,
            }
        }
        let tried = BASES.join(", ");
        Err(Error::io(
            format!("make a private directory in TMPDIR, {tried} or PLIMSOLL_DIR"),
            failed,
        ))
    }

    pub(crate) fn create_in(base: &Path) -> io::Result<(Self, UnixListener)> {
        if !base.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not an absolute path",
            ));
        }
        let directory = base.join(format!("plimsoll-{}", random_hex::<8>()?));
        let socket = directory.join("hub");
        // The path travels in JSON, so it has to be text.
        let socket_text = socket
            .to_str()
            .filter(|text| text.len() <= SOCKET_PATH_MAX)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too long for a socket"))?;
        let token = random_hex::<16>()?;
        let source = node::carrier_source(socket_text, &token);
        DirBuilder::new().mode(0o700).create(&directory)?;
        let carrier = Self {
            socket: socket_text.to_owned(),
            path: directory.join("probe.cjs"),
            directory,
            token,
        };
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&carrier.path)?
            .write_all(source.as_bytes())?;
        python::write_carrier(&carrier.python(), &carrier.socket, &carrier.token)?;
        DirBuilder::new().mode(0o700).create(carrier.regions())?;
        Ok((carrier, listener))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that goes first on `PYTHONPATH`.
    pub(crate) fn python(&self) -> PathBuf {
        self.directory.join("python")
    }

    /// The folder where counting allocators publish.
    pub(crate) fn regions(&self) -> PathBuf {
        self.directory.join("regions")
    }

    /// The socket that probes connect to.
    pub(crate) fn socket(&self) -> &str {
        &self.socket
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // What cannot be removed lies in a private temporary directory; there is nothing better to do about it.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    os::fill_random(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// `FLAG CARRIER` before what is there. Quoted only where the path needs it: old versions take quotes literally.
pub(crate) fn options(flag: &str, carrier: &Path, existing: Option<&OsStr>) -> OsString {
    let path = carrier.as_os_str().as_bytes();
    let mut options = OsString::from(format!("{flag} "));
    if path.iter().any(|c| matches!(c, b' ' | b'"' | b'\\')) {
        let mut quoted = vec![b'"'];
        for &c in path {
            if matches!(c, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(c);
        }
        quoted.push(b'"');
        options.push(OsStr::from_bytes(&quoted));
    } else {
        options.push(carrier);
    }
    if let Some(existing) = existing.filter(|existing| !existing.is_empty()) {
        options.push(" ");
        options.push(existing);
    }
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn options_are_merged_and_quoted_where_needed() {
        let merged = |path: &str, existing: Option<&str>| {
            options("--require", Path::new(path), existing.map(OsStr::new))
                .into_string()
                .unwrap()
        };
        assert_eq!(
            merged("/run/p/probe.cjs", None),
            "--require /run/p/probe.cjs"
        );
        assert_eq!(
            merged("/run/p/probe.cjs", Some("")),
            "--require /run/p/probe.cjs"
        );
        assert_eq!(
            merged("/run/p/probe.cjs", Some("--max-old-space-size=64")),
            "--require /run/p/probe.cjs --max-old-space-size=64"
        );
        assert_eq!(
            merged(r#"/a b/c"d\e"#, Some("-r x")),
            r#"--require "/a b/c\"d\\e" -r x"#
        );
    }

    #[test]
    fn files_are_private_and_removed() {
        let base = tempfile::tempdir().unwrap();
        let (carrier, listener) = Carrier::create_in(base.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&carrier.directory), 0o700);
        assert_eq!(mode(carrier.path()), 0o600);
        let source = fs::read_to_string(carrier.path()).unwrap();
        assert!(source.contains(carrier.token()));
        drop((carrier, listener));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_base_too_long_for_a_socket_is_refused_without_a_trace() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        assert!(Carrier::create_in(&deep).is_err());
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }
}
