//! A run on one screen: the verdict first, then what explains it, then what limits it, then where to find the rest.

use plimsoll_model::{
    Culprit, Finding, Level, LimitKind, LoadInfo, Metric, Outcome, Part, Role, RoundKind, Run,
    RunStatus, SeriesRecord, Severity, Unit, Verdict, units,
};

use crate::advice;
use crate::page::{Page, Style, Tone, shorten};
use crate::rules;
use crate::spark::sparkline;
use crate::words::{self, Rates, several};

/// Culprits that are shown; the rest is counted.
const CULPRITS: usize = 3;
/// Processes and threads that grow, of those who share the work.
const PARTS: usize = 4;
/// Findings that are shown; the rest is counted.
const FINDINGS: usize = 5;
/// Lines about a failure that are shown.
const DETAILS: usize = 8;
/// Columns of a sparkline.
const SPARK: usize = 24;

/// Renders a run for a terminal.
pub fn text(run: &Run, style: Style) -> String {
    match run.verb.as_str() {
        "load" => return crate::load::text(run, style),
        "profile" => return crate::profile::text(run, style),
        _ => {}
    }
    let mut page = Page::new(style);
    page.flow(
        0,
        // Room for the longest verb, so that reports of all verbs stand alike.
        Some((
            &format!("plimsoll {}", run.verb),
            Tone::Plain,
            16.max(run.verb.len() + 11),
        )),
        &subject(run),
    );
    page.flow(2, None, &conditions(run));
    page.blank();
    verdict(run, &mut page);
    if let Some(load) = &run.load {
        crate::load::growth(load, &mut page);
    }
    let before = explanation(run);
    if !before.is_empty() {
        page.blank();
        for (label, tone, parts) in &before {
            page.entry(label, *tone, parts);
        }
    }
    page.finish()
}

/// An entry below the verdict.
type Entry = (String, Tone, Vec<String>);

fn entry(label: &str, parts: Vec<String>) -> Entry {
    (label.to_owned(), Tone::Label, parts)
}

/// What was checked: command, process, runtime, load.
fn subject(run: &Run) -> Vec<String> {
    let mut parts = Vec::new();
    let service = run.subject.service.as_ref();
    let command = match (&run.subject.command[..], service) {
        ([], Some(service)) => service.command.join(" "),
        (command, _) => command.join(" "),
    };
    parts.push(shorten(&command, 60));
    if let Some(service) = service {
        parts.push(format!("pid {}", service.id.pid));
        if let Some(runtime) = &service.runtime {
            let name = match runtime.name.as_str() {
                "node" => "Node",
                "deno" => "Deno",
                "bun" => "Bun",
                "python" => "Python",
                other => other,
            };
            parts.push(format!("{name} {}", runtime.version));
        }
    }
    match &run.load {
        Some(load) => {
            let name = load.name.strip_prefix("GET ").unwrap_or(&load.name);
            parts.push(shorten(name, 60));
        }
        None => parts.push("watched, not driven".to_owned()),
    }
    parts
}

