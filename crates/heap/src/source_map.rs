//! Source maps, version 3: from a place in what the runtime runs back to what people wrote.
//!
//! The caller finds the maps (the debugger names them, they lie on disk); here they are bytes. Indexed maps
//! are flattened. `x_` extensions, `ignoreList` and the sources' text are not read.

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::snapshot::Place;

/// Why a source map cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable source map: {what}")]
pub struct SourceMapError {
    what: String,
}

fn refuse<T>(what: impl Into<String>) -> Result<T, SourceMapError> {
    Err(SourceMapError { what: what.into() })
}

/// Indexed maps hold maps; more levels than this are no accident.
const MOST_LEVELS: usize = 4;
/// A name before a position belongs to it if it is among so many segments before it on the line.
const NAME_REACH: usize = 4;

/// One entry: a generated position and what it came from. All counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Segment {
    line: u32,
    column: u32,
    source: u32,
    original_line: u32,
    original_column: u32,
    /// Index into the names, plus 1; 0 for none.
    name: u32,
}

/// A parsed map.
#[derive(Debug, Default)]
pub struct SourceMap {
    /// Sorted by generated position.
    segments: Vec<Segment>,
    sources: Vec<String>,
    names: Vec<String>,
}

/// What a place was before it was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The place in the source.
    pub place: Place,
    /// What the thing at the place is called there, where the map says it.
    pub name: Option<String>,
}

impl SourceMap {
    /// Parses a map of the script `script`, a path or URL that relative sources are resolved against.
    ///
    /// # Errors
    ///
    /// It is no JSON, not of version 3, or its mappings are damaged.
    pub fn parse(json: &[u8], script: &str) -> Result<Self, SourceMapError> {
        // Some servers put this before JSON to keep it from running as a script.
        let json = json.strip_prefix(b")]}'").unwrap_or(json);
        let value: Value =
            serde_json::from_slice(json).or_else(|error| refuse(error.to_string()))?;
        let mut map = Self::default();
        map.add(&value, script, (0, 0), 0)?;
        map.segments.sort_unstable();
        Ok(map)
    }

    /// The original of a place, if the map covers it.
    pub fn original(&self, place: &Place) -> Option<Original> {
        let line = place.line.checked_sub(1)?;
        let column = place.column.saturating_sub(1);
        let after = self
            .segments
            .partition_point(|segment| (segment.line, segment.column) <= (line, column));
        let on_line = self.segments[..after]
            .iter()
            .rev()
            .take_while(|segment| segment.line == line);
        let segment = on_line.clone().next().or_else(|| {
            // A position before the first segment of its line belongs to that one.
            self.segments.get(after).filter(|next| next.line == line)
        })?;
        let name = on_line
            .take(NAME_REACH)
            .filter(|near| near.source == segment.source)
            .map(|near| near.name)
            .find(|name| *name > 0);
        self.original_of(segment, place, name.unwrap_or(0))
    }

    /// What the name that begins exactly here was before it was minified, if it was.
    pub fn identifier(&self, place: &Place) -> Option<Original> {
        let at = (place.line.checked_sub(1)?, place.column.checked_sub(1)?);
        let key = |segment: &Segment| (segment.line, segment.column);
        let found = self.segments.partition_point(|s| key(s) < at);
        let here = self.segments[found..].iter().take_while(|s| key(s) == at);
        here.filter(|segment| segment.name > 0)
            .find_map(|segment| self.original_of(segment, place, segment.name))
    }

    fn original_of(&self, segment: &Segment, place: &Place, name: u32) -> Option<Original> {
        Some(Original {
            place: Place {
                script: self.sources.get(segment.source as usize)?.clone(),
                script_id: place.script_id,
                line: segment.original_line.saturating_add(1),
                column: segment.original_column.saturating_add(1),
            },
            name: (name as usize)
                .checked_sub(1)
                .and_then(|name| self.names.get(name))
                .cloned(),
        })
    }

    fn add(
        &mut self,
        value: &Value,
        script: &str,
        offset: (u32, u32),
        level: usize,
    ) -> Result<(), SourceMapError> {
        if value["version"] != 3 {
            return refuse(format!("version {}, not 3", value["version"]));
        }
        if let Some(sections) = value["sections"].as_array() {
            if level >= MOST_LEVELS {
                return refuse("maps within maps within maps");
            }
            for section in sections {
                let number = |key: &str| {
                    section["offset"][key]
                        .as_u64()
                        .and_then(|number| u32::try_from(number).ok())
                };
                let (Some(line), Some(column)) = (number("line"), number("column")) else {
                    return refuse("a section without offset");
                };
                let line = offset.0.saturating_add(line);
                self.add(&section["map"], script, (line, column), level + 1)?;
            }
            return Ok(());
        }
        let root = value["sourceRoot"].as_str().unwrap_or_default();
        let first_source = self.sources.len() as u32;
        let first_name = self.names.len() as u32;
        for source in value["sources"].as_array().into_iter().flatten() {
            let source = source.as_str().unwrap_or_default();
            self.sources.push(resolve(script, root, source));
        }
        for name in value["names"].as_array().into_iter().flatten() {
            self.names
                .push(name.as_str().unwrap_or_default().to_owned());
        }
        let Some(mappings) = value["mappings"].as_str() else {
            return refuse("no mappings");
        };
        self.add_mappings(mappings, offset, first_source, first_name)
    }

