//! What a cell says: a number, a size with its unit, a stamp of time.

/// A cell without spaces and quotes around it.
pub(super) fn bare(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

/// Whether a cell says that there is no reading.
pub(super) fn is_missing(text: &str) -> bool {
    const WORDS: [&str; 9] = ["", "-", "--", "nan", "na", "n/a", "null", "none", "nil"];
    text.len() <= 4 && WORDS.iter().any(|w| text.eq_ignore_ascii_case(w))
}

/// A plain number; NaN where a reading is missing.
pub(super) fn number(text: &str) -> Option<f64> {
    if is_missing(text) {
        return Some(f64::NAN);
    }
    match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ => text.parse().ok(),
    }
}

/// Bytes of one unit of a size. The letters K, M, G alone, and KB, MB, GB, are read as powers of 1,024: that is what the
/// tools that print them mean.
pub(super) fn unit(text: &str) -> Option<f64> {
    let power = |n: i32| Some(1024_f64.powi(n));
    match text.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => Some(1.0),
        "k" | "kb" | "kib" | "kbytes" | "kilobytes" => power(1),
        "m" | "mb" | "mib" | "mbytes" | "megabytes" => power(2),
        "g" | "gb" | "gib" | "gbytes" | "gigabytes" => power(3),
        "t" | "tb" | "tib" => power(4),
        _ => None,
    }
}

/// A number with the unit behind it, if there is one: `12`, `12.5MiB`, `3.5MiB / 7.6GiB` (the first).
pub(super) fn size(text: &str) -> Option<(f64, Option<f64>)> {
    if let Some(plain) = number(text) {
        return Some((plain, None));
    }
    let text = match text.split_once('/') {
        Some((used, limit)) => {
            size_with_unit(limit.trim())?;
            used.trim()
        }
        None => text,
    };
    number(text)
        .map(|n| (n, None))
        .or_else(|| size_with_unit(text).map(|(n, u)| (n, Some(u))))
}

fn size_with_unit(text: &str) -> Option<(f64, f64)> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = unit(&text[digits.len()..])?;
    let number = digits.trim_end().parse().ok()?;
    Some((number, unit))
}

/// Whether a cell is a pair of sizes, as docker stats prints use and limit.
pub(super) fn is_pair(text: &str) -> bool {
    text.split_once('/').is_some_and(|(used, limit)| {
        size_with_unit(used.trim()).is_some() && size_with_unit(limit.trim()).is_some()
    })
}

/// Seconds of a stamp that is no plain number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stamp {
    /// Since 1970.
    Date(f64),
    /// Since midnight.
    OfDay(f64),
}

/// A date with a time (ISO 8601 and its relatives; without a zone it is taken as UTC), or a time of day.
pub(super) fn stamp(text: &str) -> Option<Stamp> {
    if !text.is_ascii() {
        return None;
    }
    let Some(date) = text.get(..10).and_then(date) else {
        return time_of_day(text).map(Stamp::OfDay);
    };
    let rest = text[10..].trim_start_matches(['T', 't', ' ']);
    if rest.is_empty() {
        return Some(Stamp::Date(date));
    }
    let (clock, zone) = zone(rest)?;
    Some(Stamp::Date(date + time_of_day(clock)? - zone))
}

/// Seconds since 1970 of `YYYY-MM-DD` (Howard Hinnant's `days_from_civil`).
fn date(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    if !(matches!(bytes[4], b'-' | b'/') && bytes[7] == bytes[4]) {
        return None;
    }
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days as f64 * 86_400.0)
}

/// The clock and the seconds its zone is ahead of UTC.
fn zone(text: &str) -> Option<(&str, f64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock.trim_end(), 0.0));
    }
    if let Some(clock) = text.strip_suffix(" UTC") {
        return Some((clock.trim_end(), 0.0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0.0));
    };
    let (clock, zone) = text.split_at(at);
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let hours: f64 = digits.get(..2)?.parse().ok()?;
    let minutes: f64 = match digits.get(2..)? {
        "" => 0.0,
        m => m.parse().ok()?,
    };
    let ahead = hours * 3600.0 + minutes * 60.0;
    let ahead = if zone.starts_with('-') { -ahead } else { ahead };
    Some((clock.trim_end(), ahead))
}

/// Seconds since midnight of `HH:MM[:SS[.fff]]`, with AM or PM or without.
fn time_of_day(text: &str) -> Option<f64> {
    let text = text.trim();
    let half = text.get(text.len().checked_sub(2)?..)?;
    let (text, add) = if half.eq_ignore_ascii_case("am") {
        (text[..text.len() - 2].trim_end(), Some(0.0))
    } else if half.eq_ignore_ascii_case("pm") {
        (text[..text.len() - 2].trim_end(), Some(12.0))
    } else {
        (text, None)
    };
    let mut parts = text.split(':');
    let mut part = |least: usize| -> Option<f64> {
        let text = parts.next()?;
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.' || b == b',');
        (text.len() >= least && plain)
            .then(|| text.replace(',', ".").parse().ok())
            .flatten()
    };
    let (hours, minutes) = (part(1)?, part(2)?);
    let seconds = part(2).unwrap_or(0.0);
    if parts.next().is_some() || hours > 24.0 || minutes >= 60.0 || seconds >= 61.0 {
        return None;
    }
    let hours = match add {
        Some(add) => hours % 12.0 + add,
        None => hours,
    };
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_know_their_units() {
        assert_eq!(size("12"), Some((12.0, None)));
        assert_eq!(size("1.5MiB"), Some((1.5, Some(1_048_576.0))));
        assert_eq!(size("2 kB"), Some((2.0, Some(1024.0))));
        assert_eq!(size("3.5MiB / 7.6GiB"), Some((3.5, Some(1_048_576.0))));
        assert_eq!(size("1e6"), Some((1e6, None)));
        for text in ["12 apples", "MiB", "a/b", "1/2/3", "€5"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert!(is_pair("0B / 0B") && !is_pair("12MiB"));
    }

    #[test]
    fn stamps_are_read_as_they_are_written() {
        let at = 1_795_238_040.0;
        for text in [
            "2026-11-21T05:14:00Z",
            "2026-11-21 05:14:00",
            "2026/11/21 05:14:00.000",
            "2026-11-21T06:14:00+01:00",
            "2026-11-21T00:14:00-0500",
            "2026-11-21 05:14:00 UTC",
        ] {
            assert_eq!(stamp(text), Some(Stamp::Date(at)), "{text}");
        }
        assert_eq!(stamp("1970-01-01"), Some(Stamp::Date(0.0)));
        assert_eq!(stamp("05:14:01"), Some(Stamp::OfDay(18_841.0)));
        assert_eq!(stamp("05:14:01 PM"), Some(Stamp::OfDay(62_041.0)));
        assert_eq!(stamp("12:00:00 AM"), Some(Stamp::OfDay(0.0)));
        for text in [
            "",
            "x",
            "2026-13-01",
            "1:2",
            "99:00:00",
            "2026-11-21Tnoon",
            "é:12",
            "12",
        ] {
            assert_eq!(stamp(text), None, "{text}");
        }
    }
}