/// Under which conditions: start, warm-up, rounds, collections, errors, cost.
fn conditions(run: &Run) -> Vec<String> {
    let mut parts = Vec::new();
    // A monitor waits for nothing.
    if run.verb != "monitor" {
        parts.push(match run.subject.ready {
            Some(ready) => format!("start {}", units::duration(ready.as_secs_f64())),
            None => "never ready".to_owned(),
        });
    }
    let rounds: Vec<_> = run
        .rounds
        .iter()
        .filter(|r| r.kind == RoundKind::Measured)
        .collect();
    if let Some(load) = &run.load {
        let word = &load.operation_word;
        if run.plan.warm_up_operations > 0 {
            let settled = if run.plan.warm_up_settled {
                "settled"
            } else {
                "not settled"
            };
            parts.push(format!(
                "warm-up {}, {settled}",
                several(run.plan.warm_up_operations, word)
            ));
        }
        if run.plan.operations_per_round == 0 && load.total_operations > 0 {
            parts.push(several(load.total_operations, word));
        } else if !rounds.is_empty() {
            parts.push(format!(
                "{} x {}",
                several(rounds.len() as u64, "round"),
                several(run.plan.operations_per_round, word)
            ));
        }
    } else if let Some(ready) = run.subject.ready {
        parts.push(format!(
            "watched {}",
            units::duration(run.duration.since(ready).as_secs_f64())
        ));
    }
    if !rounds.is_empty() {
        let forced = rounds.iter().all(|r| r.collected);
        let by_allocator =
            run.levels.contains(&Level::Allocator) && !run.levels.contains(&Level::Probe);
        parts.push(
            if forced && by_allocator {
                "live bytes by its allocator"
            } else if forced {
                "collections forced"
            } else {
                "collections not forced"
            }
            .to_owned(),
        );
    }
    // Who only counts operations does not know how they ended.
    let driven = |load: &&LoadInfo| load.concurrency > 0;
    if let Some(load) = run.load.as_ref().filter(driven) {
        let errors: u64 = load.errors_by_kind.values().sum();
        let kinds: Vec<String> = load
            .errors_by_kind
            .iter()
            .filter(|&(_, &count)| count > 0)
            .map(|(kind, &count)| {
                if count == errors {
                    kind.clone()
                } else {
                    format!("{} x {kind}", units::count(count as f64))
                }
            })
            .collect();
        let kinds = if kinds.is_empty() {
            String::new()
        } else {
            format!(" ({})", kinds.join(", "))
        };
        parts.push(format!("{}{kinds}", several(errors, "error")));
    }
    parts.push(format!(
        "observer {} CPU",
        units::percent(run.observer.cpu_ratio)
    ));
    if run.observer.dropped_samples > 0 {
        parts.push(format!(
            "{} dropped",
            several(run.observer.dropped_samples, "sample")
        ));
    }
    parts
}

fn verdict(run: &Run, page: &mut Page) {
    match &run.status {
        RunStatus::Failed {
            what,
            details,
            hint,
        } => {
            head(page, "FAILED", Tone::Bad, std::slice::from_ref(what));
            for line in details.iter().take(DETAILS) {
                below(page, &[line]);
            }
            if details.len() > DETAILS {
                below(
                    page,
                    &[format!("and {} more lines", details.len() - DETAILS)],
                );
            }
            if let Some(hint) = hint {
                below(page, &[format!("hint: {hint}")]);
            }
            until_then(run, page);
        }
        RunStatus::Interrupted => {
            let after = units::duration(run.duration.as_secs_f64());
            let rounds = measured_rounds(run);
            let place = match rounds {
                0 => String::new(),
                n => format!(", {} measured", several(n, "round")),
            };
            head(
                page,
                "INTERRUPTED",
                Tone::Unsure,
                &[format!("after {after}{place}")],
            );
            until_then(run, page);
        }
        _ => judged(run, page),
    }
}

fn head(page: &mut Page, word: &str, tone: Tone, parts: &[String]) {
    page.flow(0, Some((word, tone, word.len() + 3)), parts);
}

fn below<S: AsRef<str>>(page: &mut Page, parts: &[S]) {
    page.flow(7, None, parts);
}

