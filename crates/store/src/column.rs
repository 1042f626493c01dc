//! The values of one series within a batch: exact to the last bit, and small where neighbours are alike.

use crate::frame::{Cursor, append_varint, unzigzag, zigzag};

/// All values are the one before.
const SAME: u8 = 0;
/// The bits of each value, xor those of the one before.
const BITS: u8 = 1;
/// From here: differences of whole numbers, each a multiple of `2^(mode − SHIFT)`.
const SHIFT: u8 = 0x20;
const MAX_SHIFT: u8 = 31;
/// From here: differences of whole numbers, which divided by `10^(mode − DECIMAL)` are the values.
const DECIMAL: u8 = 0x40;
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Appends `values`, of which the one before the first was `previous`.
pub(crate) fn append(out: &mut Vec<u8>, values: &[f64], previous: f64) {
    let bits = previous.to_bits();
    if values.iter().all(|v| v.to_bits() == bits) {
        out.push(SAME);
    } else if let Some(shift) = shift_of(values, previous) {
        out.push(SHIFT + shift);
        let mut previous = as_integral(previous).unwrap_or(0);
        for value in values.iter().filter_map(|&v| as_integral(v)) {
            append_varint(out, zigzag((value - previous) >> shift));
            previous = value;
        }
    } else if let Some(decimals) =
        (1..POWERS.len()).find(|&d| values.iter().all(|&v| as_scaled(v, POWERS[d]).is_some()))
    {
        out.push(DECIMAL + decimals as u8);
        let power = POWERS[decimals];
        let mut previous = as_scaled(previous, power).unwrap_or(0);
        for value in values.iter().filter_map(|&v| as_scaled(v, power)) {
            append_varint(out, zigzag(value - previous));
            previous = value;
        }
    } else {
        out.push(BITS);
        let mut previous = bits;
        for value in values {
            // Neighbours share sign, exponent and the first digits: what differs is a small number.
            append_varint(out, value.to_bits() ^ previous);
            previous = value.to_bits();
        }
    }
}

/// The power of two that all differences are multiples of (pages, words); `None` unless all values are whole numbers.
fn shift_of(values: &[f64], previous: f64) -> Option<u8> {
    let mut previous = as_integral(previous).unwrap_or(0);
    let mut all = 0;
    for &value in values {
        let value = as_integral(value)?;
        all |= value - previous;
        previous = value;
    }
    Some((all.trailing_zeros() as u8).min(MAX_SHIFT))
}

/// Reads `count` values; `None` if they make no sense.
pub(crate) fn read(cursor: &mut Cursor<'_>, count: usize, previous: f64) -> Option<Vec<f64>> {
    let mode = cursor.byte()?;
    // Nothing is reserved for values that are not there.
    if mode != SAME && count > cursor.len() {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    match mode {
        SAME => values.resize(count, previous),
        BITS => {
            let mut previous = previous.to_bits();
            for _ in 0..count {
                previous ^= cursor.varint()?;
                values.push(f64::from_bits(previous));
            }
        }
        _ => {
            let shift = mode.checked_sub(SHIFT).filter(|&shift| shift <= MAX_SHIFT);
            let power = match shift {
                Some(_) => 1.0,
                None => *POWERS
                    .get(usize::from(mode.checked_sub(DECIMAL)?))
                    .filter(|&&p| p > 1.0)?,
            };
            let mut previous = as_scaled(previous, power).unwrap_or(0);
            for _ in 0..count {
                let difference = unzigzag(cursor.varint()?) << shift.unwrap_or(0);
                previous = previous.wrapping_add(difference);
                values.push(previous as f64 / power);
            }
        }
    }
    Some(values)
}

/// The integer that is exactly this number, to the last bit; negative zero is none.
pub(crate) fn as_integral(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    let integer = value as i64;
    (value.abs() <= LIMIT && (integer as f64).to_bits() == value.to_bits()).then_some(integer)
}

/// The integer that divided by `power` is exactly this number.
fn as_scaled(value: f64, power: f64) -> Option<i64> {
    let scaled = as_integral((value * power).round())?;
    ((scaled as f64 / power).to_bits() == value.to_bits()).then_some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(previous: f64, values: &[f64], mode: u8, most: usize) {
        let mut out = Vec::new();
        append(&mut out, values, previous);
        assert_eq!(out[0], mode, "{values:?}");
        assert!(out.len() <= most, "{values:?}: {} bytes", out.len());
        let mut cursor = Cursor::new(&out);
        let read = read(&mut cursor, values.len(), previous).expect("readable");
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(values));
        assert!(cursor.is_empty());
    }

    #[test]
    fn each_kind_of_reading_is_written_in_the_way_that_suits_it() {
        check(7.0, &[7.0; 9], SAME, 1);
        check(f64::NAN, &[f64::NAN; 9], SAME, 1);
        check(40_960.0, &[45_056.0, 40_960.0, 49_152.0], SHIFT + 12, 4);
        check(f64::NAN, &[1.0, 2.0], SHIFT, 3);
        check(0.07, &[0.08, 0.08, 0.11], DECIMAL + 2, 4);
        check(f64::INFINITY, &[0.001, 1.0], DECIMAL + 3, 4);
        check(0.0, &[-0.0], BITS, 11);
        check(1.0, &[f64::NAN, 1.0], BITS, 21);
        check(
            -9_007_199_254_740_992.0,
            &[9_007_199_254_740_992.0],
            SHIFT + 31,
            9,
        );
    }

    #[test]
    fn unknown_modes_and_missing_values_are_refused() {
        for bytes in [
            &[2, 0][..],
            &[DECIMAL, 0],
            &[DECIMAL + 10, 0],
            &[SHIFT, 0x80],
            &[],
        ] {
            assert!(read(&mut Cursor::new(bytes), 1, 0.0).is_none(), "{bytes:?}");
        }
    }
}
