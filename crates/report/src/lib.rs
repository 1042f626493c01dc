//! Renders what was recorded: for a terminal, for machines, for a continuous-integration server.
//!
//! A report never computes and never judges. It writes what a [`Run`] says, in words and units, and gives it back as a
//! string; printing is the business of whoever asked. Everything that came from the subject (names, messages, output)
//! may be hostile: control characters are shown, not obeyed, in every format.
//!
//! ```
//! let style = plimsoll_report::Style { color: false, width: 100, ascii: false };
//! assert_eq!(plimsoll_report::history_text(&[], style), "no runs yet; `plimsoll check` makes one\n");
//! ```

use plimsoll_model::Run;

mod advice;
mod analysis;
mod doctor;
mod history;
mod junit;
mod load;
mod monitor;
mod page;
mod plot;
mod profile;
mod rules;
mod sheet;
mod spark;
mod suite;
mod text;
mod words;

pub use analysis::{analyze_text, answer_json, verdict_json};
pub use doctor::{doctor_json, doctor_text};
pub use history::{history_json, history_text};
pub use junit::junit;
pub use monitor::{Columns, reading_text};
pub use page::Style;
pub use rules::{rules_json, rules_text};
pub use sheet::{sheet_json, sheet_text};
pub use suite::{suite_json, suite_junit, suite_text};
pub use text::text;

/// Text that may hold anything, fit for a terminal: control characters are shown, lines stay.
pub fn safe_text(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(page::disarm).collect();
    lines.join("\n")
}

/// The run itself, as its published schema has it: one line of JSON.
pub fn json(run: &Run) -> String {
    to_json(run)
}

/// Nothing that is rendered here can fail to be JSON: no maps with keys that are no strings, no failing `Serialize`.
fn to_json(value: &impl serde::Serialize) -> String {
    let mut json = serde_json::to_string(value).expect("strings, numbers, lists and objects");
    json.push('\n');
    json
}
