//! The command line: one item per flag, its help beside it.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help, read in a terminal"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use plimsoll_engine::{
    Explain, parse_duration, parse_explain, parse_milliseconds, parse_percentage, parse_size,
};

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0   no leak, and all rules hold
  1   leak, or a rule is broken
  2   wrong flag, file, configuration or command; port taken
  3   inconclusive
  4   the subject or the load failed
  70  a bug in plimsoll
  130 interrupted"
    };
}

/// Says whether a service leaks memory, how fast, how sure, and who holds it
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, after_help = exit_codes!(), max_term_width = 100)]
pub(crate) struct Cli {
    /// Colour of terminal output
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", env = "PLIMSOLL_COLOR", hide_env = true)]
    pub(crate) color: Color,
    /// Neither progress nor warnings, only the report
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// One verdict on one subject
    Check(Box<CheckArgs>),
    /// Drive a running service, its memory alongside
    Load(Box<LoadArgs>),
    /// Judge what was recorded: CSV, JSON, logs of other tools, runs
    Analyze(Box<AnalyzeArgs>),
    /// Heap snapshots: taken, compared, explored; no browser needed
    Snapshot(crate::snapshot::SnapshotArgs),
    /// What a pattern of a culprit means, with code before and after
    Explain(crate::snapshot::ExplainArgs),
    /// Watch processes, or a command from in front of it
    Monitor(Box<MonitorArgs>),
    /// Allocations by stack: recorded, and shown as flame graphs
    Profile(crate::profile::ProfileArgs),
    /// Suites for a library whose objects must be cleaned up
    Suite(crate::suite::SuiteArgs),
    /// What this machine and a process allow to be seen
    Doctor(DoctorArgs),
    /// Write out what a run recorded, for other tools
    Export(ExportArgs),
    /// Render a run again
    Report(ReportArgs),
    /// List the runs kept here, newest first
    History(HistoryArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Junit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdictless {
    /// Exit 3
    Exit,
    /// Exit 0
    Pass,
    /// Exit 1
    Fail,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Format of the report on standard output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

impl Output {
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Starts the subject, drives it in rounds, measures after forced collections, and judges.
///
/// Without --url nothing is driven: memory is judged on time, for any program.
#[derive(Debug, Args)]
#[command(after_help = "All flags, examples and exit codes: plimsoll check --help", after_long_help = concat!(
    "Examples:\n",
    "  plimsoll check --url http://127.0.0.1:3000/api -- node server.js\n",
    "  plimsoll check --url 'http://127.0.0.1:3000/user/{{seq}}' --max-time 8m -- npm start\n",
    "  plimsoll check --duration 60s -- ./worker\n",
    "  plimsoll check --pid 4121 --url http://127.0.0.1:3000/api\n",
    "  plimsoll check --module operation.mjs\n\n",
    exit_codes!(),
))]
pub(crate) struct CheckArgs {
    /// Operation: operation(i) of this module (.mjs, .ts, .py …)
    ///
    /// The module is loaded into a runtime of its own, node or python3, or what follows `--`: -- bun, -- tsx,
    /// -- node --flags, -- python3.12. operation(i) is called in rounds, i being another number each time; it may be async, and
    /// setup() and teardown() are called once, where the module has them. In JavaScript the default export will do.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "pid",
        help_heading = "Subject"
    )]
    module: Option<PathBuf>,
    /// Check a process that runs already instead of a command
    ///
    /// A Node process is observed from inside: SIGUSR1 opens its inspector, the probe is put in, the inspector is closed
    /// again. So is Python 3.14 and newer, by sys.remote_exec. It is not ended. With --url, the process that answers must be it or one below it.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "command", help_heading = "Subject")]
    pid: Option<u32>,
    /// Never put the probe into a running process
    #[arg(hide_short_help = true, long, help_heading = "Subject")]
    no_attach: bool,

    #[command(flatten)]
    driver: DriverArgs,
    #[command(flatten)]
    programs: ProgramArgs,

    /// Ready once this URL answers [default: --url]
    #[arg(long, value_name = "URL", help_heading = "Readiness")]
    ready_url: Option<String>,
    /// Statuses that count as ready [default: any]
    #[arg(
        hide_short_help = true,
        long,
        value_name = "LIST",
        help_heading = "Readiness"
    )]
    ready_status: Option<String>,
    /// Ready once this port accepts connections
    #[arg(long, value_name = "PORT", help_heading = "Readiness")]
    ready_port: Option<u16>,
    /// Ready once a line of output matches
    #[arg(long, value_name = "REGEX", help_heading = "Readiness")]
    ready_log: Option<String>,
    /// Wait for readiness [default: 120s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "PLIMSOLL_READY_TIMEOUT", hide_env = true, help_heading = "Readiness")]
    ready_timeout: Option<Duration>,

    /// Operations per round [default: sized from the noise]
    #[arg(
        long,
        value_name = "N",
        env = "PLIMSOLL_OPERATIONS",
        hide_env = true,
        help_heading = "Rounds"
    )]
    operations: Option<u64>,
    /// Measured rounds [default: 12, up to 48 while unsettled]
    #[arg(
        long,
        value_name = "N",
        env = "PLIMSOLL_ROUNDS",
        hide_env = true,
        help_heading = "Rounds"
    )]
    rounds: Option<u32>,
    /// Warm-up operations [default: until settled]
    #[arg(
        long,
        value_name = "N",
        env = "PLIMSOLL_WARM_UP",
        hide_env = true,
        help_heading = "Rounds"
    )]
    warm_up: Option<u64>,
    /// Ceiling of the time after readiness [default: 4m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "PLIMSOLL_MAX_TIME", hide_env = true, help_heading = "Rounds")]
    max_time: Option<Duration>,
    /// How long the subject keeps things on purpose, e.g. sessions
    ///
    /// What lives for a time looks like a leak until that time is over: nothing is judged before twice of it.
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = parse_duration, help_heading = "Rounds")]
    max_ttl: Option<Duration>,
    /// Watch for this long; only without --url
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "PLIMSOLL_DURATION", hide_env = true, help_heading = "Rounds")]
    duration: Option<Duration>,

    /// Growth below this is no leak [default: 4 to 16 B/op]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "PLIMSOLL_FLOOR", hide_env = true, help_heading = "Verdict")]
    floor: Option<f64>,
    /// When to explain: leak, always, never [default: leak]
    #[arg(hide_short_help = true, long, value_name = "WHEN", value_parser = parse_explain, help_heading = "Verdict")]
    explain: Option<Explain>,
    /// Keep the heap snapshots of the explanation with the run
    #[arg(hide_short_help = true, long, help_heading = "Verdict")]
    keep_snapshots: bool,
    /// Take heap snapshots also where memory may not suffice
    #[arg(hide_short_help = true, long, help_heading = "Verdict")]
    force_snapshot: bool,
    /// Directory of source maps that the scripts do not name
    #[arg(
        hide_short_help = true,
        long,
        value_name = "DIR",
        help_heading = "Verdict"
    )]
    source_maps: Option<PathBuf>,
    /// Requests a second for the time to limit [default: measured]
    #[arg(
        hide_short_help = true,
        long,
        value_name = "RATE",
        help_heading = "Verdict"
    )]
    expect_rate: Option<f64>,
    /// Criterion of your own beside the verdict; repeatable
    ///
    /// Any rule of `plimsoll analyze --rules`, for example --rule end-start or --rule slope-per-minute=100KiB.
    /// A broken rule exits with 1 and leaves the verdict as it is.
    #[arg(long = "rule", value_name = "NAME[=LIMIT]", help_heading = "Verdict")]
    rules: Vec<String>,
    /// What inconclusive exits with: exit (3), pass (0), fail (1)
    #[arg(long, value_enum, default_value_t = Verdictless::Exit, value_name = "HOW", hide_possible_values = true, help_heading = "Verdict")]
    pub(crate) inconclusive: Verdictless,

    /// Configuration [default: plimsoll.toml, if there is one]
    #[arg(
        hide_short_help = true,
        long,
        value_name = "FILE",
        env = "PLIMSOLL_CONFIG",
        hide_env = true
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// The subject: what to start and check; with --module its runtime
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What drives a service, the same for every verb that drives.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct DriverArgs {
    /// Operation: a request to this URL; {{seq}} counts; repeatable
    ///
    /// {{uuid}} and {{rand 1 100}} are filled in too. Several URLs are several kinds of operation: which of them leaks is
    /// told. Where plimsoll.toml has steps ([[driver.step]]), their paths belong to this server.
    #[arg(
        short = 'u',
        long = "url",
        value_name = "URL",
        env = "PLIMSOLL_URL",
        hide_env = true,
        help_heading = "Driver"
    )]
    urls: Vec<String>,
    /// Method of the request [default: GET, POST with --body]
    #[arg(long, value_name = "METHOD", help_heading = "Driver")]
    method: Option<String>,
    /// Header of the request, repeatable: 'Name: value'
    ///
    /// A word env:NAME in the value stands for that environment variable: --header 'Authorization: Bearer env:TOKEN'.
    /// Headers are in no record.
    #[arg(long = "header", value_name = "HEADER", help_heading = "Driver")]
    headers: Vec<String>,
    /// Body of the request; {{seq}} counts through
    #[arg(long, value_name = "TEXT", help_heading = "Driver")]
    body: Option<String>,
    /// Right answers, e.g. 200-299,405 [default: 200-399]
    #[arg(long, value_name = "LIST", help_heading = "Driver")]
    expect_status: Option<String>,
    /// Time one request may take [default: 30s]
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = parse_duration, help_heading = "Driver")]
    timeout: Option<Duration>,
    /// Requests in flight [default: 10]
    #[arg(
        short = 'c',
        long,
        value_name = "N",
        env = "PLIMSOLL_CONCURRENCY",
        hide_env = true,
        help_heading = "Driver"
    )]
    concurrency: Option<u32>,
    /// Requests a second, due at constant times [default: no pause]
    ///
    /// Latency counts from when a request was due, whenever it could be sent: a standstill is seen by all it delayed.
    #[arg(long, value_name = "RATE", help_heading = "Driver")]
    rate: Option<f64>,
    /// Share of a round's requests that may fail [default: 1%]
    #[arg(long, value_name = "SHARE", value_parser = parse_percentage, help_heading = "Driver")]
    max_errors: Option<f64>,
    /// Keep cookies and send them back, a jar for each connection
    #[arg(hide_short_help = true, long, help_heading = "Driver")]
    cookies: bool,
    /// A new connection for every request
    #[arg(hide_short_help = true, long, help_heading = "Driver")]
    churn: bool,
    /// Speak HTTP/2; with TLS it is spoken anyway where chosen
    ///
    /// Without TLS it is spoken without asking (prior knowledge). Each virtual user has a connection of its own.
    #[arg(hide_short_help = true, long, help_heading = "Driver")]
    http2: bool,
    /// Trust these certificates (PEM) beside the system's
    ///
    /// Those of an authority, or the very one of the service.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "FILE",
        help_heading = "Driver"
    )]
    ca: Option<PathBuf>,
    /// Trust every certificate
    #[arg(hide_short_help = true, long, help_heading = "Driver")]
    insecure: bool,
    /// Every safe GET of an OpenAPI description: a file or URL
    ///
    /// Parameters get their example values; operations without, and those that change something, are listed and not driven.
    /// JSON or YAML. --url names the server.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "FILE|URL",
        help_heading = "Driver"
    )]
    openapi: Option<PathBuf>,
    /// Further operations of --openapi: 'POST /path'; repeatable
    #[arg(
        hide_short_help = true,
        long = "openapi-operation",
        value_name = "NAME",
        requires = "openapi",
        help_heading = "Driver"
    )]
    openapi_operations: Vec<String>,
    /// The requests of a browser's recording (HAR) to one server
    ///
    /// Without static files and secrets. --url names the server they are sent to.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "FILE",
        help_heading = "Driver"
    )]
    har: Option<PathBuf>,
    /// Let --url name an address that is not loopback
    #[arg(hide_short_help = true, long, help_heading = "Driver")]
    allow_remote: bool,
}

