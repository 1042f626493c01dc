//! The competing growth models: what a healthy program can do, what a leak does, and what data cannot tell apart.
//!
//! Progress is `u`, from 0 at the first reading to 1 at the last. Every model is a constant plus at most two columns
//! that are known once its shape parameters (time constant, corner) are taken from a small grid, so each is fitted by
//! linear least squares and compared by the Bayesian information criterion (Schwarz 1978) with an effective sample
//! size. Adding a model is adding one row to [`TABLE`].

use crate::least_squares;
use crate::verdict::{Outcome, Pattern};

/// What a model says about the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Growth ends within the record.
    Healthy,
    /// Growth goes on.
    Leak,
    /// Growth would end, but after the record: no record of this length can tell.
    Undecided,
}

/// The form of a model; the table holds its equation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Flat,
    Declining,
    Saturating,
    TwoPhases,
    Clamp,
    WarmClamp,
    Logarithm,
    Linear,
    WarmLinear,
    FillLinear,
    Onset,
    WarmOnset,
    Exponential,
    Quadratic,
    Steps,
}

/// One row of the table.
pub(crate) struct Model {
    pub(crate) form: Form,
    pub(crate) class: Class,
    pub(crate) pattern: Pattern,
    /// Number of columns besides the constant.
    width: usize,
    /// The columns at `u`.
    columns: fn(f64, [f64; 2]) -> [f64; 2],
    /// Sign the coefficients must have; 0 leaves it open.
    signs: [f64; 2],
    /// Shape parameters tried.
    grid: &'static [[f64; 2]],
    /// How many shape parameters the grid stands for: each costs as much as a coefficient.
    shape_parameters: usize,
}

/// Saturation, `1 - exp(-u/tau)`: first-order filling (RESIN and Precog both name it as the commonest false alarm).
fn saturation(u: f64, tau: f64) -> f64 {
    -(-u / tau).exp_m1()
}

const ONE: &[[f64; 2]] = &[[0.0; 2]];

