//! Rules that a user asks for by name: which ones, and on which series of a run each is evaluated.

use plimsoll_judge as judge;
use plimsoll_model::{
    Band, ExitCode, Metric, Part, PointSet, RuleResult, Run, RunStatus, SeriesRecord, Unit,
};
use serde::Deserialize;

use crate::error::Error;
use crate::file::{nearest, parse_size};

/// A rule that was asked for, with the user's limit if there is one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Item")]
pub struct RuleRequest {
    rule: &'static judge::Rule,
    limit: Option<f64>,
}

/// `[[rule]]` of the configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    name: String,
    limit: Option<Limit>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Limit {
    Number(f64),
    Text(String),
}

impl TryFrom<Item> for RuleRequest {
    type Error = String;

    fn try_from(item: Item) -> Result<Self, String> {
        let limit = match item.limit {
            Some(Limit::Number(number)) => Some(number.to_string()),
            Some(Limit::Text(text)) => Some(text),
            None => None,
        };
        Self::named(&item.name, limit.as_deref()).map_err(|(message, hint)| match hint {
            Some(hint) => format!("{message}; {hint}"),
            None => message,
        })
    }
}

impl RuleRequest {
    /// Reads `NAME` or `NAME=LIMIT`.
    ///
    /// # Errors
    /// If no rule has that name, or the limit is not in the rule's unit.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, limit) = match text.split_once('=') {
            Some((name, limit)) => (name.trim(), Some(limit.trim())),
            None => (text.trim(), None),
        };
        Self::named(name, limit).map_err(|(message, hint)| Error::Usage {
            message: format!("--rule: {message}"),
            hint: hint.or_else(|| Some("`plimsoll analyze --rules` lists them all".to_owned())),
        })
    }

    fn named(name: &str, limit: Option<&str>) -> Result<Self, (String, Option<String>)> {
        let Some(rule) = judge::rule(name) else {
            let names = judge::rules().iter().map(|r| r.name);
            let hint = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
            return Err((format!("no rule is named `{name}`"), hint));
        };
        let limit = limit
            .map(|text| parse_limit(rule.unit, text))
            .transpose()
            .map_err(|example| {
                let text = limit.unwrap_or_default();
                (
                    format!("`{text}` is no limit of {name}"),
                    Some(format!("an example: {name}={example}")),
                )
            })?;
        Ok(Self { rule, limit })
    }

    /// The upper list, and of the lower one what the upper does not name.
    pub(crate) fn merge(mut upper: Vec<Self>, lower: Vec<Self>) -> Vec<Self> {
        let added: Vec<Self> = lower
            .into_iter()
            .filter(|l| upper.iter().all(|u| u.rule.name != l.rule.name))
            .collect();
        upper.extend(added);
        upper
    }

    /// Evaluates it on one series that stands alone.
    pub(crate) fn on_series(self, series: &judge::Series) -> RuleResult {
        let metric = Metric::named(series.metric.clone());
        let wanted = metrics(self.rule.reads);
        if !wanted.is_empty() && !wanted.contains(&metric) {
            let why = format!("it is about {}, not {metric}", wanted[0]);
            return RuleResult::not_applicable(self.rule, self.limit, why);
        }
        RuleResult::of(self.rule, metric, series, self.limit)
    }

    /// Evaluates it on the series of a run that it is about.
    fn on_run(self, run: &Run) -> RuleResult {
        let found = match self.rule.reads {
            judge::Reads::Headline => headline(run),
            judge::Reads::Count => fastest_count(run),
            reads => metrics(reads)
                .iter()
                .find_map(|m| run.series.iter().find(|s| s.metric == *m)),
        };
        let Some((record, series)) = found.and_then(|r| Some((r, series_of(r, run)?))) else {
            let what = match self.rule.reads {
                judge::Reads::Count => "nothing was counted".to_owned(),
                judge::Reads::Headline => "nothing was measured".to_owned(),
                reads => format!("{} was not measured", metrics(reads)[0]),
            };
            return RuleResult::not_applicable(self.rule, self.limit, what);
        };
        RuleResult::of(self.rule, record.metric.clone(), &series, self.limit)
    }
}

