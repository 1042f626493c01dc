//! Quantities with their units, and the one formatter for people.
//!
//! Binary units, three significant digits: `8.4 KiB`, `312 MiB`, `+1.84 KiB/op`, `6 h 10 min`. Nobody else divides by 1024.

use serde::{Deserialize, Serialize};

/// Nanoseconds since the start of the run, by the monotonic clock.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ns(pub u64);

impl Ns {
    /// Seconds since the start of the run.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// From a duration since the start of the run.
    pub fn from_duration(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Time since `earlier`, zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// Three significant digits without an exponent: `1.84`, `21.4`, `312`, `5,000`.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 999.5 {
        return group(value.round());
    }
    let decimals = if magnitude >= 99.95 {
        0
    } else if magnitude >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    if text
        .trim_start_matches('-')
        .chars()
        .all(|c| c == '0' || c == '.')
    {
        "0".to_owned()
    } else {
        text
    }
}

/// Whole number with thousands separators.
fn group(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0.0 {
        out.push('-');
    }
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The binary unit that fits `bytes`: its name and size.
fn binary_unit(bytes: f64) -> (&'static str, f64) {
    const UNITS: [(&str, f64); 5] = [
        ("TiB", 1_099_511_627_776.0),
        ("GiB", 1_073_741_824.0),
        ("MiB", 1_048_576.0),
        ("KiB", 1_024.0),
        ("B", 1.0),
    ];
    // 1,023.7 B would read "1,024 B": what rounds to the next unit is shown in it.
    UNITS
        .into_iter()
        .find(|(_, size)| bytes.abs() >= 0.9995 * size)
        .unwrap_or(("B", 1.0))
}

/// `21.4 MiB`, `96 B`; not a number reads `unknown`.
pub fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    let (unit, size) = binary_unit(value);
    if unit == "B" && value.fract() == 0.0 {
        return format!("{value:.0} B");
    }
    format!("{} {unit}", significant(value / size))
}

/// `21.4 → 32.4 MiB`: two sizes in the unit of the larger.
pub fn bytes_range(from: f64, to: f64) -> String {
    if !from.is_finite() || !to.is_finite() {
        return format!("{} → {}", bytes(from), bytes(to));
    }
    let (unit, size) = binary_unit(from.abs().max(to.abs()));
    format!(
        "{} → {} {unit}",
        significant(from / size),
        significant(to / size)
    )
}

/// A growth of bytes with its sign and its interval in one unit: (`+1.84 KiB`, `1.79 … 1.90`).
pub fn signed_bytes_with_interval(value: f64, low: f64, high: f64) -> (String, String) {
    let (unit, size) = binary_unit(value.abs());
    (
        format!("{} {unit}", signed(significant(value / size), value)),
        format!("{} … {}", significant(low / size), significant(high / size)),
    )
}

/// `+1.84 KiB`, `-3 B`.
pub fn signed_bytes(value: f64) -> String {
    signed(bytes(value), value)
}

fn signed(text: String, value: f64) -> String {
    if value >= 0.0 {
        format!("+{text}")
    } else {
        text
    }
}

/// `1.00`, `0.005`, `6,000`: a number of things or a rate of them, three significant digits, small values kept.
pub fn count(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    if value.fract() == 0.0 {
        return group(value);
    }
    if value.abs() < 0.0995 {
        let text = format!("{value:.4}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    significant(value)
}

/// `85 µs`, `1.84 ms`, `912 ms`, `1.03 s`: how long an answer took, three significant digits.
pub fn latency(ns: u64) -> String {
    let micros = ns as f64 / 1e3;
    if micros < 999.5 {
        format!("{micros:.0} µs")
    } else if micros < 999.5e3 {
        format!("{} ms", significant(micros / 1e3))
    } else if micros < 99.95e6 {
        format!("{} s", significant(micros / 1e6))
    } else {
        duration(ns as f64 / 1e9)
    }
}

/// `0.6 s`, `1 min 20 s`, `6 h 10 min`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "for ever".to_owned();
    }
    let s = seconds.max(0.0);
    if s < 0.0995 {
        return format!("{:.0} ms", s * 1e3);
    }
    if s < 9.95 {
        return format!("{s:.1} s");
    }
    let whole = s.round();
    if whole < 60.0 {
        return format!("{whole:.0} s");
    }
    let (big, small, unit_big, unit_small) = if whole < 3600.0 {
        ((whole / 60.0).floor(), whole % 60.0, "min", "s")
    } else if whole < 48.0 * 3600.0 {
        let minutes = (s / 60.0).round();
        ((minutes / 60.0).floor(), minutes % 60.0, "h", "min")
    } else {
        let hours = (s / 3600.0).round();
        ((hours / 24.0).floor(), hours % 24.0, "d", "h")
    };
    if small == 0.0 {
        format!("{} {unit_big}", group(big))
    } else {
        format!("{} {unit_big} {small:.0} {unit_small}", group(big))
    }
}

