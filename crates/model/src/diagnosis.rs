//! What a machine, and one process on it, allow to be observed.

use serde::{Deserialize, Serialize};

/// Schema name of `plimsoll doctor --json`.
pub const DIAGNOSIS_SCHEMA: &str = "plimsoll.doctor/1";

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`DIAGNOSIS_SCHEMA`].
    pub schema: String,
    /// Version of the tool.
    pub tool_version: String,
    /// The process asked about.
    pub pid: Option<u32>,
    /// One answer each.
    pub answers: Vec<Answer>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What, in a word: `cgroup`, `node`.
    pub about: String,
    /// Whether it is as it should be.
    pub state: Health,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` where nothing is wrong, or nothing can be done.
    pub remedy: Option<String>,
}

/// How good that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Something is seen less well, or not at all.
    Limited,
    /// Nothing can be measured like this.
    Missing,
}

impl Health {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

impl Diagnosis {
    /// The worst of all answers.
    pub fn health(&self) -> Health {
        let states = self.answers.iter().map(|answer| answer.state);
        states.max().unwrap_or(Health::Ok)
    }
}
