//! What a monitor decides: lines, severities, sessions. No clock, no thread, no process, nobody told: those are the monitor's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_alloc::Scope;

use super::growth::Growth;
use crate::text::{bytes, significant};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// What was raised before is over.
    Recovered,
    /// Most of a budget is used, or the process's limit is near.
    Warning,
    /// A session or a component of it is above its budget, or memory grows too fast.
    Error,
    /// The process is above its budget.
    Critical,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// A session, against its budget.
    Session,
    /// A component of a session, against its budget.
    Component,
    /// The process, against its budget.
    System,
    /// Growth of the process per minute.
    Growth,
    /// How full the process's limit of memory is.
    Pressure,
}

/// What passed a line. `Display` says it in one sentence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// Whose, of sessions and components.
    pub session: Option<String>,
    /// Which component.
    pub component: Option<String>,
    /// Bytes; bytes per minute of growth; percent of the limit.
    pub value: f64,
    /// The line's end, in the same unit.
    pub limit: f64,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.session.as_deref().unwrap_or_default();
        match self.kind {
            AlertKind::Session => write!(f, "session {session}")?,
            AlertKind::Component => {
                let component = self.component.as_deref().unwrap_or_default();
                write!(f, "{component} of session {session}")?;
            }
            AlertKind::System => write!(f, "the process")?,
            AlertKind::Growth => write!(f, "growth")?,
            AlertKind::Pressure => write!(f, "the process's limit")?,
        }
        if self.severity == Severity::Recovered {
            write!(f, " recovered")?;
        }
        match self.kind {
            AlertKind::Growth => write!(
                f,
                ": {} a minute, limit {}, by a plain slope, which is no verdict",
                bytes(self.value),
                bytes(self.limit)
            ),
            AlertKind::Pressure => write!(
                f,
                ": {} % full, limit {} %",
                significant(self.value),
                significant(self.limit)
            ),
            _ => write!(f, ": {} of {}", bytes(self.value), bytes(self.limit)),
        }
    }
}

/// Lines of a [`MemoryMonitor`](crate::MemoryMonitor).
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// Bytes of each session: 10 MiB.
    pub per_session: u64,
    /// Bytes of the process: 150 MiB.
    pub total_system: u64,
    /// Percent of a budget from which on it is a warning: 80.
    pub alert_threshold: f64,
    /// Percent of a budget by which a value must fall below a line: 5.
    pub hysteresis: f64,
    /// Bytes of growth per minute above which it is an error: 1 MiB.
    pub growth_per_minute: u64,
    /// Over which growth is looked at: 10 minutes.
    pub growth_window: Duration,
    /// Percent of the process's limit of memory above which it is a warning: 90.
    pub heap_full: f64,
    /// Bytes of components of a session, by name: none.
    pub components: BTreeMap<String, u64>,
    /// Between two collections, or clearings of caches: a minute.
    pub cooldown: Duration,
    /// Tells actions instead of taking them; the callback runs.
    pub dry_run: bool,
}

impl Default for Budgets {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            per_session: 10 * MIB,
            total_system: 150 * MIB,
            alert_threshold: 80.0,
            hysteresis: 5.0,
            growth_per_minute: MIB,
            growth_window: Duration::from_mins(10),
            heap_full: 90.0,
            components: BTreeMap::new(),
            cooldown: Duration::from_mins(1),
            dry_run: false,
        }
    }
}

/// A line that can mean nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BadBudget {
    /// A percentage that is none: its name, the least it may be, and what it is.
    Percent(&'static str, f64, f64),
    /// A budget, or the window of growth, of nothing.
    Zero(&'static str),
}

impl fmt::Display for BadBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(name, least, given) => {
                write!(f, "{name} is percent, {least} to 100, not {given}")
            }
            Self::Zero(name) => write!(f, "{name} is above 0"),
        }
    }
}

impl std::error::Error for BadBudget {}

impl Budgets {
    pub(super) fn check(&self) -> Result<(), BadBudget> {
        for (name, least, percent) in [
            ("alert_threshold", 1.0, self.alert_threshold),
            ("hysteresis", 0.0, self.hysteresis),
            ("heap_full", 1.0, self.heap_full),
        ] {
            if !(least..=100.0).contains(&percent) {
                return Err(BadBudget::Percent(name, least, percent));
            }
        }
        for (name, is_zero) in [
            ("per_session", self.per_session == 0),
            ("total_system", self.total_system == 0),
            ("growth_per_minute", self.growth_per_minute == 0),
            ("growth_window", self.growth_window.is_zero()),
            (
                "a component's budget",
                self.components.values().any(|bytes| *bytes == 0),
            ),
        ] {
            if is_zero {
                return Err(BadBudget::Zero(name));
            }
        }
        Ok(())
    }
}

