//! Three heap snapshots: before, with a thousand objects, and after letting go of them and collecting.
//!
//! The document takes the second after the objects were let go. V8 collects before it writes a snapshot, so they would be
//! gone from it; here they are held until it is taken. Before a deployment sessions are looked at so, which are disposed of.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use plimsoll_heap::{Classes, Heap, Parser};
use plimsoll_model::{Cx, EvidenceRequest, FigureUnit, Side, Sink, units};
use plimsoll_probe::Runtime;
use serde_json::json;

use super::bench::{Bench, Findings};
use super::child::Trouble;
use super::{Check, Test};
use crate::limits::Room;
use crate::snapshot;

const OBJECTS: u64 = 1_000;
/// How long one snapshot may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// Share of the objects that must be in the second snapshot for `kind` to be the name of their class.
const NAMED: f64 = 0.5;

pub(crate) static TESTS: [Test; 1] = [Test {
    name: "heap_snapshots",
    row: "A10",
    limit: Duration::from_mins(10),
    checks: &[Check::new(
        "three",
        "before, with 1,000 alive, after collecting",
        three,
    )],
}];

/// What one of them says.
struct Taken {
    total: u64,
    count: u64,
    distance: Option<i32>,
    detached: u64,
}

impl Taken {
    fn line(&self, name: &str, kind: &str) -> String {
        let distance = self
            .distance
            .map_or_else(String::new, |d| format!(", distance {d}"));
        format!(
            "{name}: {} total, {} {kind}{distance}, detached DOM {}",
            units::bytes(self.total as f64),
            units::count(self.count as f64),
            units::bytes(self.detached as f64)
        )
    }

    fn tell(&self, name: &str, kind: &str, out: &mut Findings) {
        out.told(
            &format!("{name}: total"),
            self.total as f64,
            FigureUnit::Bytes,
        );
        out.told(
            &format!("{name}: {kind}"),
            self.count as f64,
            FigureUnit::Count,
        );
        if let Some(distance) = self.distance.filter(|_| self.count > 0) {
            out.told(
                &format!("{name}: distance"),
                f64::from(distance),
                FigureUnit::Count,
            );
        }
    }
}

fn three(bench: &mut Bench<'_>, out: &mut Findings) -> Result<(), Trouble> {
    bench.needs(&["create", "kind"])?;
    // Sessions are destroyed; what only a finaliser cleans up is let go.
    let (fate, cleanup) = if bench.suite.pre_deploy {
        bench.needs(&["dispose"])?;
        ("dispose", "manual")
    } else {
        bench.needs_finalizers()?;
        ("drop", "auto")
    };
    let kind = bench.child.abilities.objects().to_owned();
    let objects = bench.suite.operations.unwrap_or(OBJECTS);
    let Some(isolate) = bench.child.isolate().cloned() else {
        return Err(Trouble::Skipped(
            "this runtime gives no heap snapshots: its probe did not say hello".to_owned(),
        ));
    };
    let mut runtime = bench.child.hub.runtime(&isolate);
    let command = json!({
        "rows": 1, "columns": 2, "fate": "keep", "cleanup": cleanup, "n": objects,
    });
    let mut few = command.clone();
    few["n"] = objects.div_ceil(10).into();
    bench.batch(&few)?;
    bench.release(fate)?;
    let before = bench.collect(None)?.memory;
    let mut take = |bench: &mut Bench<'_>, name: &str| {
        let room = Room::of(Some(bench.child.subject().process()), isolate.heap_limit).left();
        take(bench, runtime.as_mut(), &kind, name, room)
    };
    let first = take(bench, "1-baseline")?;
    bench.batch(&command)?;
    let second = take(bench, "2-created")?;
    bench.release(fate)?;
    let after = bench.collect(Some(&before))?.memory;
    let third = take(bench, "3-collected")?;

    for (name, taken) in [
        ("baseline", &first),
        ("created", &second),
        ("collected", &third),
    ] {
        bench.say(taken.line(name, &kind));
        taken.tell(name, &kind, out);
    }
    out.span(before, after);
    let made = second.count.saturating_sub(first.count);
    if (made as f64) < NAMED * objects as f64 {
        out.open = Some(format!(
            "of {} objects that were alive {} are called {kind} in the snapshot: `kind` must be the name of their class",
            units::count(objects as f64),
            units::count(made as f64)
        ));
        return Ok(());
    }
    let remain = third.count.saturating_sub(first.count);
    out.ruled(
        "objects that remain",
        remain as f64,
        FigureUnit::Count,
        Side::AtMost,
        0.0,
    );
    let detached = third.detached as f64 - first.detached as f64;
    out.ruled(
        "growth of detached DOM",
        detached,
        FigureUnit::BytesChange,
        Side::AtMost,
        0.0,
    );
    out.outcome = Some(if remain == 0 {
        format!(
            "cleaned up: all {} {kind} are gone",
            units::count(made as f64)
        )
    } else {
        format!(
            "leak: {} of {} {kind} remain",
            units::count(remain as f64),
            units::count(made as f64)
        )
    });
    drop(runtime);
    out.replay = Some(json!({ "rows": 1, "columns": 2, "fate": fate }));
    Ok(())
}

fn take(
    bench: &mut Bench<'_>,
    runtime: &mut dyn Runtime,
    kind: &str,
    name: &str,
    room: Option<u64>,
) -> Result<Taken, Trouble> {
    let heap_used = bench.measure()?.heap_used;
    let needed = plimsoll_probe::headroom_for_snapshot(heap_used as u64);
    if let Some(left) = room.filter(|left| *left < needed) {
        return Err(Trouble::Skipped(format!(
            "a snapshot of a heap of {} may take {} more, and {} are left",
            units::bytes(heap_used),
            units::bytes(needed as f64),
            units::bytes(left as f64)
        )));
    }
    let copy = match &bench.suite.output {
        Some(directory) => Some(copy(&directory.join(format!("{name}.heapsnapshot")))?),
        None => None,
    };
    let mut sink = Parsing {
        parser: Some(Parser::new()),
        copy,
    };
    let cx = Cx::within(bench.cancel, PATIENCE);
    let captured = runtime.capture(&EvidenceRequest::Snapshot, &mut sink, &cx);
    if bench.cancel.is_cancelled() {
        return Err(Trouble::Interrupted);
    }
    let failed = |what: String| Trouble::failed(format!("no heap snapshot: {what}"));
    captured.map_err(|error| failed(error.to_string()))?;
    let parser = sink.parser.take().expect("taken here alone");
    let snapshot = parser.finish().map_err(|error| failed(error.to_string()))?;
    let heap = Heap::of(snapshot);
    let classes = Classes::of(&heap);
    let rows = || classes.rows().filter(|row| row.name == kind);
    Ok(Taken {
        total: heap.total(),
        count: rows().map(|row| row.count).sum(),
        distance: rows().map(|row| row.distance).min(),
        detached: snapshot::detached_bytes(&heap),
    })
}

fn copy(path: &Path) -> Result<File, Trouble> {
    let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    parent
        .and_then(|()| snapshot::private_file(path))
        .map_err(|error| Trouble::Failed {
            what: format!("{} cannot be written: {error}", path.display()),
            details: Vec::new(),
            hint: Some("name another directory with `--output`".to_owned()),
        })
}

/// Parsed while it arrives, and copied if that was asked.
struct Parsing {
    parser: Option<Parser>,
    copy: Option<File>,
}

impl Sink for Parsing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(parser) = &mut self.parser {
            parser.feed(bytes).map_err(io::Error::other)?;
        }
        self.copy
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(bytes))
    }
}
