//! The Python probe's files, and how they travel: a `sitecustomize` first on `PYTHONPATH`.
//!
//! The sources are the package's own, kept once in `python/`; the links lie inside this crate so that it can be packaged.
//! `-I`, `-E`, `-S` and frozen programs do not look there: they are observed from outside only.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What Python imports at its start.
const CARRIER: &str = include_str!("python/carrier.py");

/// The place in it where the run's configuration goes.
const PLACE: &str = "CONFIG = None";

/// What a Python that runs already is asked to run: the carrier, which gives way only to what it shadows.
const ENTRY: &str = "attach.py";

/// The folder of the probe's own files, as the carrier knows it.
const PACKAGE: &str = "_plimsoll_carrier";

/// The probe's own files, by the names they import each other by.
const FILES: [(&str, &str); 4] = [
    ("_counters.py", include_str!("python/counters.py")),
    ("_explain.py", include_str!("python/explain.py")),
    ("_holders.py", include_str!("python/holders.py")),
    ("_probe.py", include_str!("python/probe.py")),
];

/// Makes `folder` with the carrier and the probe's files in it, readable by their owner alone.
pub(crate) fn write_carrier(folder: &Path, socket: &str, token: &str) -> io::Result<()> {
    let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    private(folder)?;
    let package = folder.join(PACKAGE);
    private(&package)?;
    let carrier = folder.join("sitecustomize.py");
    write(&carrier, &carrier_source(socket, token))?;
    write(&entry(folder), &entry_source(&carrier))?;
    FILES
        .iter()
        .try_for_each(|(name, source)| write(&package.join(name), source))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// The script in a folder that [`write_carrier`] made for a Python that runs already.
pub(crate) fn entry(folder: &Path) -> PathBuf {
    folder.join(ENTRY)
}

/// Bytes of source that a Python that runs already takes in.
pub(crate) fn source_bytes() -> usize {
    let probe = ["_counters.py", "_holders.py", "_probe.py"];
    let files = FILES.iter().filter(|(name, _)| probe.contains(name));
    CARRIER.len() + files.map(|(_, source)| source.len()).sum::<usize>()
}

/// Runs the carrier as what it is not: a `sitecustomize`. Whatever goes wrong is kept from the subject.
fn entry_source(carrier: &Path) -> String {
    let path = in_ascii(&serde_json::Value::from(carrier.to_string_lossy()).to_string());
    format!(
        "try:\n    exec(compile(open({path}).read(), {path}, 'exec'), {{'__name__': 'attached', '__file__': {path}}})\nexcept BaseException:\n    pass\n"
    )
}

/// The carrier with what the probe needs to find this run. A JSON object of texts in ASCII is one of Python's too.
fn carrier_source(socket: &str, token: &str) -> String {
    let config = crate::node::configuration(socket, token).to_string();
    CARRIER.replacen(PLACE, &format!("CONFIG = {}", in_ascii(&config)), 1)
}

/// Python 2 reads a source with other bytes than ASCII as an error, and says so.
fn in_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(text, "\\u{unit:04x}")),
        }
    }
    text
}

/// `PYTHONPATH` with the carrier's folder before what is there.
pub(crate) fn python_path(folder: &Path, existing: Option<&OsStr>) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(existing) = existing.filter(|existing| !existing.is_empty()) {
        path.push(":");
        path.push(existing);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_carrier_has_one_place_for_the_configuration() {
        assert_eq!(CARRIER.matches(PLACE).count(), 1);
        let source = carrier_source("/a\"b/hub", "t0ken");
        assert!(
            source.contains(r#"CONFIG = {"socket":"/a\"b/hub","token":"t0ken"}"#),
            "{source}"
        );
        assert!(CARRIER.is_ascii());
        assert!(in_ascii("\u{1f600}ä").is_ascii());
    }

    #[test]
    fn what_is_on_the_path_stays_there() {
        let path = |existing: Option<&str>| {
            python_path(Path::new("/run/p/python"), existing.map(OsStr::new))
        };
        assert_eq!(path(None), "/run/p/python");
        assert_eq!(path(Some("")), "/run/p/python");
        assert_eq!(path(Some("/a:/b")), "/run/p/python:/a:/b");
    }

    #[test]
    fn files_are_private() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("python");
        write_carrier(&folder, "/hub", "t0ken").unwrap();
        for name in ["sitecustomize.py", ENTRY, "_plimsoll_carrier/_probe.py"] {
            let mode = std::fs::metadata(folder.join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
