//! Captures what explainers want at a window, where the subject can bear it: a snapshot takes memory, and a subject that
//! dies of being observed has been observed badly.

use std::time::Duration;

use plimsoll_model::{Census, Cx, EvidenceRequest, Finding, Gap, Metric, Scope, Window, units};
use plimsoll_probe::Error as ProbeError;

use crate::explain::Explainer;
use crate::session::{Session, Stop};

/// A capture may take so long whatever the heap.
const PATIENCE: Duration = Duration::from_secs(30);
/// And a second more for each so many bytes of heap: a loaded machine writes some 20 MB a second.
const BYTES_PER_SECOND: f64 = 4e6;

impl Session<'_> {
    /// Captures what is wanted at this window; what was counted instead of a snapshot comes back. A capture that fails
    /// is a gap, not the end of the run.
    pub(crate) fn capture(
        &mut self,
        explainer: &mut dyn Explainer,
        at: Window,
        wanted: &[EvidenceRequest],
        heap_used: Option<f64>,
    ) -> Result<Option<Census>, Stop> {
        if !wanted.contains(&EvidenceRequest::Snapshot) {
            return Ok(None);
        }
        if self.snapshot(explainer, at, heap_used)? {
            if wanted.contains(&EvidenceRequest::Scripts) {
                self.scripts(explainer, at)?;
            }
            return Ok(None);
        }
        self.count_classes()
    }

    /// Where scripts come from; without it, places are told as the runtime sees them.
    fn scripts(&mut self, explainer: &mut dyn Explainer, at: Window) -> Result<(), Stop> {
        let cx = Cx::within(self.cancel, PATIENCE);
        let Some(inside) = self.service.as_mut().and_then(|s| s.runtime.as_mut()) else {
            return Ok(());
        };
        let request = EvidenceRequest::Scripts;
        let mut sink = explainer.sink(at, &request);
        match inside.runtime.capture(&request, sink.as_mut(), &cx) {
            Err(ProbeError::Cancelled) => Err(Stop::Interrupted),
            Err(_) => self.check_alive(),
            Ok(_) => Ok(()),
        }
    }

    /// The cheap way: which classes grow, and which functions allocate.
    fn count_classes(&mut self) -> Result<Option<Census>, Stop> {
        let cx = Cx::within(self.cancel, PATIENCE);
        let Some(inside) = self.service.as_mut().and_then(|s| s.runtime.as_mut()) else {
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
        if let Some(inside) = self.service.as_mut().and_then(|s| s.runtime.as_mut()) {
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
        let (Some(heap_used), Some(service)) = (heap_used, &self.service) else {
            return Ok(true);
        };
        let Some(inside) = &service.runtime else {
            return Ok(true);
        };
        let known = &inside.runtime.capabilities().operations;
        if !known.iter().any(|op| op == "snapshot") {
            return Ok(true);
        }
        let needed = plimsoll_probe::headroom_for_snapshot(heap_used as u64);
        let left = self.room().left();
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
        let Some(inside) = self.service.as_mut().and_then(|s| s.runtime.as_mut()) else {
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

/// What the heap used at the last measurement, if it was read after a collection.
pub(crate) fn heap_used(rounds: &[plimsoll_model::RoundRecord]) -> Option<f64> {
    let last = rounds.last().filter(|r| r.collected)?;
    last.values.get(&Metric::HEAP_USED).copied()
}
