//! Operations that somebody else counts: lines of a program's output, or a counter that the subject serves.

use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;

use crate::ready::fetch;
use crate::{Error, Url, Wire};

/// How long a counter may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest page of counters that is read.
const LARGEST: usize = 8 * 1024 * 1024;

/// Counts operations by the lines that tell of them.
///
/// The first group of the expression is the number of operations so far; where it falls, the program began to count anew.
/// Without a group, or where it is no number, a line is an operation.
#[derive(Debug, Clone)]
pub struct LineCount {
    regex: Regex,
    so_far: f64,
    /// What was counted before the program began anew.
    before: f64,
}

impl LineCount {
    /// Nothing is counted yet.
    pub fn new(regex: Regex) -> Self {
        Self {
            regex,
            so_far: 0.0,
            before: 0.0,
        }
    }

    /// The expression.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Takes a line; whether it told of operations.
    pub fn take(&mut self, line: &str) -> bool {
        let Some(groups) = self.regex.captures(line) else {
            return false;
        };
        match groups.get(1).and_then(|group| number(group.as_str())) {
            Some(number) => {
                if number < self.so_far {
                    self.before += self.so_far;
                }
                self.so_far = number;
            }
            None => self.so_far += 1.0,
        }
        true
    }

    /// Operations so far.
    pub fn operations(&self) -> f64 {
        self.before + self.so_far
    }
}

/// A number as programs print it: `12,345` and `12_345` too.
pub(crate) fn number(text: &str) -> Option<f64> {
    let digits: String = text.trim().replace([',', '_'], "");
    digits
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite() && *n >= 0.0)
}

/// A counter that a service offers at a URL.
///
/// `http://127.0.0.1:3000/stats#/requests/total` is a JSON pointer into its answer, `…/metrics#http_requests_total` the samples of that
/// name in the text that Prometheus reads, added up; without either the answer is the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Where it is.
    pub url: Url,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Whole,
    Json(String),
    Metric(String),
}

impl Counter {
    /// Reads `URL`, `URL#/json/pointer` or `URL#metric_name`.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (url, place) = text.split_once('#').unwrap_or((text, ""));
        Ok(Self {
            url: Url::parse(url)?,
            place: match place {
                "" => Place::Whole,
                pointer if pointer.starts_with('/') => Place::Json(pointer.to_owned()),
                name => Place::Metric(name.to_owned()),
            },
        })
    }

    /// What it says now.
    ///
    /// # Errors
    /// Why it says nothing.
    pub fn read(&self, wire: &Wire) -> Result<f64, String> {
        let answer = fetch(&self.url, wire, PATIENCE, LARGEST).map_err(|e| e.to_string())?;
        self.find(&String::from_utf8_lossy(&answer))
    }

    fn find(&self, text: &str) -> Result<f64, String> {
        let missing = |what: String| format!("{} {what}", self.url);
        match &self.place {
            Place::Whole => {
                number(text).ok_or_else(|| missing("does not answer with a number".to_owned()))
            }
            Place::Json(pointer) => {
                let document: Value = serde_json::from_str(text)
                    .map_err(|e| missing(format!("does not answer with JSON: {e}")))?;
                let found = document.pointer(pointer);
                let value = found.and_then(|value| match value {
                    Value::String(text) => number(text),
                    other => other.as_f64(),
                });
                value.ok_or_else(|| missing(format!("has no number at {pointer}")))
            }
            Place::Metric(name) => {
                let samples: Vec<f64> = text.lines().filter_map(|l| sample(l, name)).collect();
                if samples.is_empty() {
                    return Err(missing(format!("has no sample of {name}")));
                }
                Ok(samples.iter().sum())
            }
        }
    }
}

/// The value of a line `name{labels} value [timestamp]`, if it is of this name.
fn sample(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let values = if rest.starts_with('{') {
        // A label may hold anything, braces too; the value stands behind the last one.
        &rest[rest.rfind('}')? + 1..]
    } else {
        rest.strip_prefix([' ', '\t'])?
    };
    values.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_or_say_how_many() {
        let count = |pattern: &str, lines: &[&str]| {
            let mut count = LineCount::new(Regex::new(pattern).unwrap());
            let matched = lines.iter().filter(|line| count.take(line)).count();
            (matched, count.operations())
        };
        let lines = ["done 100", "x", "done 1,250", "done 40"];
        assert_eq!(count(r"done ([\d,]+)", &lines), (3, 1_290.0));
        assert_eq!(count("done", &lines), (3, 3.0));
        assert_eq!(count(r"(done)", &lines), (3, 3.0));
        assert_eq!(count("never", &lines), (0, 0.0));
    }

    #[test]
    fn counters_are_found_where_they_stand() {
        let find = |place: &str, text: &str| {
            let counter = Counter::parse(&format!("http://127.0.0.1:3000/stats{place}")).unwrap();
            counter
                .find(text)
                .map_err(|e| e.replace("http://127.0.0.1:3000", ""))
        };
        assert_eq!(find("", " 42\n"), Ok(42.0));
        assert_eq!(find("#/a/0", r#"{"a":[7,8]}"#), Ok(7.0));
        assert_eq!(find("#/a", r#"{"a":"1,000"}"#), Ok(1_000.0));
        let text = "# TYPE r counter\nr_total{path=\"/a}\"} 5 1700000000\nr_total{path=\"/b\"} 3\nr_total_other 9\nup 1\n";
        assert_eq!(find("#r_total", text), Ok(8.0));
        assert_eq!(find("#up", text), Ok(1.0));
        assert_eq!(
            find("#down", text),
            Err("/stats has no sample of down".into())
        );
        assert_eq!(
            find("#/b", r#"{"a":1}"#),
            Err("/stats has no number at /b".into())
        );
        assert!(find("", "<html>").is_err());
        assert!(Counter::parse("stats").is_err());
    }
}
