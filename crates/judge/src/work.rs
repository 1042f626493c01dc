//! Whether the work itself changed while it was measured.
//!
//! A list endpoint over a table that POSTs fill answers with more bytes each time; its memory grows because its work
//! does, and calling that a leak would be wrong however straight the line. So the columns that describe an operation
//! are looked at too. Answers that grow by a quarter, or errors that grow by five in a hundred, take the word `leak` from
//! any verdict. Operations that only become slower do not: what leaks is often searched by every operation (listeners,
//! lists), so the slowing down may well be the leak's doing.

use crate::series::Series;
use crate::stats::median;
use crate::trend::Trend;
use crate::verdict::{Work, WorkChange};

/// Answers that grow by this share of their first level are another kind of work.
const RESPONSE_SHARE: f64 = 0.25;
/// Operations that fail more often by this share of all are another kind of work.
const ERROR_POINTS: f64 = 0.05;
/// The p-value that the change of a column must reach.
const CERTAIN: f64 = 0.001;
/// Readings of a column are averaged into so many blocks at most.
const BLOCKS: usize = 30;
/// Fewest readings of a column.
const FEWEST: usize = 5;

/// What changed in the work of a series, if it did.
pub(crate) fn change(series: &Series) -> Option<WorkChange> {
    of_column(&series.response_bytes_per_op, |from| {
        (RESPONSE_SHARE * from).max(16.0)
    })
    .map(|(from, to)| WorkChange {
        work: Work::ResponseBytes,
        from,
        to,
    })
    .or_else(|| {
        of_column(&series.error_share, |_| ERROR_POINTS).map(|(from, to)| WorkChange {
            work: Work::ErrorShare,
            from,
            to,
        })
    })
}

/// How much slower the operations became, if that much is certain: from and to, in nanoseconds.
pub(crate) fn slowdown(series: &Series) -> Option<WorkChange> {
    of_column(&series.operation_ns, |from| from).map(|(from, to)| WorkChange {
        work: Work::OperationTime,
        from,
        to,
    })
}

/// The median of the first third and that of the last, if the last is higher by what matters and the whole column rises.
fn of_column(column: &[f64], matters: impl Fn(f64) -> f64) -> Option<(f64, f64)> {
    let known: Vec<f64> = column.iter().copied().filter(|v| v.is_finite()).collect();
    let n = known.len();
    // A column known only now and then says nothing of the work as a whole.
    if n < FEWEST || n * 2 < column.len() {
        return None;
    }
    let count = n.min(BLOCKS);
    let blocks: Vec<f64> = (0..count)
        .map(|i| median(&known[i * n / count..(i + 1) * n / count]))
        .collect();
    let third = (count / 3).max(1);
    let (from, to) = (median(&blocks[..third]), median(&blocks[count - third..]));
    let needed = matters(from);
    let x: Vec<f64> = (0..count).map(|i| i as f64).collect();
    let noise = (1e-3 * from.abs().max(1e-3)).powi(2);
    let trend = Trend::of(&x, &blocks, noise)?;
    (to - from > needed && trend.p_value() < CERTAIN).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(of: impl Fn(f64) -> f64) -> Series {
        Series {
            response_bytes_per_op: (0..12).map(|i| of(f64::from(i))).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn answers_that_grow_are_another_kind_of_work() {
        let change = change(&responses(|i| 1000.0 + 400.0 * i)).unwrap();
        assert_eq!(change.work, Work::ResponseBytes);
        assert!(change.from < 2000.0 && change.to > 4700.0, "{change:?}");
    }

    #[test]
    fn answers_that_vary_are_not() {
        let jitter = [0.0, 90.0, -60.0, 150.0, -120.0];
        assert_eq!(
            change(&responses(|i| 1000.0 + jitter[i as usize % 5])),
            None
        );
        // A counter in the answer gains a digit.
        assert_eq!(change(&responses(|i| 40.0 + (i / 4.0).floor())), None);
        assert_eq!(change(&responses(|_| f64::NAN)), None);
        assert_eq!(change(&Series::default()), None);
    }

    #[test]
    fn errors_that_grow_are_another_kind_of_work() {
        let series = Series {
            error_share: (0..12).map(|i| 0.01 * f64::from(i)).collect(),
            ..Series::default()
        };
        assert_eq!(change(&series).map(|c| c.work), Some(Work::ErrorShare));
    }

    #[test]
    fn slower_operations_are_told_apart() {
        let series = Series {
            operation_ns: (0..12).map(|i| 1e6 * (1.0 + f64::from(i))).collect(),
            ..Series::default()
        };
        assert_eq!(change(&series), None);
        assert_eq!(slowdown(&series).map(|c| c.work), Some(Work::OperationTime));
    }
}
