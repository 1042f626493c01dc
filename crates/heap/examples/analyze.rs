//! Analyses one snapshot and prints its largest classes: what `bench/heap` times.

#![expect(clippy::print_stdout, reason = "a program that prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "the engine is pure, its caller opens files"
)]

use std::fs::File;

use plimsoll_heap::{Class, Classes, Heap, Snapshot};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(mode), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: analyze full|summary FILE".into());
    };
    let snapshot = Snapshot::open(&File::open(path)?)?;
    println!(
        "{} nodes, {} edges",
        snapshot.node_count(),
        snapshot.edge_count()
    );
    if mode == "summary" {
        print(Classes::summary(&snapshot).rows().collect());
    } else {
        let heap = Heap::of(snapshot);
        println!("{} bytes", heap.total());
        print(Classes::of(&heap).rows().collect());
    }
    Ok(())
}

fn print(mut rows: Vec<&Class>) {
    rows.sort_unstable_by_key(|row| std::cmp::Reverse((row.retained, row.shallow)));
    for row in rows.iter().take(20) {
        println!(
            "{:>10} {:>12} {:>12} {}",
            row.count, row.shallow, row.retained, row.name
        );
    }
}
