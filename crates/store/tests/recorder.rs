//! The recorder against real files: nothing lost on the way, and disks that fail.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_model::{Metric, Ns, RunState, Sample, SourceId};
use plimsoll_store::{Error, Record, Recorder, Store, read_log};

fn sample(at: u64, metric: Metric, value: f64) -> Sample {
    Sample {
        at: Ns(at),
        source: SourceId(0),
        metric,
        value,
    }
}

/// Ten readings a second of two metrics, one of which does not compress.
fn ticks(count: u64) -> impl Iterator<Item = Sample> {
    (0..count).flat_map(|i| {
        let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
        [
            sample(i * 100_000_000, Metric::RSS, (i * 4096) as f64),
            sample(i * 100_000_000, Metric::CPU_SECONDS, noise as f64 / 1e3),
        ]
    })
}

#[test]
fn a_recording_reads_back_whole_and_its_bands_show_it() {
    let place = tempfile::tempdir().expect("a directory");
    let store = Store::open(&[place.path().join("runs-of-this-test")]).expect("writable");
    let dir = store.create_run("a").expect("a run");
    let recorder = Recorder::start(Some(&dir), 42).expect("a recorder");
    let handle = recorder.handle();
    handle.record(Record::Mark {
        at: Ns(0),
        what: "start".to_owned(),
    });
    // Below what the queue holds, so that none may be dropped however slow the machine is.
    ticks(6000).for_each(|s| handle.sample(s));
    let recorded = recorder.close();
    handle.sample(sample(1, Metric::RSS, 1.0));
    assert_eq!(handle.dropped(), 1, "after the end nothing is taken");

    assert!(recorded.error.is_none(), "{:?}", recorded.error);
    assert_eq!(recorded.dropped_samples, 0);
    let log = dir.log_path();
    assert_eq!(recorded.log_bytes, log.metadata().expect("a log").len());
    let mut reader = read_log(&log).expect("a log");
    let records: Vec<Record> = reader.by_ref().collect();
    assert!(reader.is_closed());
    let mut expected = vec![
        Record::Clock {
            at: Ns(0),
            unix_ns: 42,
        },
        Record::Mark {
            at: Ns(0),
            what: "start".to_owned(),
        },
    ];
    expected.extend(ticks(6000).map(Record::Sample));
    assert!(records == expected);

    let names: Vec<_> = recorded
        .bands
        .iter()
        .map(|(s, m, _)| (s.0, m.as_str()))
        .collect();
    assert_eq!(names, [(0, "cpu_seconds"), (0, "rss")]);
    let rss = &recorded.bands[1].2;
    assert_eq!((rss.start, rss.min[0]), (Ns(0), Some(0.0)));
    assert_eq!(rss.max.last(), Some(&Some(f64::from(5999 * 4096))));
}

#[test]
fn without_a_directory_there_are_bands_all_the_same() {
    let recorder = Recorder::start(None, 0).expect("a recorder");
    let handle = recorder.handle();
    ticks(100).for_each(|s| handle.sample(s));
    let recorded = recorder.close();
    assert!(recorded.error.is_none());
    assert_eq!((recorded.log_bytes, recorded.bands.len()), (0, 2));
}

#[test]
fn a_recorder_that_is_dropped_has_written_what_it_was_given() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = Store::open(&[place.path().join("s")])
        .and_then(|store| store.create_run("a"))
        .expect("a run");
    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    recorder.handle().sample(sample(5, Metric::RSS, 1.0));
    drop(recorder);
    assert_eq!(read_log(&dir.log_path()).expect("a log").count(), 2);
}

