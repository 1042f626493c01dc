//! Step models: the series is level between a few jumps.
//!
//! Containers double, slabs and arenas are mapped, rare operations leak: live bytes then climb in steps, and a line
//! through them says little about whether another step will come. The best positions of 1 to 8 steps are found exactly
//! by dynamic programming (Fisher 1958; Jackson et al. 2005) in O(s n^2). Whether steps are a leak is then a question
//! of when the last one was: were steps to come at a steady pace, the tail without any would have probability
//! `u_last ^ s`.
//!
//! A container also grows *between* its steps, by what it holds: [`jumps`] finds the single increments that stand out
//! of all others, and every model of the table may then have them as extra columns
//! ([`models::compete_with_jumps`](crate::models::compete_with_jumps)), so that the growth between them is seen for
//! what it is.

use crate::models::{Candidate, Class, Form, Noise};
use crate::stats::{median, robust_deviation};
use crate::verdict::Pattern;

/// Fewest readings in which steps are looked for.
pub(crate) const FEWEST: usize = 10;
/// Most steps looked for.
const MOST: usize = 8;
/// A growing container is due to grow again when the operations since its start have multiplied by this: capacity
/// doubles at most, and a little for the count at which it was first seen.
const DOUBLING: f64 = 2.2;
/// Shortest level stretch.
const SHORTEST: usize = 2;

/// Most jumps taken out of a series.
const MOST_JUMPS: usize = 10;
/// An increment stands out if it is so many robust deviations of all increments away from their median …
const STANDS_OUT: f64 = 6.0;
/// … and so many times as large as those beside it: the start of a warm-up is steep, but not a jump, and a spike goes
/// up and comes down.
const ISOLATED: f64 = 3.0;

/// Where the series jumps up between two readings that lie on the same slope otherwise, as indices of the first reading
/// after.
///
/// What goes down again is not a jump: with code that is flushed and compiled again, or a cache that is emptied, the
/// upward jumps of that size belong to the downward ones. Nor is a series that jumps at every fourth reading or oftener:
/// that is its noise.
pub(crate) fn jumps(x: &[f64], y: &[f64], noise_floor: f64) -> Vec<usize> {
    if y.len() < 8 {
        return Vec::new();
    }
    let runs: Vec<f64> = x.windows(2).map(|w| w[1] - w[0]).collect();
    let rises: Vec<f64> = y.windows(2).map(|w| w[1] - w[0]).collect();
    let moved = rises.iter().zip(&runs).filter(|(_, run)| **run > 0.0);
    let slopes: Vec<f64> = moved.map(|(rise, run)| rise / run).collect();
    let slope = median(&slopes);
    let excess: Vec<f64> = rises
        .iter()
        .zip(&runs)
        .map(|(d, r)| d - slope * r)
        .collect();
    let scale = robust_deviation(&excess, 0.0).max((2.0 * noise_floor).sqrt());
    let stands_out = |i: usize| {
        let beside = [i.checked_sub(1), Some(i + 1)]
            .into_iter()
            .flatten()
            .filter_map(|k| excess.get(k))
            .fold(0.0_f64, |most, d| most.max(d.abs()));
        excess[i].abs() > STANDS_OUT * scale && excess[i].abs() > ISOLATED * beside
    };
    // A last reading that is high alone may be a spike.
    let mut up: Vec<usize> = (0..excess.len() - 1)
        .filter(|&i| excess[i] > 0.0 && stands_out(i))
        .collect();
    let fallen = (0..excess.len())
        .filter(|&i| excess[i] < -STANDS_OUT * scale)
        .map(|i| -excess[i])
        .fold(0.0_f64, f64::max);
    up.retain(|&i| excess[i] > 2.0 * fallen);
    if up.len() > MOST_JUMPS || 4 * up.len() > y.len() {
        return Vec::new();
    }
    up.into_iter().map(|i| i + 1).collect()
}

/// What a container adds by its jumps, per unit of x: the average over one period of doubling.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Amortised {
    pub(crate) rate: f64,
    /// The most it may be.
    pub(crate) most: f64,
}

/// Spreads each jump over the stretch it makes room for, which is the one that follows.
///
/// The room made by the last jump is not used up at the end of the record. What came before tells its length: the gap
/// before, times the ratio of the sizes; with one jump only, as much as all operations before it (`before` is what the
/// warm-up did), since capacity doubles at most, or half of that, since it grows by half at least. `sizes` and `at` are
/// those of the jumps, each known to `within`; `end` is that of the record.
pub(crate) fn amortised(
    sizes: &[f64],
    at: &[f64],
    within: f64,
    end: f64,
    before: f64,
) -> Amortised {
    let (Some(&size), Some(&last)) = (sizes.last(), at.last()) else {
        return Amortised::default();
    };
    let gaps: Vec<f64> = at.windows(2).map(|w| (w[1] - w[0]).max(within)).collect();
    let (due, least) = match (gaps.last(), sizes.len().checked_sub(2).map(|i| sizes[i])) {
        (Some(gap), Some(earlier)) => {
            let ratio = (size / earlier).clamp(1.0, DOUBLING);
            (gap * ratio, (gap - within) * ratio)
        }
        _ => (last + before, 0.5 * (last + before)),
    };
    // Up to the end of the record no further jump came.
    let quiet = (end - last).max(within);
    let open = size / due.max(quiet);
    let most = sizes
        .iter()
        .zip(&gaps)
        .map(|(s, gap)| s / (gap - within).max(0.5 * gap))
        .fold(size / least.max(quiet), f64::max);
    let rate = if gaps.is_empty() {
        open
    } else {
        sizes[..gaps.len()].iter().sum::<f64>() / gaps.iter().sum::<f64>()
    };
    Amortised { rate, most }
}