impl DriverArgs {
    pub(crate) fn flags(&mut self) -> plimsoll_engine::DriverFlags {
        plimsoll_engine::DriverFlags {
            urls: std::mem::take(&mut self.urls),
            method: self.method.take(),
            headers: std::mem::take(&mut self.headers),
            body: self.body.take(),
            expect_status: self.expect_status.take(),
            timeout: self.timeout,
            concurrency: self.concurrency,
            rate: self.rate,
            max_errors: self.max_errors,
            openapi: self.openapi.take(),
            openapi_operations: std::mem::take(&mut self.openapi_operations),
            har: self.har.take(),
            cookies: self.cookies,
            churn: self.churn,
            http2: self.http2,
            ca: self.ca.take(),
            insecure: self.insecure,
            allow_remote: self.allow_remote,
            ..plimsoll_engine::DriverFlags::default()
        }
    }
}

/// Programs that drive a subject in place of our client, and commands around the load.
#[derive(Debug, Args)]
pub(crate) struct ProgramArgs {
    /// Worker that makes operations: reads run N, answers done N errors E
    ///
    /// For any protocol, queue or function. It is started once, with PLIMSOLL_SUBJECT_PID and PLIMSOLL_CONCURRENCY in its
    /// environment, and told how many operations to do, round after round. E of the N failed.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "CMD",
        help_heading = "Programs"
    )]
    op_cmd: Option<String>,
    /// Load test that is run anew each round, e.g. 'k6 run -i {n} s.js'
    ///
    /// {n} becomes the number of operations; else --ops-log counts them. A status other than 0 fails the round.
    #[arg(
        hide_short_help = true,
        long = "driver",
        value_name = "CMD",
        help_heading = "Programs"
    )]
    driver_cmd: Option<String>,
    /// Lines of output that tell of operations: the first group counts
    ///
    /// Of the --driver: the last match of a round says how many it did. Of the subject, where nothing drives it or its driver does not tell: how many
    /// there were so far, or one for each line without a group. Each match is a moment to read memory at, and growth is judged per operation.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "REGEX",
        help_heading = "Programs"
    )]
    ops_log: Option<String>,
    /// Counter of operations that the subject serves: URL#place
    ///
    /// For --driver, or where nothing drives. http://127.0.0.1:3000/stats#/requests is a JSON pointer, /metrics#http_requests_total the samples of that
    /// name in Prometheus' format; without a place the answer is the number.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "URL",
        help_heading = "Programs"
    )]
    ops_counter: Option<String>,
    /// What must accept connections before, e.g. tcp:127.0.0.1:5432
    #[arg(
        hide_short_help = true,
        long,
        value_name = "ADDRESS",
        help_heading = "Programs"
    )]
    needs: Vec<String>,
    /// Shell command before the subject starts
    #[arg(
        hide_short_help = true,
        long,
        value_name = "CMD",
        help_heading = "Programs"
    )]
    prepare: Option<String>,
    /// Shell command between rounds, e.g. to empty a table
    #[arg(
        hide_short_help = true,
        long,
        value_name = "CMD",
        help_heading = "Programs"
    )]
    between_rounds: Option<String>,
    /// Shell command at the end, however it went
    #[arg(
        hide_short_help = true,
        long,
        value_name = "CMD",
        help_heading = "Programs"
    )]
    cleanup: Option<String>,
}

