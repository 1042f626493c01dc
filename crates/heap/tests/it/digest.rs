//! A snapshot's answers as text: a hash of each column and every class row, exactly as `bench/heap/devtools.mjs
//! digest` prints what `DevTools` computes.

use std::fmt::Write;

use plimsoll_heap::{Classes, Heap, Statistics};

/// 32-bit words in, as in FNV-1a.
struct Hash(u32);

impl Hash {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn word(&mut self, word: u32) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0193);
    }

    fn number(&mut self, number: u64) {
        self.word(number as u32);
        self.word((number >> 32) as u32);
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            self.word(u32::from(byte));
        }
        self.word(0x100);
    }
}

/// All of it.
pub(crate) fn digest(heap: &Heap, classes: &Classes) -> String {
    let snapshot = heap.snapshot();
    let order: std::collections::HashMap<_, _> = snapshot.nodes().zip(0_u64..).collect();
    let mut hashes = [(); 6].map(|()| Hash::new());
    for node in snapshot.nodes() {
        hashes[0].number(order[&heap.dominator(node)]);
        hashes[1].number(heap.retained(node));
        hashes[2].number(heap.shallow(node));
        hashes[3].word(heap.distance(node) as u32);
        hashes[4].text(&heap.display_name(node));
        hashes[5].word(u32::from(snapshot.is_detached(node)));
    }
    let mut text = format!("nodes {}\ntotal {}\n", snapshot.node_count(), heap.total());
    let sums = Statistics::of(heap);
    let _ = writeln!(
        text,
        "statistics {} {} {} {} {} {}",
        sums.native, sums.typed_arrays, sums.code, sums.strings, sums.arrays, sums.system
    );
    let texts = plimsoll_heap::text::duplicates(heap);
    let _ = writeln!(
        text,
        "duplicates {} {} {}",
        texts.len(),
        texts.iter().map(|text| text.count).sum::<u64>(),
        texts.iter().map(|text| text.bytes).sum::<u64>()
    );
    let names = [
        "dominators",
        "retained",
        "shallow",
        "distances",
        "names",
        "detached",
    ];
    for (name, hash) in names.iter().zip(hashes) {
        let _ = writeln!(text, "{name} {:08x}", hash.0);
    }
    let mut rows: Vec<String> = classes
        .rows()
        .map(|row| {
            let key = match &row.place {
                Some(place) => format!(
                    "{},{},{},{}",
                    place.script_id,
                    place.line - 1,
                    place.column - 1,
                    row.name
                ),
                None => format!(",{}", row.name),
            };
            format!(
                "{}\t{}\t{}\t{}\t{}",
                row.count,
                row.shallow,
                row.retained,
                row.distance,
                serde_json::Value::from(key)
            )
        })
        .collect();
    rows.sort_unstable();
    for row in rows {
        text.push_str(&row);
        text.push('\n');
    }
    text
}