/// `2026-11-21T05:14:00.123Z`: a moment in UTC, from nanoseconds since 1970. Sorts as time does until the year 10000.
pub fn timestamp(unix_ns: u64) -> String {
    let milliseconds = unix_ns / 1_000_000;
    let (seconds, millisecond) = (milliseconds / 1000, milliseconds % 1000);
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// Year, month and day of a day counted from 1 January 1970.
///
/// Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`, for days that are not negative.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// `98 %`, `0.8 %`: a ratio (0 to 1) for people.
pub fn percent(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "unknown".to_owned();
    }
    let p = ratio * 100.0;
    if p.abs() >= 9.95 || p == 0.0 {
        format!("{p:.0} %")
    } else {
        format!("{p:.1} %")
    }
}

/// JSON has no NaN and no infinity: both are written as `null`, and `null` is read as NaN.
pub(crate) mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's `with` passes a reference"
    )]
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// The same for a whole column.
pub(crate) mod nullable_column {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        values: &[f64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|v| v.is_finite().then_some(*v)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_keep_three_digits() {
        for (ns, expected) in [
            (85_400, "85 µs"),
            (999_400, "999 µs"),
            (1_840_000, "1.84 ms"),
            (912_300_000, "912 ms"),
            (1_034_000_000, "1.03 s"),
            (150_000_000_000, "2 min 30 s"),
        ] {
            assert_eq!(latency(ns), expected);
        }
    }

    #[test]
    fn sizes_have_three_significant_digits_and_a_binary_unit() {
        for (value, expected) in [
            (0.0, "0 B"),
            (96.0, "96 B"),
            (1023.7, "1.00 KiB"),
            (1884.16, "1.84 KiB"),
            (22_439_526.4, "21.4 MiB"),
            (327_155_712.0, "312 MiB"),
            (-1536.0, "-1.50 KiB"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(bytes(value), expected, "{value}");
        }
    }

    #[test]
    fn an_interval_is_told_in_the_unit_of_its_estimate() {
        let (value, interval) = signed_bytes_with_interval(1884.16, 1832.96, 1945.6);
        assert_eq!(
            (value.as_str(), interval.as_str()),
            ("+1.84 KiB", "1.79 … 1.90")
        );
        let (value, interval) = signed_bytes_with_interval(0.2, -1.5, 1.9);
        assert_eq!(
            (value.as_str(), interval.as_str()),
            ("+0.20 B", "-1.50 … 1.90")
        );
    }

    #[test]
    fn durations_name_two_units_at_most() {
        for (value, expected) in [
            (0.02, "20 ms"),
            (0.6, "0.6 s"),
            (59.7, "1 min"),
            (80.0, "1 min 20 s"),
            (22_200.0, "6 h 10 min"),
            (273_600.0, "3 d 4 h"),
            (f64::INFINITY, "for ever"),
        ] {
            assert_eq!(duration(value), expected, "{value}");
        }
    }

    #[test]
    fn counts_keep_small_rates_readable() {
        for (value, expected) in [
            (6000.0, "6,000"),
            (1.0, "1"),
            (0.005, "0.005"),
            (0.996, "1.00"),
            (12.34, "12.3"),
        ] {
            assert_eq!(count(value), expected, "{value}");
        }
    }
}
