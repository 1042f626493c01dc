//! The public corpus: 99 labelled series, recorded and generated (`tests/corpus/README.md`), scored as `score.py` does.
//!
//! Figures that rest on fewer than 20 cases are printed and not enforced.

use plimsoll_judge::{Axis, Outcome, Pattern, Series, Terms, Verdict, judge};
use std::fmt::Write as _;

pub(crate) const LABELS: &str = include_str!("../corpus/labels.csv");
const SERIES: &[u8] = include_bytes!("../corpus/series.txt.zst");

/// Lengths at which an impatient user looks, as shares of the record.
const LOOKS: [f64; 10] = [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Nobody stops before this share of the record, nor on one look.
const EARLIEST_STOP: f64 = 0.3;
/// A figure on fewer cases is not enforced.
const FEWEST_CASES: usize = 20;

/// One row of `labels.csv`, and what the judge says of the series.
struct Case {
    leak: bool,
    decidable: bool,
    recorded: bool,
    /// The names that are right for the curve.
    patterns: Vec<String>,
    /// True mean rate, and the rate at the end of an accelerating leak, in bytes per second.
    rate: Option<f64>,
    rate_end: Option<f64>,
    time_to_limit: Option<f64>,
    verdict: Verdict,
    /// Whether each of [`LOOKS`] said leak.
    alarms: Vec<bool>,
}

impl Case {
    fn is_found(&self) -> bool {
        self.verdict.outcome == Outcome::Leak
    }

    fn is_cleared(&self) -> bool {
        matches!(self.verdict.outcome, Outcome::NoLeak(_))
    }

    fn pattern_is_right(&self) -> bool {
        let name = match self.verdict.pattern {
            Pattern::Linear => "linear",
            Pattern::Exponential => "exponential",
            Pattern::Stepped => "stepped",
            Pattern::Sporadic => "sporadic",
            Pattern::Cyclic => "cyclic",
            Pattern::Plateau => "plateau",
            Pattern::Load => "load",
            Pattern::Declining => "declining",
            _ => "flat",
        };
        self.patterns.iter().any(|p| p == name)
    }

    /// How far the rate is off, as a binary logarithm; anything between the mean and the final rate of an accelerating
    /// leak is right.
    fn rate_error(&self) -> Option<f64> {
        let truth = self.rate?;
        let rate = self.verdict.estimate.as_ref()?.per_second?.max(1e-9);
        let end = self.rate_end.unwrap_or(truth);
        let (low, high) = (truth.min(end), truth.max(end));
        Some(if (low..=high).contains(&rate) {
            0.0
        } else {
            (rate / low).log2().abs().min((rate / high).log2().abs())
        })
    }

    fn interval_covers(&self) -> Option<bool> {
        let truth = self.rate.filter(|_| self.rate_end.is_none())?;
        let interval = self.verdict.estimate.as_ref()?.per_second_interval?;
        Some(interval.low <= truth && truth <= interval.high)
    }

    /// The share of the record at which two looks in a row have said leak.
    fn stop(&self) -> Option<f64> {
        let whole = (1.0, self.is_found());
        let mut in_a_row = 0;
        LOOKS
            .into_iter()
            .zip(self.alarms.iter().copied())
            .filter(|(at, _)| *at >= EARLIEST_STOP)
            .chain([whole])
            .find_map(|(at, alarm)| {
                in_a_row = if alarm { in_a_row + 1 } else { 0 };
                (in_a_row >= 2 || (at == 1.0 && alarm)).then_some(at)
            })
    }
}

pub(crate) fn unpack() -> String {
    let bytes = zstd::decode_all(SERIES).expect("the file is compressed by zstd");
    String::from_utf8(bytes).expect("CSV is text")
}

pub(crate) fn read(csv: &[&str], metric: &str, axis: &str) -> Series {
    let mut series = Series {
        metric: metric.into(),
        axis: if axis == "op" {
            Axis::Operations
        } else {
            Axis::Time
        },
        ..Series::default()
    };
    for line in csv {
        let cell: Vec<f64> = line
            .split(',')
            .map(|c| c.parse().unwrap_or(f64::NAN))
            .collect();
        series.t_ns.push((cell[0] * 1e9) as u64);
        series.value.push(cell[1]);
        series.ops.push(cell[2]);
        series.load.push(cell[3]);
        series.collected.push(cell[4] == 1.0);
        series.epoch.push(cell[5] as u32);
    }
    if csv.iter().any(|l| l.ends_with(',')) {
        series.epoch.clear();
    }
    series
}

/// The series by name, each as the lines below its header.
pub(crate) fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    text.split("# ")
        .skip(1)
        .map(|block| {
            let mut lines = block.lines();
            let name = lines.next().expect("a name after each mark");
            (name, lines.skip(1).collect())
        })
        .collect()
}

