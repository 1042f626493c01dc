//! `plimsoll analyze`: judges what was recorded before, by us or by others.

mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plimsoll_judge as judge;
use plimsoll_model::{Metric, Ns, Part, Recorded, RoundKind, Run, SourceId, Unit, Verdict};
use plimsoll_store::table::{self, Choice, Found, Table};
use plimsoll_store::{Record, Store, read_log};

use crate::error::Error;
use crate::rules::RuleRequest;

pub use stream::{Answer, answer};

/// What is asked of files.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Name of the metric; `None` = by the column's name.
    pub metric: Option<String>,
    /// Length the recording was planned to have, in seconds.
    pub planned_s: Option<f64>,
    /// The metric's limit in bytes.
    pub limit: Option<f64>,
    /// Growth rate below which nothing is called a leak.
    pub floor: Option<f64>,
    /// Judge on operations even if they advance evenly in time.
    pub on_operations: bool,
    /// The user's criteria.
    pub rules: Vec<RuleRequest>,
    /// Which columns to read.
    pub choice: Choice,
}

/// A series and what is known of how it was made.
struct Item {
    metric: Metric,
    table: Table,
    /// Judge on operations: it was made in rounds of them.
    rounds: bool,
    terms: judge::Terms,
}

/// Judges the series of files, in the order given: tables and logs of many shapes, `-` for standard input, and runs of
/// ours by directory, document, log, id or `last`.
///
/// # Errors
/// If one of them cannot be read as series; none is judged then.
pub fn analyze(
    inputs: &[PathBuf],
    store: &Store,
    question: &Question,
) -> Result<Vec<Recorded>, Error> {
    let mut items = Vec::new();
    for input in inputs {
        items.extend(open(input, store, question)?);
    }
    Ok(items
        .into_iter()
        .map(|(name, item)| judged(name, item, question))
        .collect())
}

fn open(input: &Path, store: &Store, question: &Question) -> Result<Vec<(String, Item)>, Error> {
    let name = input.display().to_string();
    let choice = &question.choice;
    if name == "-" {
        let stdin = std::io::stdin().lock();
        let found = table::read_from(stdin, Path::new("standard input"), choice)?;
        return named("standard input", found, None);
    }
    if input.is_dir() {
        let run = store.load(&input.join(plimsoll_store::RUN_NAME).display().to_string())?;
        return named(&name, Found::Run(Box::new(run)), Some(input));
    }
    if input.extension().is_some_and(|e| e == "plog") {
        return log(input, &|_, metric| MEMORY.contains(metric))
            .map(|tables| labelled(&name, tables.into_iter().map(of_log).collect()));
    }
    if !input.exists() && !name.contains('/') {
        let directory = store.find(&name).map_err(|error| match error {
            plimsoll_store::Error::NotFound { .. } | plimsoll_store::Error::BadName { .. } => {
                Error::usage(
                    format!("there is neither a file nor a run `{name}`"),
                    "check the spelling; `plimsoll history` lists the runs there are",
                )
            }
            other => other.into(),
        })?;
        let run = store.load(&name)?;
        let name = format!("run {}", run.id);
        return named(&name, Found::Run(Box::new(run)), Some(&directory));
    }
    named(&name, table::read(input, choice)?, input.parent())
}

/// The metrics of a log that are judged where no run says which.
const MEMORY: [Metric; 5] = [
    Metric::LIVE_BYTES,
    Metric::HEAP_USED_AFTER_GC,
    Metric::HEAP_USED,
    Metric::RSS_ANON,
    Metric::RSS,
];

fn named(name: &str, found: Found, place: Option<&Path>) -> Result<Vec<(String, Item)>, Error> {
    let items = match found {
        Found::Tables(tables) => tables.into_iter().map(of_table).collect(),
        Found::Run(run) => of_run(name, &run, place)?,
    };
    Ok(labelled(name, items))
}

/// Names the series of one file: by the file alone, or by what tells them apart too.
fn labelled(name: &str, items: Vec<Item>) -> Vec<(String, Item)> {
    let several = items.len() > 1;
    items
        .into_iter()
        .map(|item| {
            let label = if several {
                format!("{name}: {}", item.table.name)
            } else {
                name.to_owned()
            };
            (label, item)
        })
        .collect()
}

fn of_table(table: Table) -> Item {
    Item {
        metric: table.metric.clone().map_or(Metric::RSS, Metric::named),
        rounds: false,
        terms: judge::Terms::default(),
        table,
    }
}

