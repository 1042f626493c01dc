//! Who holds the memory, and what else is worth telling.

use serde::{Deserialize, Serialize};

/// The kind, holder and place that explain growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    /// What grows: `request listeners on Server`, `Timeout timers`.
    pub kind: String,
    /// The long-lived container that holds it, by path from a root, if known.
    pub holder: Option<String>,
    /// Where it is made: `file:line`, if known.
    pub place: Option<String>,
    /// How many more per operation.
    pub count_per_op: Option<f64>,
    /// How many more bytes per operation, if known.
    pub bytes_per_op: Option<f64>,
    /// Share of the run's growth it explains (0 to 1), if known.
    pub share: Option<f64>,
    /// Name of the pattern, e.g. `event listeners`.
    pub pattern: String,
    /// One line of advice.
    pub advice: String,
    /// What it rests on, a line each.
    pub evidence: Vec<String>,
}

/// How growth divides over the places memory can be in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// `V8 heap`, `external`, `outside the heap`.
    pub name: String,
    /// Bytes per operation, or per second on the time axis.
    pub rate: f64,
    /// Share of the growth of resident anonymous memory, 0 to 1.
    pub ratio: f64,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Info,
    /// Limits what the verdict can say.
    Warning,
}

/// One thing worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name, e.g. `probe-not-loaded`.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// What to do about it, if anything.
    pub hint: Option<String>,
}

impl Finding {
    /// A finding that limits what the verdict can say.
    pub fn warning(id: &str, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            id: id.to_owned(),
            severity: Severity::Warning,
            message: message.into(),
            hint: hint.map(str::to_owned),
        }
    }

    /// A finding that is good to know.
    pub fn info(id: &str, message: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            severity: Severity::Info,
            message: message.into(),
            hint: None,
        }
    }
}
