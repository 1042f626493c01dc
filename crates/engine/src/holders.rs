//! Explains growth of a V8 heap by snapshots at the four windows: who holds what is new, what it is, where it is made.
//!
//! The early windows keep ids only, a few bytes an object; the last keeps the graph. Bytes are parsed while they arrive.
//! Which holder is to blame, `plimsoll_heap` decides; here its finding becomes a [`Culprit`].

mod rank;
mod source;
mod words;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use plimsoll_heap::{Classes, Heap, NodeKind, Parser, Snapshot, WindowParser};
use plimsoll_model::{Culprit, EvidenceRequest, Facts, Metric, Sink, Window, units};

use crate::explain::Explainer;
use crate::snapshot::object;

/// What the snapshots left so far.
#[derive(Debug, Default)]
struct Kept {
    early: Vec<(Window, plimsoll_heap::Window)>,
    last: Option<Snapshot>,
}

/// The explainer of V8 heaps.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    kept: Rc<RefCell<Kept>>,
    /// Where copies of the snapshots go, if they are kept.
    directory: Option<PathBuf>,
}

impl Holders {
    /// One that keeps a copy of each snapshot in `directory`.
    pub(crate) fn keeping_files(directory: &Path) -> Self {
        Self {
            directory: Some(directory.to_owned()),
            ..Self::default()
        }
    }
}

impl Explainer for Holders {
    fn wants(&self, _: Window, _: &Facts) -> Vec<EvidenceRequest> {
        vec![EvidenceRequest::Snapshot]
    }

    fn sink(&mut self, at: Window, _: &EvidenceRequest) -> Box<dyn Sink> {
        let parsing = match at {
            Window::Final => Parsing::Whole(Parser::new()),
            _ => Parsing::Ids(WindowParser::new()),
        };
        Box::new(Arriving {
            at,
            parsing: Some(parsing),
            copy: self.directory.as_deref().map(|d| Copy::begin(d, at)),
            kept: Rc::clone(&self.kept),
        })
    }

    fn culprits(self: Box<Self>, facts: &Facts) -> Vec<Culprit> {
        let mut kept = self.kept.borrow_mut();
        let Some(snapshot) = kept.last.take() else {
            return Vec::new();
        };
        let at = |window| {
            kept.early
                .iter()
                .find(|(w, _)| *w == window)
                .map(|(_, w)| w)
        };
        let operations = |window| {
            let found = facts.operations.iter().find(|(w, _)| *w == window);
            found.map(|(_, n)| *n as f64)
        };
        let (Some(baseline), Some(first), Some(second)) =
            (at(Window::Baseline), at(Window::PlusN), at(Window::Plus2N))
        else {
            return Vec::new();
        };
        let (Some(n0), Some(n1), Some(n2)) = (
            operations(Window::Baseline),
            operations(Window::PlusN),
            operations(Window::Plus2N),
        ) else {
            return Vec::new();
        };
        let windows = rank::Windows {
            baseline,
            first,
            second: Some(second),
            operations: [n1 - n0, n2 - n1],
        };
        let rate = facts
            .verdicts
            .iter()
            .find(|(metric, _)| *metric == Metric::LIVE_BYTES)
            .and_then(|(_, v)| v.growth.as_ref()?.per_operation);
        named(snapshot, &windows, rate)
    }
}

/// Culprits are told down to this share of what the first one explains.
const LEAST_SHARE: f64 = 0.05;
/// And so many.
const MOST: usize = 5;

/// The culprits of snapshots that were taken by hand, the last one apart: three early ones, or two.
pub(crate) fn of_windows(
    last: Snapshot,
    early: &[plimsoll_heap::Window],
    operations: f64,
) -> Vec<Culprit> {
    let (baseline, first, second) = match early {
        [baseline, first, second] => (baseline, first, Some(second)),
        [baseline, first] => (baseline, first, None),
        _ => return Vec::new(),
    };
    let windows = rank::Windows {
        baseline,
        first,
        second,
        operations: [operations, operations],
    };
    named(last, &windows, None)
}

