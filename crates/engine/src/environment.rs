//! The environment a subject is started with: how the probe travels into it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use plimsoll_probe::Hub;

const NODE_OPTIONS: &str = "NODE_OPTIONS";
const BUN_OPTIONS: &str = "BUN_OPTIONS";
const PYTHONPATH: &str = "PYTHONPATH";
/// What carries a probe.
const CARRIERS: [&str; 3] = [NODE_OPTIONS, BUN_OPTIONS, PYTHONPATH];

/// The subject's environment: what the configuration adds, and the probes' carriers, merged with what is there. Node's
/// permission model forbids reading the carrier, and a node that cannot read it does not start: such a subject gets none.
pub(crate) fn environment(
    command: &[OsString],
    given: &[(String, String)],
    hub: &Hub,
) -> (Vec<(OsString, OsString)>, Option<&'static str>) {
    let existing = |carrier: &str| {
        let given = given.iter().find(|(name, _)| name == carrier);
        given
            .map(|(_, value)| OsString::from(value))
            .or_else(|| std::env::var_os(carrier))
    };
    let own = given
        .iter()
        .filter(|(name, _)| !CARRIERS.contains(&name.as_str()));
    let mut env: Vec<(OsString, OsString)> = own
        .map(|(k, v)| (OsString::from(k), OsString::from(v)))
        .collect();
    let mut carry = |name: &str, value: OsString| env.push((OsString::from(name), value));
    carry(PYTHONPATH, hub.python_path(existing(PYTHONPATH).as_deref()));
    carry(
        BUN_OPTIONS,
        hub.bun_options(existing(BUN_OPTIONS).as_deref()),
    );
    let options = existing(NODE_OPTIONS);
    if is_locked(command, options.as_deref()) {
        if let Some(options) = options {
            carry(NODE_OPTIONS, options);
        }
        let why = "Node's permission model (`--permission`) forbids loading it";
        return (env, Some(why));
    }
    carry(NODE_OPTIONS, hub.node_options(options.as_deref()));
    (env, None)
}

/// Whether Node's permission model is asked for.
fn is_locked(command: &[OsString], options: Option<&OsStr>) -> bool {
    let options = options.map(OsStr::to_string_lossy).unwrap_or_default();
    let words = command.iter().map(|w| w.to_string_lossy());
    words
        .chain(options.split(' ').map(Cow::from))
        .any(|w| w == "--permission" || w == "--experimental-permission")
}

/// The command with the probe's carrier where only a flag can name it: Deno reads no variable that would.
pub(crate) fn command(given: &[OsString], hub: &Hub) -> Vec<OsString> {
    const RUNS: [&str; 3] = ["run", "serve", "test"];
    let mut command = given.to_vec();
    let program = given.first().map(Path::new).and_then(Path::file_name);
    let verb = given.get(1).and_then(|word| word.to_str());
    if program == Some(OsStr::new("deno")) && verb.is_some_and(|verb| RUNS.contains(&verb)) {
        let carrier = hub.carrier().as_os_str().to_owned();
        command.splice(2..2, [OsString::from("--require"), carrier]);
    }
    command
}
