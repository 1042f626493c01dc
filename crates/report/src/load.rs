//! What a load measured, on one screen; and which kinds of operation make a subject grow.

use plimsoll_model::{
    Latency, LoadFigures, LoadInfo, Metric, OperationGrowth, Outcome, Run, RunStatus, units,
};

use crate::page::{Page, Style, Tone, shorten};
use crate::spark::sparkline;
use crate::words::several;

/// Columns of a sparkline.
const SPARK: usize = 24;
/// Kinds of operation in a table; the rest is counted.
const KINDS: usize = 40;
/// Columns of a name in a table.
const NAME: usize = 40;

/// Renders the run of a load for a terminal.
pub(crate) fn text(run: &Run, style: Style) -> String {
    let mut page = Page::new(style);
    let Some(load) = &run.load else {
        return page.finish();
    };
    let mut head = vec![shorten(&load.name, 60)];
    if let Some(service) = &run.subject.service {
        head.push(shorten(&service.command.join(" "), 40));
        head.push(format!("pid {}", service.id.pid));
    }
    page.flow(0, Some(("plimsoll load", Tone::Plain, 16)), &head);
    page.blank();
    let (word, tone, mut parts) = outcome(run, load);
    let mut hint = None;
    if let RunStatus::Failed { what, hint: h, .. } = &run.status {
        parts.insert(0, what.clone());
        hint.clone_from(h);
    }
    page.flow(0, Some((word, tone, word.len() + 3)), &parts);
    if let Some(hint) = hint {
        page.flow(7, None, &[format!("hint: {hint}")]);
    }
    page.blank();
    if let Some(figures) = &load.figures {
        entries(figures, load, run, &mut page);
        if !figures.per_operation.is_empty() {
            page.blank();
            by_operation(figures, load, &mut page);
        }
    }
    for finding in &run.findings {
        let mut parts = vec![finding.message.clone()];
        parts.extend(finding.hint.iter().map(|h| format!("hint: {h}")));
        page.entry("note", Tone::Label, &parts);
    }
    page.finish()
}

fn outcome(run: &Run, load: &LoadInfo) -> (&'static str, Tone, Vec<String>) {
    let sent = load.figures.as_ref().map(|figures| {
        let sent = units::count(figures.sent as f64);
        match figures.planned {
            Some(planned) => format!("sent {sent} of {} planned", units::count(planned as f64)),
            None => format!("sent {sent}"),
        }
    });
    let mut parts: Vec<String> = sent.into_iter().collect();
    let errors: u64 = load.errors_by_kind.values().sum();
    if errors == 0 {
        parts.push("0 errors".to_owned());
    } else {
        let kinds: Vec<String> = load
            .errors_by_kind
            .iter()
            .map(|(kind, n)| format!("{} x {kind}", units::count(*n as f64)))
            .collect();
        parts.push(format!(
            "{}: {}",
            several(errors, "error"),
            kinds.join(", ")
        ));
    }
    match &run.status {
        RunStatus::Completed => ("DRIVEN", Tone::Good, parts),
        RunStatus::Interrupted => ("INTERRUPTED", Tone::Unsure, parts),
        _ => ("FAILED", Tone::Bad, parts),
    }
}

fn entries(figures: &LoadFigures, load: &LoadInfo, run: &Run, page: &mut Page) {
    let mut rate = Vec::new();
    if let Some(measured) = load.operations_per_second {
        rate.push(format!(
            "{} {}s a second",
            units::count(measured),
            load.operation_word
        ));
    }
    if let Some(asked) = figures.rate {
        rate.push(format!("asked for {}", units::count(asked)));
    }
    rate.push(format!("in {}", units::duration(figures.seconds)));
    if figures.ramp_s > 0.0 {
        rate.push(format!("rising over {}", units::duration(figures.ramp_s)));
    }
    rate.push(format!("concurrency {}", load.concurrency));
    page.entry("rate", Tone::Label, &rate);
    // The slowest answer took some time; where it took none, there was none.
    let answered = figures.latency.max_ns > 0;
    if answered {
        page.entry("latency", Tone::Label, &percentiles(&figures.latency));
    } else {
        let nothing = "nothing was answered".to_owned();
        page.entry("latency", Tone::Label, &[nothing]);
    }
    if let Some(lateness) = &figures.lateness {
        if answered {
            page.entry("service", Tone::Label, &percentiles(&figures.service));
        }
        page.entry("lateness", Tone::Label, &percentiles(lateness));
    }
    let mut bytes = vec![
        format!("{} received", units::bytes(figures.bytes_in as f64)),
        format!("{} sent", units::bytes(figures.bytes_out as f64)),
    ];
    if figures.reconnects > 0 {
        bytes.push(several(figures.reconnects, "connection opened again"));
    }
    if figures.refreshed > 0 {
        bytes.push(format!(
            "{} set up again after a 401",
            several(figures.refreshed, "user")
        ));
    }
    page.entry("bytes", Tone::Label, &bytes);
    let per_operation = figures.cpu_s / (figures.sent.max(1) as f64);
    page.entry(
        "client",
        Tone::Label,
        &[
            format!("{} CPU", units::percent(run.observer.driver_cpu_ratio)),
            format!("{:.1} µs per {}", per_operation * 1e6, load.operation_word),
            format!("{} RSS", units::bytes(run.observer.rss_peak as f64)),
        ],
    );
    if let Some(memory) = memory(run, page.style()) {
        page.entry("memory", Tone::Label, &memory);
    }
}

