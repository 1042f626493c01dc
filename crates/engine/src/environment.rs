//! The environment a subject is started with: how the probe travels into it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use plimsoll_probe::Hub;

const NODE_OPTIONS: &str = "NODE_OPTIONS";
const BUN_OPTIONS: &str = "BUN_OPTIONS";

/// The subject's environment: what the configuration adds, and the probe's carrier in `NODE_OPTIONS`, merged with what is
/// there. Node's permission model forbids reading the carrier, and a node that cannot read it does not start: such a
/// subject gets none.
pub(crate) fn environment(
    command: &[OsString],
    env: &[(String, String)],
    hub: &Hub,
) -> (Vec<(OsString, OsString)>, Option<&'static str>) {
    let given = env
        .iter()
        .find(|(name, _)| name == NODE_OPTIONS)
        .map(|(_, v)| OsString::from(v));
    let existing = given.or_else(|| std::env::var_os(NODE_OPTIONS));
    let own = env.iter().filter(|(name, _)| name != NODE_OPTIONS);
    let mut env: Vec<(OsString, OsString)> = own
        .map(|(k, v)| (OsString::from(k), OsString::from(v)))
        .collect();
    let options = existing
        .as_deref()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default();
    let words = command.iter().map(|w| w.to_string_lossy());
    if words
        .chain(options.split(' ').map(Cow::from))
        .any(|w| w == "--permission" || w == "--experimental-permission")
    {
        env.extend(
            existing
                .as_ref()
                .map(|options| (OsString::from(NODE_OPTIONS), options.clone())),
        );
        return (
            env,
            Some("Node's permission model (`--permission`) forbids loading it"),
        );
    }
    env.push((
        OsString::from(NODE_OPTIONS),
        hub.node_options(existing.as_deref()),
    ));
    let position = env.iter().position(|(name, _)| name == BUN_OPTIONS);
    let given = position.map(|at| env.remove(at).1);
    let existing = given.or_else(|| std::env::var_os(BUN_OPTIONS));
    env.push((
        OsString::from(BUN_OPTIONS),
        hub.bun_options(existing.as_deref()),
    ));
    (env, None)
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