/// Evaluates rules on the series of a run. A broken one decides what the run exits with, unless the run failed or was
/// interrupted; the verdict stays what it is.
pub(crate) fn apply(rules: &[RuleRequest], run: &mut Run) {
    run.rules = rules.iter().map(|r| r.on_run(run)).collect();
    if run.status == RunStatus::Completed && run.rules.iter().any(RuleResult::is_broken) {
        run.exit_code = ExitCode::Broken.code();
    }
}

/// The metrics a rule names, best first; empty where it takes what there is.
fn metrics(reads: judge::Reads) -> &'static [Metric] {
    match reads {
        judge::Reads::HeapUsed => &[Metric::HEAP_USED, Metric::HEAP_USED_AFTER_GC],
        judge::Reads::External => &[Metric::EXTERNAL],
        judge::Reads::Resident => &[Metric::RSS],
        _ => &[],
    }
}

/// The series the verdict is about; where that is a count, the bytes that were judged beside it.
fn headline(run: &Run) -> Option<&SeriesRecord> {
    let bytes = |s: &&SeriesRecord| s.unit == Unit::Bytes;
    run.headline
        .and_then(|i| run.series.get(i))
        .filter(bytes)
        .or_else(|| {
            let judged = || run.series.iter().filter(|s| s.part == Part::Judged);
            judged()
                .find(|s| s.metric == Metric::LIVE_BYTES)
                .or_else(|| judged().find(bytes))
        })
}