/// The best split into 1 to [`MOST`] steps, with what each says about the program.
///
/// `before` is what happened before the record (warm-up), in units of the record.
pub(crate) fn candidates(u: &[f64], y: &[f64], noise: Noise, before: f64) -> Vec<Candidate> {
    let n = y.len();
    if n < FEWEST {
        return Vec::new();
    }
    splits(y, MOST.min(n / 3))
        .into_iter()
        .filter_map(|(rss, at)| candidate(u, y, noise, before, rss, at))
        .collect()
}

fn candidate(
    u: &[f64],
    y: &[f64],
    noise: Noise,
    before: f64,
    rss: f64,
    at: Vec<usize>,
) -> Option<Candidate> {
    let n = y.len();
    let levels = levels(y, &at);
    let jumps: Vec<f64> = levels.windows(2).map(|w| w[1] - w[0]).collect();
    let variance = rss / n as f64 + noise.floor;
    let smallest = jumps.iter().copied().fold(f64::INFINITY, f64::min);
    let parameters = 1 + 2 * at.len();
    let (first, last) = (u[*at.first()?], u[*at.last()?]);
    let quiet_tail = last.powf(at.len() as f64);
    // A container that doubles steps at operations 1, 2, 4, 8 …: after its last step it is quiet for as long again as
    // everything before, which a steady pace would take for the end of growth.
    let growing_steps = jumps.windows(2).all(|w| w[1] > 0.8 * w[0]);
    let geometric = growing_steps && (at.len() >= 2 || before > 0.0);
    let next_is_due = (1.0 + before) / (last + before).max(1e-9) > DOUBLING;
    // One step says nothing of its pace. Rounds can be extended, so there the quiet must last twice as long as what came
    // before the step; a recording is what it is.
    let latest_single = if noise.heavy_tails { 0.34 } else { 0.5 };
    let (class, pattern) = if smallest <= 2.5 * variance.sqrt() {
        if jumps.iter().all(|j| *j < -2.5 * variance.sqrt()) {
            (Class::Healthy, Pattern::Declining)
        } else {
            return None;
        }
    } else if at.len() >= 3
        && last - first > 0.3
        && (quiet_tail > 0.12 || growing_steps && !next_is_due)
    {
        (Class::Leak, Pattern::Stepped)
    } else if (quiet_tail < 0.13 || (at.len() == 1 && last < latest_single))
        && (next_is_due || !geometric)
    {
        (Class::Healthy, Pattern::Plateau)
    } else {
        (Class::Undecided, Pattern::Stepped)
    };
    let residuals: Vec<f64> = {
        let mut level = 0;
        y.iter()
            .enumerate()
            .map(|(i, v)| {
                while level < at.len() && i >= at[level] {
                    level += 1;
                }
                v - levels[level]
            })
            .collect()
    };
    let deviance = if noise.heavy_tails {
        student_deviance(&residuals, noise.floor)
    } else {
        n as f64 * variance.ln()
    };
    Some(Candidate {
        form: Form::Steps,
        class,
        pattern,
        shape: [0.0; 2],
        beta: jumps,
        residuals,
        variance,
        parameters,
        bic: deviance + parameters as f64 * (n as f64).ln(),
        steps: at,
    })
}

/// -2 ln(likelihood) of residuals with Student errors, scale by maximum likelihood.
fn student_deviance(residuals: &[f64], floor: f64) -> f64 {
    let nu = crate::models::STUDENT_DEGREES;
    let n = residuals.len() as f64;
    let mut variance = residuals.iter().map(|r| r * r).sum::<f64>() / n + floor;
    for _ in 0..20 {
        variance = residuals
            .iter()
            .map(|r| (nu + 1.0) / (nu + r * r / variance) * r * r)
            .sum::<f64>()
            / n
            + floor;
    }
    n * variance.ln()
        + (nu + 1.0)
            * residuals
                .iter()
                .map(|r| (r * r / (nu * variance)).ln_1p())
                .sum::<f64>()
}

/// Median of each level stretch.
pub(crate) fn levels(y: &[f64], at: &[usize]) -> Vec<f64> {
    let mut from = 0;
    at.iter()
        .copied()
        .chain(std::iter::once(y.len()))
        .map(|to| {
            let level = median(&y[from..to]);
            from = to;
            level
        })
        .collect()
}

