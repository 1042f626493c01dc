//! Names of runs: sortable by time, and different for two processes that start in the same millisecond.

use plimsoll_model::units;

/// The name of a run that started then: `20261121T051400.123Z-4121`, in UTC.
///
/// Names sort as their times do (until the year 10000), so the newest run is the last name.
pub fn run_id(started_unix_ns: u64, pid: u32) -> String {
    let mut name = units::timestamp(started_unix_ns);
    name.retain(|c| c != '-' && c != ':');
    format!("{name}-{pid}")
}

/// The start that a name made by [`run_id`] tells, in nanoseconds since 1970.
pub(crate) fn started_of(id: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = id.get(range)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let fixed = |at: usize, c: &str| id.get(at..at + 1) == Some(c);
    if !(fixed(8, "T") && fixed(15, ".") && fixed(19, "Z")) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    let in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (seconds * 1000 + number(16..19)?).checked_mul(1_000_000)
}

/// Days from 1 January 1970; `year` is at least 1970.
///
/// Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let y = year - u64::from(month <= 2);
    let (era, year_of_era) = (y / 400, y % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_time_in_utc_and_can_be_read_back() {
        for (unix_s, expected) in [
            (0, "19700101T000000.000Z-7"),
            (951_782_399, "20000228T235959.000Z-7"),
            (951_782_400, "20000229T000000.000Z-7"),
            (951_868_800, "20000301T000000.000Z-7"),
            (1_795_238_040, "20261121T051400.000Z-7"),
            (4_107_542_400, "21000301T000000.000Z-7"),
        ] {
            let ns = unix_s * 1_000_000_000;
            assert_eq!(run_id(ns, 7), expected);
            assert_eq!(started_of(expected), Some(ns), "{expected}");
        }
    }

    #[test]
    fn names_that_are_not_ours_tell_no_time() {
        for name in [
            "",
            "last",
            "20261121",
            "20261321T051400.000Z-7",
            "2026112éT051400.000Z-7",
        ] {
            assert_eq!(started_of(name), None, "{name}");
        }
    }
}