/// Of the things that were counted, those that grew most.
fn fastest_count(run: &Run) -> Option<&SeriesRecord> {
    let growth = |s: &SeriesRecord| {
        let points = s.points.as_ref()?;
        let mut known = points.value.iter().filter(|v| v.is_finite());
        Some(known.next_back()? - known.next()?)
    };
    run.series
        .iter()
        .filter(|s| s.unit == Unit::Count && s.part == Part::Judged)
        .filter_map(|s| Some((s, growth(s)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(s, _)| s)
}

fn series_of(record: &SeriesRecord, run: &Run) -> Option<judge::Series> {
    let mut series = match (&record.points, &record.band) {
        (Some(points), _) => from_points(points, run),
        (None, Some(band)) => from_band(band),
        (None, None) => return None,
    };
    record.metric.as_str().clone_into(&mut series.metric);
    if record.unit == Unit::Count {
        series.quantity = judge::Quantity::Count;
    }
    Some(series)
}

fn from_points(points: &PointSet, run: &Run) -> judge::Series {
    judge::Series {
        t_ns: points.t.iter().map(|t| t.0).collect(),
        value: points.value.clone(),
        ops: points.operations.clone(),
        collected: points
            .t
            .iter()
            .map(|t| run.rounds.iter().any(|r| r.end == *t && r.collected))
            .collect(),
        ..judge::Series::default()
    }
}

/// What was sampled but not read in rounds: the largest reading of each bucket.
fn from_band(band: &Band) -> judge::Series {
    judge::Series {
        t_ns: (0..band.max.len() as u64)
            .map(|i| band.start.0 + i * band.step.0)
            .collect(),
        value: band.max.iter().map(|v| v.unwrap_or(f64::NAN)).collect(),
        ..judge::Series::default()
    }
}

/// A limit in the unit of its rule.
///
/// # Errors
/// An example of a right one.
fn parse_limit(unit: judge::RuleUnit, text: &str) -> Result<f64, &'static str> {
    use judge::RuleUnit as U;
    let (endings, example): (&[&str], _) = match unit {
        U::BytesPerSecond => (&["s", "sec", "second"], "64KiB/s"),
        U::BytesPerMinute => (&["min", "minute"], "100KiB/min"),
        U::BytesPerSample => (&["sample"], "100KiB/sample"),
        U::BytesPerOperation => (&["op", "operation", "request", "call"], "64B/op"),
        U::PercentPerHour => (&["h", "hour"], "1%/h"),
        U::Percent => (&[], "80%"),
        U::Ratio => (&[], "1.5x"),
        U::Count => (&[], "5"),
        U::Share => (&[], "0.9"),
        _ => (&[], "10MiB"),
    };
    let (figure, ending) = match text.split_once('/') {
        Some((figure, ending)) => (figure.trim(), Some(ending.trim())),
        None => (text, None),
    };
    if ending.is_some_and(|e| !endings.contains(&e)) {
        return Err(example);
    }
    let number = match unit {
        U::Percent | U::PercentPerHour => {
            figure.strip_suffix('%').and_then(|n| n.trim().parse().ok())
        }
        U::Ratio => figure.trim_end_matches('x').trim().parse().ok(),
        U::Count | U::Share => figure.parse().ok(),
        _ => parse_size(figure).ok(),
    };
    number
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Option<f64> {
        RuleRequest::parse(text).unwrap().limit
    }

    #[test]
    fn limits_are_in_the_unit_of_their_rule() {
        assert_eq!(limit("end-start"), None);
        assert_eq!(limit("end-start=8 MiB"), Some(8_388_608.0));
        assert_eq!(limit("slope-per-minute=100KiB"), Some(102_400.0));
        assert_eq!(limit("slope-per-minute = 100KiB/min"), Some(102_400.0));
        assert_eq!(limit("max-per-op=64 B/request"), Some(64.0));
        assert_eq!(limit("percent-per-hour=2%/h"), Some(2.0));
        assert_eq!(limit("recovery-percent=80%"), Some(80.0));
        assert_eq!(limit("final-vs-initial=1.5x"), Some(1.5));
        assert_eq!(limit("r-squared=0.9"), Some(0.9));
        assert_eq!(limit("live-count=3"), Some(3.0));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_an_example() {
        for (text, example) in [
            ("end-start=5", "end-start=10MiB"),
            ("slope-per-minute=1MiB/h", "slope-per-minute=100KiB/min"),
            ("recovery-percent=80", "recovery-percent=80%"),
            ("final-vs-initial=-1", "final-vs-initial=1.5x"),
            ("r-squared=nan", "r-squared=0.9"),
            ("live-count=many", "live-count=5"),
        ] {
            let error = RuleRequest::parse(text).unwrap_err();
            assert!(error.hint().unwrap().contains(example), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_rule_names_the_nearest_or_the_list() {
        let error = RuleRequest::parse("end-strat=5MiB").unwrap_err();
        assert_eq!(error.to_string(), "--rule: no rule is named `end-strat`");
        assert_eq!(error.hint().unwrap(), "did you mean `end-start`?");
        let error = RuleRequest::parse("quality").unwrap_err();
        assert!(error.hint().unwrap().contains("--rules"));
    }

    #[test]
    fn a_flag_replaces_the_rule_of_the_file() {
        let upper = vec![RuleRequest::parse("end-start=8MiB").unwrap()];
        let lower = ["end-start", "drift"].map(|n| RuleRequest::parse(n).unwrap());
        let merged = RuleRequest::merge(upper, lower.to_vec());
        let all: Vec<_> = merged.iter().map(|r| (r.rule.name, r.limit)).collect();
        assert_eq!(all, [("end-start", Some(8_388_608.0)), ("drift", None)]);
    }

    #[test]
    fn a_rule_about_rss_says_nothing_of_the_heap() {
        let series = judge::Series {
            metric: "heap_used".to_owned(),
            t_ns: vec![0, 1_000_000_000],
            value: vec![1e6, 9e6],
            ..judge::Series::default()
        };
        let result = |text| RuleRequest::parse(text).unwrap().on_series(&series);
        assert_eq!(
            result("max-rss").why.as_deref(),
            Some("it is about rss, not heap_used")
        );
        assert!(!result("max-heap").is_broken());
        assert!(result("max-heap=8MiB").is_broken());
    }
}
