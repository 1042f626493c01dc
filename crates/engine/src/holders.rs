//! Explains growth of a V8 heap by snapshots at the four windows: who holds what is new, what it is, where it is made.
//!
//! The early windows keep ids only, a few bytes an object; the last keeps the graph. Bytes are parsed while they arrive. A large
//! heap stands still for seconds in each snapshot: it is spared the third, whose new objects the last has too.
//! Which holder is to blame, `plimsoll_heap` decides; here its finding becomes a [`Culprit`].

mod allocations;
mod growing;
mod kind;
mod maps;
mod minified;
mod source;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use plimsoll_heap::culprit::Origin;
use plimsoll_heap::{Classes, Heap, Parser, Snapshot, WindowParser, Windows};
use plimsoll_model::{Culprit, EvidenceRequest, Facts, Sink, Window};

pub(crate) use self::allocations::Allocations;
use self::allocations::Caller;
pub(crate) use self::maps::Maps;
use crate::explain::Explainer;
use crate::patterns;
use crate::snapshot::object;

/// A snapshot of more bytes than this is large.
const LARGE: u64 = 64 << 20;

/// The windows whose snapshots keep ids only.
const EARLY: [Window; 3] = [Window::Baseline, Window::PlusN, Window::Plus2N];

/// What the snapshots left so far.
#[derive(Debug)]
struct Kept {
    /// More bytes than this are large.
    large: u64,
    /// Whether the second was large, and the third is not taken.
    is_large: bool,
    early: Vec<(Window, plimsoll_heap::Window)>,
    last: Option<Analysis>,
    /// A list of scripts, as JSON.
    scripts: Vec<u8>,
    /// Stacks in which was allocated, as JSON.
    allocations: Vec<u8>,
}

/// A snapshot that is being analysed. That takes seconds of a large heap, and more is asked of the subject meanwhile.
#[derive(Debug)]
struct Analysis(JoinHandle<(Heap, Classes)>);

impl Analysis {
    fn begin(snapshot: Snapshot) -> io::Result<Self> {
        let analyse = move || {
            let heap = Heap::of(snapshot);
            let classes = Classes::of(&heap);
            (heap, classes)
        };
        let name = "heap analysis".to_owned();
        thread::Builder::new().name(name).spawn(analyse).map(Self)
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            large: LARGE,
            is_large: false,
            early: Vec::new(),
            last: None,
            scripts: Vec::new(),
            allocations: Vec::new(),
        }
    }
}

/// The explainer of V8 heaps.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    kept: Rc<RefCell<Kept>>,
    /// Where copies of the snapshots go, if they are kept.
    directory: Option<PathBuf>,
    /// Where source maps lie that are not found otherwise.
    source_maps: Option<PathBuf>,
}

impl Holders {
    /// One that looks for source maps in `source_maps`, and keeps a copy of each snapshot in `copies`.
    pub(crate) fn new(source_maps: Option<&Path>, copies: Option<&Path>) -> Self {
        Self {
            directory: copies.map(Path::to_owned),
            source_maps: source_maps.map(Path::to_owned),
            ..Self::default()
        }
    }
}

impl Explainer for Holders {
    fn wants(&self, at: Window, _: &Facts) -> Vec<EvidenceRequest> {
        match at {
            Window::Baseline => vec![
                EvidenceRequest::Snapshot,
                EvidenceRequest::SampleAllocations,
            ],
            Window::Final => vec![
                EvidenceRequest::Snapshot,
                EvidenceRequest::Allocations,
                EvidenceRequest::Scripts,
            ],
            Window::Plus2N if self.kept.borrow().is_large => Vec::new(),
            _ => vec![EvidenceRequest::Snapshot],
        }
    }

    fn sink(&mut self, at: Window, request: &EvidenceRequest) -> Box<dyn Sink> {
        let into: Option<fn(&mut Kept) -> &mut Vec<u8>> = match request {
            EvidenceRequest::Scripts => Some(|kept| &mut kept.scripts),
            EvidenceRequest::SampleAllocations | EvidenceRequest::Allocations => {
                Some(|kept| &mut kept.allocations)
            }
            _ => None,
        };
        if let Some(into) = into {
            let kept = Rc::clone(&self.kept);
            return Box::new(Listing { kept, into });
        }
        let parsing = match at {
            Window::Final => Parsing::Whole(Parser::new()),
            _ => Parsing::Ids(WindowParser::new()),
        };
        Box::new(Arriving {
            at,
            bytes: 0,
            parsing: Some(parsing),
            copy: self.directory.as_deref().map(|d| Copy::begin(d, at)),
            kept: Rc::clone(&self.kept),
        })
    }

