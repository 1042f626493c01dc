//! The beginning of a run document: what a list shows, without reading the bulk that follows.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use plimsoll_model::{Metric, Ns, RunHead, RunStatus, SCHEMA, SUITE_SCHEMA, Unit, Verdict};
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// There is no document.
    Missing,
    /// There is one, and this is wrong with it.
    Unreadable(String),
}

/// Reads the head of a document.
pub(crate) fn read(path: &Path) -> Result<RunHead, HeadError> {
    let unreadable = |e: io::Error| HeadError::Unreadable(e.to_string());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(HeadError::Missing),
        Err(e) => return Err(unreadable(e)),
    };
    if !ends_like_a_document(&mut file).map_err(unreadable)? {
        return Err(HeadError::Unreadable(
            "the end is missing: it was cut off".to_owned(),
        ));
    }
    let mut parts = Parts::default();
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(16 << 10, file));
    let read = ReadParts(&mut parts).deserialize(&mut json);
    match (parts.schema.as_deref(), read) {
        (Some(SUITE_SCHEMA), _) => of_suite(path),
        (Some(schema), _) if schema != SCHEMA => Err(HeadError::Unreadable(format!(
            "it is written as {schema}, this plimsoll reads {SCHEMA}"
        ))),
        (_, Err(e)) if !parts.enough => Err(HeadError::Unreadable(e.to_string())),
        _ => parts
            .into_head()
            .ok_or_else(|| HeadError::Unreadable("it lacks what every run has".to_owned())),
    }
}

/// The head of a suite, which tells what it found check by check and has no bulk.
fn of_suite(path: &Path) -> Result<RunHead, HeadError> {
    #[derive(Deserialize)]
    struct Found {
        tool_version: String,
        suite: String,
        subject: String,
        started_unix_ns: u64,
        seconds: f64,
        status: RunStatus,
        exit_code: u8,
    }
    let file = File::open(path).map_err(|e| HeadError::Unreadable(e.to_string()))?;
    let found: Found = serde_json::from_reader(BufReader::new(file))
        .map_err(|e| HeadError::Unreadable(e.to_string()))?;
    Ok(RunHead {
        tool_version: found.tool_version,
        verb: "suite".to_owned(),
        started_unix_ns: found.started_unix_ns,
        duration: Ns((found.seconds.max(0.0) * 1e9) as u64),
        status: found.status,
        exit_code: found.exit_code,
        verdict: None,
        headline: None,
        command: vec!["suite".to_owned(), found.suite, found.subject],
        load: None,
        operation_word: None,
    })
}

/// The schema that a document declares, whatever else it holds.
pub(crate) fn schema_of(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Declares {
        schema: String,
    }
    serde_json::from_slice(json)
        .ok()
        .map(|d: Declares| d.schema)
}

/// Whether the last byte closes a document. Documents are replaced whole, so only somebody else can have cut one.
fn ends_like_a_document(file: &mut File) -> io::Result<bool> {
    const TAIL: u64 = 16;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(tail.trim_ascii_end().ends_with(b"}"))
}

/// The parts of a head as they come.
#[derive(Default)]
struct Parts {
    schema: Option<String>,
    tool_version: Option<String>,
    verb: Option<String>,
    started_unix_ns: Option<u64>,
    duration: Option<Ns>,
    status: Option<RunStatus>,
    exit_code: Option<u8>,
    verdict: Option<Verdict>,
    headline_index: Option<usize>,
    headline: Option<(Metric, Unit)>,
    command: Option<Vec<String>>,
    load: Option<Load>,
    /// Reading was ended on purpose.
    enough: bool,
}

#[derive(Deserialize)]
struct Subject {
    command: Vec<String>,
}

#[derive(Deserialize)]
struct Load {
    name: String,
    operation_word: String,
}

impl Parts {
    fn into_head(self) -> Option<RunHead> {
        let (load, operation_word) = self.load.map(|l| (l.name, l.operation_word)).unzip();
        Some(RunHead {
            tool_version: self.tool_version?,
            verb: self.verb?,
            started_unix_ns: self.started_unix_ns?,
            duration: self.duration?,
            status: self.status?,
            exit_code: self.exit_code?,
            verdict: self.verdict,
            headline: self.headline,
            command: self.command?,
            load,
            operation_word,
        })
    }
}

/// Reads the parts and stops at the bulk. An early end has to be told to `serde` as an error; `enough` tells it apart.
struct ReadParts<'a>(&'a mut Parts);

impl<'de> DeserializeSeed<'de> for ReadParts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadParts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a run document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let parts = self.0;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => {
                    parts.schema = Some(map.next_value()?);
                    if parts.schema.as_deref() != Some(SCHEMA) {
                        return Err(A::Error::custom("another schema"));
                    }
                }
                "tool_version" => parts.tool_version = Some(map.next_value()?),
                "verb" => parts.verb = Some(map.next_value()?),
                "started_unix_ns" => parts.started_unix_ns = Some(map.next_value()?),
                "duration" => parts.duration = Some(map.next_value()?),
                "status" => parts.status = Some(map.next_value()?),
                "exit_code" => parts.exit_code = Some(map.next_value()?),
                "verdict" => parts.verdict = map.next_value()?,
                "headline" => parts.headline_index = map.next_value()?,
                "subject" => parts.command = Some(map.next_value::<Subject>()?.command),
                "load" => parts.load = map.next_value()?,
                // The bulk. Our documents have everything else before it; where one has not, it is read to its end.
                "series" => {
                    map.next_value_seed(ReadHeadline(parts))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads what the headline is about from the list of series.
struct ReadHeadline<'a>(&'a mut Parts);

#[derive(Deserialize)]
struct About {
    metric: Metric,
    unit: Unit,
}

impl<'de> DeserializeSeed<'de> for ReadHeadline<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ReadHeadline<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let parts = self.0;
        let mut index = 0;
        loop {
            if parts.headline_index.is_none_or(|wanted| index > wanted) && parts.command.is_some() {
                parts.enough = true;
                return Err(A::Error::custom("enough"));
            }
            if parts.headline_index == Some(index) {
                let Some(About { metric, unit }) = list.next_element()? else {
                    return Ok(());
                };
                parts.headline = Some((metric, unit));
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }
}
