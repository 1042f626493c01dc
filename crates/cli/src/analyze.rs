//! `plimsoll analyze`: files or requests in, verdicts out.

use std::io::{self, BufRead, Read, Write};

use anyhow::Context;
use plimsoll_engine::{Question, RuleRequest};
use plimsoll_model::{ExitCode, Outcome, RuleInfo, RuleResult};
use plimsoll_store::table::Choice;

use crate::args::{AnalyzeArgs, Color};
use crate::{print, store, style};

/// Longest request of the stream, in bytes.
const LONGEST: u64 = 256 << 20;

pub(crate) fn analyze(args: &AnalyzeArgs, color: Color) -> anyhow::Result<ExitCode> {
    if args.stream {
        return stream();
    }
    if args.list_rules {
        let rules = RuleInfo::all();
        print(&if args.json {
            plimsoll_report::rules_json(&rules)
        } else {
            plimsoll_report::rules_text(&rules, style(color))
        })?;
        return Ok(ExitCode::Holds);
    }
    let rules = args.rules.iter().map(|rule| RuleRequest::parse(rule));
    let question = Question {
        rules: rules.collect::<Result<_, _>>()?,
        metric: args.metric.clone(),
        planned_s: args.planned,
        limit: args.limit,
        floor: args.floor,
        on_operations: args.per_operation,
        choice: Choice {
            time_column: args.time_column.clone(),
            columns: args.columns.clone(),
            interval_s: args.interval,
        },
    };
    let series = plimsoll_engine::analyze(&args.files, &store()?, &question)?;
    if args.json {
        print(&plimsoll_report::verdict_json(&series))?;
    } else {
        print(&plimsoll_report::analyze_text(&series, style(color)))?;
    }
    let code = series.iter().map(|s| match s.verdict.outcome {
        _ if s.rules.iter().any(RuleResult::is_broken) => ExitCode::Broken,
        Outcome::Leak => ExitCode::Broken,
        Outcome::NoLeak => ExitCode::Holds,
        Outcome::Inconclusive => ExitCode::Inconclusive,
    });
    Ok(code.fold(ExitCode::Holds, ExitCode::worst))
}

/// Answers requests until standard input ends. Each answer is flushed, so that the one who asks can wait for it.
fn stream() -> anyhow::Result<ExitCode> {
    let mut input = io::stdin().lock();
    let mut out = io::stdout().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input)
            .take(LONGEST + 1)
            .read_until(b'\n', &mut line)
            .context("standard input cannot be read")?;
        if read == 0 {
            return Ok(ExitCode::Holds);
        }
        let text = if read as u64 > LONGEST {
            input
                .skip_until(b'\n')
                .context("standard input cannot be read")?;
            Err("the request is longer than 256 MiB")
        } else {
            std::str::from_utf8(&line).map_err(|_| "the request is not UTF-8")
        };
        let answer = match text.map(str::trim) {
            Ok("") => continue,
            Ok(text) => {
                let answer = plimsoll_engine::answer(text);
                let verdict = answer.verdict.as_ref().map_err(String::as_str);
                plimsoll_report::answer_json(&answer.id, verdict)
            }
            Err(error) => plimsoll_report::answer_json(&serde_json::Value::Null, Err(error)),
        };
        match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
            // The one who asked has left.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::Holds),
            written => written.context("standard output cannot be written")?,
        }
    }
}
