//! Simulated rounds: fixed seeds, no randomness but this generator.

use plimsoll_judge::{Series, Terms, Verdict, judge};

/// Knuth's MMIX linear congruential generator; the high bits are good enough for simulation.
#[derive(Debug)]
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut g = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
        for _ in 0..8 {
            g.uniform();
        }
        g
    }

    /// Uniform on (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bits = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let r = (-2.0 * self.uniform().ln()).sqrt();
        r * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// Student's t with 2.5 degrees of freedom, scaled to the interquartile range of a standard normal.
    pub(crate) fn heavy(&mut self) -> f64 {
        // Chi-squared with 2.5 degrees as a gamma variate: 2 x exponential (2 degrees) + about half a squared normal.
        let chi = -2.0 * self.uniform().ln() + 0.5 * self.normal().powi(2);
        0.85 * self.normal() / (chi / 2.5).sqrt()
    }
}

/// What readings scatter by, in bytes, whatever the length of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Noise {
    None,
    White(f64),
    Heavy(f64),
    /// AR(1) with correlation 0.5 and this marginal standard deviation.
    Correlated(f64),
    /// Random walk with this step.
    Walk(f64),
    /// White noise and every tenth reading off by ±200 kB.
    Spikes(f64),
    /// White noise; in the middle 200 kB of code are flushed, and come back after a quarter of the rounds.
    Flush(f64),
}

impl Noise {
    pub(crate) fn draw(self, n: usize, g: &mut Generator) -> Vec<f64> {
        let mut state = g.normal();
        (0..n)
            .map(|i| match self {
                Self::None => 0.0,
                Self::White(s) => s * g.normal(),
                Self::Heavy(s) => s * g.heavy(),
                Self::Correlated(s) => {
                    state = 0.5 * state + 0.75_f64.sqrt() * g.normal();
                    s * state
                }
                Self::Walk(s) => {
                    state += g.normal();
                    s * state
                }
                Self::Spikes(s) => {
                    let spike = if g.uniform() < 0.1 {
                        2e5 * if g.uniform() < 0.5 { -1.0 } else { 1.0 }
                    } else {
                        0.0
                    };
                    s * g.normal() + spike
                }
                Self::Flush(s) => {
                    let flushed = i >= n / 2 && i < n / 2 + n.div_ceil(4);
                    s * g.normal() - if flushed { 2e5 } else { 0.0 }
                }
            })
            .collect()
    }
}

/// Collected readings of `rounds` rounds: `signal` maps operations done to live bytes.
pub(crate) fn rounds(
    rounds: usize,
    operations: f64,
    signal: impl Fn(f64) -> f64,
    noise: &[f64],
) -> Series {
    Series {
        metric: "live_bytes".into(),
        t_ns: (0..rounds as u64).map(|i| i * 700_000_000).collect(),
        value: (0..rounds)
            .map(|i| (21e6 + signal(i as f64 * operations) + noise[i]).round())
            .collect(),
        ops: (0..rounds).map(|i| i as f64 * operations).collect(),
        collected: vec![true; rounds],
        resolution: 8.0,
        ..Series::default()
    }
}

/// Judges `runs` simulated runs.
pub(crate) fn simulate(
    runs: u64,
    n: usize,
    operations: f64,
    noise: Noise,
    terms: &Terms,
    signal: impl Fn(f64) -> f64,
) -> Vec<Verdict> {
    (0..runs)
        .map(|seed| {
            let mut g = Generator::new(seed + 1000 * n as u64);
            let drawn = noise.draw(n, &mut g);
            judge(&rounds(n, operations, &signal, &drawn), terms)
        })
        .collect()
}
