//! What recording and listing cost. Printed, not asserted: figures of one machine prove nothing about another.

use std::fs;
use std::time::Instant;

use plimsoll_model::{Metric, Ns, Sample, SourceId};
use plimsoll_store::{Recorder, Store, read_log, run_id};

mod common;

/// CPU time of this process, all threads, in clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks = |i: usize| fields[i].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// 20 metrics at 10 Hz: sawtooth heaps, counters, seconds of CPU, jitter on time.
fn tick(i: u64, give: &mut dyn FnMut(Sample)) {
    let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let at = Ns(i * 100_000_000 + (noise >> 44));
    let names = [
        "heap_used",
        "heap_total",
        "external",
        "rss",
        "rss_anon",
        "rss_file",
        "cpu_seconds",
        "threads",
    ];
    for metric in 0..20_u64 {
        let jitter = (noise >> (metric + 3)) & 0xffff;
        let value = match metric % 5 {
            0 => (20_000_000 + (i % 50) * 300_000 + jitter * 8) as f64,
            1 => 40_000_000.0,
            2 => (i * 13 + metric) as f64,
            3 => ((60_000_000 + i * 40) / 4096 * 4096) as f64,
            _ => (i * 7 + jitter % 3) as f64 / 100.0,
        };
        let metric = match names.get(metric as usize) {
            Some(&name) => Metric::named(name),
            None => Metric::counted("kind", &metric.to_string()),
        };
        give(Sample {
            at,
            source: SourceId(0),
            metric,
            value,
        });
    }
}

#[test]
#[ignore = "a measurement: run it alone, in release, with --nocapture"]
fn an_hour_of_twenty_metrics_at_ten_hertz() {
    let place = tempfile::tempdir().expect("a directory");
    let store = Store::open(&[place.path().join("s")]).expect("writable");
    let dir = store.create_run("a").expect("a run");
    let rows = 36_000;
    let before = cpu_seconds();
    for i in 0..rows {
        tick(i, &mut |s| drop(std::hint::black_box(s)));
    }
    let making = cpu_seconds() - before;

    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    let handle = recorder.handle();
    let before = cpu_seconds();
    for i in 0..rows {
        tick(i, &mut |s| handle.sample(s));
        if i % 100 == 0 {
            // The queue must not overflow; waiting costs no CPU.
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
    }
    let recorded = recorder.close();
    let cpu = cpu_seconds() - before - making;
    assert_eq!(recorded.dropped_samples, 0);

    let before = Instant::now();
    let read = read_log(&dir.log_path()).expect("a log").count();
    println!(
        "{rows} rows of 20: {:.1} µs CPU per row, {} bytes = {:.2} per value, {read} records read in {:.0} ms",
        cpu * 1e6 / rows as f64,
        recorded.log_bytes,
        recorded.log_bytes as f64 / (rows * 20) as f64,
        before.elapsed().as_secs_f64() * 1e3,
    );
}

#[test]
#[ignore = "a measurement: run it alone, in release, with --nocapture"]
fn a_list_of_ten_thousand_runs() {
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path().join("s");
    let store = Store::open(std::slice::from_ref(&root)).expect("writable");
    let mut run = common::run("a", 0);
    run.rounds = (0..30).flat_map(|_| run.rounds.clone()).collect();
    let band = run.series[0].band.as_mut().expect("a band");
    band.min = (0..1500).map(|i| Some(f64::from(i) * 4096.0)).collect();
    band.max = band.min.clone();
    run.series = (0..20).map(|_| run.series[0].clone()).collect();
    let json = serde_json::to_vec(&run).expect("serialisable");
    for i in 0..10_000_u64 {
        let dir = root.join("runs").join(run_id(i * 1_000_000_000, 7));
        fs::create_dir(&dir).expect("created");
        fs::write(dir.join("run.json"), &json).expect("written");
    }
    for most in [20, 10_000] {
        let before = Instant::now();
        let list = store.list_newest(most).expect("a list");
        assert!(list.iter().all(|r| r.problem.is_none()));
        println!(
            "{} of 10,000 runs of {} KiB listed in {:.1} ms",
            list.len(),
            json.len() >> 10,
            before.elapsed().as_secs_f64() * 1e3,
        );
    }
}
