//! Who holds what grows in a program that publishes what its allocator samples (`plimsoll-alloc`): stacks of blocks that survive,
//! and the program's own scopes.
//!
//! The slope of exact live bytes is the verdict; samples only name. A place is named if it kept blocks in both windows of the
//! explanation and still has them after idling. Where a program ended before it could be explained, what it left behind says as
//! much: blocks of a place that were born all along are what it kept, blocks born early a cache, born last what was in flight.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plimsoll_model::{
    CodeLine, Culprit, Facts, Gap, NativeHeap, NativeScope, NativeStack, Window, units,
};
use plimsoll_native::{Frame, Symbols};
use plimsoll_probe::{Process, SAMPLED_EVERY};

use crate::config::Explain;
use crate::session::Session;
use crate::snapshot::object::relative;

/// Samples that a window should have of what grows: its estimate is then good to an eighth.
const SAMPLES: f64 = 64.0;
/// Samples of a place at least, in each window or in all: fewer are chance.
const LEAST_SAMPLES: usize = 3;
/// Both windows keep as much, within this share.
const AGREE: f64 = 0.4;
/// After idling so much of what was kept is still there.
const STAYS: f64 = 0.6;
/// Of blocks without windows: the share born in the younger half of the program's life lies between these.
const ALL_ALONG: std::ops::Range<f64> = 0.2..0.9;
/// Places named, and the least share of the growth that one explains.
const MOST: usize = 4;
const LEAST_SHARE: f64 = 0.05;
/// Lines of a stack that are shown.
const LINES: usize = 6;

/// What is known of a native service's code.
#[derive(Debug, Default)]
pub(crate) struct Native {
    symbols: Option<Symbols>,
    /// Where files are, as the service names them.
    root: PathBuf,
    mappings: String,
    /// Mean bytes between samples that were asked for.
    every: Option<u64>,
}

impl Session<'_> {
    /// Keeps where the service's code lies, while it can be asked.
    pub(crate) fn remember_code(&mut self) {
        if !self.has_allocator() {
            return;
        }
        let Some(service) = &self.service else {
            return;
        };
        if let Some(mappings) = service.process.mappings()
            && mappings != self.native.mappings
        {
            self.native = Native {
                symbols: None,
                root: root_of(&service.process),
                mappings,
                every: self.native.every,
            };
        }
    }

    /// Has the service sample so that growth of so many bytes is seen; `None` = as it does by itself.
    pub(crate) fn sample_stacks(&mut self, growth: Option<f64>) {
        let every = growth.map_or(SAMPLED_EVERY, |bytes| {
            ((bytes / SAMPLES) as u64).clamp(1, SAMPLED_EVERY)
        });
        let (Some(service), Some(hub)) = (&self.service, &self.hub) else {
            return;
        };
        match hub.ask_for_samples(service.process.id(), every) {
            Ok(()) => self.native.every = growth.map(|_| every),
            Err(error) => self.gap(Gap {
                what: "stacks that allocate what grows".to_owned(),
                why: format!("samples cannot be asked for: {error}"),
            }),
        }
    }

    /// What the service left behind, or has now, where it was not explained while it was driven.
    pub(crate) fn explain_the_end(&mut self, facts: &mut Facts, operations: Option<f64>) {
        let is_end = |window: &Window| *window == Window::Final;
        if self.config.check.explain == Explain::Never
            || facts.native.iter().any(|(window, _)| is_end(window))
        {
            return;
        }
        // Windows that were not finished say nothing; each sample has its own weight.
        self.native.every = None;
        let heap = self.native_heap();
        facts.native = heap.map(|heap| (Window::Final, heap)).into_iter().collect();
        facts.operations.retain(|(window, _)| !is_end(window));
        let operations = operations.map(|operations| (Window::Final, operations as u64));
        facts.operations.extend(operations);
    }

    /// What the service holds, by stack and scope; `None` if its allocator does not say. Also after its end.
    pub(crate) fn native_heap(&mut self) -> Option<NativeHeap> {
        self.remember_code();
        let id = self.service.as_ref()?.process.id();
        let surviving = self.hub.as_ref()?.surviving(id).ok()??;
        let native = &mut self.native;
        let symbols = native
            .symbols
            .get_or_insert_with(|| Symbols::new(&native.mappings, &native.root));
        let mut by_stack = BTreeMap::<(&[u64], Option<&str>), NativeStack>::new();
        for block in &surviving.blocks {
            // Samples of another rate are from before the windows.
            if native.every.is_some_and(|every| every != block.every) {
                continue;
            }
            let key = (block.frames.as_slice(), block.scope.as_deref());
            let stack = by_stack.entry(key).or_default();
            stack.blocks += block.weight();
            stack.bytes += block.weight() * block.size as f64;
            stack.born_ns.push(block.born_ns);
        }
        let stacks = by_stack.into_iter().map(|((frames, scope), stack)| {
            let frames = frames.iter().flat_map(|frame| symbols.frames(*frame));
            NativeStack {
                lines: lines(frames.collect()),
                scope: scope.map(str::to_owned),
                ..stack
            }
        });
        let stacks = stacks.collect();
        let scopes = surviving.scopes.into_iter().map(|scope| NativeScope {
            name: scope.name,
            bytes: scope.live_bytes,
            blocks: scope.live_blocks,
        });
        Some(NativeHeap {
            stacks,
            scopes: scopes.collect(),
        })
    }
}