/// All models. Order matters only to break exact ties: the simpler comes first.
pub(crate) const TABLE: &[Model] = &[
    // y = a. A bounded working set.
    Model {
        form: Form::Flat,
        class: Class::Healthy,
        pattern: Pattern::Flat,
        width: 0,
        columns: |_, _| [0.0; 2],
        signs: [0.0; 2],
        grid: ONE,
        shape_parameters: 0,
    },
    // y = a + b u, b < 0. Start-up garbage returned late.
    Model {
        form: Form::Declining,
        class: Class::Healthy,
        pattern: Pattern::Declining,
        width: 1,
        columns: |u, _| [u, 0.0],
        signs: [-1.0, 0.0],
        grid: ONE,
        shape_parameters: 0,
    },
    // y = a + b (1 - exp(-u/tau)), tau <= 1/3: warm-up, random keys filling a cache.
    Model {
        form: Form::Saturating,
        class: Class::Healthy,
        pattern: Pattern::Plateau,
        width: 1,
        columns: |u, s| [saturation(u, s[0]), 0.0],
        signs: [1.0, 0.0],
        grid: &[
            [0.02, 0.0],
            [0.04, 0.0],
            [0.07, 0.0],
            [0.12, 0.0],
            [0.18, 0.0],
            [0.25, 0.0],
            [0.33, 0.0],
        ],
        shape_parameters: 1,
    },
    // The same with two time constants: code warm-up first, data warm-up later.
    Model {
        form: Form::TwoPhases,
        class: Class::Healthy,
        pattern: Pattern::Plateau,
        width: 2,
        columns: |u, s| [saturation(u, s[0]), saturation(u, s[1])],
        signs: [1.0, 1.0],
        grid: &[
            [0.02, 0.07],
            [0.02, 0.12],
            [0.02, 0.18],
            [0.02, 0.25],
            [0.02, 0.33],
            [0.04, 0.12],
            [0.04, 0.18],
            [0.04, 0.25],
            [0.04, 0.33],
            [0.07, 0.18],
            [0.07, 0.25],
            [0.07, 0.33],
            [0.12, 0.25],
            [0.12, 0.33],
            [0.18, 0.33],
        ],
        shape_parameters: 2,
    },
    // y = a + b min(u, c), c <= 0.72: a cache of unique keys fills linearly up to its cap.
    Model {
        form: Form::Clamp,
        class: Class::Healthy,
        pattern: Pattern::Plateau,
        width: 1,
        columns: |u, s| [u.min(s[0]), 0.0],
        signs: [1.0, 0.0],
        grid: &[
            [0.06, 0.0],
            [0.10, 0.0],
            [0.14, 0.0],
            [0.18, 0.0],
            [0.22, 0.0],
            [0.26, 0.0],
            [0.30, 0.0],
            [0.34, 0.0],
            [0.38, 0.0],
            [0.42, 0.0],
            [0.46, 0.0],
            [0.50, 0.0],
            [0.54, 0.0],
            [0.58, 0.0],
            [0.62, 0.0],
            [0.66, 0.0],
            [0.70, 0.0],
        ],
        shape_parameters: 1,
    },
    // y = a + b min(u, c) + d (1 - exp(-u/0.04)): the same after a warm-up.
    Model {
        form: Form::WarmClamp,
        class: Class::Healthy,
        pattern: Pattern::Plateau,
        width: 2,
        columns: |u, s| [u.min(s[0]), saturation(u, 0.04)],
        signs: [1.0, 0.0],
        grid: &[
            [0.18, 0.0],
            [0.22, 0.0],
            [0.26, 0.0],
            [0.30, 0.0],
            [0.34, 0.0],
            [0.38, 0.0],
            [0.42, 0.0],
            [0.46, 0.0],
            [0.50, 0.0],
            [0.54, 0.0],
            [0.58, 0.0],
            [0.62, 0.0],
            [0.66, 0.0],
            [0.70, 0.0],
        ],
        shape_parameters: 1,
    },
    // y = a + b ln(1 + u/s): fragmentation creep, ever slower but without a bound.
    Model {
        form: Form::Logarithm,
        class: Class::Healthy,
        pattern: Pattern::Plateau,
        width: 1,
        columns: |u, s| [(u / s[0]).ln_1p(), 0.0],
        signs: [1.0, 0.0],
        grid: &[[0.003, 0.0], [0.02, 0.0]],
        shape_parameters: 1,
    },
    // Saturation with tau >= 0.4 of the record: indistinguishable from a leak that has only just begun to slow down. Up to
    // three records: a grid that ends at 1.6 leaves a cache whose time constant is four (the last of six rounds adds a quarter
    // less than the first) to "a leak behind a warm-up", which took it for a leak in 200 of 200 noise-free runs.
    Model {
        form: Form::Saturating,
        class: Class::Undecided,
        pattern: Pattern::Plateau,
        width: 1,
        columns: |u, s| [saturation(u, s[0]), 0.0],
        signs: [1.0, 0.0],
        grid: &[
            [0.4, 0.0],
            [0.45, 0.0],
            [0.5, 0.0],
            [0.57, 0.0],
            [0.65, 0.0],
            [0.72, 0.0],
            [0.8, 0.0],
            [0.9, 0.0],
            [1.0, 0.0],
            [1.15, 0.0],
            [1.3, 0.0],
            [1.6, 0.0],
            [2.2, 0.0],
            [3.0, 0.0],
        ],
        shape_parameters: 1,
    },
    // A cap that was met only just now.
    Model {
        form: Form::Clamp,
        class: Class::Undecided,
        pattern: Pattern::Plateau,
        width: 1,
        columns: |u, s| [u.min(s[0]), 0.0],
        signs: [1.0, 0.0],
        grid: &[[0.76, 0.0], [0.8, 0.0], [0.85, 0.0], [0.9, 0.0]],
        shape_parameters: 1,
    },
    // y = a + b u: so many bytes per operation.
    Model {
        form: Form::Linear,
        class: Class::Leak,
        pattern: Pattern::Linear,
        width: 1,
        columns: |u, _| [u, 0.0],
        signs: [1.0, 0.0],
        grid: ONE,
        shape_parameters: 0,
    },
    // y = a + b u + c (1 - exp(-u/tau)): a leak behind a warm-up.
    Model {
        form: Form::WarmLinear,
        class: Class::Leak,
        pattern: Pattern::Linear,
        width: 2,
        columns: |u, s| [u, saturation(u, s[0])],
        signs: [1.0, 1.0],
        grid: &[
            [0.03, 0.0],
            [0.07, 0.0],
            [0.12, 0.0],
            [0.2, 0.0],
            [0.33, 0.0],
            [0.5, 0.0],
        ],
        shape_parameters: 1,
    },
    // y = a + b u + d min(u, c): a leak beside a cache that fills up.
    Model {
        form: Form::FillLinear,
        class: Class::Leak,
        pattern: Pattern::Linear,
        width: 2,
        columns: |u, s| [u, u.min(s[0])],
        signs: [1.0, 1.0],
        grid: &[
            [0.06, 0.0],
            [0.10, 0.0],
            [0.14, 0.0],
            [0.18, 0.0],
            [0.22, 0.0],
            [0.26, 0.0],
            [0.30, 0.0],
            [0.34, 0.0],
            [0.38, 0.0],
            [0.42, 0.0],
            [0.46, 0.0],
            [0.50, 0.0],
        ],
        shape_parameters: 1,
    },
    // y = a + b max(0, u - c): a leak that begins mid-run.
    Model {
        form: Form::Onset,
        class: Class::Leak,
        pattern: Pattern::Linear,
        width: 1,
        columns: |u, s| [(u - s[0]).max(0.0), 0.0],
        signs: [1.0, 0.0],
        grid: &[
            [0.15, 0.0],
            [0.20, 0.0],
            [0.25, 0.0],
            [0.30, 0.0],
            [0.35, 0.0],
            [0.40, 0.0],
            [0.45, 0.0],
            [0.50, 0.0],
            [0.55, 0.0],
            [0.60, 0.0],
            [0.65, 0.0],
            [0.70, 0.0],
            [0.75, 0.0],
        ],
        shape_parameters: 1,
    },
    // The same after a warm-up.
    Model {
        form: Form::WarmOnset,
        class: Class::Leak,
        pattern: Pattern::Linear,
        width: 2,
        columns: |u, s| [(u - s[0]).max(0.0), saturation(u, 0.05)],
        signs: [1.0, 0.0],
        grid: &[
            [0.15, 0.0],
            [0.25, 0.0],
            [0.35, 0.0],
            [0.45, 0.0],
            [0.55, 0.0],
            [0.65, 0.0],
            [0.75, 0.0],
        ],
        shape_parameters: 2,
    },
    // y = a + b exp(g u): growth in proportion to what is there.
    Model {
        form: Form::Exponential,
        class: Class::Leak,
        pattern: Pattern::Exponential,
        width: 1,
        columns: |u, s| [(s[0] * u).exp_m1() / s[0].exp(), 0.0],
        signs: [1.0, 0.0],
        grid: &[
            [2.0, 0.0],
            [3.0, 0.0],
            [4.5, 0.0],
            [6.0, 0.0],
            [8.0, 0.0],
            [10.0, 0.0],
            [13.0, 0.0],
        ],
        shape_parameters: 1,
    },
    // y = a + b u^2: the rate itself grows linearly (every client leaks, clients accumulate).
    Model {
        form: Form::Quadratic,
        class: Class::Leak,
        pattern: Pattern::Exponential,
        width: 1,
        columns: |u, _| [u * u, 0.0],
        signs: [1.0, 0.0],
        grid: ONE,
        shape_parameters: 1,
    },
];