fn cases() -> Vec<Case> {
    let text = unpack();
    let files = blocks(&text);
    LABELS
        .lines()
        .skip(1)
        .map(|row| {
            let cell: Vec<&str> = row.splitn(20, ',').collect();
            let number = |i: usize| cell[i].parse::<f64>().ok().filter(|v| *v != 0.0);
            let lines = &files
                .iter()
                .find(|(name, _)| *name == cell[0])
                .expect("a series for each label")
                .1;
            let terms = Terms {
                planned_ns: number(16).map(|s| (s * 1e9) as u64),
                limit: number(14),
                ..Terms::default()
            };
            let look = |n: usize| judge(&read(&lines[..n], cell[4], cell[5]), &terms);
            Case {
                leak: cell[6] == "yes",
                decidable: cell[9] == "1",
                recorded: cell[2] == "real",
                patterns: std::iter::once(cell[7])
                    .chain(cell[8].split('|'))
                    .map(str::to_owned)
                    .collect(),
                rate: number(11),
                rate_end: number(13),
                time_to_limit: number(15),
                verdict: look(lines.len()),
                alarms: LOOKS
                    .iter()
                    .map(|share| {
                        let n = ((lines.len() as f64 * share) as usize).max(5);
                        look(n.min(lines.len())).outcome == Outcome::Leak
                    })
                    .collect(),
            }
        })
        .collect()
}

/// A figure and what it must be.
struct Figure {
    name: &'static str,
    cases: usize,
    value: f64,
    at_least: bool,
    must: f64,
}

impl Figure {
    fn holds(&self) -> bool {
        self.cases < FEWEST_CASES
            || if self.at_least {
                self.value >= self.must
            } else {
                self.value <= self.must
            }
    }
}

fn share(of: impl IntoIterator<Item = bool>) -> (usize, f64) {
    let all: Vec<bool> = of.into_iter().collect();
    let yes = all.iter().filter(|b| **b).count();
    (all.len(), yes as f64 / all.len().max(1) as f64)
}