    fn culprits(self: Box<Self>, facts: &Facts) -> Vec<Culprit> {
        let mut kept = self.kept.borrow_mut();
        let Some(analysis) = kept.last.take() else {
            return Vec::new();
        };
        let taken = &EARLY[..EARLY.len() - usize::from(kept.is_large)];
        // One that is missing was not taken, or under other numbers: nothing can be compared without it.
        if !kept.early.iter().map(|(w, _)| w).eq(taken) {
            return Vec::new();
        }
        let Some([n0, n1, n2]) = at_early(&facts.operations) else {
            return Vec::new();
        };
        let earlier: Vec<_> = kept.early.drain(..).map(|(_, ids)| ids).collect();
        let rate = facts.bytes_per_operation();
        let maps = Maps::new(&kept.scripts, self.source_maps.clone());
        let allocations = Allocations::new(&kept.allocations);
        let Ok((heap, classes)) = analysis.0.join() else {
            return Vec::new();
        };
        // One worker may have done all of the work, what it was seen to answer, or, as far as its growth tells, more of it in
        // one window.
        let all = [n1 - n0, n2 - n1];
        let mut ways = vec![all, answered(facts, all), of_part(facts, all)];
        ways.dedup();
        ways.iter()
            .filter_map(|[first, second]| {
                among(
                    &heap,
                    &classes,
                    &earlier,
                    &[*first, *second, 0][..earlier.len()],
                    rate,
                    &maps,
                    &allocations,
                )
                .ok()
            })
            .find(|culprits| !culprits.is_empty())
            .unwrap_or_default()
    }
}

/// What is known at each of the early windows, if it is at all of them.
fn at_early<T: std::marker::Copy>(known: &[(Window, T)]) -> Option<[T; 3]> {
    let at = |at| known.iter().find(|(w, _)| *w == at).map(|(_, what)| *what);
    let [a, b, c] = EARLY.map(at);
    Some([a?, b?, c?])
}

/// The operations of both windows that the process that is looked into answered, where each had some.
fn answered(facts: &Facts, operations: [u64; 2]) -> [u64; 2] {
    match at_early(&facts.answered) {
        Some([a, b, c]) if a < b && b < c => [b - a, c - b],
        _ => operations,
    }
}

/// The operations of both windows as the part that is looked into saw them. Where several share the work, nobody knows who
/// did how many: by how much more or less it grew, within reason, it did more or less of them.
fn of_part(facts: &Facts, operations: [u64; 2]) -> [u64; 2] {
    const REASON: f64 = 2.0;
    let Some([a, b, c]) = at_early(&facts.part) else {
        return operations;
    };
    let all = operations[0] + operations[1];
    let expected = operations[0] as f64 / all.max(1) as f64;
    let share = (b - a) / (c - a);
    let within = (expected / REASON..=(1.0 - (1.0 - expected) / REASON)).contains(&share);
    if !within {
        return operations;
    }
    let first = (all as f64 * share).round() as u64;
    [first, all - first]
}

/// So many culprits are told.
const MOST: usize = 5;

/// Who holds what is new since the earlier snapshots, whose growth is `rate` bytes per operation if that is known.
pub(crate) fn named(
    last: Snapshot,
    earlier: &[plimsoll_heap::Window],
    operations: &[u64],
    rate: Option<f64>,
    maps: &Maps,
) -> Result<Vec<Culprit>, plimsoll_heap::Error> {
    let heap = Heap::of(last);
    let classes = Classes::of(&heap);
    among(
        &heap,
        &classes,
        earlier,
        operations,
        rate,
        maps,
        &Allocations::default(),
    )
}

fn among(
    heap: &Heap,
    classes: &Classes,
    earlier: &[plimsoll_heap::Window],
    operations: &[u64],
    rate: Option<f64>,
    maps: &Maps,
    allocations: &Allocations,
) -> Result<Vec<Culprit>, plimsoll_heap::Error> {
    let windows = Windows {
        earlier,
        operations,
    };
    let ranking = plimsoll_heap::culprit::rank(heap, classes, &windows)?;
    let told = ranking.culprits.iter().take(MOST);
    let mut culprits: Vec<Culprit> = told
        .map(|found| {
            let caller = allocations.caller(found, maps);
            let mut found = maps.back(found);
            settle(&mut found.holder);
            culprit(heap, classes, &found, rate, caller.as_ref())
        })
        .collect();
    culprits.extend(growing::in_place(heap, earlier, operations, rate));
    culprits.sort_by(|a, b| {
        let bytes = |c: &Culprit| c.bytes_per_op.unwrap_or(0.0);
        bytes(b).total_cmp(&bytes(a))
    });
    Ok(culprits)
}