impl ProgramArgs {
    fn add(&mut self, flags: plimsoll_engine::DriverFlags) -> plimsoll_engine::DriverFlags {
        plimsoll_engine::DriverFlags {
            op_cmd: self.op_cmd.take(),
            driver: self.driver_cmd.take(),
            ops_log: self.ops_log.take(),
            ops_counter: self.ops_counter.take(),
            around: plimsoll_engine::Around {
                needs: std::mem::take(&mut self.needs),
                prepare: self.prepare.take(),
                between_rounds: self.between_rounds.take(),
                cleanup: self.cleanup.take(),
            },
            ..flags
        }
    }
}

/// Drives a service that runs already, and shows its memory alongside if it is on this machine.
///
/// Without -n and -d it goes on for 60 s. Nothing is judged: `plimsoll check` does that.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 driven as planned, 2 wrong flag or file, 4 the load failed, 130 interrupted", after_long_help = concat!(
    "Examples:\n",
    "  plimsoll load -u http://127.0.0.1:3000/api -c 10 -d 60s\n",
    "  plimsoll load -u http://127.0.0.1:3000/api -n 10000 --json\n",
    "  plimsoll load --rate 200 -d 10s -r 2s\n\n",
    exit_codes!(),
))]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    driver: DriverArgs,
    /// Exactly so many requests
    #[arg(short = 'n', long, value_name = "N", help_heading = "Length")]
    operations: Option<u64>,
    /// So long; bare = milliseconds [default: 60s without -n]
    #[arg(short = 'd', long, value_name = "TIME", value_parser = parse_milliseconds, conflicts_with = "operations", help_heading = "Length")]
    duration: Option<Duration>,
    /// The load rises so long; bare = ms [default: 5s with -d, else 0]
    #[arg(short = 'r', long, value_name = "TIME", value_parser = parse_milliseconds, help_heading = "Length")]
    ramp: Option<Duration>,
    /// Configuration [default: plimsoll.toml, if there is one]
    #[arg(
        hide_short_help = true,
        long,
        value_name = "FILE",
        env = "PLIMSOLL_CONFIG",
        hide_env = true
    )]
    config: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

