//! Names what grew between snapshots of one process: `culprit 1000,2000,0 A B C FINAL`, with the operations
//! between each snapshot and the next.

#![expect(clippy::print_stdout, reason = "a program that prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "the engine is pure, its caller opens files"
)]

use std::fs::File;

use plimsoll_heap::{Classes, Heap, Snapshot, Window, Windows, culprit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let operations = arguments
        .next()
        .ok_or("usage: culprit OPERATIONS,… SNAPSHOT… FINAL")?;
    let operations: Vec<u64> = operations
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut paths: Vec<String> = arguments.collect();
    let last = paths.pop().ok_or("no snapshots")?;
    let mut earlier = Vec::new();
    for path in paths {
        earlier.push(Window::open(&File::open(path)?)?);
    }
    let heap = Heap::of(Snapshot::open(&File::open(last)?)?);
    let classes = Classes::of(&heap);
    let windows = Windows {
        earlier: &earlier,
        operations: &operations,
    };
    let ranking = culprit::rank(&heap, &classes, &windows)?;
    println!(
        "{:.1} B/op stay, {:.0} % unexplained",
        ranking.bytes_per_op,
        100.0 * ranking.unexplained
    );
    for culprit in &ranking.culprits {
        println!(
            "{:5.1} %  {:.1} B/op  {:.2}/op  {} | {} | {} | {:?} {}",
            100.0 * culprit.share,
            culprit.bytes_per_op,
            culprit.count_per_op,
            culprit.kind,
            culprit.holder,
            culprit.pattern.name(),
            culprit.origin,
            culprit
                .place
                .as_ref()
                .map_or_else(String::new, |place| format!(
                    "{}:{}",
                    place.script, place.line
                )),
        );
        for line in &culprit.evidence {
            println!("         {line}");
        }
        let way: Vec<String> = culprit
            .holder
            .path
            .iter()
            .map(|hop| format!("{} {}", hop.edge, hop.name))
            .collect();
        println!("         {}", way.join(" > "));
    }
    Ok(())
}