/// Which of several names is the holder's, its script tells where it lies on disk.
fn settle(holder: &mut plimsoll_heap::culprit::Holder) {
    let Some(place) = &holder.place else { return };
    let known = source::initialised(&place.script, &holder.alternatives, &holder.class);
    if let Some(name) = known {
        let all = holder.alternatives.join("|");
        holder.name = holder.name.replacen(&all, name, 1);
        holder.alternatives.clear();
    }
}

fn culprit(
    heap: &Heap,
    classes: &Classes,
    found: &plimsoll_heap::culprit::Culprit,
    rate: Option<f64>,
    caller: Option<&Caller>,
) -> Culprit {
    let pattern = patterns::of_heap(found.pattern);
    let holder = &found.holder;
    let mut evidence = found.evidence.clone();
    evidence.push(way(holder, &found.kind));
    if let Some(caller) = caller {
        evidence.push(format!(
            "allocated where {} calls {} ({}), sampled",
            caller.function, caller.calls, caller.place
        ));
    }
    Culprit {
        kind: kind::of(heap, classes, found),
        holder: Some(told(holder)),
        place: place(found, caller),
        count_per_op: Some(found.count_per_op),
        bytes_per_op: Some(found.bytes_per_op),
        share: Some(match rate {
            Some(rate) if rate > 0.0 => (found.bytes_per_op / rate).min(1.0),
            _ => found.share,
        }),
        pattern: pattern.map_or(found.pattern.name(), |p| p.name).to_owned(),
        advice: pattern.map_or("", |p| p.advice).to_owned(),
        evidence,
    }
}

/// Where it is made: the user's own code, and of that the constructor or function before the declaration of the holder;
/// where neither is known, the call that leads there, or whatever is known. A holder is declared as a variable, or as a property by the
/// class that has it.
fn place(found: &plimsoll_heap::culprit::Culprit, caller: Option<&Caller>) -> Option<String> {
    let is_user = |place: &&plimsoll_heap::Place| {
        plimsoll_heap::culprit::origin(&place.script) == Origin::User
    };
    let made = found.place.as_ref();
    let holder = found.holder.place.as_ref();
    let class = found.holder.class_place.as_ref();
    let last = found.holder.name.rsplit(['.', '[']).next().unwrap_or("");
    let first = found.holder.name.split(['.', '[']).next().unwrap_or("");
    let declared = |place: Option<&plimsoll_heap::Place>, name: &str| {
        source::declaration(&place?.script, name)
    };
    // A function of the user's that hangs on what a package or the runtime makes: its handler, often.
    let only_hangs = found.place_is_function
        && !found.pattern.is_about_functions()
        && found.kind_place.as_ref().is_some_and(|p| !is_user(&p));
    let tries: [&dyn Fn() -> Option<String>; 10] = [
        &|| {
            made.filter(|p| is_user(p) && !only_hangs)
                .and_then(object::place)
        },
        &|| source::declaration_within(&holder.filter(is_user)?.script, first, last),
        &|| declared(class.filter(is_user), last),
        &|| declared(holder.filter(is_user), first),
        &|| holder.filter(is_user).and_then(object::place),
        &|| made.filter(is_user).and_then(object::place),
        &|| Some(caller?.place.clone()),
        &|| made.and_then(object::place),
        &|| declared(class, last),
        &|| holder.and_then(object::place),
    ];
    tries.iter().find_map(|place| place())
}

/// ``Map `sessions` (store.js)``.
fn told(holder: &plimsoll_heap::culprit::Holder) -> String {
    let script = holder.place.as_ref().map(|p| p.script.as_str());
    match script.and_then(file_name) {
        Some(file) => format!("{} `{}` ({file})", holder.class, holder.name),
        None => format!("{} `{}`", holder.class, holder.name),
    }
}

/// The file of a script; of a package's, with the package: many are called `index.js`.
fn file_name(script: &str) -> Option<&str> {
    let of_package = script.rsplit_once("/node_modules/").map(|(_, name)| name);
    of_package
        .or_else(|| script.rsplit('/').next())
        .filter(|name| !name.is_empty())
}

/// `root → module store.js → sessions → Map → Session`: the way without what is the runtime's own.
fn way(holder: &plimsoll_heap::culprit::Holder, kind: &str) -> String {
    let script = holder.place.as_ref().and_then(|p| file_name(&p.script));
    let parts = script
        .map(|file| format!("module {file}"))
        .into_iter()
        .chain([holder.name.clone(), holder.class.clone(), object::cut(kind)]);
    format!("root → {}", parts.collect::<Vec<_>>().join(" → "))
}

/// A list on its way in.
struct Listing {
    kept: Rc<RefCell<Kept>>,
    into: fn(&mut Kept) -> &mut Vec<u8>,
}

impl Sink for Listing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.into)(&mut self.kept.borrow_mut()).extend_from_slice(bytes);
        Ok(())
    }
}