/// Where a process's files are for us.
fn root_of(process: &Process) -> PathBuf {
    if process.shares_files() == Some(false) {
        PathBuf::from(format!("/proc/{}/root", process.id().pid))
    } else {
        PathBuf::from("/")
    }
}

/// What the compiler puts between a program and its allocator.
const ENTRIES: [&str; 3] = ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"];

/// The lines that lead to the allocator.
fn lines(frames: Vec<Frame>) -> Vec<CodeLine> {
    let is_entry = |frame: &Frame| ENTRIES.iter().any(|name| frame.function.ends_with(name));
    // What was inlined is named without its path: the allocator is told by where it is.
    let inner = frames.iter().rposition(is_entry).map_or(0, |at| at + 1);
    frames.into_iter().skip(inner).filter_map(line).collect()
}

/// A line that says something: neither the allocator's own nor the compiler's.
fn line(frame: Frame) -> Option<CodeLine> {
    let file = frame.file.as_deref().unwrap_or_default();
    let is_standard = file.starts_with("/rustc/")
        || file.contains("/rustlib/")
        || ["alloc::", "core::", "std::", "__rust", "_Unwind"]
            .iter()
            .any(|of| frame.function.trim_start_matches('<').starts_with(of));
    if is_standard || frame.function.contains("plimsoll_alloc::") || frame.function == "_start" {
        return None;
    }
    let is_foreign = file.contains("/.cargo/")
        || (file.contains("/registry/src/") || file.contains("/vendor/"))
        || file.contains("/library/std/");
    let place = frame.line.map(|line| format!("{}:{line}", relative(file)));
    Some(CodeLine {
        own: !is_foreign && !frame.function.is_empty(),
        function: frame.function,
        place: place.filter(|_| !file.is_empty()),
    })
}

/// Blocks of one place, over all stacks that lead to it.
#[derive(Debug, Clone, Default)]
struct Place<'a> {
    stack: Vec<&'a CodeLine>,
    scope: Option<&'a str>,
    /// By window; without windows, one.
    blocks: Vec<f64>,
    bytes: Vec<f64>,
    born: Vec<Vec<u64>>,
}

/// Who holds the growth, if the allocator said.
pub(crate) fn culprits(facts: &Facts) -> Vec<Culprit> {
    let heaps: Vec<&NativeHeap> = facts.native.iter().map(|(_, heap)| heap).collect();
    let places = places(&heaps);
    let operations = |window: Window| {
        let mut known = facts.operations.iter();
        known.find(|(at, _)| *at == window).map(|(_, n)| *n as f64)
    };
    let windows = facts.native.iter().map(|(window, _)| operations(*window));
    let windows: Vec<Option<f64>> = windows.collect();
    match windows[..] {
        [Some(baseline), Some(plus_n), Some(plus_2n), Some(_)] => {
            let each = [plus_n - baseline, plus_2n - plus_n];
            let kept = places.into_iter().filter_map(|p| in_windows(p, each));
            named(kept.collect(), facts, &heaps, Some(plus_2n - baseline))
        }
        [operations] => {
            let births = places.iter().flat_map(|place| &place.born[0]);
            let youngest = births.copied().max().unwrap_or_default();
            let kept = places.into_iter().filter_map(|p| all_along(p, youngest));
            named(kept.collect(), facts, &heaps, operations)
        }
        _ => Vec::new(),
    }
}

/// A place that keeps what it allocates.
struct Kept<'a> {
    place: Place<'a>,
    /// In the second window, by operation; without windows, in all.
    blocks: f64,
    bytes: f64,
    samples: usize,
}

fn places<'a>(heaps: &[&'a NativeHeap]) -> Vec<Place<'a>> {
    let mut places = BTreeMap::<(Option<&CodeLine>, Option<&str>), Place<'a>>::new();
    for (at, heap) in heaps.iter().enumerate() {
        for stack in &heap.stacks {
            let own = stack.lines.iter().find(|line| line.own);
            let scope = stack.scope.as_deref();
            let key = (own.or(stack.lines.first()), scope);
            let place = places.entry(key).or_insert_with(|| Place {
                // What lies further in is how a library came to allocate.
                stack: stack.lines.iter().collect(),
                scope,
                blocks: vec![0.0; heaps.len()],
                bytes: vec![0.0; heaps.len()],
                born: vec![Vec::new(); heaps.len()],
            });
            place.blocks[at] += stack.blocks;
            place.bytes[at] += stack.bytes;
            place.born[at].extend(&stack.born_ns);
        }
    }
    places.into_values().collect()
}