/// How a session's bytes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// The program said so.
    Reported,
    /// The allocator counted what the session's [`Scope`] allocated, exactly.
    Measured,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStatus {
    /// `None` before anything was said.
    pub bytes: Option<u64>,
    /// How they are known.
    pub method: Method,
    /// Charged bytes by component.
    pub components: BTreeMap<String, u64>,
}

/// Who is asked at each sample.
#[derive(Clone)]
pub(super) enum Asked {
    Program(Arc<dyn Fn() -> u64 + Send + Sync>),
    Allocator(Scope),
}

impl Asked {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Program(bytes) => bytes(),
            Self::Allocator(scope) => scope.stats().live_bytes.max(0).cast_unsigned(),
        }
    }
}

/// Where a value stands: `None` is well.
type State = Option<Severity>;

#[derive(Default)]
struct Session {
    asked: Option<Asked>,
    answered: Option<u64>,
    state: State,
    /// A charge that names no component has an empty name.
    components: BTreeMap<String, Component>,
}

#[derive(Default)]
struct Component {
    bytes: u64,
    state: State,
}

impl Session {
    fn bytes(&self) -> Option<u64> {
        if self.asked.is_some() {
            return self.answered;
        }
        let charged = self.components.values().map(|part| part.bytes);
        (!self.components.is_empty()).then(|| charged.sum())
    }
}

struct Line {
    limit: f64,
    /// Severity above the limit.
    above: Severity,
    /// From here on it is a warning.
    warns_at: f64,
    /// How far below its line a severity ends.
    slack: f64,
}

impl Line {
    /// The state after `value`, and what is to be told of the change.
    fn follow(&self, was: State, value: f64) -> (State, Option<Severity>) {
        let is = if value > self.limit
            || (was == Some(self.above) && value >= self.limit - self.slack)
        {
            Some(self.above)
        } else if value >= self.warns_at || (was.is_some() && value >= self.warns_at - self.slack) {
            Some(Severity::Warning)
        } else {
            None
        };
        let told = match (was, is) {
            (Some(_), None) => Some(Severity::Recovered),
            _ => is.filter(|_| is > was),
        };
        (is, told)
    }
}

/// Sessions, the process, and what was raised for them.
pub(super) struct Watch {
    budgets: Budgets,
    sessions: BTreeMap<String, Session>,
    growth: Growth,
    states: [State; 3],
    pub(super) total: Option<u64>,
}

const SYSTEM: usize = 0;
const GROWTH: usize = 1;
const PRESSURE: usize = 2;