    fn add_mappings(
        &mut self,
        mappings: &str,
        offset: (u32, u32),
        first_source: u32,
        first_name: u32,
    ) -> Result<(), SourceMapError> {
        // Everything but the generated column counts on from the segment before, across lines.
        let mut running = [0_i64; 4];
        for (line, text) in mappings.split(';').enumerate() {
            let mut column = 0_i64;
            for text in text.split(',').filter(|text| !text.is_empty()) {
                let (fields, count) = numbers(text)?;
                column += fields[0];
                if count == 1 {
                    continue;
                }
                for (sum, field) in running.iter_mut().zip(&fields[1..count]) {
                    *sum += field;
                }
                let narrow = |value: i64| u32::try_from(value).ok();
                let (Some(source), Some(original_line), Some(original_column), Some(name)) = (
                    narrow(running[0]),
                    narrow(running[1]),
                    narrow(running[2]),
                    narrow(running[3]),
                ) else {
                    return refuse("a negative position");
                };
                let (Some(column), Ok(line)) = (narrow(column), u32::try_from(line)) else {
                    return refuse("a negative position");
                };
                self.segments.push(Segment {
                    line: line.saturating_add(offset.0),
                    column: if line == 0 {
                        column.saturating_add(offset.1)
                    } else {
                        column
                    },
                    source: source.saturating_add(first_source),
                    original_line,
                    original_column,
                    name: if count == 5 {
                        name.saturating_add(first_name).saturating_add(1)
                    } else {
                        0
                    },
                });
            }
        }
        Ok(())
    }
}

/// The numbers of one segment in base 64 VLQ: 1, 4 or 5.
fn numbers(text: &str) -> Result<([i64; 5], usize), SourceMapError> {
    let mut fields = [0; 5];
    let mut count = 0;
    let (mut value, mut shift) = (0_u64, 0_u32);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => {
                return refuse(format!(
                    "'{}' in the mappings",
                    char::from(other).escape_default()
                ));
            }
        };
        if shift > 30 || count == fields.len() {
            return refuse("a number too long or a segment of more than five");
        }
        value |= u64::from(digit & 31) << shift;
        if digit & 32 != 0 {
            shift += 5;
            continue;
        }
        let magnitude = (value >> 1).cast_signed();
        fields[count] = if value & 1 == 1 {
            -magnitude
        } else {
            magnitude
        };
        count += 1;
        (value, shift) = (0, 0);
    }
    if shift != 0 || !matches!(count, 1 | 4 | 5) {
        return refuse("an incomplete segment");
    }
    Ok((fields, count))
}

/// A source's path or URL: `root` and `source` against the folder of `script`.
fn resolve(script: &str, root: &str, source: &str) -> String {
    let is_absolute =
        |path: &str| path.starts_with('/') || path.starts_with('\\') || path.contains(':');
    let joined = if root.is_empty() || is_absolute(source) {
        source.to_owned()
    } else {
        format!("{}/{source}", root.trim_end_matches('/'))
    };
    if is_absolute(&joined) {
        return joined;
    }
    let folder = script
        .rsplit_once(['/', '\\'])
        .map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in joined.split('/') {
        match part {
            "." | "" => {}
            // Never above the host of a URL or the root.
            ".." => {
                if parts.len() > 1 && parts.last().is_some_and(|last| !last.is_empty()) {
                    parts.pop();
                }
            }
            part => parts.push(part),
        }
    }
    if folder.is_empty() {
        parts.remove(0);
    }
    parts.join("/")
}

/// The maps of a process's scripts.
#[derive(Debug, Default)]
pub struct SourceMaps {
    by_script: FxHashMap<u32, SourceMap>,
}

impl SourceMaps {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the map of a script, by the runtime's number of it.
    pub fn insert(&mut self, script_id: u32, map: SourceMap) {
        self.by_script.insert(script_id, map);
    }

    /// The map of a script.
    pub fn of(&self, script_id: u32) -> Option<&SourceMap> {
        self.by_script.get(&script_id)
    }

    /// The original of a place, if its script has a map that covers it.
    pub fn original(&self, place: &Place) -> Option<Original> {
        self.of(place.script_id)?.original(place)
    }
}

#[cfg(test)]
mod tests {
    use super::{SourceMap, numbers, resolve};
    use crate::snapshot::Place;

    fn at(line: u32, column: u32) -> Place {
        Place {
            script: "/srv/dist/app.js".to_owned(),
            script_id: 7,
            line,
            column,
        }
    }