/// The judged series of a run: the points of its rounds, the readings of its log, or what the document keeps of them.
fn of_run(name: &str, run: &Run, place: Option<&Path>) -> Result<Vec<Item>, Error> {
    let judged = || run.series.iter().filter(|s| s.part == Part::Judged);
    let wanted: Vec<(SourceId, &Metric)> = judged()
        .filter(|s| s.points.is_none())
        .map(|s| (s.source, &s.metric))
        .collect();
    let path = place.map(|p| p.join(plimsoll_store::LOG_NAME));
    let mut raw = match path.filter(|p| !wanted.is_empty() && p.is_file()) {
        Some(path) => log(&path, &|source, metric| wanted.contains(&(source, metric)))?,
        None => Vec::new(),
    };
    let mut measured = run
        .rounds
        .iter()
        .filter(|r| r.kind == RoundKind::Measured)
        .peekable();
    // Without rounds, live bytes are what is read after a collection.
    let forced = measured
        .peek()
        .is_some()
        .then(|| measured.all(|r| r.collected));
    let per_round = run.plan.operations_per_round.max(1) as f64;
    let terms = judge::Terms {
        warm_up_operations: run.plan.warm_up_operations,
        settled: run.load.is_none() || run.plan.warm_up_settled,
        idle_growth_per_op: run.plan.idle_growth_per_round.unwrap_or(0.0) / per_round,
        ..judge::Terms::default()
    };
    let mut items = Vec::new();
    for series in judged() {
        let logged = raw
            .iter()
            .position(|(key, _)| *key == (series.source, series.metric.clone()));
        let (mut table, rounds) = match (&series.points, logged, &series.band) {
            (Some(points), ..) => {
                let collected = forced.unwrap_or(series.metric == Metric::LIVE_BYTES);
                let start = points.t.iter().copied().min().unwrap_or(Ns(0));
                let table = Table {
                    t_ns: points.t.iter().map(|t| t.since(start).0).collect(),
                    value: points.value.clone(),
                    operations: points.operations.clone(),
                    collected: vec![collected; points.t.len()],
                    assumptions: vec!["the points that the run judged".to_owned()],
                    ..Table::default()
                };
                (table, !points.operations.is_empty())
            }
            (None, Some(at), _) => (raw.swap_remove(at).1, false),
            (None, None, Some(band)) => {
                let steps = 0..band.min.len() as u64;
                let table = Table {
                    t_ns: steps.map(|i| i.saturating_mul(band.step.0)).collect(),
                    value: band.min.iter().map(|v| v.unwrap_or(f64::NAN)).collect(),
                    assumptions: vec!["the lower edge of the run's band".to_owned()],
                    ..Table::default()
                };
                (table, false)
            }
            (None, None, None) => continue,
        };
        series.metric.as_str().clone_into(&mut table.name);
        items.push(Item {
            metric: series.metric.clone(),
            table,
            rounds,
            terms: terms.clone(),
        });
    }
    if items.is_empty() {
        return Err(Error::usage(
            format!("{name} holds no series that was judged"),
            "its log may hold readings: give `samples.plog` of its directory",
        ));
    }
    Ok(items)
}

type Logged = ((SourceId, Metric), Table);

/// The readings of a log, of the sources and metrics that are wanted. A torn tail is left out, as always.
fn log(path: &Path, wanted: &dyn Fn(SourceId, &Metric) -> bool) -> Result<Vec<Logged>, Error> {
    let mut found: BTreeMap<(u32, Metric), Table> = BTreeMap::new();
    for record in read_log(path)? {
        let Record::Sample(sample) = record else {
            continue;
        };
        if wanted(sample.source, &sample.metric) {
            let table = found.entry((sample.source.0, sample.metric)).or_default();
            table.t_ns.push(sample.at.0);
            table.value.push(sample.value);
        }
    }
    if found.is_empty() {
        return Err(Error::usage(
            format!("{} holds no readings of memory", path.display()),
            "was the run ended before its first reading?",
        ));
    }
    Ok(found
        .into_iter()
        .map(|((source, metric), mut table)| {
            let start = table.t_ns.iter().copied().min().unwrap_or(0);
            for t in &mut table.t_ns {
                *t -= start;
            }
            table.assumptions.push("the readings of the log".to_owned());
            ((SourceId(source), metric), table)
        })
        .collect())
}

fn of_log(((source, metric), mut table): Logged) -> Item {
    table.name = format!("{metric} of source {}", source.0);
    Item {
        metric,
        table,
        rounds: false,
        terms: judge::Terms::default(),
    }
}

fn judged(name: String, item: Item, question: &Question) -> Recorded {
    let Item {
        metric,
        table,
        rounds,
        terms,
    } = item;
    let metric = question.metric.clone().map_or(metric, Metric::named);
    let ops_known =
        table.operations.iter().filter(|o| o.is_finite()).count() * 10 > table.operations.len() * 9;
    let all_collected = !table.collected.is_empty() && table.collected.iter().all(|c| *c);
    let on_operations =
        rounds || question.on_operations || (all_collected && table.value.len() <= 160);
    let resident = matches!(metric.as_str(), "rss" | "rss_anon" | "anon");
    let series = judge::Series {
        metric: metric.as_str().to_owned(),
        quantity: if metric.unit() == Unit::Count {
            judge::Quantity::Count
        } else {
            judge::Quantity::Bytes
        },
        axis: if ops_known && on_operations {
            judge::Axis::Operations
        } else {
            judge::Axis::Time
        },
        t_ns: table.t_ns,
        value: table.value,
        ops: if ops_known {
            table.operations
        } else {
            Vec::new()
        },
        load: table.load,
        collected: table.collected,
        epoch: table.epoch,
        resolution: if resident { 4096.0 } else { 1.0 },
        ..judge::Series::default()
    };
    let terms = judge::Terms {
        floor: question.floor,
        planned_ns: question
            .planned_s
            .filter(|s| *s > 0.0)
            .map(|s| (s * 1e9) as u64),
        limit: question.limit.filter(|l| *l > 0.0),
        ..terms
    };
    let mut verdict = Verdict::from(&judge::judge(&series, &terms));
    let start = series.t_ns.iter().copied().min().unwrap_or(0);
    // Drawn, and reported, from the first reading on.
    for t in verdict.curve.iter_mut().flat_map(|c| &mut c.t_s) {
        *t -= start as f64 / 1e9;
    }
    let t_s: Vec<f64> = series
        .t_ns
        .iter()
        .map(|t| t.saturating_sub(start) as f64 / 1e9)
        .collect();
    Recorded {
        name,
        metric,
        rules: question
            .rules
            .iter()
            .map(|r| r.on_series(&series))
            .collect(),
        verdict,
        t_s,
        value: series.value,
        assumptions: table.assumptions,
    }
}
