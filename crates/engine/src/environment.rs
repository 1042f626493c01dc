//! The environment a subject is started with: how the probe travels into it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

use plimsoll_probe::Hub;

/// The subject's environment: what the configuration adds, and the probes' carriers in `NODE_OPTIONS` and `PYTHONPATH`,
/// merged with what is there. Node's permission model forbids reading the carrier, and a node that cannot read it does not start: such a
/// subject gets none.
pub(crate) fn environment(
    command: &[OsString],
    env: &[(String, String)],
    hub: &Hub,
) -> (Vec<(OsString, OsString)>, Option<&'static str>) {
    const NODE_OPTIONS: &str = "NODE_OPTIONS";
    const PYTHONPATH: &str = "PYTHONPATH";
    let named = |wanted: &str| {
        let given = env.iter().find(|(name, _)| name == wanted);
        given
            .map(|(_, v)| OsString::from(v))
            .or_else(|| std::env::var_os(wanted))
    };
    let python = hub.python_path(named(PYTHONPATH).as_deref());
    let own = env
        .iter()
        .filter(|(name, _)| name != NODE_OPTIONS && name != PYTHONPATH);
    let existing = named(NODE_OPTIONS);
    let mut env: Vec<(OsString, OsString)> = own
        .map(|(k, v)| (OsString::from(k), OsString::from(v)))
        .collect();
    env.push((OsString::from(PYTHONPATH), python));
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
    (env, None)
}
