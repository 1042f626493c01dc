//! Scripts that a bundler minified: what their map calls a variable, and, of one without a map, what makes one.

use std::collections::BTreeSet;
use std::path::Path;

use plimsoll_heap::Place;
use plimsoll_heap::culprit::Holder;
use plimsoll_heap::source_map::SourceMaps;
use serde_json::Value;

use super::source;
use crate::snapshot::object;

/// Larger scripts are not read.
const LARGEST: u64 = 64 << 20;
/// People write shorter lines, on the average.
const LONG_LINE: usize = 200;

/// Packages that minify, the one that decides first, and what has each of them write source maps.
const MAKERS: [(&str, &str); 13] = [
    (
        "next",
        "`experimental: { serverSourceMaps: true }` in next.config",
    ),
    ("vite", "`build: { sourcemap: true }` in vite.config"),
    ("tsup", "`sourcemap: true` in tsup.config"),
    ("tsdown", "`sourcemap: true` in tsdown.config"),
    ("@vercel/ncc", "`--source-map` after `ncc build`"),
    ("webpack", "`devtool: 'source-map'` in webpack.config"),
    ("@rspack/core", "`devtool: 'source-map'` in rspack.config"),
    ("rollup", "`output: { sourcemap: true }` in rollup.config"),
    (
        "rolldown",
        "`output: { sourcemap: true }` in rolldown.config",
    ),
    (
        "esbuild",
        "`--sourcemap` among esbuild's options (`sourcemap: true` in a script)",
    ),
    ("@swc/core", "`\"sourceMaps\": true` in .swcrc"),
    (
        "terser",
        "`--source-map url=NAME.js.map` among terser's options",
    ),
    (
        "uglify-js",
        "`--source-map url=NAME.js.map` among uglifyjs's options",
    ),
];
/// Where no package.json tells what minifies.
const ANY: &str = "`sourcemap: true` in the configuration of what bundles it (`devtool: 'source-map'` in webpack's)";

/// Calls the variable of a holder what it is called in the sources. A snapshot knows only the minified name, and there are
/// many of that in a bundle: meant is one that begins as an object of the holder's class, if all of those were one name.
pub(super) fn rename(holder: &mut Holder, maps: &SourceMaps) {
    let Some(place) = &holder.place else { return };
    let Some(map) = maps.of(place.script_id) else {
        return;
    };
    let Some(text) = source::read(object::file(&place.script), LARGEST) else {
        return;
    };
    let first = holder
        .name
        .split(['.', '['])
        .next()
        .unwrap_or("")
        .to_owned();
    let is_whole = first == holder.name;
    let candidates = match &holder.alternatives[..] {
        [] => std::slice::from_ref(&first),
        several => several,
    };
    let mut found = BTreeSet::new();
    for name in candidates {
        for (at, value) in assignments(&text, name) {
            if is_whole && !source::begins_as(value, &holder.class) {
                continue;
            }
            let original = map.identifier(&position(&text, at, place));
            found.extend(original.and_then(|original| original.name));
        }
    }
    let mut found = found.into_iter();
    if let (Some(name), None) = (found.next(), found.next()) {
        holder.name = holder.name.replacen(&first, &name, 1);
        holder.alternatives.clear();
    }
}

/// Where a variable is assigned to, and what.
fn assignments<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = (usize, &'t str)> {
    let matches = text.match_indices(name).filter(move |_| !name.is_empty());
    matches.filter_map(move |(at, _)| {
        let after = text[at + name.len()..].trim_start();
        let value = after.strip_prefix('=')?;
        let is_name = !text[..at].ends_with(|c| source::is_word(c) || c == '.');
        (is_name && !value.starts_with(['=', '>'])).then_some((at, value))
    })
}

/// A byte of a script as the runtime counts it.
fn position(text: &str, at: usize, of: &Place) -> Place {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let lines = text[..start].matches('\n').count();
    let columns = text[start..at].encode_utf16().count();
    Place {
        script: of.script.clone(),
        script_id: of.script_id,
        line: u32::try_from(lines + 1).unwrap_or(u32::MAX),
        column: u32::try_from(columns + 1).unwrap_or(u32::MAX),
    }
}

/// Of a minified script without a map: the one line of configuration that makes one.
pub(super) fn remark(script: &str) -> Option<String> {
    let text = source::read(script, LARGEST)?;
    let lines = text.lines().count().max(1);
    (text.len() / lines > LONG_LINE).then(|| {
        format!(
            "{} is minified and has no source map, so its names and lines are told: {} gives those of the sources",
            object::relative(script),
            maker(Path::new(script)).unwrap_or(ANY)
        )
    })
}

/// What the package of a script says it is made with.
fn maker(script: &Path) -> Option<&'static str> {
    let manifest = script
        .ancestors()
        .skip(1)
        .find_map(|folder| std::fs::read(folder.join("package.json")).ok())?;
    let manifest: Value = serde_json::from_slice(&manifest).ok()?;
    let depends = |name: &str| {
        ["devDependencies", "dependencies"]
            .iter()
            .any(|key| manifest[key].get(name).is_some())
    };
    let known = MAKERS.iter().find(|(name, _)| depends(name));
    known.map(|(_, line)| *line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minified_script_without_a_map_is_told_what_makes_one() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let bundle = write("dist/app.js", &"let e=new Map;".repeat(30));
        assert!(remark(&bundle).unwrap().contains(ANY));
        write(
            "package.json",
            r#"{"devDependencies":{"typescript":"5","esbuild":"0.28"}}"#,
        );
        assert!(remark(&bundle).unwrap().contains("`--sourcemap`"));
        assert_eq!(
            remark(&write(
                "src.js",
                "let kept = new Map();\n".repeat(30).as_str()
            )),
            None
        );
        assert_eq!(remark("/no/such/script.js"), None);
    }

    #[test]
    fn assignments_are_to_the_whole_name_and_no_comparison() {
        let text = "let e=new Map,me=[];a.e=1;e==2;e=>3;if(e)e = [];";
        let values: Vec<usize> = assignments(text, "e").map(|(at, _)| at).collect();
        assert_eq!(values, [4, text.rfind("e = ").unwrap()]);
    }

    #[test]
    fn positions_count_as_the_runtime_does() {
        let of = Place {
            script: "a.js".to_owned(),
            script_id: 7,
            line: 1,
            column: 1,
        };
        let text = "one;\n'😀';e=1";
        let found = position(text, text.find("e=1").unwrap(), &of);
        assert_eq!((found.line, found.column), (2, 6));
    }
}