fn percentiles(latency: &Latency) -> Vec<String> {
    [
        ("p50", latency.p50_ns),
        ("p90", latency.p90_ns),
        ("p95", latency.p95_ns),
        ("p99", latency.p99_ns),
        ("p99.9", latency.p99_9_ns),
        ("max", latency.max_ns),
    ]
    .map(|(name, ns)| format!("{name} {}", units::latency(ns)))
    .to_vec()
}

/// What the program used while it was watched.
pub(crate) fn memory(run: &Run, style: Style) -> Option<Vec<String>> {
    // That of all who share the work, where there are several.
    let of = |metric: &Metric| run.series.iter().find(|s| s.metric == *metric);
    let (name, series) = match of(&Metric::RSS_ANON_SUM) {
        Some(sum) => ("resident anonymous memory of all", sum),
        None => ("RSS", of(&Metric::RSS)?),
    };
    let band = series.band.as_ref()?;
    let known: Vec<f64> = band.min.iter().flatten().copied().collect();
    let (first, last) = (known.first()?, known.last()?);
    let highest = band.max.iter().flatten().copied().fold(f64::NAN, f64::max);
    Some(vec![
        format!("{name} {}", units::bytes_range(*first, *last)),
        format!("at most {}", units::bytes(highest)),
        sparkline(&known, SPARK, style.ascii),
    ])
}

fn by_operation(figures: &LoadFigures, load: &LoadInfo, page: &mut Page) {
    let head = format!(
        "  {:<NAME$}  {:>9}  {:>7}  {:>9}  {:>9}  {:>9}",
        "by operation", "done", "errors", "p50", "p99", "max"
    );
    page.line(&head);
    for stats in figures.per_operation.iter().take(KINDS) {
        let time = |ns| match stats.latency.max_ns {
            0 => "-".to_owned(),
            _ => units::latency(ns),
        };
        let name = load.operations.iter().find(|o| o.id == stats.operation);
        let name = cell(name.map_or("", |n| &n.name));
        page.line(&format!(
            "  {name:<NAME$}  {:>9}  {:>7}  {:>9}  {:>9}  {:>9}",
            units::count(stats.done as f64),
            units::count(stats.errors as f64),
            time(stats.latency.p50_ns),
            time(stats.latency.p99_ns),
            time(stats.latency.max_ns),
        ));
    }
    if figures.per_operation.len() > KINDS {
        page.line(&format!(
            "  and {} more",
            figures.per_operation.len() - KINDS
        ));
    }
    page.blank();
}

/// A name that fits its column; nothing a terminal would act on.
fn cell(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    shorten(&name, NAME)
}

/// The table of kinds of operation, those that leak first.
pub(crate) fn growth(load: &LoadInfo, page: &mut Page) {
    if load.growth.is_empty() {
        return;
    }
    let mut rows: Vec<&OperationGrowth> = load.growth.iter().collect();
    rows.sort_by(|a, b| {
        let leaks = |g: &OperationGrowth| g.outcome == Outcome::Leak;
        leaks(b).cmp(&leaks(a)).then(b.rate.total_cmp(&a.rate))
    });
    page.blank();
    page.line(&format!(
        "  {:<NAME$}  {:>14}  {:>26}  {}",
        "by operation, each alone", "growth", "95 % interval", "verdict"
    ));
    for row in rows.iter().take(KINDS) {
        let verdict = match row.outcome {
            Outcome::Leak => "LEAK",
            Outcome::NoLeak => "no leak",
            Outcome::Inconclusive => "not clear",
        };
        let (rate, interval) =
            units::signed_bytes_with_interval(row.rate, row.interval.low, row.interval.high);
        page.line(&format!(
            "  {:<NAME$}  {:>14}  {interval:>26}  {verdict}",
            cell(&row.name),
            format!("{rate}/op"),
        ));
    }
    if rows.len() > KINDS {
        page.line(&format!("  and {} more", rows.len() - KINDS));
    }
}