impl LoadArgs {
    pub(crate) fn flags(&mut self) -> plimsoll_engine::LoadFlags {
        plimsoll_engine::LoadFlags {
            driver: self.driver.flags(),
            operations: self.operations,
            duration: self.duration,
            ramp: self.ramp,
            config: self.config.take(),
            directory: None,
        }
    }
}

impl CheckArgs {
    pub(crate) fn flags(&mut self) -> plimsoll_engine::Flags {
        plimsoll_engine::Flags {
            command: std::mem::take(&mut self.command),
            pid: self.pid,
            no_attach: self.no_attach,
            config: self.config.take(),
            driver: plimsoll_engine::DriverFlags {
                module: self.module.take(),
                ..self.programs.add(self.driver.flags())
            },
            ready_url: self.ready_url.take(),
            ready_status: self.ready_status.take(),
            ready_port: self.ready_port,
            ready_log: self.ready_log.take(),
            ready_timeout: self.ready_timeout,
            operations: self.operations,
            rounds: self.rounds,
            warm_up: self.warm_up,
            max_time: self.max_time,
            max_ttl: self.max_ttl,
            duration: self.duration,
            floor: self.floor,
            explain: self.explain,
            keep_snapshots: self.keep_snapshots,
            force_snapshot: self.force_snapshot,
            source_maps: self.source_maps.take(),
            expect_rate: self.expect_rate,
            on_inconclusive: None,
            rules: std::mem::take(&mut self.rules),
            directory: None,
        }
    }
}