/// A model fitted to the data with one choice of its shape parameters.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) form: Form,
    pub(crate) class: Class,
    pub(crate) pattern: Pattern,
    pub(crate) shape: [f64; 2],
    /// Coefficients: the constant, the model's columns, then the covariates.
    pub(crate) beta: Vec<f64>,
    pub(crate) residuals: Vec<f64>,
    /// Noise variance under this model (Student scale squared with heavy tails).
    pub(crate) variance: f64,
    /// Parameters paid for.
    pub(crate) parameters: usize,
    /// Bayesian information criterion; smaller is better.
    pub(crate) bic: f64,
    /// Where the series stepped, as indices of the first reading after: all there is to [`Form::Steps`], and beside
    /// any other form jumps, whose sizes are the last coefficients.
    pub(crate) steps: Vec<usize>,
}

impl Candidate {
    /// The model's columns, with those of its jumps (without the constant and other covariates), at the given progress.
    pub(crate) fn columns(&self, u: &[f64]) -> Vec<Vec<f64>> {
        let Some(model) = TABLE
            .iter()
            .find(|m| m.form == self.form && m.class == self.class)
        else {
            return Vec::new();
        };
        (0..model.width)
            .map(|i| {
                u.iter()
                    .map(|&at| (model.columns)(at, self.shape)[i])
                    .collect()
            })
            .chain(self.jumps().iter().map(|&at| step(u.len(), at)))
            .collect()
    }

