//! `cargo xtask bench recorder [LOG]`: what recording costs for each row of 20 metrics, and what a day at 10 Hz takes on
//! the disk. A recording of a real run is replayed over and over until the day is full: its times go on, its values are as
//! they were. Without a recording, ten minutes of ourselves are not pretended: the bench says that it needs one.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench talks to whoever started it"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use plimsoll_bench::{Variant, median, pairs, ratio, say};
use plimsoll_model::{Ns, Sample};
use plimsoll_store::{Record, Recorder, Store, read_log};

const DAY: u64 = 24 * 3600 * 1_000_000_000;
const HOUR: u64 = 3600 * 1_000_000_000;
const SLICES: usize = 30;
/// Readings that are given without a pause.
const BURST: usize = 8192;
/// Metrics of a row.
const ROW: f64 = 20.0;

fn main() -> ExitCode {
    let Some(log) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!(
            "error: no recording to replay\n  hint: make one by `plimsoll monitor -i 100 -d 600s -- node server.js` and name its samples.plog"
        );
        return ExitCode::from(2);
    };
    let records: Vec<Record> = match read_log(&log) {
        Ok(reader) => reader.collect(),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let samples: Vec<Sample> = records
        .iter()
        .filter_map(|record| match record {
            Record::Sample(sample) => Some(sample.clone()),
            _ => None,
        })
        .collect();
    let length = samples.iter().map(|s| s.at.0).max().unwrap_or(0) + 100_000_000;
    let others = records.len() - samples.len();
    println!(
        "replayed: {} readings and {others} records of {:.0} s, {:.1} readings a second",
        samples.len(),
        length as f64 / 1e9,
        samples.len() as f64 / (length as f64 / 1e9),
    );
    cost(&samples, length);
    day(&records, length);
    ExitCode::SUCCESS
}

/// An hour of it at full speed: queue, bands, encoding and writing, start and end included.
fn cost(samples: &[Sample], length: u64) {
    let place = tempfile::tempdir().expect("a directory");
    let store = Store::open(&[place.path().join("s")]).expect("writable");
    let passes = HOUR.div_ceil(length);
    let readings = samples.len() as u64 * passes;
    let each_row = |out: &mut dyn FnMut(&mut Vec<Sample>)| {
        let mut row = Vec::new();
        for pass in 0..passes {
            for tick in samples.chunk_by(|a, b| a.at == b.at) {
                row.extend(tick.iter().map(|sample| Sample {
                    at: Ns(pass * length + sample.at.0),
                    ..sample.clone()
                }));
                out(&mut row);
            }
        }
    };
    let mut number = 0;
    let mut write = |kept: bool| {
        number += 1;
        let dir = kept.then(|| store.create_run(&format!("r{number}")).expect("a run"));
        let recorder = Recorder::start(dir.as_ref(), 0).expect("a recorder");
        let handle = recorder.handle();
        let mut waiting = 0;
        each_row(&mut |row| {
            waiting += row.len();
            handle.row(row);
            if waiting >= BURST {
                // The queue must not overflow; waiting costs no CPU.
                std::thread::sleep(Duration::from_millis(8));
                waiting = 0;
            }
        });
        readings - recorder.close().dropped_samples
    };
    let write = std::cell::RefCell::new(&mut write);
    let mut variants = [
        Variant {
            name: "recording",
            slice: Box::new(|| (write.borrow_mut())(true)),
        },
        Variant {
            name: "recording, again",
            slice: Box::new(|| (write.borrow_mut())(true)),
        },
        Variant {
            name: "bands only",
            slice: Box::new(|| (write.borrow_mut())(false)),
        },
        Variant {
            name: "making the readings",
            slice: Box::new(|| {
                each_row(&mut |row| {
                    black_box(&*row);
                    row.clear();
                });
                readings
            }),
        },
    ];
    let measured = pairs(SLICES, &mut variants);
    // Without what it takes to make the readings again.
    let net = |of: usize| -> Vec<f64> {
        let pairs = measured[of].seconds.iter().zip(&measured[3].seconds);
        pairs
            .map(|(all, making)| (all - making) * ROW * 1e6)
            .collect()
    };
    say(
        "recording a row of 20, at full speed",
        median(&net(0)),
        "µs of CPU",
        "≤ 2, want 1",
    );
    say(
        "  without the log (queue and bands)",
        median(&net(2)),
        "µs of CPU",
        "",
    );
    say(
        "  A/A: recording / recording",
        ratio(&measured[1], &measured[0]),
        "ratio",
        "1",
    );
}

/// A whole day of it.
fn day(records: &[Record], length: u64) {
    let place = tempfile::tempdir().expect("a directory");
    let store = Store::open(&[place.path().join("s")]).expect("writable");
    let dir = store.create_run("day").expect("a run");
    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    let handle = recorder.handle();
    let before = plimsoll_probe::own_usage().cpu_seconds;
    let mut readings = 0_u64;
    let mut sent = 0_u64;
    let mut pass = 0;
    while pass * length < DAY {
        let shifted = |at: Ns| Ns(pass * length + at.0);
        for record in records {
            sent += 1;
            match record {
                Record::Sample(sample) if shifted(sample.at).0 < DAY => {
                    readings += 1;
                    handle.sample(Sample {
                        at: shifted(sample.at),
                        ..sample.clone()
                    });
                }
                Record::Sample(_) => {}
                Record::Collection {
                    at,
                    source,
                    kind,
                    pause_ns,
                    before,
                    after,
                } => handle.record(Record::Collection {
                    at: shifted(*at),
                    source: *source,
                    kind: kind.clone(),
                    pause_ns: *pause_ns,
                    before: *before,
                    after: *after,
                }),
                // The rest is written once in a run, not once in every few minutes.
                _ if pass > 0 => {}
                record => handle.record(record.clone()),
            }
            // The queue must not overflow. Batches are as long as in real life: they end by the time of the readings.
            if sent.is_multiple_of(2048) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        pass += 1;
    }
    let recorded = recorder.close();
    let cpu = plimsoll_probe::own_usage().cpu_seconds - before;
    let per_value = recorded.log_bytes as f64 / readings as f64;
    println!(
        "24 h of it, replayed over and over: {readings} readings, {:.1} MB, {per_value:.3} bytes each, {:.1} s of CPU, {} dropped",
        recorded.log_bytes as f64 / 1e6,
        cpu,
        recorded.dropped_samples,
    );
    let rows = 864_000.0 * ROW;
    println!(
        "  as 864,000 rows of 20: {:.1} MB   (wanted ≤ 20)",
        per_value * rows / 1e6
    );
}
