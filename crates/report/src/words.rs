//! The words for verdicts, rates and metrics, the same in every report.

use plimsoll_model::{Growth, Interval, Metric, Outcome, TimeToLimit, Unit, Verdict, units};

const HOUR: f64 = 3600.0;

/// What a rate is of and per, and so how it reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates<'a> {
    pub(crate) unit: Unit,
    /// Per second, else per operation.
    pub(crate) per_time: bool,
    /// One operation, for people.
    pub(crate) word: &'a str,
}

impl<'a> Rates<'a> {
    /// How rates of this verdict read. Without a measured growth its axis is told by whether anything was driven.
    pub(crate) fn of(verdict: &Verdict, unit: Unit, word: Option<&'a str>) -> Self {
        let per_time = match &verdict.growth {
            Some(growth) => growth.per == "second",
            None => word.is_none(),
        };
        Self {
            unit,
            per_time,
            word: word.unwrap_or("operation"),
        }
    }

    fn scale(self) -> f64 {
        if self.per_time { HOUR } else { 1.0 }
    }

    fn per(self) -> String {
        match (self.per_time, self.unit) {
            (true, Unit::Bytes) => "/h".to_owned(),
            (true, _) => " per hour".to_owned(),
            (false, _) => format!(" per {}", self.word),
        }
    }

    fn amount(self, value: f64) -> String {
        match self.unit {
            Unit::Bytes => units::bytes(value),
            Unit::Seconds => units::duration(value),
            _ => units::count(value),
        }
    }

    /// `4 B per request`, `5.63 MiB/h`.
    pub(crate) fn plain(self, rate: f64) -> String {
        format!("{}{}", self.amount(rate * self.scale()), self.per())
    }

    /// `+1.84 KiB per request`.
    pub(crate) fn signed(self, rate: f64) -> String {
        let sign = if rate >= 0.0 { "+" } else { "" };
        format!("{sign}{}", self.plain(rate))
    }

    /// `+1.84 KiB/request`, for tables.
    pub(crate) fn short(self, rate: f64) -> String {
        self.signed(rate).replacen(" per ", "/", 1)
    }

    /// `95 % CI 1.79 … 1.90`, in the unit of the rate where that reads well.
    pub(crate) fn interval(self, rate: f64, interval: Interval) -> String {
        let Interval { low, high } = interval;
        let (low, high) = (low * self.scale(), high * self.scale());
        if !low.is_finite() && !high.is_finite() {
            return "95 % CI unknown".to_owned();
        }
        let rate = rate * self.scale();
        let far = low.abs().max(high.abs()) >= 1000.0 * rate.abs().max(1.0);
        let text = if self.unit == Unit::Bytes && low.is_finite() && high.is_finite() && !far {
            units::signed_bytes_with_interval(rate, low, high).1
        } else {
            let end = |v: f64| {
                if v.is_finite() {
                    self.amount(v)
                } else {
                    "unknown".to_owned()
                }
            };
            format!("{} … {}", end(low), end(high))
        };
        format!("95 % CI {text}")
    }

    /// `+1.84 KiB per request (95 % CI 1.79 … 1.90)`.
    pub(crate) fn estimate(self, growth: &Growth) -> String {
        format!(
            "{} ({})",
            self.signed(growth.rate),
            self.interval(growth.rate, growth.interval)
        )
    }

    /// The bound that a verdict of no leak promises: the floor, or what was really shown if that is more.
    pub(crate) fn bound(self, verdict: &Verdict) -> String {
        let bound = verdict.bound.unwrap_or(verdict.floor).max(verdict.floor);
        format!("growth below {}", self.plain(bound))
    }
}

/// The word for a verdict at the head of a report. Words carry the meaning, colours repeat it.
pub(crate) const fn headline(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Leak => "LEAK",
        Outcome::NoLeak => "NO LEAK",
        Outcome::Inconclusive => "INCONCLUSIVE",
    }
}

/// How sure the verdict is of itself: of a leak P(leak), of no leak the rest. Never certain.
pub(crate) fn confidence(verdict: &Verdict) -> String {
    match verdict.outcome {
        Outcome::Leak => format!("confidence {}", probability(verdict.leak_probability)),
        Outcome::NoLeak => format!("confidence {}", probability(1.0 - verdict.leak_probability)),
        Outcome::Inconclusive => format!("P(leak) {}", probability(verdict.leak_probability)),
    }
}

