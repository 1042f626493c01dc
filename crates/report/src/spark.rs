//! A line of blocks: the shape of a series in one row of text.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', '-', '~', '=', '+', '*', '#'];

/// Draws readings in at most `cells` cells, each as high as the lowest reading that falls into it: the floor is what a
/// leak lifts. Cells without a reading are blank. Empty if there are fewer than two readings.
pub(crate) fn sparkline(values: &[f64], cells: usize, ascii: bool) -> String {
    let known = || values.iter().copied().filter(|v| v.is_finite());
    if known().count() < 2 || cells == 0 {
        return String::new();
    }
    let cells = cells.min(values.len());
    let floors: Vec<f64> = (0..cells)
        .map(|cell| {
            let (from, to) = (
                cell * values.len() / cells,
                (cell + 1) * values.len() / cells,
            );
            values[from..to]
                .iter()
                .copied()
                .filter(|v| v.is_finite())
                .fold(f64::NAN, f64::min)
        })
        .collect();
    let (low, high) = floors
        .iter()
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        });
    let blocks = if ascii { ASCII } else { BLOCKS };
    floors
        .iter()
        .map(|&v| match (v - low) / (high - low) {
            _ if v.is_nan() => ' ',
            // All the same.
            share if share.is_nan() => blocks[0],
            share => blocks[((share * 8.0) as usize).min(7)],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_is_a_line_and_the_highest_a_full_block() {
        let rising: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!(sparkline(&rising, 20, false), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&rising, 4, false), "▁▃▆█");
        assert_eq!(sparkline(&rising, 8, true), "_.-~=+*#");
    }

    #[test]
    fn gaps_are_blank_and_a_flat_series_is_flat() {
        assert_eq!(sparkline(&[1.0, f64::NAN, 2.0], 9, false), "▁ █");
        assert_eq!(sparkline(&[5.0; 4], 9, false), "▁▁▁▁");
        assert_eq!(sparkline(&[5.0, f64::NAN], 9, false), "");
        assert_eq!(sparkline(&[], 9, false), "");
    }
}
