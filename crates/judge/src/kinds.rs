//! Which of several kinds of operation grows: rounds of one kind at a time, interleaved, judged as one family.
//!
//! A round of one kind may hold others that it depends on, so what is known is a system: growth of the rounds of kind
//! *k* = Σ operations of kind *j* in them × growth per operation of *j*. As a kind needs only kinds before it, the
//! system is triangular and solved forwards.
//!
//! The growth of a kind is the median over its rounds: one round in which the collector kept something back says
//! nothing. The noise is that of all rounds together (median absolute difference of two rounds of a kind, Rousseeuw and Croux 1993), because it belongs to
//! measuring and not to the kind; a kind whose own rounds scatter more is given its own. Leaks pass the Holm step-down
//! correction (Holm 1979) over the kinds.

use crate::stats::{median, student_quantile, student_upper};
use crate::verdict::Interval;

/// Rounds of a kind below which nothing is said about it.
const FEWEST: usize = 3;
/// Standard error of a median over that of a mean, for normal noise: √(π/2).
const MEDIAN_COST: f64 = 1.2533;
/// The standard deviation over the median absolute difference of two normal readings: 1.4826/√2.
const PAIR_SCALE: f64 = 1.0483;
/// Growth below this is not called a leak, in bytes per operation.
const FLOOR: f64 = 4.0;
/// Growth bounded below this is no leak.
const BOUND: f64 = 16.0;

/// One round of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct KindRound {
    /// The kind it is about.
    pub kind: usize,
    /// Bytes by which what is left after a collection grew.
    pub growth: f64,
    /// Operations of each kind in it.
    pub operations: Vec<f64>,
}

/// On what terms kinds are judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindTerms {
    /// Chance of naming any kind falsely.
    pub alpha: f64,
    /// Growth per operation that measuring alone would explain; nothing below it is called a leak.
    pub unexplained: f64,
    /// The user's floor, in bytes per operation.
    pub floor: Option<f64>,
}

/// What is known about one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct KindVerdict {
    /// The answer.
    pub outcome: KindOutcome,
    /// Bytes per operation.
    pub rate: f64,
    /// 95 % interval of `rate`.
    pub interval: Interval,
    /// One-sided p-value of "it does not grow", Holm-adjusted.
    pub p_value: f64,
    /// Rounds it rests on.
    pub rounds: usize,
    /// Operations of the kind in them.
    pub operations: f64,
}

/// Whether a kind of operation leaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindOutcome {
    /// It grows beyond the floor.
    Leak,
    /// Its growth is bounded.
    NoLeak,
    /// The rounds cannot tell.
    NotClear,
}

