//! The values of one series within a batch of version 1, and which values are whole numbers.

use crate::frame::{Cursor, unzigzag};

/// All values are the one before.
const SAME: u8 = 0;
/// The bits of each value, xor those of the one before.
const BITS: u8 = 1;
/// From here: differences of whole numbers, each a multiple of `2^(mode − SHIFT)`.
const SHIFT: u8 = 0x20;
const MAX_SHIFT: u8 = 31;
/// From here: differences of whole numbers, which divided by `10^(mode − DECIMAL)` are the values.
const DECIMAL: u8 = 0x40;
pub(crate) const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

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
pub(crate) fn as_scaled(value: f64, power: f64) -> Option<i64> {
    let scaled = as_integral((value * power).round())?;
    ((scaled as f64 / power).to_bits() == value.to_bits()).then_some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_writing_is_read() {
        let check = |bytes: &[u8], previous: f64, expected: &[f64]| {
            let mut cursor = Cursor::new(bytes);
            let read = read(&mut cursor, expected.len(), previous).expect("readable");
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&read), bits(expected), "{bytes:?}");
            assert!(cursor.is_empty());
        };
        check(&[SAME], 7.0, &[7.0; 9]);
        check(&[SAME], f64::NAN, &[f64::NAN; 9]);
        check(
            &[SHIFT + 12, 2, 1, 4],
            40_960.0,
            &[45_056.0, 40_960.0, 49_152.0],
        );
        check(&[SHIFT, 2, 2], f64::NAN, &[1.0, 2.0]);
        check(&[DECIMAL + 2, 2, 0, 6], 0.07, &[0.08, 0.08, 0.11]);
        check(&[BITS, 1], 1.0, &[1.0 + f64::EPSILON]);
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
