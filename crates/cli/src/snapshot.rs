//! `plimsoll snapshot` and `plimsoll explain`: arguments → engine → text.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help, read in a terminal"
)]

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use plimsoll_engine::snapshot::{self, Browser, Reply, Target};
use plimsoll_engine::{Error, PATTERNS, Pattern};
use plimsoll_model::{ExitCode, Sheet};

use crate::args::Color;
use crate::{print, style};

/// Heap snapshots of Node, Deno and Chromium: taken, compared, explored; no browser needed
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  plimsoll snapshot summary after.heapsnapshot
  plimsoll snapshot retainers after.heapsnapshot Session
  plimsoll snapshot browse after.heapsnapshot"
)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    question: Option<Question>,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// The classes: how many, how large, what goes with them
    Summary(Summary),
    /// What grew between snapshots and stayed, and who holds it
    Leaks(Leaks),
    /// What refers to an object, and how it is reached
    Retainers(OneOf),
    /// What must go before an object can go
    Dominators(MaybeOneOf),
    /// Objects by class, id, property or text
    Query(Query),
    /// Explore a snapshot step by step
    Browse(Browse),
}

#[derive(Debug, Args)]
struct Rows {
    /// Rows at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 25)]
    rows: usize,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Summary {
    /// The snapshot; gzip and zstd are unpacked
    file: PathBuf,
    /// Only count and add up, without retained sizes
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct Leaks {
    /// Before, after N operations, after 2N, after cleaning up
    #[arg(value_name = "FILE", num_args = 2..=4, required = true)]
    files: Vec<PathBuf>,
    /// Operations between one snapshot and the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    operations: u64,
    /// Only count the objects of this class in each
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct OneOf {
    /// The snapshot
    file: PathBuf,
    /// The object: an id (@123), or a class, whose largest is taken
    #[arg(value_name = "OBJECT")]
    object: String,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct MaybeOneOf {
    /// The snapshot
    file: PathBuf,
    /// The object: an id (@123) or a class [default: the largest of all]
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
#[group(id = "wanted", required = true, multiple = false)]
struct Wanted {
    /// Objects of this class
    #[arg(long, value_name = "NAME", group = "wanted")]
    class: Option<String>,
    /// The object with this id
    #[arg(long, value_name = "N", group = "wanted")]
    id: Option<u32>,
    /// Objects with a property or variable of this name
    #[arg(long, value_name = "NAME", group = "wanted")]
    property: Option<String>,
    /// Strings that contain this
    #[arg(long, value_name = "WORD", group = "wanted")]
    text: Option<String>,
}

#[derive(Debug, Args)]
struct Query {
    /// The snapshot
    file: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct Browse {
    /// The snapshot
    file: PathBuf,
}

impl Wanted {
    fn target(&self) -> Option<Target> {
        let class = self.class.clone().map(Target::Class);
        let property = self.property.clone().map(Target::Property);
        let text = self.text.clone().map(Target::Text);
        class.or(self.id.map(Target::Id)).or(property).or(text)
    }
}

pub(crate) fn snapshot(args: &SnapshotArgs, color: Color) -> anyhow::Result<ExitCode> {
    let Some(question) = &args.question else {
        return Ok(ExitCode::Usage);
    };
    let (sheet, json) = match question {
        Question::Summary(a) => (
            snapshot::summary(&a.file, a.rows.rows, a.quick)?,
            a.rows.json,
        ),
        Question::Leaks(a) => {
            let sheet = match &a.class {
                Some(class) => snapshot::leaks_of_class(&a.files, class)?,
                None => snapshot::leaks(&a.files, a.operations as f64, a.rows.rows)?,
            };
            (sheet, a.rows.json)
        }
        Question::Retainers(a) => {
            let target = Target::parse(&a.object);
            (
                snapshot::retainers(&a.file, &target, a.rows.rows)?,
                a.rows.json,
            )
        }
        Question::Dominators(a) => {
            let target = a.object.as_deref().map(Target::parse);
            (
                snapshot::dominators(&a.file, target.as_ref(), a.rows.rows)?,
                a.rows.json,
            )
        }
        Question::Query(a) => {
            let Some(target) = a.wanted.target() else {
                return Ok(ExitCode::Usage);
            };
            (snapshot::query(&a.file, &target, a.rows.rows)?, a.rows.json)
        }
        Question::Browse(a) => return browse(&a.file, color),
    };
    show(&sheet, json, color)?;
    Ok(ExitCode::Holds)
}

fn show(sheet: &Sheet, json: bool, color: Color) -> anyhow::Result<()> {
    if json {
        print(&plimsoll_report::sheet_json(sheet))
    } else {
        print(&plimsoll_report::sheet_text(sheet, style(color)))
    }
}

/// Asks line by line until the end of input.
fn browse(file: &std::path::Path, color: Color) -> anyhow::Result<ExitCode> {
    let mut browser = Browser::open(file)?;
    let interactive = io::stdin().is_terminal();
    if interactive {
        print(snapshot::HELP)?;
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        if interactive {
            let mut out = io::stdout().lock();
            write!(out, "{}", browser.prompt())?;
            out.flush()?;
        }
        let Some(line) = lines.next().transpose()? else {
            return Ok(ExitCode::Holds);
        };
        match browser.ask(&line) {
            Reply::Quit => return Ok(ExitCode::Holds),
            Reply::Text(text) if text.is_empty() => {}
            Reply::Text(text) => print(&plimsoll_report::safe_text(&text))?,
            Reply::Sheet(sheet) => show(&sheet, false, color)?,
        }
    }
}

/// What a pattern of a culprit means, with code before and after
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The pattern, e.g. event-listeners [default: list them]
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
}

pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let text = match &args.pattern {
        None => list(),
        Some(name) => match plimsoll_engine::pattern(name) {
            Some(pattern) => page(pattern),
            None => return Err(Error::unknown_pattern(name).into()),
        },
    };
    print(&text)?;
    Ok(ExitCode::Holds)
}

fn list() -> String {
    let widest = PATTERNS.iter().map(|p| p.slug().len()).max().unwrap_or(0);
    PATTERNS
        .iter()
        .map(|p| format!("{:<widest$}  {}\n", p.slug(), p.advice))
        .collect()
}

fn page(pattern: &Pattern) -> String {
    let indented =
        |code: &str| -> String { code.lines().map(|line| format!("    {line}\n")).collect() };
    format!(
        "{}\n\n{}\n\nDo: {}.\n\nBAD\n{}\nGOOD\n{}",
        pattern.name,
        pattern.what,
        pattern.advice,
        indented(pattern.bad),
        indented(pattern.good)
    )
}