/// Judges `kinds` kinds by their rounds. `None` for a kind with fewer than three rounds, or none of its operations in
/// them. Rounds that are not finite or of the wrong width are ignored.
pub fn judge_kinds(
    rounds: &[KindRound],
    kinds: usize,
    terms: &KindTerms,
) -> Vec<Option<KindVerdict>> {
    let of = |kind: usize| -> Vec<&KindRound> {
        rounds
            .iter()
            .filter(|r| r.kind == kind && r.growth.is_finite() && r.operations.len() == kinds)
            .collect()
    };
    let growths: Vec<Vec<f64>> = (0..kinds)
        .map(|k| of(k).iter().map(|r| r.growth).collect())
        .collect();
    let centres: Vec<f64> = growths.iter().map(|g| median(g)).collect();
    let mut differences = Vec::new();
    let mut free = 0;
    for own in growths.iter().filter(|g| g.len() >= FEWEST) {
        differences.extend(pairs(own));
        free += own.len() - 1;
    }
    let pooled = PAIR_SCALE * median(&differences);
    // A median of absolute differences knows the noise as well as half as many readings would by their squares.
    let degrees = u32::try_from(free / 2).unwrap_or(u32::MAX).clamp(1, 10_000);

    let mut found: Vec<Option<KindVerdict>> = vec![None; kinds];
    let mut errors = vec![0.0; kinds];
    for kind in 0..kinds {
        let own = of(kind);
        if own.len() < FEWEST {
            continue;
        }
        let each = |other: usize| -> f64 {
            own.iter().map(|r| r.operations[other]).sum::<f64>() / own.len() as f64
        };
        let operations = each(kind);
        if operations <= 0.0 {
            continue;
        }
        // An own scatter twice the common one is more than few readings make it look.
        let scatter = PAIR_SCALE * median(&pairs(&growths[kind]).collect::<Vec<_>>());
        let noise = if scatter > 2.0 * pooled {
            scatter
        } else {
            pooled
        };
        let mut growth = centres[kind];
        let mut variance = (MEDIAN_COST * noise).powi(2) / own.len() as f64;
        let mut known = true;
        for other in (0..kinds).filter(|o| *o != kind) {
            let count = each(other);
            if count > 0.0 {
                match &found[other] {
                    Some(verdict) if other < kind => {
                        growth -= count * verdict.rate;
                        variance += (count * errors[other]).powi(2);
                    }
                    _ => known = false,
                }
            }
        }
        if !known {
            continue;
        }
        // A step of the collector's bookkeeping is no evidence, however alike the rounds are.
        let error = (variance.sqrt() / operations).max(1e-3);
        let rate = growth / operations;
        let width = student_quantile(0.025, degrees) * error;
        errors[kind] = error;
        found[kind] = Some(KindVerdict {
            outcome: KindOutcome::NotClear,
            rate,
            interval: Interval {
                low: rate - width,
                high: rate + width,
            },
            p_value: student_upper((rate - terms.unexplained) / error, f64::from(degrees)),
            rounds: own.len(),
            operations: own.iter().map(|r| r.operations[kind]).sum(),
        });
    }
    correct(&mut found, terms);
    found
}

/// How far apart any two readings are. Unlike deviations from a centre they are not made small by having few.
fn pairs(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values
        .iter()
        .enumerate()
        .flat_map(|(i, a)| values[i + 1..].iter().map(move |b| (a - b).abs()))
}

