//! Who allocates what stays, sampled between the first window and the last.
//!
//! A snapshot tells where a constructor or a function is written. What a package or the runtime makes is written there, and that
//! helps nobody: people want the line of their own that asks for it, and that is told by the stacks in which it is allocated. V8
//! tells of each frame where its function is written, not the line that runs: the line that calls the next frame by its name.

use std::collections::BTreeMap;

use plimsoll_heap::Place;
use plimsoll_heap::culprit::{Culprit, Origin, origin};
use serde::Deserialize;

use super::maps::Maps;
use super::source;
use crate::snapshot::object;

/// Classes that everything consists of.
const GENERAL: [&str; 5] = ["Array", "Function", "Map", "Object", "Set"];

/// Sampled stacks; none where nobody sampled.
#[derive(Debug, Default)]
pub(crate) struct Allocations(Vec<Stack>);

#[derive(Debug, Deserialize)]
struct Stack {
    /// The subject's innermost function, and what that called of packages and of the runtime.
    frames: Vec<Frame>,
    bytes: f64,
}

#[derive(Debug, Deserialize)]
struct Frame {
    name: String,
    url: String,
    script: String,
    line: u32,
    column: u32,
}

/// The line that asks for what a package or the runtime makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// `file:line`.
    pub(super) place: String,
    pub(super) function: String,
    /// What it calls.
    pub(super) calls: String,
}

impl Allocations {
    /// From the JSON of a probe. Places without these stacks are told as the snapshot has them, so what cannot be read is none.
    pub(crate) fn new(json: &[u8]) -> Self {
        Self(serde_json::from_slice(json).unwrap_or_default())
    }

    /// The subject's own line behind which most of what piles up is made by others. Theirs are the frames that bear the name of
    /// its class, or lie where it is made; where V8 has optimised those away, any in the same script, or in that of
    /// a holder of the runtime's.
    pub(super) fn caller(&self, found: &Culprit, maps: &Maps) -> Option<Caller> {
        let foreign = |place: &&Place| origin(&place.script) != Origin::User;
        let made = [&found.place, &found.kind_place];
        let made: Vec<&Place> = made.into_iter().flatten().filter(foreign).collect();
        let is_in = |frame: &Frame, place: &Place| frame.script == place.script_id.to_string();
        let makes = |frame: &Frame| {
            let is_there = |place: &&Place| is_in(frame, place) && frame.line == place.line;
            // A class, or what makes one: `Measure`, `createMeasure`. But `toArray` makes any.
            let is_named = !GENERAL.contains(&&*found.kind) && frame.name.ends_with(&found.kind);
            is_named || made.iter().any(is_there)
        };
        let beside = |frame: &Frame| made.iter().any(|place| is_in(frame, place));
        // What enters a package's own container may be made anywhere on the way there.
        let of_runtime = |place: &&Place| origin(&place.script) == Origin::Runtime;
        let holder = found.holder.place.as_ref().filter(of_runtime);
        let keeps = |frame: &Frame| holder.is_some_and(|place| is_in(frame, place));
        self.most(makes, maps)
            .or_else(|| self.most(beside, maps))
            .or_else(|| self.most(keeps, maps))
    }

    /// The call behind which most bytes were allocated in stacks with such a frame.
    fn most(&self, is_it: impl Fn(&Frame) -> bool, maps: &Maps) -> Option<Caller> {
        let mut by_call: BTreeMap<(&str, u32, u32, &str), (f64, &Stack)> = BTreeMap::new();
        for stack in &self.0 {
            let [own, calls, ..] = &stack.frames[..] else {
                continue;
            };
            if origin(&own.url) == Origin::User && stack.frames[1..].iter().any(&is_it) {
                let key = (&*own.script, own.line, own.column, &*calls.name);
                by_call.entry(key).or_insert((0.0, stack)).0 += stack.bytes;
            }
        }
        let (_, most) = by_call
            .into_values()
            .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        let [own, calls, ..] = &most.frames[..] else {
            return None;
        };
        let function = maps.original(&Place {
            script: own.url.clone(),
            script_id: own.script.parse().ok()?,
            line: own.line,
            column: own.column,
        });
        // V8 calls a nameless function by where it was put: `exports.render`.
        let called = calls.name.rsplit('.').next().unwrap_or_default();
        let place = source::call(&function, called).or_else(|| object::place(&function))?;
        let or_nameless = |name: &str| match name {
            "" => "a function without a name".to_owned(),
            name => format!("`{name}`"),
        };
        Some(Caller {
            place,
            function: or_nameless(&own.name),
            calls: or_nameless(&calls.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, script: &str, url: &str, line: u32) -> String {
        format!(r#"{{"name":"{name}","url":"{url}","script":"{script}","line":{line},"column":1}}"#)
    }

    fn stack(bytes: u32, frames: &[String]) -> String {
        format!(r#"{{"frames":[{}],"bytes":{bytes}}}"#, frames.join(","))
    }

    #[test]
    fn what_others_make_is_told_where_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("shop.js");
        let text = "// a shop\nfunction buy(cart) {\n  const paid = pay(cart);\n  return receipts.\n    issue(paid);\n}\nfunction tell() {\n  issue();\n}\n";
        std::fs::write(&script, text).unwrap();
        let url = script.to_str().unwrap();
        let buy = |line| frame("buy", "7", url, line);
        let issue = frame("exports.issue", "9", "node:receipts", 4);
        let stacks = [
            stack(900, &[buy(2)]),
            stack(
                100,
                &[
                    buy(2),
                    issue.clone(),
                    frame("makeReceipt", "9", "node:receipts", 40),
                ],
            ),
            stack(60, &[frame("tell", "7", url, 7), issue]),
        ];
        let allocations = Allocations::new(format!("[{}]", stacks.join(",")).as_bytes());
        let told = |is_it: &dyn Fn(&Frame) -> bool| {
            let caller = allocations.most(is_it, &Maps::default())?;
            Some((caller.place.rsplit(':').next()?.to_owned(), caller.function))
        };
        let wanted = Some(("5".to_owned(), "`buy`".to_owned()));
        assert_eq!(told(&|frame| frame.name.ends_with("Receipt")), wanted);
        assert_eq!(told(&|frame| frame.script == "9"), wanted);
        // The subject's own frame is not what others make.
        assert_eq!(told(&|frame| frame.name == "buy"), None);
        assert!(Allocations::new(b"not JSON").0.is_empty());
    }
}
