//! `plimsoll.toml`: the same words as the flags. Unknown keys are errors that name the line and the nearest known key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::around::Around;
use crate::config::{Explain, Flags};
use crate::error::Error;
use crate::load::DriverFlags;
use crate::rules::RuleRequest;
use crate::scenario::{Scenario, StepEntry};

/// The file, as far as it says anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) subject: Subject,
    pub(crate) driver: Driver,
    pub(crate) check: Check,
    #[serde(rename = "rule")]
    pub(crate) rules: Vec<RuleRequest>,
    /// Where it was read, and what it says, to point into it later.
    #[serde(skip)]
    pub(crate) source: (PathBuf, String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Subject {
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) ready_url: Option<String>,
    pub(crate) ready_status: Option<String>,
    pub(crate) ready_port: Option<u16>,
    pub(crate) ready_log: Option<String>,
    #[serde(deserialize_with = "duration")]
    pub(crate) ready_timeout: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub(crate) struct Driver {
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) url: Vec<String>,
    pub(crate) method: Option<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Option<String>,
    pub(crate) expect_status: Option<String>,
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Option<Duration>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<f64>,
    #[serde(deserialize_with = "percentage")]
    pub(crate) max_errors: Option<f64>,
    pub(crate) cookies: bool,
    pub(crate) churn: bool,
    pub(crate) http2: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) openapi: Option<PathBuf>,
    pub(crate) openapi_operations: Vec<String>,
    pub(crate) har: Option<PathBuf>,
    pub(crate) module: Option<PathBuf>,
    pub(crate) op_cmd: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) ops_log: Option<String>,
    pub(crate) ops_counter: Option<String>,
    pub(crate) needs: Vec<String>,
    pub(crate) prepare: Option<String>,
    pub(crate) between_rounds: Option<String>,
    pub(crate) cleanup: Option<String>,
    pub(crate) csv: Option<String>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) setup: Vec<Spanned<StepEntry>>,
    pub(crate) step: Vec<Spanned<StepEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Check {
    pub(crate) operations: Option<u64>,
    pub(crate) rounds: Option<u32>,
    pub(crate) warm_up: Option<u64>,
    #[serde(deserialize_with = "duration")]
    pub(crate) max_time: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(crate) max_ttl: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(crate) duration: Option<Duration>,
    #[serde(deserialize_with = "size")]
    pub(crate) floor: Option<f64>,
    #[serde(deserialize_with = "explain")]
    pub(crate) explain: Option<Explain>,
    pub(crate) expect_rate: Option<f64>,
}

impl From<File> for Flags {
    fn from(file: File) -> Self {
        let File {
            subject,
            driver,
            check,
            rules: _,
            source,
        } = file;
        Self {
            command: subject.command.into_iter().map(OsString::from).collect(),
            ready_url: subject.ready_url,
            ready_status: subject.ready_status,
            ready_port: subject.ready_port,
            ready_log: subject.ready_log,
            ready_timeout: subject.ready_timeout,
            driver: driver.flags(source),
            operations: check.operations,
            rounds: check.rounds,
            warm_up: check.warm_up,
            max_time: check.max_time,
            max_ttl: check.max_ttl,
            duration: check.duration,
            floor: check.floor,
            explain: check.explain,
            expect_rate: check.expect_rate,
            ..Self::default()
        }
    }
}

impl Driver {
    fn flags(self, (path, text): (PathBuf, String)) -> DriverFlags {
        let near = |named: Option<PathBuf>| {
            let is_url = |named: &PathBuf| named.to_string_lossy().contains("://");
            named.map(|named| match path.parent() {
                Some(folder) if !is_url(&named) => folder.join(named),
                _ => named,
            })
        };
        let scenario = Scenario {
            setup: self.setup,
            steps: self.step,
            csv: self.csv,
            variables: self.variables,
            text,
        };
        DriverFlags {
            urls: self.url,
            method: self.method,
            headers: self.headers,
            body: self.body,
            expect_status: self.expect_status,
            timeout: self.timeout,
            concurrency: self.concurrency,
            rate: self.rate,
            max_errors: self.max_errors,
            cookies: self.cookies,
            churn: self.churn,
            http2: self.http2,
            ca: near(self.ca),
            insecure: self.insecure,
            allow_remote: false,
            openapi: near(self.openapi),
            openapi_operations: self.openapi_operations,
            har: near(self.har),
            module: near(self.module),
            op_cmd: self.op_cmd,
            driver: self.command,
            ops_log: self.ops_log,
            ops_counter: self.ops_counter,
            around: Around {
                needs: self.needs,
                prepare: self.prepare,
                between_rounds: self.between_rounds,
                cleanup: self.cleanup,
            },
            scenario: (!scenario.steps.is_empty()).then_some((path, scenario)),
        }
    }
}

