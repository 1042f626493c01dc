//! Linear least squares with a handful of columns, by modified Gram–Schmidt.
//!
//! All growth models of the judge are linear once their shape (a time constant, a corner) is fixed on a small grid, so
//! this is the only fitting there is.

/// A fitted linear model.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    /// One coefficient per column.
    pub(crate) beta: Vec<f64>,
    /// Observed minus fitted, unweighted.
    pub(crate) residuals: Vec<f64>,
    /// Weighted sum of squared residuals.
    pub(crate) rss: f64,
    /// Diagonal of the inverse of X'WX: the variance of each coefficient per unit of noise variance.
    pub(crate) unit_variance: Vec<f64>,
    /// Logarithm of the determinant of X'WX.
    pub(crate) ln_determinant: f64,
}

/// Fits `y` by the columns with the given weights (`None` = all 1). `None` if the columns are not independent or
/// there are fewer rows than columns.
pub(crate) fn fit(columns: &[&[f64]], y: &[f64], weights: Option<&[f64]>) -> Option<Fit> {
    let (n, k) = (y.len(), columns.len());
    if n < k || k == 0 {
        return None;
    }
    let root = |i: usize| weights.map_or(1.0, |w| w[i].max(0.0).sqrt());
    let mut q: Vec<Vec<f64>> = Vec::with_capacity(k);
    let mut r = vec![0.0; k * k];
    let mut z: Vec<f64> = (0..n).map(|i| y[i] * root(i)).collect();
    let mut ln_determinant = 0.0;
    let mut gamma = Vec::with_capacity(k);
    for (j, column) in columns.iter().enumerate() {
        let mut v: Vec<f64> = (0..n).map(|i| column[i] * root(i)).collect();
        let size = dot(&v, &v);
        for (i, basis) in q.iter().enumerate() {
            let along = dot(basis, &v);
            r[i * k + j] = along;
            subtract(&mut v, along, basis);
        }
        let left = dot(&v, &v);
        if !left.is_finite() || left <= 1e-18 * size.max(1e-300) {
            return None;
        }
        let norm = left.sqrt();
        r[j * k + j] = norm;
        ln_determinant += 2.0 * norm.ln();
        for a in &mut v {
            *a /= norm;
        }
        let along = dot(&v, &z);
        subtract(&mut z, along, &v);
        gamma.push(along);
        q.push(v);
    }
    let mut beta = gamma;
    for j in (0..k).rev() {
        for i in j + 1..k {
            beta[j] -= r[j * k + i] * beta[i];
        }
        beta[j] /= r[j * k + j];
    }
    let residuals: Vec<f64> = (0..n)
        .map(|i| {
            y[i] - columns
                .iter()
                .zip(&beta)
                .map(|(c, b)| c[i] * b)
                .sum::<f64>()
        })
        .collect();
    Some(Fit {
        beta,
        residuals,
        rss: dot(&z, &z),
        unit_variance: unit_variance(&r, k),
        ln_determinant,
    })
}

/// Row norms of the inverse of the upper triangular factor.
fn unit_variance(r: &[f64], k: usize) -> Vec<f64> {
    let mut variance = vec![0.0; k];
    for column in 0..k {
        // Solve R x = e_column; x adds its square to the variance of every coefficient.
        let mut x = vec![0.0; k];
        for i in (0..=column).rev() {
            let mut value = if i == column { 1.0 } else { 0.0 };
            for j in i + 1..=column {
                value -= r[i * k + j] * x[j];
            }
            x[i] = value / r[i * k + i];
            variance[i] += x[i] * x[i];
        }
    }
    variance
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn subtract(v: &mut [f64], factor: f64, basis: &[f64]) {
    for (a, b) in v.iter_mut().zip(basis) {
        *a -= factor * b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_recovered_with_its_variance() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let one = vec![1.0; 10];
        let y: Vec<f64> = x.iter().map(|v| 5.0 + 2.0 * v).collect();
        let f = fit(&[&one, &x], &y, None).unwrap();
        assert!((f.beta[0] - 5.0).abs() < 1e-9 && (f.beta[1] - 2.0).abs() < 1e-9);
        // Var(slope) = 1 / sum (x - mean)^2 = 1 / 82.5
        assert!((f.unit_variance[1] - 1.0 / 82.5).abs() < 1e-12);
        assert!((f.ln_determinant - 825.0_f64.ln()).abs() < 1e-9);
        assert!(f.rss < 1e-12);
    }

    #[test]
    fn zero_weight_removes_a_reading() {
        let x: Vec<f64> = (0..6).map(f64::from).collect();
        let mut y = x.clone();
        y[5] = 1e9;
        let f = fit(&[&[1.0; 6], &x], &y, Some(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0])).unwrap();
        assert!((f.beta[1] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn dependent_columns_are_refused() {
        let x = [1.0, 2.0, 3.0];
        assert!(fit(&[&x, &x], &[1.0, 2.0, 3.0], None).is_none());
        assert!(fit(&[&[1.0, 1.0], &[1.0, 2.0], &[1.0, 4.0]], &[1.0, 2.0], None).is_none());
    }
}