fn probability(p: f64) -> String {
    if !p.is_finite() {
        "unknown".to_owned()
    } else if p >= 0.9995 {
        "> 0.999".to_owned()
    } else if p < 0.0005 {
        "< 0.001".to_owned()
    } else {
        format!("{p:.3}")
    }
}

/// `linear, since the start`.
pub(crate) fn shape(verdict: &Verdict) -> String {
    let onset = verdict.growth.as_ref().and_then(|g| g.onset_s);
    match (verdict.outcome, onset) {
        (Outcome::Leak, None) => format!("{}, since the start", verdict.pattern),
        (Outcome::Leak, Some(s)) => {
            format!(
                "{}, since {} into the run",
                verdict.pattern,
                units::duration(s)
            )
        }
        _ => verdict.pattern.clone(),
    }
}

/// `at 50 requests/s the heap limit (2.00 GiB) is reached in 6 h 10 min (5 h 55 min … 6 h 28 min)`.
pub(crate) fn time_to_limit(time: &TimeToLimit, limit: &str, word: &str) -> String {
    let rate = time
        .at_rate
        .filter(|r| r.is_finite())
        .map_or_else(String::new, |rate| {
            format!("at {} {}/s ", units::count(round_rate(rate)), plural(word))
        });
    let low = units::duration(time.low);
    let interval = match time.high.filter(|h| h.is_finite()) {
        Some(high) => format!("{low} … {}", units::duration(high)),
        None => format!("{low} or more"),
    };
    format!(
        "{rate}{limit} ({}) is reached in {} ({interval})",
        units::bytes(time.limit),
        units::duration(time.seconds)
    )
}

/// Whole operations a second where there is at least one, three digits below.
fn round_rate(rate: f64) -> f64 {
    if rate >= 10.0 { rate.round() } else { rate }
}

/// What a metric is called.
pub(crate) fn metric(metric: &Metric) -> String {
    match metric.as_counted() {
        Some((family, kind)) => format!("{family} {kind}"),
        None => match metric.as_str() {
            "rss" => "resident memory (RSS)".to_owned(),
            "rss_anon" => "resident anonymous memory".to_owned(),
            "rss_anon_sum" => "resident anonymous memory of all processes".to_owned(),
            name => name.replace('_', " "),
        },
    }
}

/// `5,000 requests`, `1 request`.
pub(crate) fn several(count: u64, word: &str) -> String {
    if count == 1 {
        return format!("1 {word}");
    }
    format!("{} {}", units::count(count as f64), plural(word))
}

/// The plural of the words that operations have.
pub(crate) fn plural(word: &str) -> String {
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if word.ends_with(['s', 'x']) || word.ends_with("ch") || word.ends_with("sh") => {
            format!("{word}es")
        }
        _ => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Rates<'_> = Rates {
        unit: Unit::Bytes,
        per_time: false,
        word: "request",
    };

    #[test]
    fn an_interval_reads_in_the_unit_of_its_rate_where_it_can() {
        let interval = |rate, low, high| BYTES.interval(rate, Interval { low, high });
        assert_eq!(interval(1884.16, 1832.96, 1945.6), "95 % CI 1.79 … 1.90");
        assert_eq!(interval(0.2, -1.5, 1.9), "95 % CI -1.50 … 1.90");
        assert_eq!(interval(2.0, -3e6, 3e6), "95 % CI -2.86 MiB … 2.86 MiB");
        assert_eq!(interval(2.0, f64::NAN, 3.0), "95 % CI unknown … 3 B");
        assert_eq!(interval(f64::NAN, f64::NAN, f64::NAN), "95 % CI unknown");
    }

    #[test]
    fn rates_on_time_are_told_per_hour() {
        let on_time = Rates {
            per_time: true,
            ..BYTES
        };
        assert_eq!(on_time.signed(611.7), "+2.10 MiB/h");
        assert_eq!(on_time.plain(f64::NAN), "unknown/h");
        let counts = Rates {
            unit: Unit::Count,
            ..BYTES
        };
        assert_eq!(counts.signed(1.0), "+1 per request");
    }

    #[test]
    fn nothing_is_ever_certain() {
        for (p, expected) in [
            (1.0, "> 0.999"),
            (0.9994, "0.999"),
            (0.5, "0.500"),
            (0.0, "< 0.001"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(probability(p), expected, "{p}");
        }
    }

    #[test]
    fn words_have_plurals() {
        for (word, many) in [
            ("request", "requests"),
            ("query", "queries"),
            ("key", "keys"),
            ("batch", "batches"),
        ] {
            assert_eq!(plural(word), many);
        }
    }
}
