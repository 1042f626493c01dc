//! What grew with a leak, in words: only what was counted, and the advice that follows from it.

use crate::arc::Cycle;
use crate::grown::Grown;
use crate::stacks::Survivors;
use crate::text::{bytes, rate, significant};

/// What grew in both windows after a leak verdict.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) cycles: Vec<Cycle>,
    /// By window.
    pub(crate) grown: Vec<Grown>,
    /// By window.
    pub(crate) survivors: Vec<Survivors>,
    /// Bytes by which memory grew, per operation or second.
    pub(crate) bytes: f64,
    /// Operations, or seconds, of a window.
    pub(crate) units: f64,
    /// `operation`, or `second`.
    pub(crate) per: &'static str,
}

/// Less than so many per operation or second is no growth of a count.
const LEAST: f64 = 0.002;
/// Bytes of a gauge that are less than this share of the growth are the ups and downs of something bounded.
const LEAST_SHARE: f64 = 0.1;

impl Sources {
    fn grown(&self) -> impl Iterator<Item = (&Grown, f64)> {
        let each = self
            .grown
            .iter()
            .map(|grown| (grown, grown.per_op / self.units));
        each.filter(|(grown, each)| {
            let is_bytes = grown.place.is_none() && grown.name.ends_with(" bytes");
            let least = if is_bytes {
                LEAST_SHARE * self.bytes
            } else {
                LEAST
            };
            *each >= least
        })
    }

    /// A line each: what is certain first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let per = self.per;
        let mut lines: Vec<String> = self.cycles.iter().map(cycle).collect();
        lines.extend(self.grown().map(|(grown, each)| {
            let place = grown
                .place
                .as_ref()
                .map_or(String::new(), |place| format!(", tracked at {place}"));
            format!("{} +{} per {per}{place}", grown.name, significant(each))
        }));
        lines.extend(self.survivors.iter().map(|kept| {
            let place = kept
                .place()
                .unwrap_or_else(|| "a place without debug information".to_owned());
            format!(
                "{place} allocates {} per {per} that stay",
                rate(kept.bytes_per_op / self.units)
            )
        }));
        lines
    }

    /// What to do about each.
    pub(crate) fn advice(&self) -> Vec<String> {
        let mut advice: Vec<String> = self
            .cycles
            .iter()
            .map(|cycle| {
                format!(
                    "make one of the references between {} a Weak: they keep each other alive",
                    cycle.kinds.join(" and ")
                )
            })
            .collect();
        for (grown, each) in self.grown() {
            let (name, each) = (&grown.name, significant(each));
            advice.push(match &grown.place {
                Some(_) => format!("find what keeps values of {name}: {each} more of them live after each {}", self.per),
                None => format!("bound what `{name}` counts, or take out what is done with: it gains {each} with each {} and gives none back", self.per),
            });
        }
        if advice.is_empty()
            && let Some(kept) = self.survivors.first()
            && let Some(place) = kept.place()
        {
            advice.push(format!(
                "see who keeps what {place} allocates: {} stay with each {}, from this stack:\n{kept}",
                bytes(kept.bytes_per_op / self.units),
                self.per
            ));
        }
        advice
    }
}

fn cycle(cycle: &Cycle) -> String {
    format!(
        "a cycle of Arcs: {} hold each other, and nothing else holds them ({} values)",
        cycle.kinds.join(" and "),
        cycle.values
    )
}