    /// Where jumps come on top of the form.
    pub(crate) fn jumps(&self) -> &[usize] {
        if self.form == Form::Steps {
            &[]
        } else {
            &self.steps
        }
    }

    /// How large they are.
    pub(crate) fn jump_sizes(&self) -> &[f64] {
        &self.beta[self.beta.len() - self.jumps().len()..]
    }

    /// The readings without the jumps.
    pub(crate) fn without_jumps(&self, y: &[f64]) -> Vec<f64> {
        let mut smooth = y.to_vec();
        for (&at, size) in self.jumps().iter().zip(self.jump_sizes()) {
            for v in &mut smooth[at..] {
                *v -= size;
            }
        }
        smooth
    }

    /// The readings with those far off the model pulled in to `deviations` of its noise.
    pub(crate) fn pulled_in(&self, y: &[f64], deviations: f64) -> Vec<f64> {
        let limit = deviations * self.variance.sqrt();
        y.iter()
            .zip(&self.residuals)
            .map(|(v, r)| v - r + r.clamp(-limit, limit))
            .collect()
    }
}

/// How the noise is thought of while models compete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    /// Variance that is always there: resolution, quantisation.
    pub(crate) floor: f64,
    /// Whether single readings may lie far off (Student errors with [`STUDENT_DEGREES`] instead of normal ones).
    pub(crate) heavy_tails: bool,
}

/// Degrees of freedom of the error distribution for collected readings: heavy enough for a ±200 kB spike among
/// readings that scatter by 10 kB, light enough to lose little on normal noise.
pub(crate) const STUDENT_DEGREES: f64 = 4.0;

/// Fits every model of the table. `covariates` are extra columns (load) that every model may use.
///
/// The BIC of each candidate is that for independent readings; [`rescore`] corrects it for autocorrelation.
pub(crate) fn compete(
    u: &[f64],
    y: &[f64],
    covariates: &[Vec<f64>],
    noise: Noise,
) -> Vec<Candidate> {
    let n = y.len();
    let ones = vec![1.0; n];
    let mut found = Vec::with_capacity(100);
    for model in TABLE {
        let parameters = 1 + model.width + model.shape_parameters + covariates.len();
        // Raw samples follow the shape of a cache too loosely to tell its fill from a leak beside it.
        let too_fine = model.form == Form::FillLinear && !noise.heavy_tails;
        if too_fine || parameters + 3 > n {
            continue;
        }
        for shape in model.grid {
            let mut built: [Vec<f64>; 2] = [Vec::with_capacity(n), Vec::with_capacity(n)];
            for &at in u {
                let value = (model.columns)(at, *shape);
                built[0].push(value[0]);
                built[1].push(value[1]);
            }
            let mut columns: Vec<&[f64]> = vec![&ones];
            columns.extend(built.iter().take(model.width).map(Vec::as_slice));
            columns.extend(covariates.iter().map(Vec::as_slice));
            let Some((fit, variance, deviance)) = fit_noisy(&columns, y, noise) else {
                continue;
            };
            let signs_hold = (0..model.width)
                .all(|i| fit.beta[1 + i] * model.signs[i] > 0.0 || model.signs[i] == 0.0);
            if !signs_hold {
                continue;
            }
            found.push(Candidate {
                form: model.form,
                class: model.class,
                pattern: model.pattern,
                shape: *shape,
                beta: fit.beta,
                residuals: fit.residuals,
                variance,
                parameters,
                bic: deviance + parameters as f64 * (n as f64).ln(),
                steps: Vec::new(),
            });
        }
    }
    found
}