#[test]
fn a_sampler_that_outruns_the_disk_is_never_held_up_and_the_drops_are_counted() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = Store::open(&[place.path().join("s")])
        .and_then(|store| store.create_run("a"))
        .expect("a run");
    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    let handle = recorder.handle();
    let given = 400_000;
    for i in 0..given {
        handle.sample(sample(i, Metric::RSS, 0.0));
        if i % 1000 == 0 {
            handle.record(Record::Mark {
                at: Ns(i),
                what: String::new(),
            });
        }
    }
    let recorded = recorder.close();
    let (mut samples, mut marks, mut drops) = (0, 0, 0);
    for record in read_log(&dir.log_path()).expect("a log") {
        match record {
            Record::Sample(_) => samples += 1,
            Record::Mark { .. } => marks += 1,
            Record::Drops { count, .. } => drops += count,
            _ => {}
        }
    }
    assert_eq!(samples + recorded.dropped_samples, given);
    assert_eq!(drops, recorded.dropped_samples);
    assert_eq!(marks, 400, "marks are never dropped");
}

#[test]
fn a_second_log_in_the_same_place_is_refused() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = Store::open(&[place.path().join("s")])
        .and_then(|store| store.create_run("a"))
        .expect("a run");
    let first = Recorder::start(Some(&dir), 0).expect("a recorder");
    let second = Recorder::start(Some(&dir), 0);
    assert!(matches!(second, Err(Error::Io { what: "create", .. })));
    drop(first);
}

/// Set for the child of [`a_disk_that_is_full_ends_the_recording_and_not_the_run`]: where it records.
const CHILD: &str = "PLIMSOLL_TEST_FULL_DISK";

/// Not a test of its own: run with a limit on the size of files, which fails as a full disk does.
#[test]
fn child_that_records_onto_a_full_disk() {
    let Some(place) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = Store::open(&[place.into()])
        .and_then(|store| store.create_run("full"))
        .expect("a run");
    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    let handle = recorder.handle();
    // Some 9 bytes of noise each: far beyond the limit of 32 KiB, far below the queue.
    ticks(8000).for_each(|s| handle.sample(s));
    let recorded = recorder.close();
    let error = recorded.error.expect("the disk is full");
    assert!(matches!(error, Error::Io { what: "write", .. }), "{error}");
    assert_eq!(recorded.dropped_samples, 0);
    assert_eq!(
        recorded.bands[1]
            .2
            .max
            .iter()
            .flatten()
            .copied()
            .fold(0.0, f64::max),
        f64::from(7999 * 4096),
        "the bands go on to the end"
    );
    assert_eq!(
        recorded.log_bytes,
        dir.log_path().metadata().expect("a log").len()
    );
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_not_the_run() {
    let place = tempfile::tempdir().expect("a directory");
    let store = place.path().join("s");
    let test = std::env::current_exe().expect("this test");
    // The signal is ignored, so that the write itself fails, as on a full disk.
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact child_that_records_onto_a_full_disk",
        ])
        .arg(test)
        .env(CHILD, &store)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");

    // What was recorded until then reads back, and nothing of it is torn.
    let log = store.join("runs/full/samples.plog");
    let mut reader = read_log(&log).expect("a log");
    let records: Vec<Record> = reader.by_ref().collect();
    assert_eq!((reader.torn_bytes(), reader.is_closed()), (0, false));
    assert!(log.metadata().expect("a log").len() <= 32 << 10);
    let samples: Vec<Record> = records
        .into_iter()
        .filter(|r| matches!(r, Record::Sample(_)))
        .collect();
    assert!(!samples.is_empty(), "what fits is kept");
    assert!(
        samples
            == ticks(8000)
                .take(samples.len())
                .map(Record::Sample)
                .collect::<Vec<_>>()
    );
}

/// Set for the child of [`kill_9_loses_no_batch_that_was_written_and_the_list_tells`]: where it records.
const KILLED: &str = "PLIMSOLL_TEST_KILLED";

/// Not a test of its own: records, and then waits to be killed.
#[test]
fn child_that_is_killed() {
    let Some(place) = std::env::var_os(KILLED) else {
        return;
    };
    let dir = Store::open(&[place.into()])
        .and_then(|store| store.create_run("killed"))
        .expect("a run");
    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    ticks(10).for_each(|s| recorder.handle().sample(s));
    // Ends when the parent is gone, whatever happens to it.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(recorder);
}