    fn words(map: &SourceMap, line: u32, column: u32) -> String {
        map.original(&at(line, column))
            .map_or_else(String::new, |original| {
                let place = original.place;
                let name = original.name.unwrap_or_default();
                format!("{}:{}:{} {name}", place.script, place.line, place.column)
            })
    }

    #[test]
    fn numbers_have_signs_and_length() {
        assert_eq!(numbers("AAgBC").unwrap(), ([0, 0, 16, 1, 0], 4));
        assert_eq!(numbers("D").unwrap(), ([-1, 0, 0, 0, 0], 1));
        for broken in ["AA", "A!", "g", "AAAAAA", "gggggggggA"] {
            assert!(numbers(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn places_and_names_are_mapped_back() {
        // class a{constructor(b){}} from class Session { constructor(id) {} } of src/session.ts, line 3.
        let json =
            br#"{"version":3,"sources":["../src/session.ts","/abs/x.ts"],"names":["Session","id"],
            "mappings":"AAEA,MAAMA,EACJ,YAAYC,IAAI;;ACDhB"}"#;
        let map = SourceMap::parse(json, "/srv/dist/app.js").unwrap();
        assert_eq!(words(&map, 1, 20), "/srv/src/session.ts:4:3 Session");
        assert_eq!(words(&map, 1, 1), "/srv/src/session.ts:3:1 ");
        assert_eq!(words(&map, 3, 5), "/abs/x.ts:3:3 ");
        assert_eq!(words(&map, 2, 1), "", "a line without segments");
        assert_eq!(words(&map, 99, 1), "");
    }

    #[test]
    fn indexed_maps_are_flattened() {
        let json = br#"{"version":3,"sections":[
            {"offset":{"line":0,"column":0},"map":{"version":3,"sources":["a.ts"],"names":[],"mappings":"AAAA"}},
            {"offset":{"line":2,"column":10},"map":{"version":3,"sourceRoot":"lib/","sources":["b.ts"],"names":["n"],"mappings":"AAIAA;CACA"}}]}"#;
        let map = SourceMap::parse(json, "https://host/dist/app.js").unwrap();
        assert_eq!(words(&map, 1, 5), "https://host/dist/a.ts:1:1 ");
        assert_eq!(words(&map, 3, 30), "https://host/dist/lib/b.ts:5:1 n");
        assert_eq!(words(&map, 4, 2), "https://host/dist/lib/b.ts:6:1 ");
    }

    #[test]
    fn damaged_maps_are_refused() {
        let parse = |json: &str| {
            SourceMap::parse(json.as_bytes(), "")
                .unwrap_err()
                .to_string()
        };
        for (json, wanted) in [
            (
                "{",
                "not a usable source map: EOF while parsing an object at line 1 column 1",
            ),
            ("{}", "not a usable source map: version null, not 3"),
            (r#"{"version":3}"#, "not a usable source map: no mappings"),
            (r#"{"version":3,"mappings":"D"}"#, ""),
            (
                r#"{"version":3,"mappings":"ADAA"}"#,
                "not a usable source map: a negative position",
            ),
            (
                r#"{"version":3,"sections":[{}]}"#,
                "not a usable source map: a section without offset",
            ),
        ] {
            if wanted.is_empty() {
                assert!(SourceMap::parse(json.as_bytes(), "").is_ok());
            } else {
                assert_eq!(parse(json), wanted);
            }
        }
        let mut deep = r#"{"version":3,"mappings":""}"#.to_owned();
        for _ in 0..6 {
            deep = format!(
                r#"{{"version":3,"sections":[{{"offset":{{"line":0,"column":0}},"map":{deep}}}]}}"#
            );
        }
        assert_eq!(
            parse(&deep),
            "not a usable source map: maps within maps within maps"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_mappings_are_read_or_refused(mappings in "[A-Za-z0-9+/,;]{0,60}", line in 0_u32..9, column in 0_u32..90) {
            let json = format!(r#"{{"version":3,"sources":["a.ts"],"names":["n"],"mappings":"{mappings}"}}"#);
            if let Ok(map) = SourceMap::parse(json.as_bytes(), "/srv/a.js") {
                words(&map, line, column);
            }
        }
    }

    #[test]
    fn sources_are_resolved_against_the_script() {
        for (script, root, source, wanted) in [
            ("/srv/dist/app.js", "", "../src/a.ts", "/srv/src/a.ts"),
            (
                "file:///srv/dist/app.js",
                "",
                "./a.ts",
                "file:///srv/dist/a.ts",
            ),
            (
                "/srv/dist/app.js",
                "",
                "webpack://app/./src/a.ts",
                "webpack://app/./src/a.ts",
            ),
            ("/srv/app.js", "", "../../../../etc/a.ts", "/etc/a.ts"),
            ("app.js", "", "a.ts", "a.ts"),
            ("/srv/app.js", "/base/", "a.ts", "/base/a.ts"),
        ] {
            assert_eq!(
                resolve(script, root, source),
                wanted,
                "{script} {root} {source}"
            );
        }
    }
}