/// For s = 1 to `most`: the residual sum of squares of the best s steps and where they are.
fn splits(y: &[f64], most: usize) -> Vec<(f64, Vec<usize>)> {
    let n = y.len();
    // Sums relative to the first reading, so that squares of large levels do not swallow small differences.
    let base = y[0];
    let mut sum = vec![0.0; n + 1];
    let mut square = vec![0.0; n + 1];
    for (i, v) in y.iter().enumerate() {
        let d = v - base;
        sum[i + 1] = sum[i] + d;
        square[i + 1] = square[i] + d * d;
    }
    let cost = |from: usize, to: usize| -> f64 {
        if to < from + SHORTEST {
            return f64::INFINITY;
        }
        let s = sum[to] - sum[from];
        (square[to] - square[from] - s * s / (to - from) as f64).max(0.0)
    };
    let mut best: Vec<f64> = (0..=n).map(|to| cost(0, to)).collect();
    let mut came_from: Vec<Vec<usize>> = Vec::with_capacity(most);
    let mut found = Vec::with_capacity(most);
    for s in 1..=most {
        let mut next = vec![f64::INFINITY; n + 1];
        let mut from = vec![0; n + 1];
        for to in SHORTEST * (s + 1)..=n {
            for (cut, so_far) in best
                .iter()
                .enumerate()
                .take(to - SHORTEST + 1)
                .skip(SHORTEST * s)
            {
                let total = so_far + cost(cut, to);
                if total < next[to] {
                    next[to] = total;
                    from[to] = cut;
                }
            }
        }
        best = next;
        came_from.push(from);
        if !best[n].is_finite() {
            break;
        }
        let mut at = vec![0; s];
        let mut to = n;
        for k in (0..s).rev() {
            to = came_from[k][to];
            at[k] = to;
        }
        found.push((best[n], at));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_where_they_are() {
        let y: Vec<f64> = (0..60)
            .map(|i| [0.0, 5.0, 9.0][i / 20] + if i % 2 == 0 { 0.1 } else { -0.1 })
            .collect();
        assert_eq!(splits(&y, 3)[1].1, [20, 40]);
    }

    #[test]
    fn jumps_are_single_rises_that_last() {
        let x: Vec<f64> = (0..24).map(f64::from).collect();
        let with = |extra: &dyn Fn(usize) -> f64| -> Vec<usize> {
            let y: Vec<f64> = (0..24)
                .map(|i| 10.0 * i as f64 + [0.0, 2.0, -1.0, 1.0][i % 4] + extra(i))
                .collect();
            jumps(&x, &y, 1.0)
        };
        let at = |from: usize, i: usize| if i >= from { 1e3 } else { 0.0 };
        assert_eq!(with(&|_| 0.0), [0_usize; 0]);
        assert_eq!(with(&|i| at(5, i) + 2.0 * at(12, i)), [5, 12]);
        // A spike, a stretch that ends, a warm-up.
        assert_eq!(with(&|i| at(9, i) - at(10, i)), [0_usize; 0]);
        assert_eq!(with(&|i| at(9, i) - at(15, i)), [0_usize; 0]);
        assert_eq!(with(&|i| -1e3 * (-(i as f64) / 2.0).exp()), [0_usize; 0]);
    }

    #[test]
    fn a_jump_is_spread_over_what_it_makes_room_for() {
        // 10 bytes per entry of room that doubles at 100, 200 and 400.
        let spread = amortised(&[1e3, 2e3, 4e3], &[100.0, 200.0, 400.0], 10.0, 450.0, 0.0);
        assert!((spread.rate - 10.0).abs() < 1e-9, "{spread:?}");
        assert!((10.0..12.0).contains(&spread.most), "{spread:?}");
        // One jump only, after 60 warm-up operations and 40 more.
        let once = amortised(&[1e3], &[40.0], 1.0, 60.0, 60.0);
        assert!((once.rate - 10.0).abs() < 1e-9, "{once:?}");
        assert!((once.most - 20.0).abs() < 1e-9, "{once:?}");
    }

    #[test]
    fn steady_steps_are_a_leak_and_one_early_step_is_not() {
        let u: Vec<f64> = (0..60).map(|i| f64::from(i) / 59.0).collect();
        let noise = Noise {
            floor: 1.0,
            heavy_tails: false,
        };
        let best = |y: &[f64]| {
            candidates(&u, y, noise, 0.0)
                .into_iter()
                .min_by(|a, b| a.bic.total_cmp(&b.bic))
                .unwrap()
        };
        let steady: Vec<f64> = (0..60).map(|i| f64::from(i / 10) * 1e6).collect();
        assert_eq!(best(&steady).class, Class::Leak);
        let once: Vec<f64> = (0..60).map(|i| if i < 12 { 0.0 } else { 1e6 }).collect();
        assert_eq!(best(&once).class, Class::Healthy);
        let late: Vec<f64> = (0..60).map(|i| if i < 45 { 0.0 } else { 1e6 }).collect();
        assert_eq!(best(&late).class, Class::Undecided);
    }
}