/// The culprits of a heap whose growth is `rate` bytes per operation.
fn named(snapshot: Snapshot, windows: &rank::Windows<'_>, rate: Option<f64>) -> Vec<Culprit> {
    let heap = Heap::of(snapshot);
    let classes = Classes::of(&heap);
    let gains = rank::rank(&heap, &classes, windows);
    let largest = gains.first().map_or(0.0, |g| g.bytes_per_op);
    gains
        .iter()
        .filter(|g| g.bytes_per_op >= LEAST_SHARE * largest)
        .take(MOST)
        .map(|gain| culprit(&heap, gain, windows, rate))
        .collect()
}

fn culprit(
    heap: &Heap,
    gain: &rank::Gain,
    windows: &rank::Windows<'_>,
    rate: Option<f64>,
) -> Culprit {
    let snapshot = heap.snapshot();
    let holder = words::Holder::of(heap, gain);
    let pattern = words::pattern(heap, gain, &holder);
    let advice = crate::patterns::pattern(pattern).map_or("", |p| p.advice);
    let own = snapshot
        .place(gain.sample)
        .filter(|p| rank::is_user(&p.script));
    let declared = holder
        .script
        .as_deref()
        .zip(holder.names.last())
        .and_then(|(script, name)| source::declaration(script, name));
    let near = holder.near.clone();
    let place = own
        .as_ref()
        .and_then(object::place)
        .or(declared)
        .or_else(|| near.as_ref().and_then(object::place));
    let [a, b] = gain.counts;
    let mut evidence = vec![format!(
        "{} new after +N, {} more after +2N, all alive after idling",
        units::count(f64::from(a)),
        units::count(f64::from(b))
    )];
    let path: Vec<String> = holder
        .script
        .iter()
        .map(|s| format!("module {}", s.rsplit('/').next().unwrap_or(s)))
        .chain(holder.names.iter().cloned())
        .chain([holder.container.clone(), gain.class.clone()])
        .collect();
    evidence.push(format!("root → {}", path.join(" → ")));
    let _ = windows;
    Culprit {
        kind: match snapshot.kind(gain.sample) {
            NodeKind::Closure => format!("function {}", object::cut(&snapshot.name(gain.sample))),
            _ => object::cut(&gain.class),
        },
        holder: Some(holder.text()),
        place,
        count_per_op: Some(gain.count_per_op),
        bytes_per_op: Some(gain.bytes_per_op),
        share: rate
            .filter(|r| *r > 0.0)
            .map(|r| (gain.bytes_per_op / r).min(1.0)),
        pattern: pattern.to_owned(),
        advice: advice.to_owned(),
        evidence,
    }
}

/// A snapshot on its way in.
struct Arriving {
    at: Window,
    parsing: Option<Parsing>,
    copy: Option<io::Result<Copy>>,
    kept: Rc<RefCell<Kept>>,
}

enum Parsing {
    Ids(WindowParser),
    Whole(Parser),
}

impl Sink for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.parsing {
            Some(Parsing::Ids(parser)) => parser.feed(bytes),
            Some(Parsing::Whole(parser)) => parser.feed(bytes),
            None => Ok(()),
        }
        .map_err(io::Error::other)?;
        match &mut self.copy {
            Some(Ok(copy)) => copy.file.write_all(bytes),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let mut kept = self.kept.borrow_mut();
        match self.parsing.take() {
            Some(Parsing::Ids(parser)) => {
                let ids = parser.finish().map_err(io::Error::other)?;
                kept.early.push((self.at, ids));
            }
            Some(Parsing::Whole(parser)) => {
                kept.last = Some(parser.finish().map_err(io::Error::other)?);
            }
            None => {}
        }
        match self.copy.take() {
            Some(Ok(copy)) => copy.finish(),
            _ => Ok(()),
        }
    }
}

/// A copy of a snapshot for people and `DevTools`; removed again unless it became whole.
struct Copy {
    file: File,
    path: PathBuf,
    whole: bool,
}

impl Copy {
    fn begin(directory: &Path, at: Window) -> io::Result<Self> {
        let name = match at {
            Window::Baseline => "1-baseline",
            Window::PlusN => "2-plus-n",
            Window::Plus2N => "3-plus-2n",
            _ => "4-final",
        };
        let path = directory.join(format!("{name}.heapsnapshot"));
        // Snapshots hold whatever the service holds: passwords, tokens, people.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            whole: false,
        })
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.whole = true;
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.whole {
            // Half a snapshot helps nobody and fills the disk it may have failed on.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
