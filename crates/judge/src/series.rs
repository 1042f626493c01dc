//! What goes into the judge: one series of readings, and the terms it is judged on.

/// Which series this is: the isolate (process x thread) it was read from, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeriesId {
    /// What the process does in its tree: `service`, `worker`, `wrapper`.
    pub role: String,
    /// Process id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot; with `pid` it names one process for ever.
    pub start_ticks: u64,
    /// Thread of the runtime within the process; 0 is the main one.
    pub isolate: u32,
    /// How often the process of this role was replaced before.
    pub epoch: u32,
    /// The kind of operation the series is limited to, if it is.
    pub operation: Option<u32>,
}

/// What memory is judged against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Axis {
    /// Operations completed. Rates are per operation.
    #[default]
    Operations,
    /// Time. Rates are per second.
    Time,
}

/// What the values of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Quantity {
    /// Bytes.
    #[default]
    Bytes,
    /// A number of things: listeners, timers, descriptors.
    Count,
}

/// Readings of one metric, in the order in which they were taken.
///
/// All vectors have the length of `t_ns`, or are empty where the column is unknown as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Where it was read.
    pub id: SeriesId,
    /// Name of the metric, e.g. `live_bytes` or `rss_anon`.
    pub metric: String,
    /// What the values are.
    pub quantity: Quantity,
    /// What growth is measured against.
    pub axis: Axis,
    /// Nanoseconds since the start of the run. Jumps are repaired and reported, see [`Repair`].
    pub t_ns: Vec<u64>,
    /// The readings; NaN is a gap.
    pub value: Vec<f64>,
    /// Operations completed so far at each reading; NaN where not known.
    pub ops: Vec<f64>,
    /// Load level (for example concurrent sessions) at each reading; NaN where not known.
    pub load: Vec<f64>,
    /// Whether the reading was taken just after a forced collection.
    pub collected: Vec<bool>,
    /// Which start of the process the reading belongs to.
    pub epoch: Vec<u32>,
    /// Bytes of an operation's answer, as the mean since the reading before; NaN where not known. If the work itself
    /// grows, so may memory, and neither is a leak.
    pub response_bytes_per_op: Vec<f64>,
    /// Nanoseconds an operation took, as the mean since the reading before; NaN where not known.
    pub operation_ns: Vec<f64>,
    /// Share of the operations since the reading before that failed, 0 to 1; NaN where not known.
    pub error_share: Vec<f64>,
    /// Smallest step the metric can take, in its own unit: the page size for resident memory, 1 for exact counters.
    pub resolution: f64,
}

/// One reading, as [`Judge::push`](crate::Judge::push) takes it. What is not known is NaN, and so is it by default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Nanoseconds since the start of the run.
    pub t_ns: u64,
    /// The reading; NaN is a gap.
    pub value: f64,
    /// Operations completed so far.
    pub ops: f64,
    /// Load level.
    pub load: f64,
    /// Whether it was taken just after a forced collection.
    pub collected: bool,
    /// Which start of the process it belongs to.
    pub epoch: u32,
    /// Bytes of an operation's answer, the mean since the reading before.
    pub response_bytes_per_op: f64,
    /// Nanoseconds an operation took, the mean since the reading before.
    pub operation_ns: f64,
    /// Share of the operations since the reading before that failed.
    pub error_share: f64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            t_ns: 0,
            value: f64::NAN,
            ops: f64::NAN,
            load: f64::NAN,
            collected: false,
            epoch: 0,
            response_bytes_per_op: f64::NAN,
            operation_ns: f64::NAN,
            error_share: f64::NAN,
        }
    }
}

impl Series {
    /// Adds a reading at the end. A column that was left empty while others were filled is unknown, and stays so.
    pub fn push(&mut self, reading: Reading) {
        let n = self.t_ns.len();
        let add = |column: &mut Vec<f64>, value: f64| {
            if column.len() == n {
                column.push(value);
            }
        };
        add(&mut self.value, reading.value);
        add(&mut self.ops, reading.ops);
        add(&mut self.load, reading.load);
        add(
            &mut self.response_bytes_per_op,
            reading.response_bytes_per_op,
        );
        add(&mut self.operation_ns, reading.operation_ns);
        add(&mut self.error_share, reading.error_share);
        if self.collected.len() == n {
            self.collected.push(reading.collected);
        }
        if self.epoch.len() == n {
            self.epoch.push(reading.epoch);
        }
        self.t_ns.push(reading.t_ns);
    }
}

/// On what terms a series is judged: the promises made before the measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Probability of a false leak verdict over all looks and the whole family of series.
    pub alpha: f64,
    /// Growth below this rate (per operation or per second) is not called a leak; `None` takes the default of the kind
    /// of series (see [`Verdict::floor`](crate::Verdict::floor)).
    pub floor: Option<f64>,
    /// Length the run is planned to have, as nanoseconds; a series cut short of it is judged more carefully.
    pub planned_ns: Option<u64>,
    /// Which look at the growing series this is, counted from 1. Each look spends its share of alpha.
    pub look: u32,
    /// How many looks there can be at most.
    pub looks: u32,
    /// Growth seen per round without operations, divided by the operations of a round: widens the interval, and is
    /// never subtracted.
    pub idle_growth_per_op: f64,
    /// What the quantity of a healthy subject rises by now and then before it falls again, in its unit: growth that comes
    /// to no more over the whole series is not called a leak.
    pub sway: f64,
    /// The metric's limit in bytes, for the time to limit.
    pub limit: Option<f64>,
    /// Operations per second at which the time to limit is asked; `None` takes the series' own rate.
    pub expected_rate: Option<f64>,
    /// Number of warm-up operations declared before the series starts; quoted by the guarantee.
    pub warm_up_operations: u64,
    /// Whether the warm-up had settled. If not, only growth that does not decelerate may be called a leak.
    pub settled: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            floor: None,
            planned_ns: None,
            look: 1,
            looks: 1,
            idle_growth_per_op: 0.0,
            sway: 0.0,
            limit: None,
            expected_rate: None,
            warm_up_operations: 0,
            settled: true,
        }
    }
}

/// What was mended in a series before it was judged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Repair {
    /// The clock jumped backwards or absurdly far forwards this many times.
    ClockJumps(usize),
    /// This many readings were missing or not a number.
    Gaps(usize),
    /// The process was restarted: only the longest stretch was judged, of so many.
    Restarts {
        /// Stretches found.
        segments: usize,
        /// Readings of the stretch that was judged.
        kept: usize,
    },
    /// This many readings stood out of order and were sorted by time.
    Unsorted(usize),
}
