//! Order statistics and the few distributions the verdict needs, written out so that the crate has no dependency.
//!
//! Everything here is total: empty or non-finite input gives a defined answer, never a panic, and nothing depends on
//! the order in which equal values arrive.

/// Sorted copy of the finite values.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    v.sort_unstable_by(f64::total_cmp);
    v
}

/// Quantile `q` of sorted values by linear interpolation (Hyndman and Fan's type 7); 0 of nothing.
pub(crate) fn quantile_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let part = position - below as f64;
    sorted[below] + part * (sorted[above] - sorted[below])
}

/// Quantile `q` of unsorted values.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    quantile_sorted(&sorted(values), q)
}

/// Median; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Arithmetic mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// Standard deviation (divisor n); 0 of nothing.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let m = mean(values);
    mean(&values.iter().map(|v| (v - m) * (v - m)).collect::<Vec<_>>()).sqrt()
}

/// Median absolute deviation from `centre`, scaled to the standard deviation of a normal distribution.
pub(crate) fn robust_deviation(values: &[f64], centre: f64) -> f64 {
    1.4826
        * median(
            &values
                .iter()
                .map(|v| (v - centre).abs())
                .collect::<Vec<_>>(),
        )
}

/// Theil–Sen slope: the median of the slopes of all pairs (Sen 1968). Quadratic; callers pass blocks, not raw samples.
pub(crate) fn theil_sen(x: &[f64], y: &[f64]) -> f64 {
    let mut slopes = Vec::with_capacity(x.len() * x.len().saturating_sub(1) / 2);
    for i in 0..x.len() {
        for j in i + 1..x.len() {
            let run = x[j] - x[i];
            if run > 0.0 {
                slopes.push((y[j] - y[i]) / run);
            }
        }
    }
    median(&slopes)
}

/// Natural logarithm of the gamma function for positive arguments (Lanczos, g = 7, 9 terms).
pub(crate) fn ln_gamma(z: f64) -> f64 {
    const LANCZOS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if z < 0.5 {
        return (std::f64::consts::PI / (std::f64::consts::PI * z).sin()).ln() - ln_gamma(1.0 - z);
    }
    let z = z - 1.0;
    let mut sum = LANCZOS[0];
    for (i, c) in LANCZOS.iter().enumerate().skip(1) {
        sum += c / (z + i as f64);
    }
    let t = z + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (z + 0.5) * t.ln() - t + sum.ln()
}

/// Regularised incomplete beta function by Lentz's continued fraction (Abramowitz and Stegun 26.5.8).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
    }
    front * beta_fraction(a, b, x) / a
}

/// P(B > 1/2) for B distributed as Beta(a, b).
pub(crate) fn beta_above_half(a: f64, b: f64) -> f64 {
    incomplete_beta(b, a, 0.5)
}

/// Pearson's correlation; `None` where one of the two does not move or they do not match.
pub(crate) fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let (of_a, of_b) = (mean(a), mean(b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        aa += (x - of_a) * (x - of_a);
        bb += (y - of_b) * (y - of_b);
        ab += (x - of_a) * (y - of_b);
    }
    let both = (aa * bb).sqrt();
    (both > 0.0 && both.is_finite()).then(|| (ab / both).clamp(-1.0, 1.0))
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let away_from_zero = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..200 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-12 {
            break;
        }
    }
    h
}

/// P(T > t) for Student's t with `degrees` of freedom.
pub(crate) fn student_upper(t: f64, degrees: f64) -> f64 {
    if t.is_nan() {
        return 0.5;
    }
    if t.is_infinite() {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    let half = 0.5 * incomplete_beta(0.5 * degrees, 0.5, degrees / (degrees + t * t));
    if t >= 0.0 { half } else { 1.0 - half }
}

/// P(T > t) for a whole number of degrees, by the finite series (Abramowitz and Stegun 26.7.3 and 26.7.4). Ten times
/// faster than [`student_upper`], but with an absolute error of 1e-15: for quantiles, not for small p-values.
pub(crate) fn student_upper_fast(t: f64, degrees: u32) -> f64 {
    // Beyond, the square below may overflow.
    if !t.is_finite() || t.abs() > 1e100 {
        return student_upper(t, f64::from(degrees));
    }
    // Sine and cosine of the angle whose tangent this is; the angle itself is wanted for odd degrees only.
    let tangent = t / f64::from(degrees).sqrt();
    let square = 1.0 / (1.0 + tangent * tangent);
    let cosine = square.sqrt();
    let sine = tangent * cosine;
    let odd = degrees % 2 == 1;
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    let mut k = if odd { 2 } else { 1 };
    while k + 2 < degrees + u32::from(odd) {
        term *= square * f64::from(k) / f64::from(k + 1);
        sum += term;
        k += 2;
    }
    let between = if odd {
        std::f64::consts::FRAC_2_PI * (tangent.atan() + sine * sum)
    } else {
        sine * sum
    };
    (0.5 * (1.0 - between)).clamp(0.0, 1.0)
}

/// The t with P(T > t) = `upper`, for `upper` below one half.
pub(crate) fn student_quantile(upper: f64, degrees: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_upper_fast(high, degrees) > upper && high < 1e8 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if student_upper_fast(middle, degrees) > upper {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// P(at least `k` heads of `n` fair coins).
pub(crate) fn fair_coin_upper(k: usize, n: usize) -> f64 {
    let choose = |i: usize| {
        ln_gamma(n as f64 + 1.0) - ln_gamma(i as f64 + 1.0) - ln_gamma((n - i) as f64 + 1.0)
    };
    (k..=n)
        .map(|i| (choose(i) - n as f64 * std::f64::consts::LN_2).exp())
        .sum::<f64>()
        .min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} is not {b}");
    }

    #[test]
    fn quantiles_interpolate_and_ignore_gaps() {
        close(median(&[3.0, f64::NAN, 1.0, 2.0]), 2.0);
        close(quantile(&[0.0, 10.0], 0.25), 2.5);
        close(median(&[]), 0.0);
    }

    #[test]
    fn student_matches_tables() {
        close(student_upper(2.228_139, 10.0), 0.025);
        close(student_quantile(0.025, 4), 2.776_445);
        close(student_quantile(0.005, 1), 63.656_741);
        close(student_upper(0.0, 3.0), 0.5);
    }

    #[test]
    fn both_student_functions_agree() {
        for degrees in 1..60 {
            for t in [-3.0, -0.5, 0.0, 0.1, 1.0, 2.5, 7.0] {
                close(
                    student_upper_fast(t, degrees),
                    student_upper(t, f64::from(degrees)),
                );
            }
        }
    }

    #[test]
    fn fair_coins_match_pascal() {
        close(fair_coin_upper(11, 11), 0.5_f64.powi(11));
        close(fair_coin_upper(10, 11), 12.0 * 0.5_f64.powi(11));
        close(fair_coin_upper(0, 5), 1.0);
    }

    #[test]
    fn theil_sen_shrugs_off_a_fifth_of_outliers() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let y: Vec<f64> = x
            .iter()
            .map(|v| 3.0 * v + if v % 5.0 == 0.0 { 1e6 } else { 0.0 })
            .collect();
        close(theil_sen(&x, &y), 3.0);
    }
}