/// The verdict of a run that ended as planned.
fn judged(run: &Run, page: &mut Page) {
    let Some(verdict) = &run.verdict else {
        let why = if run.verdict_reason.is_empty() {
            "nothing could be judged"
        } else {
            &run.verdict_reason
        };
        head(page, "INCONCLUSIVE", Tone::Unsure, &[why.to_owned()]);
        settle(run, None, page);
        return;
    };
    let headline = headline(run);
    let rates = rates(run, verdict);
    let word = words::headline(verdict.outcome);
    match verdict.outcome {
        Outcome::Leak => {
            let mut parts = Vec::new();
            if let Some(growth) = &verdict.growth {
                let what = headline
                    .filter(|s| s.unit != Unit::Bytes)
                    .map_or_else(String::new, |s| format!(" {}", words::metric(&s.metric)));
                let rate = rates.signed(growth.rate);
                // `+1 listeners Bus:change per request`: what is counted stands before what it is counted per.
                parts.push(match rate.split_once(" per ") {
                    Some((number, per)) => format!("{number}{what} per {per}"),
                    None => format!("{rate}{what}"),
                });
                parts.push(rates.interval(growth.rate, growth.interval));
            }
            parts.push(words::confidence(verdict));
            parts.push(words::shape(verdict));
            head(page, word, Tone::Bad, &parts);
            if !run.verdict_reason.is_empty() {
                below(page, std::slice::from_ref(&run.verdict_reason));
            }
        }
        Outcome::NoLeak => {
            let mut parts = vec![rates.bound(verdict)];
            parts.extend(measured(verdict, rates));
            parts.push(words::confidence(verdict));
            parts.push(words::shape(verdict));
            head(page, word, Tone::Good, &parts);
        }
        Outcome::Inconclusive => {
            let why = if run.verdict_reason.is_empty() {
                &verdict.reason
            } else {
                &run.verdict_reason
            };
            head(
                page,
                word,
                Tone::Unsure,
                &[why.clone(), words::confidence(verdict)],
            );
            let mut parts: Vec<String> = measured(verdict, rates).into_iter().collect();
            parts.push(format!("floor {}", rates.plain(verdict.floor)));
            below(page, &parts);
        }
    }
    level(run, page);
    if verdict.outcome == Outcome::Leak {
        time_to_limit(run, verdict, page);
    } else if let Some(detectable) = verdict.detectable.filter(|d| d.is_finite()) {
        below(
            page,
            &[format!(
                "smallest leak this run could have found: {}",
                rates.plain(detectable)
            )],
        );
    }
    if verdict.outcome == Outcome::Inconclusive {
        settle(run, Some(verdict), page);
    }
}

fn settle(run: &Run, verdict: Option<&Verdict>, page: &mut Page) {
    if let Some(advice) = advice::to_settle(run, verdict) {
        below(page, &[format!("to settle it: {advice}")]);
    }
}

/// `measured +0.20 B per request (95 % CI -1.50 … 1.90)`.
fn measured(verdict: &Verdict, rates: Rates<'_>) -> Option<String> {
    let growth = verdict.growth.as_ref()?;
    Some(format!("measured {}", rates.estimate(growth)))
}

/// What was known when the run ended before its time. Growth that was not seen until then is no promise.
fn until_then(run: &Run, page: &mut Page) {
    let text = match &run.verdict {
        None => "nothing could be judged".to_owned(),
        Some(verdict) => {
            let rates = rates(run, verdict);
            let estimate = verdict
                .growth
                .as_ref()
                .map(|g| rates.estimate(g))
                .unwrap_or_default();
            match verdict.outcome {
                Outcome::Leak => {
                    format!("leak, {estimate}, {}", words::confidence(verdict))
                }
                Outcome::NoLeak => {
                    format!("inconclusive, {estimate}: no growth seen, in less than was planned")
                }
                Outcome::Inconclusive => {
                    let why = match verdict.reason.as_str() {
                        "" => run.verdict_reason.as_str(),
                        reason => reason,
                    };
                    format!("inconclusive, {why}")
                }
            }
        }
    };
    below(page, &[format!("verdict until then: {text}")]);
    level(run, page);
}

fn measured_rounds(run: &Run) -> u64 {
    run.rounds
        .iter()
        .filter(|r| r.kind == RoundKind::Measured)
        .count() as u64
}

fn headline(run: &Run) -> Option<&SeriesRecord> {
    run.series.get(run.headline?)
}

fn operation_word(run: &Run) -> Option<&str> {
    run.load.as_ref().map(|load| load.operation_word.as_str())
}

fn rates<'a>(run: &'a Run, verdict: &Verdict) -> Rates<'a> {
    let unit = headline(run).map_or(Unit::Bytes, |s| s.unit);
    Rates::of(verdict, unit, operation_word(run))
}