/// 0 before the reading `at`, and 1 from there on.
fn step(n: usize, at: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(u8::from(i >= at))).collect()
}

/// Fits every model of the table with upward jumps before the given readings, each at the cost of a position and a size:
/// a container that doubles, whatever happens between (V8's hash tables double and add 16 to 60 bytes per entry at once;
/// arrays grow by half).
///
/// Jumps alone are no growth between them: that is for [`steps`](crate::steps) to judge. Only where it cannot (a jump
/// right after the first reading, too few readings) the level model stands here, as one low first reading or as too
/// little to tell.
pub(crate) fn compete_with_jumps(
    u: &[f64],
    y: &[f64],
    jumps: &[usize],
    noise: Noise,
) -> Vec<Candidate> {
    if jumps.is_empty() {
        return Vec::new();
    }
    let n = y.len();
    let covariates: Vec<Vec<f64>> = jumps.iter().map(|&at| step(n, at)).collect();
    let first_only = jumps == [1];
    let mut found = compete(u, y, &covariates, noise);
    found.retain_mut(|c| {
        c.parameters += jumps.len();
        c.bic += jumps.len() as f64 * (n as f64).ln();
        c.steps = jumps.to_vec();
        if c.form == Form::Flat && !first_only {
            c.class = Class::Undecided;
            c.pattern = Pattern::Stepped;
        }
        let upward = c.jump_sizes().iter().all(|size| *size > 0.0);
        let known_to_steps = jumps[0] > 1 && n >= crate::steps::FEWEST;
        let level = matches!(c.form, Form::Flat | Form::Declining);
        upward && c.parameters + 3 <= n && !(level && (known_to_steps || c.form != Form::Flat))
    });
    found
}

/// Fits with normal or Student errors; returns the fit, the noise variance and -2 ln(likelihood) up to a constant.
pub(crate) fn fit_noisy(
    columns: &[&[f64]],
    y: &[f64],
    noise: Noise,
) -> Option<(least_squares::Fit, f64, f64)> {
    let n = y.len() as f64;
    let mut fit = least_squares::fit(columns, y, None)?;
    let mut variance = fit.rss / n + noise.floor;
    if !noise.heavy_tails {
        return Some((fit, variance, n * variance.ln()));
    }
    let nu = STUDENT_DEGREES;
    let mut weights = vec![1.0; y.len()];
    for _ in 0..8 {
        // Expectation–maximisation for Student errors (Lange, Little and Taylor 1989).
        for (w, r) in weights.iter_mut().zip(&fit.residuals) {
            *w = (nu + 1.0) / (nu + r * r / variance);
        }
        fit = least_squares::fit(columns, y, Some(&weights))?;
        let next = fit.rss / n + noise.floor;
        let settled = (next - variance).abs() <= 1e-3 * variance;
        variance = next;
        if settled {
            break;
        }
    }
    let deviance = n * variance.ln()
        + (nu + 1.0)
            * fit
                .residuals
                .iter()
                .map(|r| (r * r / (nu * variance)).ln_1p())
                .sum::<f64>();
    Some((fit, variance, deviance))
}

/// Scales the deviance of every candidate to `effective` independent readings out of `n`.
pub(crate) fn rescore(candidates: &mut [Candidate], n: usize, effective: f64) {
    for c in candidates {
        let deviance = c.bic - c.parameters as f64 * (n as f64).ln();
        c.bic = deviance * effective / n as f64 + c.parameters as f64 * effective.max(3.0).ln();
    }
}

/// Probabilities of the classes, from the best candidate of each form, and the best candidate of each class.
#[derive(Debug)]
pub(crate) struct Contest<'a> {
    pub(crate) leak: f64,
    pub(crate) healthy: f64,
    pub(crate) undecided: f64,
    pub(crate) best_leak: Option<&'a Candidate>,
    pub(crate) best_healthy: Option<&'a Candidate>,
    pub(crate) best: Option<&'a Candidate>,
}

