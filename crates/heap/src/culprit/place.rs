//! Whose code a script is, and which place of the new objects to name.

use rustc_hash::FxHashMap;

use crate::columns::Position;
use crate::growth::Gain;
use crate::heap::Heap;

/// Whose code it is, the most useful to name first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The program's own.
    User,
    /// A package it installed.
    Library,
    /// The runtime.
    Runtime,
    /// The snapshot does not say.
    Unknown,
}

/// Tells whose code a script is by its name. Packages of a workspace are the user's: runtimes resolve the
/// links by which package managers reach them.
pub fn origin(script: &str) -> Origin {
    const RUNTIME: [&str; 8] = [
        "node:",
        "internal/",
        "ext:",
        "deno:",
        "electron/",
        "extensions::",
        "native ",
        "evalmachine.",
    ];
    if script.is_empty() {
        return Origin::Unknown;
    }
    if script.contains("/node_modules/") || script.contains("/npm/registry") {
        return Origin::Library;
    }
    // Node's own modules had no scheme before Node 16, nor a folder or an extension.
    let bare = !script.contains(['/', '\\', '.', ':']);
    if bare || RUNTIME.iter().any(|prefix| script.starts_with(prefix)) {
        return Origin::Runtime;
    }
    Origin::User
}

/// The place to name: of those that gained steadily, the user's first; then, for patterns about functions,
/// functions before constructors, otherwise the other way round; then the one with most bytes. And whether it is a function.
pub(super) fn best(
    heap: &Heap,
    places: &FxHashMap<(u32, bool), Gain>,
    functions_first: bool,
    is_steady: impl Fn(&Gain) -> bool,
) -> Option<(Position, bool)> {
    places
        .iter()
        .filter(|(_, gain)| is_steady(gain))
        .map(|((position, is_function), gain)| {
            let position = heap.snapshot.locations.positions[*position as usize];
            let origin = origin(&heap.snapshot.script_name(position.script));
            let key = (
                origin,
                *is_function != functions_first,
                std::cmp::Reverse(gain.total_bytes()),
                position,
            );
            (key, (position, *is_function))
        })
        .min_by_key(|(key, _)| *key)
        .map(|(_, best)| best)
        .filter(|(position, _)| {
            origin(&heap.snapshot.script_name(position.script)) <= Origin::Library
        })
}

#[cfg(test)]
mod tests {
    use super::{Origin, origin};

    #[test]
    fn scripts_belong_to_somebody() {
        for (script, wanted) in [
            ("/srv/app/server.js", Origin::User),
            ("file:///srv/app/src/orders.ts", Origin::User),
            ("C:\\app\\server.js", Origin::User),
            ("https://example.org/main.js", Origin::User),
            ("webpack://app/./src/index.ts", Origin::User),
            ("/srv/app/packages/shared/index.js", Origin::User),
            (
                "/srv/app/node_modules/express/lib/router.js",
                Origin::Library,
            ),
            (
                "file:///srv/node_modules/.pnpm/a@1/node_modules/a/i.js",
                Origin::Library,
            ),
            ("node:internal/timers", Origin::Runtime),
            ("node:events", Origin::Runtime),
            ("internal/bootstrap/node.js", Origin::Runtime),
            ("events", Origin::Runtime),
            ("ext:core/01_core.js", Origin::Runtime),
            ("", Origin::Unknown),
        ] {
            assert_eq!(origin(script), wanted, "{script}");
        }
    }
}