/// Judges series that were recorded before, with the same judge.
///
/// Reads tables with a header (comma, semicolon, tab, blanks), logs of psrecord, pidstat -r -h, mprof and docker stats,
/// JSON lines, Prometheus query_range answers, and runs of plimsoll; each also packed with gzip. What columns mean is
/// guessed from their names and units, and said; where it is not clear, the columns are listed and nothing is judged.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  plimsoll analyze soak.csv\n",
    "  plimsoll analyze --time-column when --column heap_mb --column rss_mb table.csv\n",
    "  plimsoll analyze --json last\n",
    "  docker stats --format '{{json .}}' | head -600 | plimsoll analyze -\n\n",
    exit_codes!(),
))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct AnalyzeArgs {
    /// Files, runs (id, last, directory), or - for standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["stream", "list_rules"])]
    pub(crate) files: Vec<PathBuf>,
    /// Column of readings, by name or number; repeatable
    #[arg(long = "column", value_name = "NAME")]
    pub(crate) columns: Vec<String>,
    /// Column of times, by name or number
    #[arg(long, value_name = "NAME")]
    pub(crate) time_column: Option<String>,
    /// Time between rows, for tables without times
    #[arg(long, value_name = "TIME", value_parser = interval, conflicts_with = "time_column")]
    pub(crate) interval: Option<f64>,
    /// Answer requests on standard input, a line of JSON each
    #[arg(long, conflicts_with_all = ["files", "columns", "time_column", "interval", "metric", "planned", "limit", "floor", "per_operation", "json", "rules", "list_rules"])]
    pub(crate) stream: bool,
    /// What the readings are, e.g. rss, heap_used [default: by name]
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// Length the recording was planned to have; bare = seconds
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) planned: Option<f64>,
    /// Limit of the metric, for the time to limit; bare = bytes
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) limit: Option<f64>,
    /// Growth rate below which nothing is called a leak
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) floor: Option<f64>,
    /// Judge per operation, not per second
    #[arg(long)]
    pub(crate) per_operation: bool,
    /// Criterion of your own beside the verdict; repeatable
    #[arg(long = "rule", value_name = "NAME[=LIMIT]")]
    pub(crate) rules: Vec<String>,
    /// List all rules: source, limit, how often each is wrong
    #[arg(long = "rules")]
    pub(crate) list_rules: bool,
    /// JSON instead of text: one flat object, or a list of them
    #[arg(long)]
    pub(crate) json: bool,
}