/// `live bytes 21.4 → 32.4 MiB in 6,000 requests   ▁▂▃▅▆█`.
fn level(run: &Run, page: &mut Page) {
    let Some(series) = headline(run) else { return };
    let (values, extent) = match (&series.points, &series.band) {
        (Some(points), _) if points.value.iter().filter(|v| v.is_finite()).count() > 1 => {
            let driven = points.operations.first().zip(points.operations.last());
            let extent = match (driven, operation_word(run)) {
                (Some((from, to)), Some(word)) if to > from => several((to - from) as u64, word),
                _ => points
                    .t
                    .first()
                    .zip(points.t.last())
                    .map(|(from, to)| units::duration(to.since(*from).as_secs_f64()))
                    .unwrap_or_default(),
            };
            (points.value.clone(), extent)
        }
        (_, Some(band)) => {
            let values: Vec<f64> = band.min.iter().map(|v| v.unwrap_or(f64::NAN)).collect();
            let seconds = band.step.as_secs_f64() * values.len() as f64;
            (values, units::duration(seconds))
        }
        _ => return,
    };
    let mut known = values.iter().copied().filter(|v| v.is_finite());
    let (Some(first), Some(last)) = (known.next(), known.next_back()) else {
        return;
    };
    let range = match series.unit {
        Unit::Bytes => units::bytes_range(first, last),
        _ => format!("{} → {}", units::count(first), units::count(last)),
    };
    let name = words::metric(&series.metric);
    let spark = sparkline(&values, SPARK, page.style().ascii);
    below(page, &[format!("{name} {range} in {extent}"), spark]);
}

fn time_to_limit(run: &Run, verdict: &Verdict, page: &mut Page) {
    let Some(time) = verdict
        .growth
        .as_ref()
        .and_then(|g| g.time_to_limit.as_ref())
    else {
        return;
    };
    let limits = run.subject.limits;
    let is = |limit: Option<u64>| limit.is_some_and(|l| l as f64 == time.limit);
    let name = match limits.effective {
        Some(effective) => effective.kind.as_str(),
        // A run of an older version says only how much.
        None if is(limits.heap) => LimitKind::Heap.as_str(),
        None if is(limits.cgroup) => LimitKind::Cgroup.as_str(),
        None if is(limits.host) => LimitKind::Host.as_str(),
        None => "the limit",
    };
    let word = operation_word(run).unwrap_or("operation");
    below(page, &[words::time_to_limit(time, name, word)]);
}

/// What explains the verdict, what limits it, and where the rest is.
fn explanation(run: &Run) -> Vec<Entry> {
    let mut entries = Vec::new();
    // What limits the verdict stands above what explains it.
    let (warnings, notes): (Vec<_>, Vec<_>) = run
        .findings
        .iter()
        .partition(|f| f.severity == Severity::Warning);
    let room = FINDINGS.saturating_sub(warnings.len());
    entries.extend(
        warnings
            .iter()
            .take(FINDINGS)
            .flat_map(|f| finding_entries(f)),
    );
    for culprit in run.culprits.iter().take(CULPRITS) {
        entries.append(&mut culprit_entries(culprit, operation_word(run)));
    }
    if run.culprits.len() > CULPRITS {
        let more = run.culprits.len() - CULPRITS;
        entries.push(entry(
            "",
            vec![format!("and {more} more, see `--format json`")],
        ));
    }
    entries.extend(growing_parts(run));
    entries.extend(bytes_beside_a_count(run));
    entries.extend(
        also_growing(run)
            .into_iter()
            .map(|text| entry("grows", vec![text])),
    );
    if !run.shares.is_empty()
        && run
            .verdict
            .as_ref()
            .is_some_and(|v| v.outcome != Outcome::NoLeak)
    {
        let parts: Vec<String> = run
            .shares
            .iter()
            .map(|s| format!("{} {}", s.name, units::percent(s.ratio)))
            .collect();
        entries.push(entry(
            "growth",
            vec![format!("divides: {}", parts.join(", "))],
        ));
    }
    if let Some(idle) = run
        .plan
        .idle_growth_per_round
        .filter(|g| g.is_finite() && *g != 0.0)
    {
        let text = format!("{} per round without operations", units::signed_bytes(idle));
        entries.push(entry("idle", vec![text]));
    }
    entries.extend(notes.iter().take(room).flat_map(|f| finding_entries(f)));
    if run.findings.len() > FINDINGS {
        let more = run.findings.len() - FINDINGS;
        entries.push(entry(
            "",
            vec![format!("and {more} more, see `--format json`")],
        ));
    }
    if !run.rules.is_empty() {
        let phrases = rules::phrases(&run.rules, operation_word(run));
        entries.push(entry("rules", phrases));
    }
    entries.extend(limits_of_observation(run));
    if let Some(guarantee) = guarantee(run) {
        entries.push(entry("promise", vec![guarantee]));
    }
    if !run.findings.iter().any(|f| f.id == "not-kept") {
        entries.push(entry("report", vec![format!("plimsoll report {}", run.id)]));
    }
    entries
}