impl File {
    /// Reads a file that must be there.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Config {
            path: path.to_owned(),
            line: None,
            message: source.to_string(),
            hint: None,
        })?;
        Self::parse(&text, path)
    }

    /// Reads a file if it is there.
    pub(crate) fn read_if_there(path: &Path) -> Result<Self, Error> {
        if path.exists() {
            Self::read(path)
        } else {
            Ok(Self::default())
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let file: Result<Self, _> = toml::from_str(text);
        let file = file.map(|file| Self {
            source: (path.to_owned(), text.to_owned()),
            ..file
        });
        file.map_err(|error| {
            let line = error.span().map(|span| position(text, span.start));
            let message = error.message().to_owned();
            let hint = nearest_key(&message).map(|key| format!("did you mean `{key}`?"));
            // The list of all expected keys is noise once the nearest one is named.
            let message = match (&hint, message.split_once(", expected")) {
                (Some(_), Some((head, _))) => head.replace("unknown field", "unknown key"),
                _ => message.replace("unknown field", "unknown key"),
            };
            Error::Config {
                path: PathBuf::from(path),
                line,
                message,
                hint,
            }
        })
    }
}

/// Line and column, counted from 1, of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rfind('\n')
        .map_or(before.len(), |i| before.len() - i - 1)
        + 1;
    (line, column)
}

/// The expected key most like the unknown one, from serde's message: "unknown field `x`, expected one of `a`, `b`".
fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message
        .starts_with("unknown field")
        .then(|| quoted.next())
        .flatten()?;
    nearest(unknown, quoted)
}

/// The candidate within two edits (or a third of the word) of what was written.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = (word.chars().count() / 3).max(2);
    candidates
        .map(|c| {
            (
                strsim::damerau_levenshtein(&word.replace('-', "_"), &c.replace('-', "_")),
                c,
            )
        })
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Parses `30s`, `4m`, `1h 30m`.
///
/// # Errors
/// If it is no length of time, or has no unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("`{text}` is no length of time; examples: 30s, 4m, 1h 30m"))
}

/// Parses `10s`, or a bare number of milliseconds.
///
/// # Errors
/// If it is neither.
pub fn parse_milliseconds(text: &str) -> Result<Duration, String> {
    match text.trim().parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => parse_duration(text),
    }
}

/// Parses `64 B`, `8 KiB`, `5MB` (binary) into bytes.
///
/// # Errors
/// If it is no size, or has no unit.
pub fn parse_size(text: &str) -> Result<f64, String> {
    let t = text.trim();
    let split = t.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(t.len());
    let number: f64 = t[..split]
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is no size; examples: 64 B, 8 KiB"))?;
    let scale = match t[split..].trim().to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1_048_576.0,
        "g" | "gb" | "gib" => 1_073_741_824.0,
        _ => return Err(format!("`{text}` has no unit; examples: 64 B, 8 KiB")),
    };
    if number.is_finite() && number >= 0.0 {
        Ok(number * scale)
    } else {
        Err(format!("`{text}` is out of range"))
    }
}

/// Parses `1%`, `0.5 %`, or a share such as `0.01`.
///
/// # Errors
/// If it is no number.
pub fn parse_percentage(text: &str) -> Result<f64, String> {
    let t = text.trim();
    let (number, scale) = t.strip_suffix('%').map_or((t, 1.0), |n| (n.trim(), 0.01));
    number
        .parse::<f64>()
        .map(|v| v * scale)
        .map_err(|_| format!("`{text}` is no share; examples: 1%, 0.01"))
}

/// Parses the word of `--explain`.
///
/// # Errors
/// If it is another word.
pub fn parse_explain(text: &str) -> Result<Explain, String> {
    match text {
        "leak" => Ok(Explain::OnLeak),
        "always" => Ok(Explain::Always),
        "never" => Ok(Explain::Never),
        _ => Err(format!("`{text}` is none of leak, always, never")),
    }
}

fn parsed<'de, D: Deserializer<'de>, T>(
    d: D,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(d)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    parsed(d, parse_duration)
}

fn one_or_many<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(d)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

fn size<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    parsed(d, parse_size)
}

fn percentage<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    parsed(d, parse_percentage)
}

fn explain<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Explain>, D::Error> {
    parsed(d, parse_explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_nearest_one() {
        let error =
            File::parse("[check]\nmax_tme = \"4m\"\n", Path::new("plimsoll.toml")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("plimsoll.toml:2:1"), "{text}");
        assert!(text.contains("unknown key `max_tme`"), "{text}");
        assert_eq!(error.hint().as_deref(), Some("did you mean `max_time`?"));
    }

    #[test]
    fn values_without_a_unit_are_refused() {
        for (text, part) in [
            ("4m", ""),
            ("240", "length of time"),
            ("", "length of time"),
        ] {
            match parse_duration(text) {
                Ok(d) => assert_eq!(d, Duration::from_mins(4)),
                Err(e) => assert!(e.contains(part), "{e}"),
            }
        }
        assert_eq!(parse_size("8 KiB"), Ok(8192.0));
        assert_eq!(parse_size("64B"), Ok(64.0));
        assert!(parse_size("64").is_err());
        assert!(parse_size("-3 B").is_err());
        assert_eq!(parse_percentage("1%"), Ok(0.01));
    }
}