/// Watches running processes and their descendants, or a command that it starts, and says in the end whether they leak.
///
/// Reads only: a process it did not start is neither signalled nor changed, unless --attach is given. Lines go to standard error, one per interval.
/// A command keeps its standard streams, its terminal and its signals; plimsoll exits with its status, and as 128 + N if
/// signal N ended it. Without a command it exits with 0 once the processes have ended, the time is over, or it is told to.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  plimsoll monitor --pid 4121 -d 60s\n",
    "  plimsoll monitor --name server.js --csv soak.csv --columns soak -i 60000\n",
    "  plimsoll monitor -i 500 -d 300000 -o results.json -- npm start\n\n",
    exit_codes!(),
))]
#[command(group(clap::ArgGroup::new("watched").args(["pids", "name", "command"]).required(true)))]
pub(crate) struct MonitorArgs {
    /// Process to watch; repeatable
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,
    /// Watch the processes of this name: executable or script
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Put the probe into the running Node and Python processes
    ///
    /// Into Node it enters by the inspector, which is opened by SIGUSR1 and closed again at once, into Python 3.14 and newer by
    /// sys.remote_exec; it leaves when plimsoll ends. What was done is printed.
    #[arg(long, conflicts_with = "command")]
    pub(crate) attach: bool,
    /// Time between readings; bare = milliseconds [default: 1000]
    #[arg(long, short, value_name = "TIME", value_parser = milliseconds, default_value = "1000", hide_default_value = true, env = "PLIMSOLL_INTERVAL", hide_env = true)]
    pub(crate) interval: Duration,
    /// Watch for this long; bare = milliseconds [default: to the end]
    #[arg(long, short, value_name = "TIME", value_parser = milliseconds)]
    pub(crate) duration: Option<Duration>,
    /// Write the run to this file, as JSON
    #[arg(long = "output", short = 'o', value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
    /// Write a table to this file while watching
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Its columns, or soak: timestamp,elapsed_hours,heap_mb,…
    ///
    /// Any of timestamp, time, elapsed_s, elapsed_hours, pid, role, name, cpu_percent and the names of metrics, with commas
    /// between them; metrics of bytes also as NAME_mb. With pid, role or name there is a row for each process, else one
    /// for all together. `soak` is timestamp,elapsed_hours,heap_mb,rss_mb,created_count.
    #[arg(long, value_name = "LIST", value_parser = crate::monitor::columns, default_value = plimsoll_report::Columns::DEFAULT, hide_default_value = true, requires = "csv")]
    pub(crate) columns: plimsoll_report::Columns,
    /// Append the lines to this file, with the time
    #[arg(long, short, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Exit with 1 if this is found: leak
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) fail_on: Option<FailOn>,
    /// Growth a second below which nothing is called a leak
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) floor: Option<f64>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Command to start and watch
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What a monitor fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    Leak,
}

