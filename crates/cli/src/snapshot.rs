//! `plimsoll snapshot` and `plimsoll explain`: arguments → engine → text.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help, read in a terminal"
)]

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use plimsoll_engine::snapshot::{self, Browser, Reply, Take, Target};
use plimsoll_engine::{Error, PATTERNS, Pattern, parse_duration};
use plimsoll_model::{Cancel, Cx, ExitCode, Sheet};

use crate::args::Color;
use crate::{print, style};

/// Between two looks at an interrupt.
const MOMENT: Duration = Duration::from_millis(50);
/// Rows of a table unless said otherwise.
const ROWS: usize = 25;

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
    /// Compare two snapshots: short for `diff A B`
    #[arg(short, long, num_args = 2, value_names = ["A", "B"])]
    compare: Option<Vec<PathBuf>>,
    /// Take snapshots of this process: short for `take`
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Directory for the snapshots taken
    #[arg(short, long, value_name = "DIR", requires = "pid")]
    output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Of a running Node, into files that open in DevTools
    Take(TakeArgs),
    /// The classes: how many, how large, what goes with them
    Summary(Summary),
    /// What came and what went between two snapshots
    Diff(Diff),
    /// What grew between snapshots and stayed, and who holds it
    Leaks(Leaks),
    /// What refers to an object, and how it is reached
    Retainers(OneOf),
    /// What must go before an object can go
    Dominators(MaybeOneOf),
    /// Strings that are there more than once
    Strings(OneFile),
    /// Scopes that functions keep alive
    Contexts(Contexts),
    /// Maps, Sets and arrays that are mostly empty
    Collections(OneFile),
    /// Objects by class, id, property or text
    Query(Query),
    /// A copy without what its strings say
    Anonymize(Anonymize),
    /// Explore a snapshot step by step
    Browse(Browse),
}

#[derive(Debug, Args)]
struct Rows {
    /// Rows at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = ROWS)]
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
pub(crate) struct TakeArgs {
    /// The process
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// Directory for the files
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// How many; without --every, Enter takes the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// Time between one and the next
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    every: Option<Duration>,
    /// Replace what strings say
    #[arg(long)]
    redact: bool,
    /// Take it also where memory may not suffice
    #[arg(long)]
    force_snapshot: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Diff {
    /// The earlier one
    a: PathBuf,
    /// The later one
    b: PathBuf,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct OneFile {
    /// The snapshot
    file: PathBuf,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct Contexts {
    /// The snapshot
    file: PathBuf,
    /// Only variables that no living function can read
    #[arg(long)]
    dead: bool,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, Args)]
struct Anonymize {
    /// The snapshot
    file: PathBuf,
    /// The copy
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
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
        return short_forms(args, color);
    };
    let (sheet, json) = match question {
        Question::Take(a) => return take(a, color),
        Question::Diff(a) => (snapshot::diff(&a.a, &a.b, a.rows.rows)?, a.rows.json),
        Question::Strings(a) => (snapshot::strings(&a.file, a.rows.rows)?, a.rows.json),
        Question::Contexts(a) => (
            snapshot::contexts(&a.file, a.rows.rows, a.dead)?,
            a.rows.json,
        ),
        Question::Collections(a) => (snapshot::collections(&a.file, a.rows.rows)?, a.rows.json),
        Question::Anonymize(a) => (snapshot::redact(&a.file, &a.output)?, false),
        Question::Summary(a) => (
            snapshot::summary(&a.file, a.rows.rows, a.quick)?,
            a.rows.json,
        ),
        Question::Leaks(a) => {
            let sheet = match &a.class {
                Some(class) => snapshot::leaks_of_class(&a.files, class)?,
                None => snapshot::leaks(&a.files, a.operations, a.rows.rows)?,
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

/// `-c A B` and `--pid PID -o DIR`, as older tools have them.
fn short_forms(args: &SnapshotArgs, color: Color) -> anyhow::Result<ExitCode> {
    if let Some([a, b]) = args.compare.as_deref() {
        show(&snapshot::diff(a, b, ROWS)?, false, color)?;
        return Ok(ExitCode::Holds);
    }
    let Some(pid) = args.pid else {
        return Ok(ExitCode::Usage);
    };
    let take_args = TakeArgs {
        pid,
        output: args.output.clone().unwrap_or_else(|| PathBuf::from(".")),
        count: if io::stdin().is_terminal() {
            u32::MAX
        } else {
            1
        },
        every: None,
        redact: false,
        force_snapshot: false,
        json: false,
    };
    take(&take_args, color)
}

/// Takes snapshots in one go: the next after a while, or when Enter is pressed.
fn take(args: &TakeArgs, color: Color) -> anyhow::Result<ExitCode> {
    let cancel = Cancel::try_new().context("no descriptors left")?;
    crate::cancel_on_signals(&cancel)?;
    let wanted = Take {
        pid: args.pid,
        directory: args.output.clone(),
        force: args.force_snapshot,
        redact: args.redact,
    };
    let mut enter = None;
    let mut next = |taken: u32| {
        if taken >= args.count {
            return false;
        }
        if let Some(pause) = args.every {
            return sleep(pause, &cancel);
        }
        let mut err = io::stderr().lock();
        let _ = writeln!(
            err,
            "{taken} taken; Enter takes the next, the end of input ends"
        );
        wait_for(enter.get_or_insert_with(lines), &cancel)
    };
    let sheet = snapshot::take(&wanted, &cancel, &mut next)?;
    show(&sheet, args.json, color)?;
    Ok(ExitCode::Holds)
}

/// Lines of standard input, read aside so that an interrupt is heard meanwhile.
fn lines() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether a line came; not at the end of input, and not once cancelled.
fn wait_for(lines: &Receiver<String>, cancel: &Cancel) -> bool {
    loop {
        match lines.recv_timeout(MOMENT) {
            Ok(_) => return true,
            Err(RecvTimeoutError::Timeout) if !cancel.is_cancelled() => {}
            Err(_) => return false,
        }
    }
}

/// Lets time pass; false if cancelled.
fn sleep(pause: Duration, cancel: &Cancel) -> bool {
    let until = Cx::within(cancel, pause);
    while !until.is_over() {
        std::thread::sleep(MOMENT.min(until.left()));
    }
    !cancel.is_cancelled()
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
    let lines = PATTERNS
        .iter()
        .map(|p| format!("{:<widest$}  {}", p.slug(), p.advice));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn page(pattern: &Pattern) -> String {
    let indented = |code: &str| {
        let lines = code.lines().map(|line| format!("    {line}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    format!(
        "{}\n\n{}\n\nDo: {}.\n\nBAD\n{}\n\nGOOD\n{}\n",
        pattern.name,
        pattern.what,
        pattern.advice,
        indented(pattern.bad),
        indented(pattern.good)
    )
}
