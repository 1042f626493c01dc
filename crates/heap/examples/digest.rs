//! Prints a snapshot's answers for comparison with `bench/heap/devtools.mjs`; `columns` to find a mismatch.

#![expect(clippy::print_stdout, reason = "a program that prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "the engine is pure, its caller opens files"
)]

use std::fs::File;
use std::io::Write;

use plimsoll_heap::{Classes, Heap, Snapshot};

#[path = "../tests/it/digest.rs"]
mod digest;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(mode), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: digest digest|columns FILE".into());
    };
    let heap = Heap::of(Snapshot::open(&File::open(path)?)?);
    if mode == "digest" {
        print!("{}", digest::digest(&heap, &Classes::of(&heap)));
        return Ok(());
    }
    let snapshot = heap.snapshot();
    let order: std::collections::HashMap<_, _> = snapshot.nodes().zip(0_u64..).collect();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for node in snapshot.nodes() {
        writeln!(
            out,
            "{} {} {} {} {} {} {}",
            snapshot.id(node),
            order[&heap.dominator(node)],
            heap.retained(node),
            heap.shallow(node),
            heap.distance(node),
            snapshot.kind(node).word(),
            serde_json::Value::from(heap.display_name(node).into_owned()),
        )?;
    }
    Ok(())
}