/// A length of time of at least a millisecond; bare numbers are milliseconds.
fn milliseconds(text: &str) -> Result<Duration, String> {
    let length = match text.trim().parse::<u64>() {
        Ok(number) => Duration::from_millis(number),
        Err(_) => parse_duration(text)?,
    };
    if length < Duration::from_millis(1) {
        return Err("at least a millisecond is needed".to_owned());
    }
    if length > Duration::from_hours(24 * 365) {
        return Err("at most a year".to_owned());
    }
    Ok(length)
}

/// A length of time; bare numbers are seconds, 0 is unknown.
fn seconds(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .or_else(|_| parse_duration(text).map(|d| d.as_secs_f64()))
}

/// A length of time above 0; bare numbers are seconds.
fn interval(text: &str) -> Result<f64, String> {
    seconds(text).and_then(|s| {
        if s.is_finite() && s > 0.0 {
            Ok(s)
        } else {
            Err("a time above 0 is needed".to_owned())
        }
    })
}

/// A size; bare numbers are bytes, 0 is unknown.
fn bytes(text: &str) -> Result<f64, String> {
    text.parse::<f64>().or_else(|_| parse_size(text))
}

/// Says what can be observed here, and what to do about what cannot.
///
/// Tries instead of guessing: it loads the probe into a Node process of its own and measures the noise there, or on the
/// process that is named. Exits with 0 if measuring is possible, even if some of it is limited, and with 1 if not.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes!())]
pub(crate) struct DoctorArgs {
    /// A running process to be asked about as well
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Writes the log of a run as a table or as lines of JSON: every reading at its real time.
///
/// A run that was killed has no report, but its log can be written out all the same. Tables hold readings only; lines of
/// JSON also hold what happened: processes, collections, rounds, gaps, jumps of the clock.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  plimsoll export last --metric rss_anon > anon.csv\n",
    "  plimsoll export last --format jsonl | grep '\"record\":\"gap\"'\n\n",
    exit_codes!(),
))]
pub(crate) struct ExportArgs {
    /// The run: an id or its beginning, `last`, or a path
    #[arg(default_value = "last")]
    pub(crate) run: String,
    /// csv (a table) or jsonl (lines of JSON)
    #[arg(long, value_enum, default_value_t = Table::Csv, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) format: Table,
    /// Only this metric; repeatable [default: all]
    #[arg(long = "metric", value_name = "NAME")]
    pub(crate) metrics: Vec<String>,
}

/// How a log is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    Csv,
    Jsonl,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run: an id or its beginning, `last`, or a path
    #[arg(default_value = "last")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