fn finding_entries(finding: &Finding) -> Vec<Entry> {
    let (label, tone) = match finding.severity {
        Severity::Warning => ("warning", Tone::Unsure),
        _ => ("note", Tone::Label),
    };
    let mut entries = vec![(label.to_owned(), tone, vec![finding.message.clone()])];
    if let Some(hint) = &finding.hint {
        entries.push(entry("", vec![format!("hint: {hint}")]));
    }
    entries
}

fn culprit_entries(culprit: &Culprit, word: Option<&str>) -> Vec<Entry> {
    let word = word.unwrap_or("operation");
    let mut first = Vec::new();
    let label = if let Some(holder) = &culprit.holder {
        first.push(format!("{} in {holder}", culprit.kind));
        "held by"
    } else {
        first.push(culprit.kind.clone());
        "grows"
    };
    if let Some(bytes) = culprit.bytes_per_op {
        first.push(format!("{}/{word}", units::signed_bytes(bytes)));
    }
    if let Some(count) = culprit.count_per_op {
        first.push(format!("+{} per {word}", units::count(count)));
    }
    if let Some(share) = culprit.share {
        first.push(format!("{} of the growth", units::percent(share)));
    }
    let mut entries = vec![entry(label, first)];
    let mut evidence = culprit.evidence.clone();
    evidence.extend(culprit.place.clone());
    if !evidence.is_empty() {
        entries.push(entry("", evidence));
    }
    // What has no name cannot be looked up.
    if culprit.pattern.is_empty() {
        if !culprit.advice.is_empty() {
            entries.push(entry("", vec![culprit.advice.clone()]));
        }
        return entries;
    }
    entries.push(entry(
        "",
        vec![format!("pattern: {} · {}", culprit.pattern, culprit.advice)],
    ));
    entries.push(entry(
        "",
        vec![format!("plimsoll explain {}", slug(&culprit.pattern))],
    ));
    entries
}

