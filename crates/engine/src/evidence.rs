//! Captures what explainers want at a window, where the subject can bear it: a snapshot takes memory, and a subject that
//! dies of being observed has been observed badly.

use std::time::Duration;

use plimsoll_model::{
    Census, Cx, EvidenceRequest, Finding, Gap, Metric, ProcessId, RoundKind, RoundRecord, Scope,
    SourceId, Window, units,
};
use plimsoll_probe::Error as ProbeError;

use crate::explain::Explainer;
use crate::limits::Room;
use crate::parts::State;
use crate::session::{Inside, Session, Stop};

/// A capture may take so long whatever the heap.
const PATIENCE: Duration = Duration::from_mins(1);
/// And a second more for each so many bytes of heap: a loaded machine writes some 20 MB a second.
const BYTES_PER_SECOND: f64 = 4e6;
/// Less room than so many snapshots need is tight.
const TIGHT: u64 = 3;

impl Session<'_> {
    /// Captures what is wanted at this window; what was counted instead of a snapshot comes back. A capture that fails
    /// is a gap, not the end of the run.
    pub(crate) fn capture(
        &mut self,
        explainer: &mut dyn Explainer,
        at: Window,
        wanted: &[EvidenceRequest],
        rounds: &[RoundRecord],
    ) -> Result<Option<Census>, Stop> {
        if !wanted.contains(&EvidenceRequest::Snapshot) {
            return if self.counts_classes {
                self.count_classes()
            } else {
                Ok(None)
            };
        }
        if at == Window::Baseline {
            self.choose_explained(rounds);
        }
        if self.snapshot(explainer, at, self.heap_used(rounds))? {
            for request in wanted {
                if self.is_beside_snapshot(request) {
                    self.beside_snapshot(explainer, at, request)?;
                }
            }
            if !self.counts_classes {
                return Ok(None);
            }
        }
        self.count_classes()
    }

    /// Of all isolates that share the work, the one that grew most is looked into: holders are found heap by heap.
    fn choose_explained(&mut self, rounds: &[RoundRecord]) {
        let measured: Vec<&RoundRecord> = rounds
            .iter()
            .filter(|round| round.kind == RoundKind::Measured)
            .collect();
        let live = |round: &RoundRecord, source: SourceId| {
            let part = round.parts.iter().find(|part| part.source == source)?;
            part.values.get(&Metric::LIVE_BYTES).copied()
        };
        let grown = |source: SourceId| {
            let (first, last) = (measured.first()?, measured.last()?);
            Some((live(last, source)? - live(first, source)?, source))
        };
        let main = self.service.as_ref().and_then(|s| s.runtime.as_ref());
        let main = main.map(|inside| inside.source);
        let working = self.parts.iter().filter(|p| p.state == State::Working);
        let most = working
            .filter_map(|part| part.inside.as_ref())
            .map(|inside| inside.source)
            .chain(main)
            .filter_map(grown)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        self.explained = most.map(|(_, source)| source).filter(|s| Some(*s) != main);
        let chosen = self.explained.and_then(|source| {
            self.parts
                .iter()
                .find(|part| part.inside.as_ref().is_some_and(|i| i.source == source))
        });
        if let Some(part) = chosen {
            let message = format!("{} grew most: its heap was searched for holders", part.name);
            self.found(Finding::info("explained-isolate", message));
        }
    }

    /// The isolate whose heap is looked into.
    fn explained(&mut self) -> Option<&mut Inside> {
        let main = self.service.as_mut().and_then(|s| s.runtime.as_mut());
        let Some(source) = self.explained else {
            return main;
        };
        let parts = self.parts.iter_mut().filter_map(|p| p.inside.as_mut());
        parts.into_iter().find(|inside| inside.source == source)
    }

    /// Whether snapshots are taken of it, as far as is known.
    pub(crate) fn takes_snapshots(&mut self) -> bool {
        let counts_classes = self.counts_classes;
        self.explained().is_some_and(|inside| {
            let known = &inside.runtime.capabilities().operations;
            !counts_classes && known.iter().any(|op| op == "snapshot")
        })
    }

    /// Its process and what limits it.
    fn explained_room(&self) -> Room {
        let part = self.explained.and_then(|source| {
            let is_it = |i: &Inside| i.source == source;
            self.parts
                .iter()
                .find(|part| part.inside.as_ref().is_some_and(is_it))
        });
        match part {
            Some(part) => {
                let heap = part.inside.as_ref().and_then(|i| i.heap_limit);
                Room::of(Some(&part.process), heap)
            }
            None => self.room(),
        }
    }

    /// What its heap used at the last measurement, if it was read after a collection.
    fn heap_used(&self, rounds: &[RoundRecord]) -> Option<f64> {
        let last = rounds.last().filter(|r| r.collected)?;
        let source = self.explained_source();
        let part = last.parts.iter().find(|p| Some(p.source) == source);
        let values = part.map_or(&last.values, |part| &part.values);
        values.get(&Metric::HEAP_USED).copied()
    }

    /// The process it is in.
    pub(crate) fn explained_process(&self) -> Option<ProcessId> {
        let id = self.explained_source()?;
        let source = self.sources.iter().find(|source| source.id == id)?;
        Some(source.process)
    }

    fn explained_source(&self) -> Option<SourceId> {
        let main = self.service.as_ref().and_then(|s| s.runtime.as_ref());
        self.explained.or(main.map(|inside| inside.source))
    }

    /// Its live bytes at the last measurement, if others share the work.
    pub(crate) fn live_of_explained_part(&self, rounds: &[RoundRecord]) -> Option<f64> {
        let source = self.explained_source()?;
        let parts = &rounds.last()?.parts;
        let part = parts.iter().find(|part| part.source == source)?;
        part.values.get(&Metric::LIVE_BYTES).copied()
    }

    fn is_beside_snapshot(&self, request: &EvidenceRequest) -> bool {
        match request {
            EvidenceRequest::Scripts => true,
            // Who counts classes samples too, and still reads what ends here.
            EvidenceRequest::SampleAllocations | EvidenceRequest::Allocations => {
                !self.counts_classes
            }
            _ => false,
        }
    }

    /// What makes the places of a snapshot better: where scripts come from, and who allocates. Without it they are told as the
    /// snapshot has them.
    fn beside_snapshot(
        &mut self,
        explainer: &mut dyn Explainer,
        at: Window,
        request: &EvidenceRequest,
    ) -> Result<(), Stop> {
        let cx = Cx::within(self.cancel, PATIENCE);
        let Some(inside) = self.explained() else {
            return Ok(());
        };
        let mut sink = explainer.sink(at, request);
        match inside.runtime.capture(request, sink.as_mut(), &cx) {
            Err(ProbeError::Cancelled) => Err(Stop::Interrupted),
            Err(_) => self.check_alive(),
            Ok(_) => Ok(()),
        }
    }

    /// The cheap way: which classes grow, and which functions allocate.
    fn count_classes(&mut self) -> Result<Option<Census>, Stop> {
        let cx = Cx::within(self.cancel, PATIENCE);
        let Some(inside) = self.explained() else {
            return Ok(None);
        };
        match inside.runtime.census(Scope::Classes, &cx) {
            Ok(census) => {
                self.pause += Duration::from_nanos(census.pause_ns);
                Ok(Some(census))
            }
            Err(ProbeError::Cancelled) => Err(Stop::Interrupted),
            Err(error) => {
                self.check_alive()?;
                self.gap(Gap {
                    what: "classes that grow".to_owned(),
                    why: error.to_string(),
                });
                Ok(None)
            }
        }
    }

    /// The captures are over.
    pub(crate) fn release(&mut self) {
        if let Some(inside) = self.explained() {
            inside.runtime.release();
        }
    }

    /// Whether there is nothing more to be counted: true unless memory does not suffice.
    fn snapshot(
        &mut self,
        explainer: &mut dyn Explainer,
        at: Window,
        heap_used: Option<f64>,
    ) -> Result<bool, Stop> {
        let (Some(heap_used), Some(inside)) = (heap_used, self.explained()) else {
            return Ok(true);
        };
        let known = &inside.runtime.capabilities().operations;
        let can = |name: &str| known.iter().any(|op| op == name);
        if !can("snapshot") {
            // Where objects cannot be followed from one snapshot to the next, their classes still tell something.
            return Ok(!can("classes"));
        }
        let needed = plimsoll_probe::headroom_for_snapshot(heap_used as u64);
        let left = self.explained_room().left();
        // A snapshot leaves the subject larger: where there may be no room for the next, what was counted at every window
        // can still be compared.
        self.counts_classes |= left.is_some_and(|left| left < needed.saturating_mul(TIGHT));
        if let Some(left) = left.filter(|left| *left < needed && !self.config.check.force_snapshot)
        {
            self.found(Finding::warning(
                "no-headroom",
                format!(
                    "no heap snapshot: one of a heap of {} may take {} more, and {} are left",
                    units::bytes(heap_used),
                    units::bytes(needed as f64),
                    units::bytes(left as f64),
                ),
                Some("raise the memory limit, or take it anyway with --force-snapshot"),
            ));
            return Ok(false);
        }
        let patience = PATIENCE + Duration::from_secs_f64(heap_used / BYTES_PER_SECOND);
        let cx = Cx::within(self.cancel, patience);
        let mut sink = explainer.sink(at, &EvidenceRequest::Snapshot);
        let Some(inside) = self.explained() else {
            return Ok(true);
        };
        let begun = std::time::Instant::now();
        let captured = inside
            .runtime
            .capture(&EvidenceRequest::Snapshot, sink.as_mut(), &cx);
        self.pause += begun.elapsed();
        match captured {
            Ok(receipt) => {
                if let Some(note) = receipt.note {
                    self.found(Finding::info("inspector-shared", note));
                }
                Ok(true)
            }
            Err(ProbeError::Cancelled) => Err(Stop::Interrupted),
            Err(error) => {
                self.check_alive()?;
                let why = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                self.gap(Gap {
                    what: "who holds the growth".to_owned(),
                    why,
                });
                Ok(true)
            }
        }
    }
}
