//! Numbers for people, in the words of the product's reports.
//!
//! The product's one formatter lives in `plimsoll-model`, which brings serialisation with it: too much for a test
//! dependency, so the few lines needed here stand here.

/// Three significant digits with a binary unit: `64.0 B`, `1.84 KiB`.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: [(&str, f64); 4] = [
        ("GiB", 1_073_741_824.0),
        ("MiB", 1_048_576.0),
        ("KiB", 1_024.0),
        ("B", 1.0),
    ];
    let (unit, size) = UNITS
        .into_iter()
        .find(|(_, size)| value.abs() >= 0.9995 * size)
        .unwrap_or(("B", 1.0));
    format!("{} {unit}", significant(value / size))
}

/// The same with its sign.
pub(crate) fn rate(value: f64) -> String {
    let sign = if value < 0.0 { "" } else { "+" };
    format!("{sign}{}", bytes(value))
}

/// Three significant digits, thousands separated.
pub(crate) fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 999.5 {
        return group(value.round());
    }
    let decimals = match magnitude {
        99.95.. => 0,
        9.995.. => 1,
        0.9995.. => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.trim_matches(['-', '0', '.']).is_empty() {
        return "0".to_owned();
    }
    text
}

/// A whole number, thousands separated.
pub(crate) fn group(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 block`, `3 blocks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", group(number as f64))
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, rate, significant};

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (value, expected) in [
            (0.0, "0 B"),
            (64.0, "64.0 B"),
            (999.9, "1,000 B"),
            (1024.0, "1.00 KiB"),
            (1884.0, "1.84 KiB"),
            (312.0 * 1_048_576.0, "312 MiB"),
            (-5.5, "-5.50 B"),
        ] {
            assert_eq!(bytes(value), expected);
        }
        assert_eq!(rate(64.0), "+64.0 B");
        assert_eq!(rate(-64.0), "-64.0 B");
        assert_eq!(significant(0.01), "0.010");
        assert_eq!(count(1, "block"), "1 block");
        assert_eq!(count(12_000, "operation"), "12,000 operations");
    }
}
