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
    /// The upper triangular factor, by rows.
    r: Vec<f64>,
}

impl Fit {
    /// The variance of coefficient `i` per unit of noise variance: the diagonal of the inverse of X'WX.
    pub(crate) fn unit_variance(&self, i: usize) -> f64 {
        unit_variance(&self.r, self.beta.len(), i)
    }

    /// Logarithm of the determinant of X'WX.
    pub(crate) fn ln_determinant(&self) -> f64 {
        let k = self.beta.len();
        (0..k).map(|j| 2.0 * self.r[j * k + j].ln()).sum()
    }
}

/// Fits `y` by the columns with the given weights (`None` = all 1). `None` if the columns are not independent or
/// there are fewer rows than columns.
///
/// A verdict on a dozen rounds takes some thousand of these: the columns of Q lie in one vector, and what only a few callers
/// want of the factor is worked out when asked for.
pub(crate) fn fit(columns: &[&[f64]], y: &[f64], weights: Option<&[f64]>) -> Option<Fit> {
    let (n, k) = (y.len(), columns.len());
    if n < k || k == 0 {
        return None;
    }
    let root: Option<Vec<f64>> =
        weights.map(|w| w[..n].iter().map(|w| w.max(0.0).sqrt()).collect());
    let weighted = |column: &[f64], into: &mut [f64]| match &root {
        Some(root) => {
            for ((a, c), w) in into.iter_mut().zip(column).zip(root) {
                *a = c * w;
            }
        }
        None => into.copy_from_slice(&column[..n]),
    };
    // Row j is the j-th column of Q; the last row is what of y is left.
    let mut q = vec![0.0; (k + 1) * n];
    let (basis, z) = q.split_at_mut(k * n);
    let mut r = vec![0.0; k * k];
    weighted(y, z);
    let mut beta = Vec::with_capacity(k);
    for (j, column) in columns.iter().enumerate() {
        let (before, rest) = basis.split_at_mut(j * n);
        let v = &mut rest[..n];
        weighted(column, v);
        let size = dot(v, v);
        for (i, earlier) in before.chunks_exact(n).enumerate() {
            let along = dot(earlier, v);
            r[i * k + j] = along;
            subtract(v, along, earlier);
        }
        let left = dot(v, v);
        if !left.is_finite() || left <= 1e-18 * size.max(1e-300) {
            return None;
        }
        let norm = left.sqrt();
        r[j * k + j] = norm;
        for a in v.iter_mut() {
            *a /= norm;
        }
        let along = dot(v, z);
        subtract(z, along, v);
        beta.push(along);
    }
    for j in (0..k).rev() {
        for i in j + 1..k {
            beta[j] -= r[j * k + i] * beta[i];
        }
        beta[j] /= r[j * k + j];
    }
    let rss = dot(z, z);
    let mut residuals = vec![0.0; n];
    for (column, b) in columns.iter().zip(&beta) {
        for (fitted, c) in residuals.iter_mut().zip(*column) {
            *fitted += c * b;
        }
    }
    for (residual, v) in residuals.iter_mut().zip(y) {
        *residual = v - *residual;
    }
    Some(Fit {
        beta,
        residuals,
        rss,
        r,
    })
}

/// The norm of a row of the inverse of the upper triangular factor, squared.
fn unit_variance(r: &[f64], k: usize, row: usize) -> f64 {
    let mut variance = 0.0;
    for column in row..k {
        // Solve R x = e_column; x adds its square to the variance of the coefficient.
        let mut x = vec![0.0; k];
        for i in (row..=column).rev() {
            let mut value = if i == column { 1.0 } else { 0.0 };
            for j in i + 1..=column {
                value -= r[i * k + j] * x[j];
            }
            x[i] = value / r[i * k + i];
        }
        variance += x[row] * x[row];
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
        assert!((f.unit_variance(1) - 1.0 / 82.5).abs() < 1e-12);
        assert!((f.ln_determinant() - 825.0_f64.ln()).abs() < 1e-9);
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