#[test]
fn kill_9_loses_no_batch_that_was_written_and_the_list_tells() {
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path().join("s");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_that_is_killed"])
        .env(KILLED, &root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this test");
    let store = Store::read_only(&root);
    let log = root.join("runs/killed/samples.plog");
    let deadline = Instant::now() + Duration::from_mins(1);
    while read_log(&log).map_or(0, Iterator::count) < 21 {
        assert!(Instant::now() < deadline, "a batch is due within a second");
        std::thread::yield_now();
    }
    let state = |store: &Store| store.list().expect("a list")[0].state;
    assert_eq!(state(&store), RunState::Running);
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(state(&store), RunState::Unfinished);
    let mut reader = read_log(&log).expect("a log");
    assert_eq!(reader.by_ref().count(), 21);
    assert_eq!((reader.torn_bytes(), reader.is_closed()), (0, false));
}

/// Set for the child of [`ten_kills_leave_exact_prefixes`]: where it records.
const KILLED_OFTEN: &str = "PLIMSOLL_TEST_KILLED_OFTEN";

/// Not a test of its own: records a counter at its real time, tells what it has recorded, and waits to be killed.
#[test]
fn child_that_counts() {
    let Some(place) = std::env::var_os(KILLED_OFTEN) else {
        return;
    };
    let dir = Store::open(&[place.into()])
        .and_then(|store| store.create_run("killed"))
        .expect("a run");
    let recorder = Recorder::start(Some(&dir), 0).expect("a recorder");
    let (start, mut out) = (Instant::now(), std::io::stdout());
    for i in 0..u32::MAX {
        let at = start.elapsed().as_nanos() as u64;
        recorder
            .handle()
            .sample(sample(at, Metric::RSS, f64::from(i)));
        // Ends when the parent is gone, whatever happens to it.
        if writeln!(out, "recorded {i} {at}").is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn ten_kills_leave_exact_prefixes() {
    let mut worst = Duration::ZERO;
    for trial in 0..10_u64 {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path().join("s");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_that_counts", "--nocapture"])
            .env(KILLED_OFTEN, &root)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test");
        let told = BufReader::new(child.stdout.take().expect("piped"));
        let enough = 1_100_000_000 + trial * 97_000_000;
        let mut told = told.lines().map_while(Result::ok).filter_map(|line| {
            let (number, at) = line.split_once("recorded ")?.1.split_once(' ')?;
            Some((number.parse().ok()?, at.parse().ok()?))
        });
        let until: (u64, u64) = told.find(|&(_, at)| at > enough).expect("it records");
        child.kill().expect("killed");
        let last = told.last().unwrap_or(until);
        child.wait().expect("gone");

        let mut reader = read_log(&root.join("runs/killed/samples.plog")).expect("a log");
        let read: Vec<(f64, u64)> = reader
            .by_ref()
            .filter_map(|record| match record {
                Record::Sample(sample) => Some((sample.value, sample.at.0)),
                _ => None,
            })
            .collect();
        assert!(
            read.iter()
                .enumerate()
                .all(|(i, &(value, _))| value == i as f64)
        );
        assert!(
            !read.is_empty() && read.len() as u64 <= last.0 + 1,
            "{last:?}"
        );
        assert!(!reader.is_closed());
        let kept = read.last().map_or(0, |&(_, at)| at);
        worst = worst.max(Duration::from_nanos(last.1.saturating_sub(kept)));
    }
    println!("ten kills: at most {worst:.2?} were lost");
    // Nine tenths of a second is what a batch waits. The rest is for a machine with other things to do.
    assert!(worst < Duration::from_secs(5), "{worst:?}");
}

#[test]
fn what_is_no_log_is_refused_with_its_name() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("samples.plog");
    let refused = |path: &Path| read_log(path).expect_err("no log").to_string();
    assert!(refused(&path).starts_with("failed to read "));
    std::fs::write(&path, "t_s,bytes\n").expect("writable");
    assert!(refused(&path).ends_with("samples.plog is not a plimsoll log: it is too short"));
    std::fs::write(&path, "t_s,bytes\n0,1\n0,2\n").expect("writable");
    assert!(refused(&path).ends_with("samples.plog is not a plimsoll log: it begins otherwise"));
}
