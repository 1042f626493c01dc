//! Measures in pairs: all variants in turn within each slice, in a shuffled order, with one of them twice, so that what a
//! busy machine does to one it does to all, and what is left of it shows as a difference where there is none.
//!
//! CPU time, not wall time: of this process, without its children.

#![expect(clippy::print_stdout, reason = "a bench talks to whoever started it")]

use std::process::{Child, Command, Stdio};

/// A way of doing something, and what it is called.
pub struct Variant<'a> {
    /// Its name.
    pub name: &'static str,
    /// Does it for one slice; how often it did.
    pub slice: Box<dyn FnMut() -> u64 + 'a>,
}

impl std::fmt::Debug for Variant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variant")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// CPU seconds that each slice of a variant took for one time of doing it.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// By slice.
    pub seconds: Vec<f64>,
}

/// Runs `slices` slices of every variant, shuffled within each slice, the same way on every machine.
pub fn pairs(slices: usize, variants: &mut [Variant<'_>]) -> Vec<Measured> {
    let mut measured: Vec<Measured> = variants
        .iter()
        .map(|v| Measured {
            name: v.name,
            seconds: Vec::new(),
        })
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut order: Vec<usize> = (0..variants.len()).collect();
    for _ in 0..slices {
        for i in (1..order.len()).rev() {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            order.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
        }
        for &i in &order {
            let before = plimsoll_probe::own_usage().cpu_seconds;
            let times = (variants[i].slice)();
            let cpu = plimsoll_probe::own_usage().cpu_seconds - before;
            measured[i].seconds.push(cpu / times.max(1) as f64);
        }
    }
    measured
}

/// A median with its 95 % interval by order statistics (David and Nagaraja, Order Statistics, 7.1).
pub fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let at = |rank: f64| sorted[(rank.max(0.0) as usize).min(sorted.len() - 1)];
    let half = 0.98 * n.sqrt();
    (
        at(n / 2.0),
        at((n / 2.0 - half).floor()),
        at((n / 2.0 + half).ceil()),
    )
}

/// The ratio of two variants, slice by slice.
pub fn ratio(of: &Measured, to: &Measured) -> (f64, f64, f64) {
    let ratios: Vec<f64> = of
        .seconds
        .iter()
        .zip(&to.seconds)
        .map(|(a, b)| a / b.max(1e-12))
        .collect();
    median(&ratios)
}

/// Prints one line of a table: what, the figure with its interval, and what was asked for.
pub fn say(what: &str, (middle, low, high): (f64, f64, f64), unit: &str, wanted: &str) {
    println!("{what:<58} {middle:>8.3} {unit:<10} 95 % CI {low:.3} … {high:.3}   {wanted}");
}

/// Processes that do nothing; ended when dropped.
#[derive(Debug)]
pub struct Idle(Vec<Child>);

impl Idle {
    /// Starts so many.
    pub fn start(count: usize) -> Self {
        let children = (0..count).map_while(|_| {
            Command::new("sleep")
                .arg("3600")
                .stdin(Stdio::null())
                .spawn()
                .ok()
        });
        Self(children.collect())
    }

    /// Their pids.
    pub fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