impl Watch {
    pub(super) fn new(budgets: Budgets) -> Self {
        Self {
            growth: Growth::new(budgets.growth_window),
            budgets,
            sessions: BTreeMap::new(),
            states: [None; 3],
            total: None,
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.sessions.keys().cloned().collect()
    }

    /// Makes a session known, or changes who is asked; gives back who was, to end without the lock.
    pub(super) fn register(&mut self, name: &str, asked: Option<Asked>) -> Option<Asked> {
        let session = self.sessions.entry(name.to_owned()).or_default();
        session.answered = None;
        std::mem::replace(&mut session.asked, asked)
    }

    pub(super) fn asked(&self, name: &str) -> Option<Asked> {
        self.sessions.get(name)?.asked.clone()
    }

    pub(super) fn answer(&mut self, name: &str, bytes: u64) {
        if let Some(session) = self.sessions.get_mut(name).filter(|s| s.asked.is_some()) {
            session.answered = Some(bytes);
        }
    }

    pub(super) fn charge(&mut self, name: &str, component: &str, bytes: u64) {
        if !self.sessions.contains_key(name) {
            self.register(name, None);
        }
        if let Some(session) = self.sessions.get_mut(name) {
            session
                .components
                .entry(component.to_owned())
                .or_default()
                .bytes = bytes;
        }
    }

    /// Whether session and component are within their budgets; one that is over fits.
    pub(super) fn fits(&self, name: &str, component: &str) -> bool {
        let Some(session) = self.sessions.get(name) else {
            return true;
        };
        let part = session
            .components
            .get(component)
            .map_or(0, |part| part.bytes);
        let budget = self.budgets.components.get(component);
        session.bytes().unwrap_or(0) <= self.budgets.per_session
            && budget.is_none_or(|budget| part <= *budget)
    }

    /// Forgets a session: what is to be told of it, if there was one, and who was asked.
    pub(super) fn end(&mut self, name: &str) -> Option<(Vec<Alert>, Option<Asked>)> {
        let session = self.sessions.remove(name)?;
        let mut alerts = Vec::new();
        if session.state.is_some() {
            let limit = self.budgets.per_session as f64;
            let kind = AlertKind::Session;
            alerts.push(alert(kind, Severity::Recovered, 0.0, limit).of(name, None));
        }
        for (component, part) in &session.components {
            if part.state.is_some() {
                let limit = self.budgets.components.get(component).copied();
                let limit = limit.unwrap_or_default() as f64;
                let alert = alert(AlertKind::Component, Severity::Recovered, 0.0, limit);
                alerts.push(alert.of(name, Some(component)));
            }
        }
        Some((alerts, session.asked))
    }

    pub(super) fn components(&self, name: &str) -> Vec<String> {
        let session = self.sessions.get(name);
        session.map_or_else(Vec::new, |session| {
            session.components.keys().cloned().collect()
        })
    }

    pub(super) fn look_at_session(&mut self, name: &str) -> Option<Alert> {
        let line = self.budget(self.budgets.per_session, Severity::Error);
        let session = self.sessions.get_mut(name)?;
        let bytes = session.bytes()? as f64;
        let (is, told) = line.follow(session.state, bytes);
        session.state = is;
        Some(alert(AlertKind::Session, told?, bytes, line.limit).of(name, None))
    }

    pub(super) fn look_at_component(&mut self, name: &str, component: &str) -> Option<Alert> {
        let line = self.budget(*self.budgets.components.get(component)?, Severity::Error);
        let part = self.sessions.get_mut(name)?.components.get_mut(component)?;
        let bytes = part.bytes as f64;
        let (is, told) = line.follow(part.state, bytes);
        part.state = is;
        Some(alert(AlertKind::Component, told?, bytes, line.limit).of(name, Some(component)))
    }

    pub(super) fn look_at_system(&mut self, total: Option<u64>) -> Option<Alert> {
        self.total = total.or(self.total);
        let line = self.budget(self.budgets.total_system, Severity::Critical);
        self.look(SYSTEM, AlertKind::System, &line, total? as f64)
    }

    pub(super) fn add_live(&mut self, at: Duration, live: u64) {
        self.growth.add(at, live as f64);
    }

    pub(super) fn bytes_per_minute(&self) -> Option<f64> {
        self.growth.bytes_per_minute()
    }

    pub(super) fn look_at_growth(&mut self) -> Option<Alert> {
        let line = self.limit(self.budgets.growth_per_minute as f64, Severity::Error);
        self.look(GROWTH, AlertKind::Growth, &line, self.bytes_per_minute()?)
    }

    pub(super) fn look_at_pressure(&mut self, percent: Option<f64>) -> Option<Alert> {
        let line = self.limit(self.budgets.heap_full, Severity::Warning);
        self.look(PRESSURE, AlertKind::Pressure, &line, percent?)
    }

    fn look(&mut self, state: usize, kind: AlertKind, line: &Line, value: f64) -> Option<Alert> {
        let (is, told) = line.follow(self.states[state], value);
        self.states[state] = is;
        Some(alert(kind, told?, value, line.limit))
    }

    fn budget(&self, limit: u64, above: Severity) -> Line {
        let limit = limit as f64;
        Line {
            warns_at: limit * self.budgets.alert_threshold / 100.0,
            ..self.limit(limit, above)
        }
    }

    fn limit(&self, limit: f64, above: Severity) -> Line {
        Line {
            limit,
            above,
            warns_at: f64::INFINITY,
            slack: limit * self.budgets.hysteresis / 100.0,
        }
    }

    pub(super) fn status(&self) -> BTreeMap<String, SessionStatus> {
        let of = |(name, session): (&String, &Session)| {
            let named = session
                .components
                .iter()
                .filter(|(name, _)| !name.is_empty());
            let status = SessionStatus {
                bytes: session.bytes(),
                method: match session.asked {
                    Some(Asked::Allocator(_)) => Method::Measured,
                    _ => Method::Reported,
                },
                components: named
                    .map(|(name, part)| (name.clone(), part.bytes))
                    .collect(),
            };
            (name.clone(), status)
        };
        self.sessions.iter().map(of).collect()
    }
}

fn alert(kind: AlertKind, severity: Severity, value: f64, limit: f64) -> Alert {
    Alert {
        kind,
        severity,
        session: None,
        component: None,
        value,
        limit,
    }
}

impl Alert {
    fn of(self, session: &str, component: Option<&str>) -> Self {
        Self {
            session: Some(session.to_owned()),
            component: component.map(str::to_owned),
            ..self
        }
    }
}