/// A snapshot on its way in.
struct Arriving {
    at: Window,
    bytes: u64,
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
        self.bytes += bytes.len() as u64;
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
        // Decided once: a later one may be larger, and was taken.
        if self.at == Window::PlusN {
            kept.is_large = self.bytes > kept.large;
        }
        match self.parsing.take() {
            Some(Parsing::Ids(parser)) => {
                let ids = parser.finish().map_err(io::Error::other)?;
                kept.early.push((self.at, ids));
            }
            Some(Parsing::Whole(parser)) => {
                let snapshot = parser.finish().map_err(io::Error::other)?;
                kept.last = Some(Analysis::begin(snapshot)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A snapshot of a depot with so many parcels.
    fn depot(parcels: usize) -> String {
        let mut nodes = vec![
            "3,0,1,0,1".to_owned(),
            "2,1,3,16,1".into(),
            format!("1,2,5,64,{parcels}"),
        ];
        let mut edges = vec!["1,3,5".to_owned(), "2,4,10".into()];
        for parcel in 0..parcels {
            nodes.push(format!("2,5,{},64,0", 7 + 2 * parcel));
            edges.push(format!("0,{parcel},{}", 15 + 5 * parcel));
        }
        format!(
            concat!(
                r#"{{"snapshot":{{"meta":{{"node_fields":["type","name","id","self_size","edge_count"],"#,
                r#""node_types":[["hidden","array","object","synthetic"]],"edge_fields":["type","name_or_index","to_node"],"#,
                r#""edge_types":[["element","property","internal"]]}},"node_count":{},"edge_count":{}}},"#,
                r#""nodes":[{}],"edges":[{}],"strings":["","Depot","(object elements)","depot","elements","Parcel"]}}"#
            ),
            nodes.len(),
            edges.len(),
            nodes.join(","),
            edges.join(",")
        )
    }

    /// What is told of a heap that grows past `large` bytes of snapshot somewhere; and how many snapshots were taken.
    fn explained(large: u64) -> (Vec<Culprit>, usize) {
        let mut holders = Box::new(Holders::default());
        holders.kept.borrow_mut().large = large;
        let mut facts = Facts::default();
        let mut taken = 0;
        for (window, parcels) in Window::ALL.into_iter().zip([1_000, 1_100, 1_200, 1_200]) {
            facts.operations.push((window, parcels as u64));
            if holders
                .wants(window, &facts)
                .contains(&EvidenceRequest::Snapshot)
            {
                taken += 1;
                let mut sink = holders.sink(window, &EvidenceRequest::Snapshot);
                sink.write(depot(parcels).as_bytes()).unwrap();
                sink.end().unwrap();
            }
        }
        (holders.culprits(&facts), taken)
    }

    /// Whether the third snapshot is spared was once asked again of the third itself, which then was missing.
    #[test]
    fn a_heap_that_becomes_large_between_two_snapshots_is_explained() {
        let size = |parcels| depot(parcels).len() as u64;
        for (large, wanted) in [
            (u64::MAX, 4),
            // Only the third is large, and the last.
            (size(1_100), 4),
            (size(1_100) - 1, 3),
            (size(1_000) - 1, 3),
        ] {
            let (culprits, taken) = explained(large);
            assert_eq!(taken, wanted, "{large}");
            let told: Vec<_> = culprits
                .iter()
                .map(|c| (c.kind.as_str(), c.count_per_op))
                .collect();
            assert_eq!(told, [("Parcel", Some(1.0))], "{large}");
        }
    }

    #[test]
    fn who_shares_the_work_answered_what_was_counted() {
        let facts = |n: [u64; 3]| Facts {
            answered: Window::ALL.into_iter().zip(n).collect(),
            ..Facts::default()
        };
        assert_eq!(answered(&facts([0, 240, 470]), [500, 500]), [240, 230]);
        // Nobody knows who answered.
        assert_eq!(answered(&facts([0, 0, 0]), [500, 500]), [500, 500]);
        assert_eq!(answered(&Facts::default(), [500, 500]), [500, 500]);
    }

    #[test]
    fn who_shares_the_work_did_as_many_operations_as_it_grew() {
        let facts = |bytes: [f64; 3]| Facts {
            part: Window::ALL.into_iter().zip(bytes).collect(),
            ..Facts::default()
        };
        assert_eq!(
            of_part(&facts([0.0, 600.0, 1_000.0]), [500, 500]),
            [600, 400]
        );
        // What stops growing is no question of who did the work.
        assert_eq!(
            of_part(&facts([0.0, 990.0, 1_000.0]), [500, 500]),
            [500, 500]
        );
        assert_eq!(of_part(&facts([9.0, 9.0, 9.0]), [500, 500]), [500, 500]);
        assert_eq!(of_part(&Facts::default(), [500, 500]), [500, 500]);
    }
}