/// A pattern's name as a word on a command line.
fn slug(pattern: &str) -> String {
    let words = pattern.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

/// Where a count leaks, what became of the bytes.
fn bytes_beside_a_count(run: &Run) -> Option<Entry> {
    headline(run).filter(|s| s.unit == Unit::Count)?;
    let series = run.series.iter().find(|s| {
        s.part == Part::Judged && [Metric::LIVE_BYTES, Metric::RSS_ANON].contains(&s.metric)
    })?;
    let verdict = series.verdict.as_ref()?;
    let rates = Rates::of(verdict, series.unit, operation_word(run));
    let name = words::metric(&series.metric);
    let outcome = verdict.outcome.as_str();
    let figure = match (verdict.outcome, &verdict.growth) {
        (Outcome::NoLeak, _) => rates.bound(verdict),
        (_, Some(growth)) => rates.estimate(growth),
        _ => verdict.reason.clone(),
    };
    Some(entry("bytes", vec![format!("{name}: {outcome}, {figure}")]))
}

/// Judged series that leak beside the headline and that no culprit tells of. The parts of live bytes are told by the
/// shares.
fn also_growing(run: &Run) -> Vec<String> {
    let told = |series: &SeriesRecord, rate: f64| {
        let is_part =
            [Metric::HEAP_USED, Metric::EXTERNAL, Metric::LIVE_BYTES].contains(&series.metric);
        (is_part && !run.shares.is_empty())
            || (series.unit == Unit::Count
                && run.culprits.iter().any(|c| c.count_per_op == Some(rate)))
    };
    let shared = run.sources.iter().any(|source| source.role == Role::Sum);
    run.series
        .iter()
        .enumerate()
        .filter(|&(i, s)| Some(i) != run.headline && s.part != Part::Context && s.is(Outcome::Leak))
        // Those are told by name.
        .filter(|(_, s)| {
            !shared
                || run
                    .sources
                    .iter()
                    .any(|o| o.id == s.source && o.role == Role::Sum)
        })
        .filter_map(|(_, series)| {
            let verdict = series.verdict.as_ref()?;
            let growth = verdict.growth.as_ref()?;
            if told(series, growth.rate) {
                return None;
            }
            let rates = Rates::of(verdict, series.unit, operation_word(run));
            Some(format!(
                "{}   {}",
                words::metric(&series.metric),
                rates.estimate(growth)
            ))
        })
        .collect()
}

/// Where the work is shared: which of its processes and threads grow, the fastest first.
fn growing_parts(run: &Run) -> Option<Entry> {
    let shares_work = run.sources.iter().any(|source| source.role == Role::Sum);
    let mut parts: Vec<(f64, String)> = run
        .series
        .iter()
        .filter(|s| shares_work && s.unit == Unit::Bytes && s.is(Outcome::Leak))
        .filter_map(|s| {
            let source = run.sources.iter().find(|source| source.id == s.source)?;
            let is_one = source.role != Role::Sum && s.part == Part::Judged;
            let verdict = s.verdict.as_ref().filter(|_| is_one)?;
            let rate = verdict.growth.as_ref()?.rate;
            Some((
                rate,
                format!("{source} {}", rates(run, verdict).signed(rate)),
            ))
        })
        .collect();
    if parts.is_empty() {
        return None;
    }
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all = parts.len();
    let mut named: Vec<String> = parts
        .into_iter()
        .take(PARTS)
        .map(|(_, text)| text)
        .collect();
    if all > PARTS {
        named.push(format!("and {} more", all - PARTS));
    }
    Some(entry("in", named))
}

fn limits_of_observation(run: &Run) -> Vec<Entry> {
    let mut entries = Vec::new();
    if !run.gaps.is_empty() {
        let gaps: Vec<String> = run
            .gaps
            .iter()
            .take(CULPRITS)
            .map(|gap| format!("{}: {}", gap.what, gap.why))
            .collect();
        entries.push(entry("unseen", gaps));
    }
    if !run.subject.context_isolates.is_empty() {
        let names = run.subject.context_isolates.join(", ");
        entries.push(entry(
            "context",
            vec![format!("not judged by themselves: {names}")],
        ));
    }
    let wrappers: Vec<String> = run
        .subject
        .processes
        .iter()
        .filter(|p| p.role == Role::Wrapper)
        .map(|p| format!("{} (pid {})", shorten(&p.command.join(" "), 40), p.id.pid))
        .collect();
    if !wrappers.is_empty() {
        entries.push(entry("wrappers", vec![wrappers.join(", ")]));
    }
    if let Some(verdict) = run.verdict.as_ref().filter(|v| !v.repairs.is_empty()) {
        entries.push(entry("mended", vec![verdict.repairs.join(", ")]));
    }
    entries
}

/// What the error rate of the verdict really rests on.
fn guarantee(run: &Run) -> Option<String> {
    let verdict = run.verdict.as_ref()?;
    if run.status != RunStatus::Completed || verdict.growth.is_none() {
        return None;
    }
    // Rounded up: a promise may be kept better than it says.
    let percent = verdict.alpha * 100.0;
    let steps = if percent < 0.1 { 100.0 } else { 10.0 };
    let rate = units::count((percent * steps - 1e-9).ceil() / steps);
    let condition = if operation_word(run).is_some() && verdict.warm_up_operations > 0 {
        "is steady after the warm-up"
    } else {
        "was steady from the start"
    };
    Some(format!(
        "false LEAK in at most {rate} % of runs, if memory {condition}"
    ))
}