/// (cases, precision, recall, F1).
fn found(cases: &[&Case]) -> (usize, f64, f64, f64) {
    let right = cases.iter().filter(|c| c.leak && c.is_found()).count() as f64;
    let said = cases.iter().filter(|c| c.is_found()).count() as f64;
    let leaks = cases.iter().filter(|c| c.leak).count() as f64;
    let (precision, recall) = (right / said, right / leaks);
    (
        cases.len(),
        precision,
        recall,
        2.0 * precision * recall / (precision + recall),
    )
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn figures(cases: &[Case]) -> Vec<Figure> {
    let decidable: Vec<&Case> = cases.iter().filter(|c| c.decidable).collect();
    let recorded: Vec<&Case> = decidable.iter().copied().filter(|c| c.recorded).collect();
    let leaks: Vec<&Case> = decidable.iter().copied().filter(|c| c.leak).collect();
    let clean: Vec<&Case> = decidable.iter().copied().filter(|c| !c.leak).collect();
    let hits: Vec<&Case> = leaks.iter().copied().filter(|c| c.is_found()).collect();
    let (n, precision, recall, f1) = found(&decidable);
    let (n_recorded, _, _, f1_recorded) = found(&recorded);
    let right = |c: &&Case| if c.leak { c.is_found() } else { c.is_cleared() };
    let within = |error: f64| error <= 1.25_f64.log2();
    let limits = hits.iter().filter_map(|c| {
        let said = c.verdict.estimate.as_ref()?.time_to_limit?.seconds;
        Some(within((said / c.time_to_limit?).log2().abs()))
    });
    let brier = decidable
        .iter()
        .map(|c| (c.verdict.leak_probability - f64::from(u8::from(c.leak))).powi(2))
        .sum::<f64>()
        / n as f64;
    let mut stops: Vec<f64> = leaks.iter().map(|c| c.stop().unwrap_or(9.0)).collect();
    stops.sort_by(f64::total_cmp);

    let at_least = |name, (cases, value), must| Figure {
        name,
        cases,
        value,
        at_least: true,
        must,
    };
    let at_most = |name, (cases, value), must| Figure {
        name,
        cases,
        value,
        at_least: false,
        must,
    };
    vec![
        at_least("F1", (n, f1), 0.95),
        at_least("precision", (n, precision), 0.98),
        at_least("recall", (leaks.len(), recall), 0.92),
        at_most(
            "false positives on clean series",
            share(clean.iter().map(|c| c.is_found())),
            0.02,
        ),
        at_least("F1 on recorded series", (n_recorded, f1_recorded), 0.93),
        at_most(
            "leaks called clean",
            share(leaks.iter().map(|c| c.is_cleared())),
            0.01,
        ),
        at_most(
            "inconclusive among decidable",
            share(decidable.iter().map(|c| !c.is_found() && !c.is_cleared())),
            0.20,
        ),
        at_least(
            "undecidable called so",
            share(
                cases
                    .iter()
                    .filter(|c| !c.decidable)
                    .map(|c| !c.is_found() && !c.is_cleared()),
            ),
            0.55,
        ),
        at_least(
            "pattern right, all",
            share(decidable.iter().map(|c| right(c) && c.pattern_is_right())),
            0.75,
        ),
        at_least(
            "pattern right among found leaks",
            share(hits.iter().map(|c| c.pattern_is_right())),
            0.88,
        ),
        at_least(
            "rate within 25 %",
            share(hits.iter().filter_map(|c| c.rate_error()).map(within)),
            0.90,
        ),
        at_least(
            "95 % interval covers",
            share(hits.iter().filter_map(|c| c.interval_covers())),
            0.85,
        ),
        at_least("time to limit within 25 %", share(limits), 0.95),
        at_most("Brier score of the probability", (n, brier), 0.06),
        at_most(
            "early stop: false positives",
            share(clean.iter().map(|c| c.stop().is_some())),
            0.05,
        ),
        at_least(
            "early stop: recall",
            share(leaks.iter().map(|c| c.stop().is_some())),
            0.92,
        ),
        at_most(
            "early stop: median",
            (stops.len(), stops[stops.len() / 2]),
            0.65,
        ),
        at_most(
            "any alarm over 11 looks on clean series",
            share(
                clean
                    .iter()
                    .map(|c| c.is_found() || c.alarms.iter().any(|a| *a)),
            ),
            0.20,
        ),
    ]
}

#[test]
fn the_public_corpus_is_judged_as_well_as_required() {
    let figures = figures(&cases());
    let mut table = String::new();
    for f in &figures {
        let _ = writeln!(
            table,
            "{:42} n {:3}  {:.4}  must be {} {}{}",
            f.name,
            f.cases,
            f.value,
            if f.at_least { ">=" } else { "<=" },
            f.must,
            match (f.holds(), f.cases < FEWEST_CASES) {
                (_, true) => "  (too few cases to enforce)",
                (true, _) => "",
                (false, _) => "  MISSED",
            }
        );
    }
    println!("{table}");
    assert!(figures.iter().all(Figure::holds), "\n{table}");
}
