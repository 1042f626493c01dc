//! The runs there are: a table for people, a list for machines.

use plimsoll_model::{
    Interval, Outcome, RunHead, RunState, RunStatus, RunSummary, Unit, Verdict, units,
};
use serde::Serialize;

use crate::page::{Page, Style, Tone, columns, disarm, shorten};
use crate::to_json;
use crate::words::Rates;

/// Renders a list of runs, in the order given, for a terminal.
pub fn history_text(runs: &[RunSummary], style: Style) -> String {
    let mut page = Page::new(style);
    if runs.is_empty() {
        page.flow(0, None, &["no runs yet; `plimsoll check` makes one"]);
        return page.finish();
    }
    let rows: Vec<Row> = runs.iter().map(row).collect();
    let titles = ["run", "outcome", "growth", "took"];
    let width = |column: usize| {
        let cells = rows.iter().filter(|r| column < 2 || !r.is_note);
        let widest = cells.map(|r| columns(&disarm(&r.cells[column]))).max();
        widest.unwrap_or(0).max(titles[column].len())
    };
    let [w0, w1, w2, w3] = [width(0) + 2, width(1), width(2), width(3)];
    let screen = usize::from(style.width.max(40));
    let titles = format!(
        "{:<w1$}  {:<w2$}  {:<w3$}  subject",
        titles[1], titles[2], titles[3]
    );
    page.row("run", Tone::Label, w0, &titles);
    for row in &rows {
        let [id, outcome, growth, took] = &row.cells;
        let (before, left) = if row.is_note {
            (String::new(), screen.saturating_sub(w0 + w1 + 2))
        } else {
            let left = screen.saturating_sub(w0 + w1 + w2 + w3 + 6);
            (format!("{growth:<w2$}  {took:<w3$}  "), left)
        };
        let text = shorten(&disarm(&row.text), left.max(20));
        page.row(
            id,
            Tone::Plain,
            w0,
            &format!("{outcome:<w1$}  {before}{text}"),
        );
    }
    page.finish()
}

/// A row of the table.
struct Row {
    /// Run, outcome, growth, length.
    cells: [String; 4],
    /// The subject; or, for a run without a document, a note that takes the place of all cells after the outcome.
    text: String,
    is_note: bool,
}

fn row(run: &RunSummary) -> Row {
    let id = run.id.clone();
    let Some(head) = &run.head else {
        let (outcome, note) = match (run.state, &run.problem) {
            (RunState::Running, _) => ("running", ""),
            (_, Some(problem)) => ("unreadable", problem.as_str()),
            _ => ("unfinished", "killed before it ended"),
        };
        return Row {
            cells: [id, outcome.to_owned(), String::new(), String::new()],
            text: note.to_owned(),
            is_note: true,
        };
    };
    // What was measured until a run failed stands in its report, beside what happened.
    let growth = match &head.status {
        RunStatus::Completed => head
            .verdict
            .as_ref()
            .and_then(|v| Some(rates(head, v).short(v.growth.as_ref()?.rate)))
            .unwrap_or_default(),
        _ => String::new(),
    };
    let took = units::duration(head.duration.as_secs_f64());
    Row {
        cells: [id, outcome(head).to_owned(), growth, took],
        text: head.command.join(" "),
        is_note: false,
    }
}

fn rates<'a>(head: &'a RunHead, verdict: &Verdict) -> Rates<'a> {
    let unit = head
        .headline
        .as_ref()
        .map_or(Unit::Bytes, |(_, unit)| *unit);
    Rates::of(verdict, unit, head.operation_word.as_deref())
}

/// What came of a run, in a word. A run that failed has no verdict, whatever it had seen until then.
fn outcome(head: &RunHead) -> &'static str {
    match (&head.status, &head.verdict) {
        (RunStatus::Completed, Some(verdict)) => verdict.outcome.as_str(),
        (RunStatus::Completed, None) if head.verb == "profile" => "recorded",
        (RunStatus::Completed, None) if head.verb == "suite" => match head.exit_code {
            0 => "all ok",
            1 => "red",
            4 => "failed",
            _ => Outcome::Inconclusive.as_str(),
        },
        (RunStatus::Completed, None) => Outcome::Inconclusive.as_str(),
        (RunStatus::Interrupted, _) => "interrupted",
        _ => "failed",
    }
}

/// Schema name of the list of runs.
const HISTORY_SCHEMA: &str = "plimsoll.history/1";

#[derive(Debug, Serialize)]
struct History<'a> {
    schema: &'static str,
    tool_version: &'static str,
    runs: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    id: &'a str,
    path: String,
    /// `ended`, `running`, `unfinished`.
    state: &'static str,
    problem: Option<&'a str>,
    started_unix_ns: Option<u64>,
    started: Option<String>,
    #[serde(flatten)]
    head: Option<EntryHead<'a>>,
}

#[derive(Debug, Serialize)]
struct EntryHead<'a> {
    outcome: &'static str,
    exit_code: u8,
    duration_ns: u64,
    verb: &'a str,
    written_by: &'a str,
    command: &'a [String],
    load: Option<&'a str>,
    /// The verdict, until then if the run did not complete: `leak`, `no_leak`, `inconclusive`.
    verdict: Option<Outcome>,
    confidence: Option<f64>,
    metric: Option<&'a str>,
    unit: Option<Unit>,
    rate: Option<f64>,
    /// `operation` or `second`.
    per: Option<&'a str>,
    interval: Option<Interval>,
}

/// Renders a list of runs, in the order given, as JSON.
pub fn history_json(runs: &[RunSummary]) -> String {
    to_json(&History {
        schema: HISTORY_SCHEMA,
        tool_version: env!("CARGO_PKG_VERSION"),
        runs: runs.iter().map(json_entry).collect(),
    })
}

fn json_entry(run: &RunSummary) -> Entry<'_> {
    Entry {
        id: &run.id,
        path: run.path.to_string_lossy().into_owned(),
        state: match run.state {
            RunState::Running => "running",
            RunState::Unfinished => "unfinished",
            _ => "ended",
        },
        problem: run.problem.as_deref(),
        started_unix_ns: run.started_unix_ns,
        started: run.started_unix_ns.map(units::timestamp),
        head: run.head.as_ref().map(json_head),
    }
}

fn json_head(head: &RunHead) -> EntryHead<'_> {
    let verdict = head.verdict.as_ref();
    let growth = verdict.and_then(|v| v.growth.as_ref());
    EntryHead {
        outcome: outcome(head),
        exit_code: head.exit_code,
        duration_ns: head.duration.0,
        verb: &head.verb,
        written_by: &head.tool_version,
        command: &head.command,
        load: head.load.as_deref(),
        verdict: verdict.map(|v| v.outcome),
        confidence: verdict
            .map(|v| v.leak_probability)
            .filter(|p| p.is_finite()),
        metric: head.headline.as_ref().map(|(metric, _)| metric.as_str()),
        unit: head.headline.as_ref().map(|(_, unit)| *unit),
        rate: growth.map(|g| g.rate).filter(|r| r.is_finite()),
        per: growth.map(|g| g.per.as_str()),
        interval: growth.map(|g| g.interval),
    }
}