impl Contest<'_> {
    /// The candidate that a verdict rests on.
    pub(crate) fn best_for(&self, outcome: &Outcome) -> Option<&Candidate> {
        match outcome {
            Outcome::Leak => self.best_leak,
            Outcome::NoLeak(_) => self.best_healthy,
            Outcome::Inconclusive { .. } => self.best,
        }
    }

    /// P(leak) against P(healthy), leaving the undecidable aside.
    pub(crate) fn leak_share(&self) -> f64 {
        self.leak / (self.leak + self.healthy).max(1e-300)
    }
}

/// Weighs the candidates: each (class, pattern) family is represented by its best member, so that a finer grid does
/// not buy a family more votes.
pub(crate) fn weigh(candidates: &[Candidate]) -> Contest<'_> {
    let best_of = |class: Option<Class>| {
        candidates
            .iter()
            .filter(|c| class.is_none_or(|k| k == c.class))
            .min_by(|a, b| a.bic.total_cmp(&b.bic))
    };
    let best = best_of(None);
    let lowest = best.map_or(0.0, |c| c.bic);
    let mut families: Vec<(Class, Pattern, f64)> = Vec::new();
    for c in candidates {
        match families
            .iter_mut()
            .find(|f| f.0 == c.class && f.1 == c.pattern)
        {
            Some(f) => f.2 = f.2.min(c.bic),
            None => families.push((c.class, c.pattern, c.bic)),
        }
    }
    let weight = |bic: f64| (-0.5 * (bic - lowest).min(120.0)).exp();
    let total: f64 = families
        .iter()
        .map(|f| weight(f.2))
        .sum::<f64>()
        .max(1e-300);
    let share = |class| {
        families
            .iter()
            .filter(|f| f.0 == class)
            .map(|f| weight(f.2))
            .sum::<f64>()
            / total
    };
    Contest {
        leak: share(Class::Leak),
        healthy: share(Class::Healthy),
        undecided: share(Class::Undecided),
        best_leak: best_of(Some(Class::Leak)),
        best_healthy: best_of(Some(Class::Healthy)),
        best,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise {
        floor: 1.0,
        heavy_tails: false,
    };

    fn progress(n: usize) -> Vec<f64> {
        (0..n).map(|i| i as f64 / (n - 1) as f64).collect()
    }

    /// Every row of the table, fed its own curve, must be recognised as its own class.
    #[test]
    fn every_model_finds_itself() {
        let u = progress(60);
        for model in TABLE {
            for shape in model.grid {
                let y: Vec<f64> = u
                    .iter()
                    .enumerate()
                    .map(|(i, &at)| {
                        let c = (model.columns)(at, *shape);
                        let sign = |k: usize| if model.signs[k] < 0.0 { -1.0 } else { 1.0 };
                        let jitter = if i % 2 == 0 { 1.0 } else { -1.0 };
                        1e6 + 1e5 * (sign(0) * c[0] + sign(1) * c[1]) + jitter
                    })
                    .collect();
                let noise = Noise {
                    heavy_tails: model.form == Form::FillLinear,
                    ..NOISE
                };
                let candidates = compete(&u, &y, &[], noise);
                let contest = weigh(&candidates);
                let best = contest.best.unwrap();
                assert_eq!(
                    best.class, model.class,
                    "{:?} {shape:?} was taken for {:?} {:?}",
                    model.form, best.form, best.shape
                );
            }
        }
    }

    #[test]
    fn student_errors_ignore_a_spike() {
        let u = progress(12);
        let mut y: Vec<f64> = u
            .iter()
            .enumerate()
            .map(|(i, &at)| 1e6 * at + f64::from(i as u32 % 3) * 1e3)
            .collect();
        y[7] += 2e5;
        let ones = vec![1.0; 12];
        let noise = Noise {
            floor: 1.0,
            heavy_tails: true,
        };
        let (fit, _, _) = fit_noisy(&[&ones, &u], &y, noise).unwrap();
        assert!((fit.beta[1] / 1e6 - 1.0).abs() < 0.01, "{}", fit.beta[1]);
    }
}
