//! Budgets of sessions and of the process, with alerts and actions.
//!
//! The same monitor as in the npm package and in Python: what it raises and does is fixed by the vectors in `testdata/monitor`. It
//! reads at an interval, by a thread that [`start`](MemoryMonitor::start) starts, or when it is asked to, and at each charge.

mod growth;
mod process;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plimsoll_alloc::Scope;
use plimsoll_judge::{Axis, Series, Terms, judge};

pub use self::process::ProcessReading;
pub use self::watch::{Alert, AlertKind, BadBudget, Budgets, Method, SessionStatus, Severity};
use self::watch::{Asked, Watch};
use crate::meter::Source;

/// What the program lets a monitor do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The process is critical: give memory back that is kept for later. At most once in the cooldown.
    Collect,
    /// The process is critical: clear caches. At most once in the cooldown.
    ClearCaches,
    /// A session, or a component of one, is above its budget.
    Evict,
    /// Whatever is raised.
    Callback,
}

/// What listeners hear.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Process and sessions were looked at.
    Sample(&'a MonitorSample),
    /// A line was passed, or all is well again.
    Alert(&'a Alert),
    /// An action was taken; in a dry run all but the callback are only told.
    Action(Action, &'a Alert),
}

/// One look at process and sessions.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MonitorSample {
    /// What the process says of itself.
    pub process: ProcessReading,
    /// How it knows: exact live bytes, resident memory, or nothing.
    pub source: Source,
    /// Growth per minute in bytes, by a plain slope over the window; `None` while too little is known. What the judge says of it:
    /// [`MemoryMonitor::verdict`].
    pub growth_per_minute: Option<f64>,
    /// Sessions by name.
    pub sessions: BTreeMap<String, SessionStatus>,
    /// Charged bytes by component, of all sessions.
    pub components: BTreeMap<String, u64>,
}

type Clock = dyn Fn() -> Duration + Send + Sync;
type Read = dyn Fn() -> (ProcessReading, Source) + Send + Sync;
type Act = dyn Fn(&MemoryMonitor, &Alert) + Send + Sync;
type Listener = dyn Fn(&Event<'_>) + Send + Sync;

/// Watches budgets. Its clones are the same monitor; when the last is gone, so is its thread.
///
/// ```
/// use plimsoll::{Action, Budgets, Event, MemoryMonitor, Severity};
///
/// let monitor = MemoryMonitor::new(Budgets::default())?;
/// monitor.on(|event| match event {
///     Event::Alert(alert) if alert.severity >= Severity::Error => eprintln!("{alert}"),
///     _ => {}
/// });
/// monitor.act(Action::Evict, |monitor, alert| {
///     // … throw out what the session can do without, and say what is left.
///     monitor.charge(alert.session.as_deref().unwrap_or_default(), 0);
/// });
/// monitor.start(std::time::Duration::from_secs(60))?;
///
/// assert!(monitor.charge("ada", 9 << 20));
/// assert!(monitor.charge("ada", 11 << 20), "the eviction made it fit");
/// monitor.end("ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryMonitor(Arc<Inner>);

struct Inner {
    budgets: Budgets,
    limit: Option<u64>,
    clock: Box<Clock>,
    read: Box<Read>,
    watch: Mutex<Watch>,
    record: Mutex<Record>,
    actions: Mutex<BTreeMap<Action, Arc<Act>>>,
    last_taken: Mutex<BTreeMap<Action, Duration>>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    ticker: Mutex<Option<Ticker>>,
}

/// The thread, and how it is told to end.
struct Ticker {
    thread: JoinHandle<()>,
    end: Arc<(Mutex<bool>, Condvar)>,
}

impl Ticker {
    fn end(self) {
        *locked(&self.end.0) = true;
        self.end.1.notify_all();
        // A listener on the thread itself may have asked for it, or have been the last to know the monitor.
        if self.thread.thread().id() != thread::current().id() {
            // It ends by itself, or by a panic of a listener, which the hook has told.
            let _ = self.thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(ticker) = locked(&self.ticker).take() {
            ticker.end();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryMonitor {
    /// With these lines, on this process. It reads nothing until it is started or asked.
    ///
    /// # Errors
    /// If a line can mean nothing: a percentage that is none, a budget of nothing.
    pub fn new(budgets: Budgets) -> Result<Self, BadBudget> {
        budgets.check()?;
        let begun = Instant::now();
        let limit = process::limit();
        let read = move || process::read(limit);
        let clock = move || begun.elapsed();
        Ok(Self::of(budgets, limit, Box::new(clock), Box::new(read)))
    }

    /// With a clock and figures of its own, for tests.
    #[doc(hidden)]
    pub fn with_clock(
        budgets: Budgets,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
        read: impl Fn() -> (ProcessReading, Source) + Send + Sync + 'static,
    ) -> Self {
        Self::of(budgets, None, Box::new(clock), Box::new(read))
    }

    fn of(budgets: Budgets, limit: Option<u64>, clock: Box<Clock>, read: Box<Read>) -> Self {
        Self(Arc::new(Inner {
            watch: Mutex::new(Watch::new(budgets.clone())),
            budgets,
            limit,
            clock,
            read,
            record: Mutex::new(Record::default()),
            actions: Mutex::new(BTreeMap::new()),
            last_taken: Mutex::new(BTreeMap::new()),
            listeners: Mutex::new(Vec::new()),
            ticker: Mutex::new(None),
        }))
    }

    /// Has `listener` hear everything, on the thread that samples or charges. One that holds a clone of the monitor keeps it alive.
    pub fn on(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        locked(&self.0.listeners).push(Arc::new(listener));
    }

    /// Lets the monitor do this; what it is not told, it does not do.
    pub fn act(&self, action: Action, act: impl Fn(&Self, &Alert) + Send + Sync + 'static) {
        let was = locked(&self.0.actions).insert(action, Arc::new(act));
        drop(was);
    }

    /// Samples at once and then each `interval`, in a thread, until [`stop`](Self::stop) or the end of the last clone. Starting twice
    /// does nothing.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(&self, interval: Duration) -> io::Result<()> {
        let mut ticker = locked(&self.0.ticker);
        if ticker.is_some() {
            return Ok(());
        }
        let end = Arc::new((Mutex::new(false), Condvar::new()));
        let (told, inner) = (Arc::clone(&end), Arc::downgrade(&self.0));
        let thread = thread::Builder::new()
            .name("plimsoll-monitor".to_owned())
            .spawn(move || tick(&inner, &told, interval))?;
        *ticker = Some(Ticker { thread, end });
        Ok(())
    }

    /// Ends the thread; afterwards no sample comes of itself. From a listener it ends after that.
    pub fn stop(&self) {
        let ticker = locked(&self.0.ticker).take();
        if let Some(ticker) = ticker {
            ticker.end();
        }
    }

    /// Makes a session known, whose bytes the program [charges](Self::charge).
    pub fn register(&self, session: &str) {
        self.ask(session, None);
    }

    /// Makes a session known, or changes it to one whose bytes are asked for at each sample.
    pub fn register_with(&self, session: &str, bytes: impl Fn() -> u64 + Send + Sync + 'static) {
        self.ask(session, Some(Asked::Program(Arc::new(bytes))));
    }

    /// Makes a session known, or changes it to one whose bytes the allocator counts, exactly: what is allocated in `scope` and still
    /// alive. [`Scoped`](crate::Scoped) must be the global allocator, else that is nothing.
    pub fn register_scope(&self, session: &str, scope: Scope) {
        self.ask(session, Some(Asked::Allocator(scope)));
    }

    fn ask(&self, session: &str, asked: Option<Asked>) {
        let was = locked(&self.0.watch).register(session, asked);
        drop(was);
    }

    /// The session now takes so many bytes, as the program knows it. Listeners and actions run before it returns whether the session is
    /// within its budget.
    pub fn charge(&self, session: &str, bytes: u64) -> bool {
        self.charge_component(session, "", bytes)
    }

    /// This component of the session now takes so many bytes. Whether both are within their budgets.
    pub fn charge_component(&self, session: &str, component: &str, bytes: u64) -> bool {
        locked(&self.0.watch).charge(session, component, bytes);
        self.tell(|watch| watch.look_at_session(session));
        self.tell(|watch| watch.look_at_component(session, component));
        locked(&self.0.watch).fits(session, component)
    }

    /// The session is over; whether there was one.
    pub fn end(&self, session: &str) -> bool {
        let ended = locked(&self.0.watch).end(session);
        let Some((alerts, asked)) = ended else {
            return false;
        };
        drop(asked);
        for alert in alerts {
            self.raise(&alert);
        }
        true
    }

    /// Looks at process and sessions now.
    pub fn sample(&self) -> MonitorSample {
        let (process, source) = (self.0.read)();
        let now = (self.0.clock)();
        let names = locked(&self.0.watch).names();
        for name in &names {
            // Asked without the lock: whoever answers may charge.
            let asked = locked(&self.0.watch).asked(name);
            if let Some(bytes) = asked.map(|asked| asked.bytes()) {
                locked(&self.0.watch).answer(name, bytes);
            }
        }
        if let Some(live) = process.live_bytes {
            locked(&self.0.watch).add_live(now, live);
            locked(&self.0.record).push(now, live as f64);
        }
        for name in &names {
            self.tell(|watch| watch.look_at_session(name));
            let components = locked(&self.0.watch).components(name);
            for component in &components {
                self.tell(|watch| watch.look_at_component(name, component));
            }
        }
        self.tell(|watch| watch.look_at_system(process.total_bytes));
        self.tell(Watch::look_at_growth);
        self.tell(|watch| watch.look_at_pressure(process.heap_full_percent));
        let sample = self.sampled(process, source);
        self.hear(&Event::Sample(&sample));
        sample
    }

    /// What is known now, without an alert.
    pub fn metrics(&self) -> MonitorSample {
        let (process, source) = (self.0.read)();
        self.sampled(process, source)
    }

    /// What the judge says of the growth of the process over all samples so far, at most 2,048 of them: leak, no leak or inconclusive,
    /// with bytes per second and their interval.
    pub fn verdict(&self) -> plimsoll_judge::Verdict {
        let series = locked(&self.0.record).series.clone();
        let limit = self.0.limit.map(|limit| limit as f64);
        let terms = Terms {
            limit,
            ..Terms::default()
        };
        judge(&series, &terms)
    }

    fn sampled(&self, process: ProcessReading, source: Source) -> MonitorSample {
        let watch = locked(&self.0.watch);
        let sessions = watch.status();
        let mut components = BTreeMap::new();
        for (name, bytes) in sessions.values().flat_map(|session| &session.components) {
            *components.entry(name.clone()).or_default() += bytes;
        }
        MonitorSample {
            process: ProcessReading {
                total_bytes: process.total_bytes.or(watch.total),
                ..process
            },
            source,
            growth_per_minute: watch.bytes_per_minute(),
            sessions,
            components,
        }
    }

    /// Without the lock: who is told may charge, and register, and stop.
    fn tell(&self, look: impl FnOnce(&mut Watch) -> Option<Alert>) {
        let alert = look(&mut locked(&self.0.watch));
        if let Some(alert) = alert {
            self.raise(&alert);
        }
    }

    fn hear(&self, event: &Event<'_>) {
        let listeners = locked(&self.0.listeners).clone();
        for listener in listeners {
            listener(event);
        }
    }

    fn raise(&self, alert: &Alert) {
        self.hear(&Event::Alert(alert));
        let actions: &[Action] = match (alert.severity, alert.kind) {
            (Severity::Recovered, _) => &[],
            (Severity::Critical, _) => &[Action::Collect, Action::ClearCaches, Action::Callback],
            (Severity::Error, AlertKind::Session | AlertKind::Component) => {
                &[Action::Evict, Action::Callback]
            }
            _ => &[Action::Callback],
        };
        for &action in actions {
            self.take(action, alert);
        }
    }

    fn take(&self, action: Action, alert: &Alert) {
        let act = locked(&self.0.actions).get(&action).cloned();
        let Some(act) = act else { return };
        let Budgets {
            cooldown, dry_run, ..
        } = self.0.budgets;
        if matches!(action, Action::Collect | Action::ClearCaches) {
            let now = (self.0.clock)();
            let mut last_taken = locked(&self.0.last_taken);
            let last = last_taken.get(&action);
            if last.is_some_and(|last| now.saturating_sub(*last) < cooldown) {
                return;
            }
            last_taken.insert(action, now);
        }
        if !dry_run || action == Action::Callback {
            act(self, alert);
        }
        self.hear(&Event::Action(action, alert));
    }
}

/// Samples until told to end, or until nobody knows the monitor any more.
fn tick(inner: &Weak<Inner>, end: &(Mutex<bool>, Condvar), interval: Duration) {
    let mut next = Instant::now();
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            if *locked(&end.0) {
                return;
            }
            MemoryMonitor(inner).sample();
        }
        // What a slow listener missed is not made up for.
        next = (next + interval).max(Instant::now());
        let is_over = locked(&end.0);
        let left = next.saturating_duration_since(Instant::now());
        let waited = end.1.wait_timeout_while(is_over, left, |is_over| !*is_over);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
    }
}

impl fmt::Debug for MemoryMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryMonitor")
            .field("budgets", &self.0.budgets)
            .field("is_running", &locked(&self.0.ticker).is_some())
            .finish_non_exhaustive()
    }
}

/// Readings of the whole time for the judge; of too many, each two become their lower.
struct Record {
    series: Series,
    /// Samples that become one.
    merged: usize,
    pending: Option<(Duration, f64)>,
    count: usize,
}

const MOST: usize = 2048;

impl Default for Record {
    fn default() -> Self {
        let series = Series {
            metric: "live_bytes".to_owned(),
            axis: Axis::Time,
            resolution: 1.0,
            ..Series::default()
        };
        Self {
            series,
            merged: 1,
            pending: None,
            count: 0,
        }
    }
}

impl Record {
    fn push(&mut self, at: Duration, live: f64) {
        if self.pending.is_none_or(|(_, lowest)| live < lowest) {
            self.pending = Some((at, live));
        }
        self.count += 1;
        if self.count < self.merged {
            return;
        }
        let Series { t_ns, value, .. } = &mut self.series;
        // All at once: the record is no growth of the process.
        t_ns.reserve_exact(MOST - t_ns.len());
        value.reserve_exact(MOST - value.len());
        if value.len() >= MOST {
            for pair in 0..value.len() / 2 {
                let lower = 2 * pair + usize::from(value[2 * pair + 1] < value[2 * pair]);
                (t_ns[pair], value[pair]) = (t_ns[lower], value[lower]);
            }
            t_ns.truncate(MOST / 2);
            value.truncate(MOST / 2);
            self.merged *= 2;
        }
        if let Some((at, live)) = self.pending.take() {
            t_ns.push(at.as_nanos() as u64);
            value.push(live);
        }
        self.count = 0;
    }
}
