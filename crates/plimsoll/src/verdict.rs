//! What a check found, and how it is told.

use std::fmt;
use std::time::Duration;

use plimsoll_judge::{Growth, More, Outcome, Pattern, Quantity, Reason};

use crate::arc::Cycle;
use crate::grown::Grown;
use crate::meter::Source;
use crate::stacks::Survivors;
use crate::text::{bytes, count, group, rate, significant};

/// What a check found. `Display` tells it in a few lines: the verdict, the rate with its interval, the lines that keep the
/// memory, and how to see it again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// Leak, no leak, or inconclusive.
    pub outcome: Outcome,
    /// What the judge said of live bytes, and of live blocks where they are counted.
    pub judged: Vec<plimsoll_judge::Verdict>,
    /// Where the readings come from.
    pub source: Source,
    /// Rounds measured.
    pub rounds: u32,
    /// Operations of each.
    pub operations_per_round: u64,
    /// Operations before the first round.
    pub warm_up_operations: u64,
    /// Bytes after the first round and after the last.
    pub live_bytes: Option<(f64, f64)>,
    /// The places that keep what the operation allocates, largest first. Known of a leak, and where scopes are counted.
    pub survivors: Vec<Survivors>,
    /// Tracked types and gauges that grew in step with the operations of a leak, most first. They are the process's: other
    /// tests may have made them grow.
    pub grown: Vec<Grown>,
    /// Values of tracked [`Arc`](crate::Arc)s that hold each other and that nothing else holds, made by the operation.
    pub cycles: Vec<Cycle>,
    /// Blocks whose stacks could not be kept.
    pub dropped_samples: u64,
    /// Bytes per operation by which the rest of the process grew meanwhile, if it did steadily. Other tests may have done
    /// it, or threads and tasks that the operation handed work to without its scope.
    pub outside_per_op: Option<f64>,
    /// How long it took.
    pub elapsed: Duration,
    /// The test it was found in, as the harness names it.
    pub name: Option<String>,
}

impl Default for Verdict {
    /// Nothing measured yet.
    fn default() -> Self {
        Self {
            outcome: Outcome::Inconclusive {
                reason: Reason::TooFewReadings { have: 0, need: 5 },
                more: More::default(),
            },
            judged: Vec::new(),
            source: Source::Nothing,
            rounds: 0,
            operations_per_round: 0,
            warm_up_operations: 0,
            live_bytes: None,
            survivors: Vec::new(),
            grown: Vec::new(),
            cycles: Vec::new(),
            dropped_samples: 0,
            outside_per_op: None,
            elapsed: Duration::ZERO,
            name: None,
        }
    }
}

impl Verdict {
    /// Memory grows with every operation.
    pub fn is_leak(&self) -> bool {
        self.outcome == Outcome::Leak
    }

    /// Growth is bounded below the floor. Not the opposite of a leak: a check can also be inconclusive.
    pub fn is_no_leak(&self) -> bool {
        matches!(self.outcome, Outcome::NoLeak(_))
    }

    /// Fails the test unless there is no leak.
    ///
    /// # Panics
    /// With all that is known, if there is a leak or the check is inconclusive.
    #[track_caller]
    pub fn assert_no_leak(&self) {
        assert!(self.is_no_leak(), "\n{self}");
    }

    /// Growth of live bytes, if enough rounds were measured to know any.
    pub fn growth(&self) -> Option<&Growth> {
        self.judged.first()?.estimate.as_ref()
    }

    /// The growth that the verdict is about, with what it is counted in.
    fn headline(&self) -> Option<(&plimsoll_judge::Verdict, Quantity)> {
        let quantities = [Quantity::Bytes, Quantity::Count];
        let mut judged = self.judged.iter().zip(quantities);
        let same = |outcome: &Outcome| {
            std::mem::discriminant(outcome) == std::mem::discriminant(&self.outcome)
        };
        let first = judged.clone().next();
        judged.find(|(judged, _)| same(&judged.outcome)).or(first)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headline = self.headline();
        match &self.outcome {
            Outcome::Leak => write!(f, "LEAK   ")?,
            Outcome::NoLeak(bound) => {
                let of = match headline {
                    Some((_, Quantity::Count)) => format!("{} blocks", significant(bound.rate)),
                    _ => bytes(bound.rate.max(0.0)),
                };
                write!(f, "no leak   growth is below {of} per operation")?;
            }
            Outcome::Inconclusive { reason, .. } => {
                write!(f, "INCONCLUSIVE   {}", reason_text(reason))?;
            }
        }
        if let Some((judged, quantity)) = headline
            && let Some(growth) = &judged.estimate
        {
            if matches!(self.outcome, Outcome::Inconclusive { .. }) {
                write!(f, "\n       ")?;
            }
            if !self.is_no_leak() {
                growth_line(f, growth, quantity, judged)?;
            }
        }
        writeln!(f)?;
        self.measured(f)?;
        for survivors in &self.survivors {
            let each = significant(survivors.blocks_per_op);
            let size = survivors.bytes_per_op / survivors.blocks_per_op;
            let kept = format!(
                "{} per operation ({each} x {})",
                rate(survivors.bytes_per_op),
                bytes(size)
            );
            let stack = survivors.to_string().replace('\n', "\n              ");
            writeln!(f, "kept   {kept}\n         by   {stack}")?;
        }
        for grown in &self.grown {
            let each = significant(grown.per_op);
            write!(f, "grows  {} +{each} per operation", grown.name)?;
            match &grown.place {
                Some(place) => writeln!(f, "   tracked at {place}")?,
                None => writeln!(f)?,
            }
        }
        for cycle in &self.cycles {
            writeln!(
                f,
                "cycle  of Arcs: {} hold each other, and nothing else holds them: {} of {} values\n                        make one of the references Weak",
                cycle.kinds.join(" and "),
                count(cycle.groups, "group"),
                group(cycle.values as f64)
            )?;
        }
        if self.dropped_samples > 0 {
            let blocks = count(self.dropped_samples, "block");
            writeln!(f, "       the stacks of {blocks} more found no room")?;
        }
        if let Some(outside) = self.outside_per_op {
            writeln!(
                f,
                "note   the rest of the process grew by {} per operation meanwhile: by other tests, or by threads and tasks that\n       \
                 the operation hands work to; have those enter its scope (plimsoll::Scope::current, Scope::wrap)",
                bytes(outside)
            )?;
        }
        if !self.is_no_leak() {
            self.advice(f)?;
        }
        Ok(())
    }
}