/// Adjusts the p-values for the number of kinds and says what follows.
fn correct(found: &mut [Option<KindVerdict>], terms: &KindTerms) {
    let mut order: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_some()).collect();
    let p = |found: &[Option<KindVerdict>], i: usize| found[i].as_ref().map_or(1.0, |v| v.p_value);
    order.sort_by(|a, b| p(found, *a).total_cmp(&p(found, *b)));
    let floor = terms.floor.unwrap_or(FLOOR).max(terms.unexplained);
    let bound = terms.floor.unwrap_or(BOUND).max(2.0 * terms.unexplained);
    let mut highest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        if let Some(verdict) = &mut found[i] {
            highest = highest.max((verdict.p_value * (order.len() - rank) as f64).min(1.0));
            verdict.p_value = highest;
            verdict.outcome = if highest <= terms.alpha && verdict.interval.low > floor {
                KindOutcome::Leak
            } else if verdict.interval.high < bound {
                KindOutcome::NoLeak
            } else {
                KindOutcome::NotClear
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: KindTerms = KindTerms {
        alpha: 0.01,
        unexplained: 0.0,
        floor: None,
    };

    /// Normal noise from a fixed seed (Box–Muller over a linear congruence), now and then a spike.
    struct Noise(u64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            let (a, b) = (self.uniform(), self.uniform());
            (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
        }
    }

    /// Interleaved rounds of independent kinds; levels carry the noise, so that increments share it.
    fn rounds(rates: &[f64], blocks: usize, n: f64, sd: f64, noise: &mut Noise) -> Vec<KindRound> {
        let mut before = noise.normal() * sd;
        let mut all = Vec::new();
        for block in 0..blocks {
            for at in 0..rates.len() {
                let kind = (at * 5 + block) % rates.len();
                let spike = if noise.uniform() < 0.02 {
                    100_000.0
                } else {
                    0.0
                };
                let after = noise.normal() * sd + spike;
                let mut operations = vec![0.0; rates.len()];
                operations[kind] = n;
                all.push(KindRound {
                    kind,
                    growth: rates[kind] * n + after - before,
                    operations,
                });
                before = after;
            }
        }
        all
    }

    #[test]
    fn two_of_twelve_are_named_and_no_other() {
        let mut rates = [0.0; 12];
        (rates[3], rates[8]) = (100.0, 100.0);
        let mut noise = Noise(1);
        let (mut found, mut falsely) = (0, 0);
        for _ in 0..200 {
            let all = rounds(&rates, 6, 1_000.0, 9_000.0, &mut noise);
            for (kind, verdict) in judge_kinds(&all, 12, &TERMS).iter().enumerate() {
                let leaks = verdict.as_ref().unwrap().outcome == KindOutcome::Leak;
                found += u32::from(leaks && rates[kind] > 0.0);
                falsely += u32::from(leaks && rates[kind] == 0.0);
            }
        }
        // What six rounds leave open, further ones settle.
        assert!(found >= 380, "{found} of 400");
        assert!(falsely <= 4, "{falsely} falsely");
    }

    #[test]
    fn nothing_is_named_where_nothing_grows_and_intervals_hold() {
        let mut noise = Noise(2);
        let (mut named, mut covered, mut all) = (0, 0_u32, 0_u32);
        for _ in 0..500 {
            let verdicts = judge_kinds(
                &rounds(&[0.0; 10], 5, 1_000.0, 9_000.0, &mut noise),
                10,
                &TERMS,
            );
            named += usize::from(
                verdicts
                    .iter()
                    .flatten()
                    .any(|v| v.outcome == KindOutcome::Leak),
            );
            for verdict in verdicts.iter().flatten() {
                all += 1;
                covered += u32::from(verdict.interval.low <= 0.0 && 0.0 <= verdict.interval.high);
            }
        }
        assert!(named <= 10, "{named} of 500 families named a kind falsely");
        let coverage = f64::from(covered) / f64::from(all);
        assert!(coverage > 0.93, "{coverage}");
    }

    #[test]
    fn what_a_kind_depends_on_is_taken_out() {
        // The second kind needs as many of the first: only the first keeps something.
        let mut noise = Noise(3);
        let mut all = Vec::new();
        for _ in 0..6 {
            let mut reading = |rate: f64, operations: [f64; 2], kind| KindRound {
                kind,
                growth: rate * operations[0] + noise.normal() * 2_000.0,
                operations: operations.to_vec(),
            };
            all.push(reading(200.0, [1_000.0, 0.0], 0));
            all.push(reading(200.0, [500.0, 500.0], 1));
        }
        let verdicts = judge_kinds(&all, 2, &TERMS);
        let (first, second) = (verdicts[0].as_ref().unwrap(), verdicts[1].as_ref().unwrap());
        assert_eq!(first.outcome, KindOutcome::Leak);
        assert!((first.rate - 200.0).abs() < 10.0, "{first:?}");
        assert_ne!(second.outcome, KindOutcome::Leak, "{second:?}");
    }

    #[test]
    fn too_few_rounds_say_nothing() {
        let mut noise = Noise(4);
        let few = rounds(&[0.0, 100.0], 2, 1_000.0, 1.0, &mut noise);
        assert_eq!(judge_kinds(&few, 2, &TERMS), [None, None]);
        assert_eq!(judge_kinds(&[], 0, &TERMS), []);
        let odd = KindRound {
            kind: 0,
            growth: f64::NAN,
            operations: vec![],
        };
        assert_eq!(judge_kinds(&vec![odd; 5], 1, &TERMS), [None]);
    }
}