/// What it kept in each of two windows of so many operations, if it did in both.
fn in_windows(place: Place<'_>, operations: [f64; 2]) -> Option<Kept<'_>> {
    let grown = |of: &[f64], a: usize, b: usize| of[b] - of[a];
    let rate = |of: &[f64]| [0, 1].map(|w| grown(of, w, w + 1) / operations[w].max(1.0));
    let [first, second] = rate(&place.blocks);
    let samples = |w: usize| place.born[w].len();
    let is_seen = samples(2) >= samples(1) + LEAST_SAMPLES && samples(1) >= samples(0);
    let agree = first.min(second) >= AGREE * first.max(second) && second > 0.0;
    let stays = grown(&place.blocks, 0, 3) >= STAYS * grown(&place.blocks, 0, 2);
    if !(is_seen && agree && stays) {
        return None;
    }
    // Threads heed what is asked of them in the first window: the second is the measure.
    let [_, bytes] = rate(&place.bytes);
    Some(Kept {
        blocks: second,
        bytes,
        samples: samples(2) - samples(0),
        place,
    })
}

/// What it has, if that was allocated all along.
fn all_along(place: Place<'_>, youngest: u64) -> Option<Kept<'_>> {
    let samples = place.born[0].len();
    let late = place.born[0].iter().filter(|at| **at > youngest / 2);
    let share = late.count() as f64 / samples.max(1) as f64;
    (samples > LEAST_SAMPLES && ALL_ALONG.contains(&share)).then(|| Kept {
        blocks: place.blocks[0],
        bytes: place.bytes[0],
        samples,
        place,
    })
}

/// The largest, as culprits. `operations` is of the windows, or of all there were.
fn named(
    mut kept: Vec<Kept<'_>>,
    facts: &Facts,
    heaps: &[&NativeHeap],
    operations: Option<f64>,
) -> Vec<Culprit> {
    kept.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    let all: f64 = kept.iter().map(|kept| kept.bytes).sum();
    kept.retain(|kept| kept.bytes >= LEAST_SHARE * all);
    kept.truncate(MOST);
    let rate = facts.bytes_per_operation().filter(|rate| *rate > 0.0);
    let pattern = crate::patterns::pattern("kept allocations");
    let is_ended = heaps.len() == 1;
    // What windows kept is by operation already.
    let per_op = |of: f64| match operations {
        Some(operations) if is_ended => Some(of / operations.max(1.0)),
        Some(_) => Some(of),
        None => None,
    };
    kept.into_iter()
        .map(|kept| {
            let place = &kept.place;
            let own = place.stack.iter().find(|line| line.own);
            let line = own.or(place.stack.first());
            let bytes_per_op = per_op(kept.bytes);
            Culprit {
                kind: line.map_or_else(
                    || "memory allocated by code without symbols".to_owned(),
                    |line| format!("memory allocated by `{}`", line.function),
                ),
                holder: place.scope.map(|scope| format!("scope `{scope}`")),
                place: line.and_then(|line| line.place.clone()),
                count_per_op: per_op(kept.blocks),
                bytes_per_op,
                share: rate
                    .zip(bytes_per_op)
                    .map(|(all, own)| (own / all).min(1.0)),
                pattern: pattern.map_or("", |p| p.name).to_owned(),
                advice: pattern.map_or("", |p| p.advice).to_owned(),
                evidence: evidence(&kept, heaps, operations),
            }
        })
        .collect()
}

fn evidence(kept: &Kept<'_>, heaps: &[&NativeHeap], operations: Option<f64>) -> Vec<String> {
    let place = &kept.place;
    let (blocks, bytes) = (units::count(kept.blocks), units::bytes(kept.bytes));
    let samples = kept.samples;
    let mut evidence = vec![if heaps.len() == 1 {
        format!(
            "{blocks} blocks, {bytes}, were still there in the end and born all along ({samples} samples)"
        )
    } else {
        format!(
            "{blocks} blocks, {bytes}, per operation are still there after idling ({samples} samples)"
        )
    }];
    let shown = place.stack.iter().take(LINES).map(|line| {
        let at = line.place.as_deref().unwrap_or("no line known");
        format!("{} ({at})", line.function)
    });
    let shown: Vec<String> = shown.collect();
    if !shown.is_empty() {
        evidence.push(format!("allocated by {}", shown.join(" ← ")));
    }
    let counted = place.scope.zip(operations).and_then(|(scope, operations)| {
        let held = |at: usize| {
            let mut scopes = heaps.get(at)?.scopes.iter();
            Some(scopes.find(|known| known.name == scope)?.bytes as f64)
        };
        let grown = (held(2)? - held(0)?) / operations.max(1.0);
        let grown = units::signed_bytes(grown);
        Some(format!(
            "scope `{scope}` has {grown} per operation more, counted"
        ))
    });
    evidence.extend(counted);
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(function: &str, samples: u64, from: u64) -> NativeStack {
        let own = CodeLine {
            function: function.to_owned(),
            place: Some(format!("src/{function}.rs:7")),
            own: true,
        };
        let library = CodeLine {
            function: "grow".to_owned(),
            place: Some("/registry/src/table.rs:1".to_owned()),
            own: false,
        };
        NativeStack {
            lines: vec![library, own],
            scope: Some("requests".to_owned()),
            blocks: 10.0 * samples as f64,
            bytes: 2_000.0 * samples as f64,
            born_ns: (0..samples).map(|n| from + n).collect(),
        }
    }

    /// Samples of three places at each window: what is kept, a cache that is full after the first, and what is in flight.
    fn in_windows() -> Facts {
        let heap = |kept: u64, cached, in_flight| NativeHeap {
            stacks: vec![
                stack("keep", kept, 0),
                stack("cache", cached, 0),
                stack("answer", in_flight, 0),
            ],
            scopes: vec![NativeScope {
                name: "requests".to_owned(),
                bytes: 1_000 * kept.cast_signed(),
                blocks: 1,
            }],
        };
        let heaps = [
            heap(0, 0, 3),
            heap(50, 40, 9),
            heap(100, 40, 18),
            heap(100, 40, 0),
        ];
        Facts {
            operations: Window::ALL
                .into_iter()
                .zip([0, 1_000, 2_000, 2_000])
                .collect(),
            native: Window::ALL.into_iter().zip(heaps).collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn who_keeps_as_much_in_both_windows_is_named_by_its_own_line() {
        let culprits = culprits(&in_windows());
        assert_eq!(culprits.len(), 1, "{culprits:#?}");
        let culprit = &culprits[0];
        assert_eq!(culprit.kind, "memory allocated by `keep`");
        assert_eq!(culprit.place.as_deref(), Some("src/keep.rs:7"));
        assert_eq!(culprit.holder.as_deref(), Some("scope `requests`"));
        assert_eq!(culprit.bytes_per_op, Some(100.0));
        assert_eq!(culprit.count_per_op, Some(0.5));
        let told = culprit.evidence.join("\n");
        assert!(
            told.contains("scope `requests` has +50 B per operation more, counted"),
            "{told}"
        );
    }

    #[test]
    fn what_an_ended_program_left_is_named_if_it_was_born_all_along() {
        let heap = NativeHeap {
            stacks: vec![
                stack("keep", 100, 0),
                stack("cache", 30, 0),
                stack("answer", 3, 97),
            ],
            scopes: vec![],
        };
        let facts = Facts {
            operations: vec![(Window::Final, 1_000)],
            native: vec![(Window::Final, heap)],
            ..Facts::default()
        };
        let culprits = culprits(&facts);
        assert_eq!(culprits.len(), 1, "{culprits:#?}");
        assert_eq!(culprits[0].kind, "memory allocated by `keep`");
        assert_eq!(culprits[0].bytes_per_op, Some(200.0));
    }

    #[test]
    fn the_allocator_and_the_standard_library_are_no_lines_of_the_program() {
        let frame = |function: &str, file: &str| Frame {
            function: function.to_owned(),
            file: Some(file.to_owned()),
            line: Some(7),
        };
        let lines = lines(vec![
            frame("keep_stack", "/home/me/alloc/src/sample.rs"),
            frame("__rustc::__rust_alloc", "/home/me/shop/src/main.rs"),
            frame(
                "<alloc::raw_vec::RawVec>::grow",
                "/rustc/1/library/alloc/raw_vec.rs",
            ),
            frame(
                "grow",
                "/home/me/.cargo/registry/src/index/table-1.0/src/lib.rs",
            ),
            frame("remember", "/home/me/shop/src/store.rs"),
            frame("_start", "/home/me/start.S"),
        ]);
        let names: Vec<_> = lines
            .iter()
            .map(|line| (&*line.function, line.own))
            .collect();
        assert_eq!(names, [("grow", false), ("remember", true)]);
        assert_eq!(
            lines[1].place.as_deref(),
            Some("/home/me/shop/src/store.rs:7")
        );
    }

    #[test]
    fn windows_that_were_not_all_reached_name_nothing() {
        let mut facts = in_windows();
        facts.native.truncate(2);
        assert!(culprits(&facts).is_empty());
    }
}
