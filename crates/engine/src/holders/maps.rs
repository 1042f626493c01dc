//! From what runs back to what people wrote: the source maps of the scripts that culprits are in.
//!
//! The runtime is asked first (loaders such as tsx keep their maps in memory only), then the script itself on disk, then
//! the directory that `--source-maps` names. Only the few scripts that are told are looked for.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use plimsoll_heap::Place;
use plimsoll_heap::culprit::{Culprit, Origin};
use plimsoll_heap::source_map::{SourceMap, SourceMaps};
use plimsoll_probe::Script;

use super::minified;
use crate::snapshot::object::file;

/// Maps larger than this are not read.
const LARGEST: u64 = 256 << 20;
/// A script names its map at its end.
const TAIL: usize = 4 << 10;
const COMMENT: &str = "//# sourceMappingURL=";

/// Where maps are to be found.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    scripts: Vec<Script>,
    directory: Option<PathBuf>,
}

impl Maps {
    /// From the runtime's list of scripts, as JSON, and a directory.
    pub(crate) fn new(scripts: &[u8], directory: Option<PathBuf>) -> Self {
        Self {
            // A list that cannot be read is no list: places stay as the runtime sees them.
            scripts: serde_json::from_slice(scripts).unwrap_or_default(),
            directory,
        }
    }

    /// The culprit with its places, and names of minified constructors, as they are in the sources.
    pub(crate) fn back(&self, found: &Culprit) -> Culprit {
        let mut culprit = found.clone();
        let mut maps = SourceMaps::new();
        let places = [&found.place, &found.kind_place, &found.holder.place];
        for place in places.into_iter().flatten() {
            if let Some(map) = self.find(place) {
                maps.insert(place.script_id, map);
            }
        }
        minified::rename(&mut culprit.holder, &maps);
        let told = |culprit: &Culprit| culprit.nearest_place().map(|place| place.script.clone());
        let ran = told(found);
        culprit.map_back(&maps);
        // What was mapped back is another script.
        let unmapped = ran.filter(|ran| told(&culprit).as_ref() == Some(ran));
        let remark = unmapped.and_then(|script| minified::remark(file(&script)));
        culprit.evidence.extend(remark);
        culprit
    }

    /// A place as it is in the sources.
    pub(super) fn original(&self, place: &Place) -> Place {
        let mut maps = SourceMaps::new();
        if let Some(map) = self.find(place) {
            maps.insert(place.script_id, map);
        }
        maps.original(place)
            .map_or_else(|| place.clone(), |original| original.place)
    }

    fn find(&self, place: &Place) -> Option<SourceMap> {
        let script = file(&place.script);
        let id = place.script_id.to_string();
        let told = self.scripts.iter().find(|s| s.script_id == id);
        let told = told.map(|s| s.source_map.clone()).filter(|m| !m.is_empty());
        let named = told.or_else(|| named_in(script));
        let json = named
            .and_then(|url| read(&url, script))
            .or_else(|| self.beside(script))?;
        let map = SourceMap::parse(&json, script).ok()?;
        // Packages name sources that they do not ship: what runs is what people can open.
        let is_there = || {
            let original = map.original(place)?;
            Some(Path::new(file(&original.place.script)).exists())
        };
        let is_foreign = plimsoll_heap::culprit::origin(&place.script) == Origin::Library;
        (!is_foreign || is_there() != Some(false)).then_some(map)
    }

    /// `DIR/server.js.map`.
    fn beside(&self, script: &str) -> Option<Vec<u8>> {
        let name = Path::new(script).file_name()?.to_str()?;
        bytes_of(&self.directory.as_ref()?.join(format!("{name}.map")))
    }
}

/// The map that a script names in its last line.
fn named_in(script: &str) -> Option<String> {
    let text = bytes_of(Path::new(script))?;
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned();
    let (_, url) = tail.rsplit_once(COMMENT)?;
    Some(url.lines().next()?.trim().to_owned())
}

/// A map from the URL of one: in itself, or a file beside the script.
fn read(url: &str, script: &str) -> Option<Vec<u8>> {
    if let Some(data) = url.strip_prefix("data:") {
        let (head, body) = data.split_once(',')?;
        return if head.ends_with(";base64") {
            data_encoding::BASE64.decode(body.as_bytes()).ok()
        } else {
            Some(unescape(body))
        };
    }
    let path = Path::new(script).parent()?.join(file(url));
    bytes_of(&path)
}

/// `%7B` is `{`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(code) if byte == b'%' => {
                out.push(code);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

fn bytes_of(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One segment: line 1, column 1 of the script is line 3 of `shop.ts`.
    const MAP: &str = r#"{"version":3,"sources":["shop.ts"],"names":[],"mappings":"AAEA"}"#;

    fn place(script: &Path) -> Place {
        Place {
            script: script.to_str().unwrap().to_owned(),
            script_id: 7,
            line: 1,
            column: 1,
        }
    }

    fn check(maps: &Maps, script: &Path) {
        let place = place(script);
        let found = maps.find(&place).and_then(|m| m.original(&place));
        let original = found.expect("mapped back").place;
        assert!(original.script.ends_with("shop.ts"), "{}", original.script);
        assert_eq!(original.line, 3);
    }

    #[test]
    fn the_runtime_is_asked_first_then_the_script_then_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let script = place.path().join("shop.js");
        std::fs::write(&script, "code()").unwrap();
        assert!(Maps::default().find(&self::place(&script)).is_none());

        let data = data_encoding::BASE64.encode(MAP.as_bytes());
        for url in [
            format!("data:application/json;base64,{data}"),
            format!("data:application/json,{}", MAP.replace('{', "%7B")),
        ] {
            let list = serde_json::json!([{ "scriptId": "7", "url": "", "sourceMapURL": url }]);
            check(&Maps::new(list.to_string().as_bytes(), None), &script);
        }

        let elsewhere = place.path().join("maps");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("shop.js.map"), MAP).unwrap();
        check(&Maps::new(b"[]", Some(elsewhere)), &script);

        std::fs::write(place.path().join("shop.js.map"), MAP).unwrap();
        std::fs::write(&script, "code()\n//# sourceMappingURL=shop.js.map\n").unwrap();
        check(&Maps::default(), &script);
    }

    #[test]
    fn a_package_without_its_sources_is_told_as_it_runs() {
        let place = tempfile::tempdir().unwrap();
        let package = place.path().join("node_modules/shop");
        std::fs::create_dir_all(&package).unwrap();
        let script = package.join("shop.js");
        std::fs::write(package.join("shop.js.map"), MAP).unwrap();
        std::fs::write(&script, "code()\n//# sourceMappingURL=shop.js.map\n").unwrap();
        assert!(Maps::default().find(&self::place(&script)).is_none());
        std::fs::write(package.join("shop.ts"), "\n\ncode()").unwrap();
        check(&Maps::default(), &script);
    }

    #[test]
    fn a_list_or_map_that_makes_no_sense_is_none() {
        let maps = Maps::new(b"{", None);
        assert!(maps.scripts.is_empty());
        assert!(read("data:application/json;base64,*", "/a.js").is_none());
        assert!(read("no-such-file.map", "/a.js").is_none());
    }
}