impl Verdict {
    fn measured(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, how) = match self.source {
            Source::Scope => ("live bytes", "of the operation alone, exact"),
            Source::Process => (
                "live bytes",
                "of the whole process, exact; other threads are in it",
            ),
            Source::Resident => (
                "resident memory",
                "of the whole process, by pages; other threads are in it, and what the allocator keeps",
            ),
            Source::Nothing => ("memory", "which nothing here can read"),
        };
        if let Some((first, last)) = self.live_bytes.filter(|_| self.source != Source::Nothing) {
            writeln!(
                f,
                "       {what} {} → {} in {} x {}, after {} to warm up; {how}",
                bytes(first),
                bytes(last),
                count(u64::from(self.rounds), "round"),
                count(self.operations_per_round, "operation"),
                group(self.warm_up_operations as f64),
            )
        } else {
            writeln!(f, "       {what} {how}")
        }
    }

    fn advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Outcome::Inconclusive { more, .. } = &self.outcome {
            match more.operations {
                Some(operations) => writeln!(
                    f,
                    "settle {} more would: Check::new().max_time(…) or .operations(…)",
                    count(operations, "operation")
                )?,
                None if self.rounds < 48 => {
                    writeln!(f, "settle more time may: Check::new().max_time(…)")?;
                }
                None => {}
            }
        }
        if matches!(self.source, Source::Resident | Source::Nothing) {
            writeln!(
                f,
                "hint   exact, by line and beside other tests: `#[global_allocator] static ALLOCATOR: plimsoll::Scoped = \
                 plimsoll::Scoped::new();`\n       in the test's crate"
            )?;
        } else if self.source == Source::Process {
            writeln!(
                f,
                "hint   plimsoll::Scoped instead of Counted tells tests apart and names the lines"
            )?;
        }
        if let Some(again) = again(self.name.as_deref()) {
            writeln!(f, "again  {again}")?;
        }
        Ok(())
    }
}

fn growth_line(
    f: &mut fmt::Formatter<'_>,
    growth: &Growth,
    quantity: Quantity,
    judged: &plimsoll_judge::Verdict,
) -> fmt::Result {
    let interval = growth.interval;
    match quantity {
        Quantity::Bytes => write!(
            f,
            "{} per operation   95 % CI {} … {}",
            rate(growth.rate),
            bytes(interval.low),
            bytes(interval.high)
        )?,
        Quantity::Count => write!(
            f,
            "{} blocks per operation   95 % CI {} … {}",
            significant(growth.rate),
            significant(interval.low),
            significant(interval.high)
        )?,
    }
    let pattern = match judged.pattern {
        Pattern::Linear => "linear",
        Pattern::Exponential => "accelerating",
        Pattern::Stepped => "in steps",
        Pattern::Sporadic => "in rare steps",
        Pattern::Cyclic => "cyclic",
        Pattern::Plateau => "towards a level",
        Pattern::Declining => "declining",
        _ => return Ok(()),
    };
    let onset = growth.onset.and_then(|onset| onset.operations);
    let since = match onset {
        Some(operations) => format!("after {}", count(operations as u64, "operation")),
        None => "since the start".to_owned(),
    };
    write!(f, "   {pattern}, {since}")
}

fn reason_text(reason: &Reason) -> String {
    match reason {
        Reason::TooFewReadings { have, need } => {
            format!("{}, {need} are needed", count(*have as u64, "round"))
        }
        Reason::Noise => "the noise is larger than the growth in question".to_owned(),
        Reason::StillFilling => {
            "it grows ever more slowly, or has stopped: a cache that fills, or a leak".to_owned()
        }
        Reason::WarmingUp => "the warm-up had not settled".to_owned(),
        Reason::FewSteps => "too few steps to tell a rare leak from one-time growth".to_owned(),
        Reason::Ambiguous => {
            "a leak and a healthy program would explain the rounds about equally".to_owned()
        }
        Reason::Contradiction => {
            "the rate and the signs of the single rounds contradict each other".to_owned()
        }
        _ => "undecided".to_owned(),
    }
}

/// The test that this thread runs: the harness names threads after tests.
pub(crate) fn name_of_test() -> Option<String> {
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main")?;
    Some(name.to_owned())
}

/// The command that runs the test again, where cargo runs it.
fn again(name: Option<&str>) -> Option<String> {
    let package = std::env::var("CARGO_PKG_NAME").ok()?;
    let program = std::env::current_exe().ok()?;
    // `target/debug/deps/store-0123456789abcdef`
    let (target, _) = program.file_name()?.to_str()?.rsplit_once('-')?;
    let release = if cfg!(debug_assertions) {
        ""
    } else {
        " --release"
    };
    let which = if target == package.replace('-', "_") {
        String::new()
    } else {
        format!(" --test {target}")
    };
    let test = name.map_or_else(String::new, |name| format!(" -- --exact {name}"));
    Some(format!("cargo test -p {package}{release}{which}{test}"))
}
