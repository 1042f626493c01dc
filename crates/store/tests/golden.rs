//! `run.json` and the log of every version, as it was written and as it still opens.

use std::path::Path;

use plimsoll_model::{Exit, Metric, Ns, ProcessId, Role, Run, Sample, Source, SourceId};
use plimsoll_store::{Record, Recorder, Store, read_log};

mod common;

/// Rewrites the example of the current version; to be read before it is committed.
const UPDATE: &str = "PLIMSOLL_UPDATE_GOLDEN";

#[test]
fn the_document_of_this_version_is_the_example_and_reads_back_the_same() {
    let run = common::run("20261121T051400.000Z-4121", 1_795_238_040_000_000_000);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/run-1.json");
    let json = serde_json::to_string_pretty(&run).expect("serialisable") + "\n";
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&example, &json).expect("writable");
    }
    let kept = std::fs::read_to_string(&example).expect("the example");
    assert!(
        json == kept,
        "the run document has changed: fields may only be added within a version; `{UPDATE}=1 cargo test -p \
         plimsoll-store` rewrites the example"
    );
    let loaded: Run = Store::read_only("nowhere")
        .load(&example.to_string_lossy())
        .expect("opens");
    assert_eq!(loaded, run);
}

#[test]
fn a_document_without_the_fields_that_came_later_opens() {
    let run = common::run("20261121T051400.000Z-4121", 1_795_238_040_000_000_000);
    let mut document = serde_json::to_value(&run).expect("serialisable");
    let fields = document.as_object_mut().expect("an object");
    assert!(fields.remove("rules").is_some());
    let limits = fields["subject"]["limits"].as_object_mut();
    let limits = limits.expect("an object");
    assert!(limits.remove("cgroup_high").is_some() && limits.remove("effective").is_some());
    let verdict = fields["verdict"].as_object_mut().expect("a verdict");
    for later in ["bets_p_value", "work_change", "slowdown"] {
        assert!(verdict.remove(later).is_some(), "{later}");
    }
    let round = fields["rounds"][0].as_object_mut().expect("a round");
    assert!(round.remove("bytes_in").is_some());
    let older: Run = serde_json::from_value(document).expect("opens");
    assert_eq!(older.rules, []);
    assert_eq!(older.verdict.expect("a verdict").bets_p_value, None);
    assert_eq!(older.rounds[0].bytes_in, 0);
    assert_eq!(older.series, run.series);
}

/// What the example of a log holds: a record of each kind, and values that need both ways of writing them.
fn records() -> Vec<Record> {
    let process = ProcessId {
        pid: 4121,
        start_ticks: 880_055,
    };
    let mut records = vec![
        Record::Source(Source {
            id: SourceId(0),
            process,
            isolate: None,
            role: Role::Service,
        }),
        Record::Mark {
            at: Ns(5),
            what: "watch".to_owned(),
        },
    ];
    for i in 0..50_u64 {
        let at = Ns(1_000_000 + i * 100_000_000);
        for (metric, value) in [
            (Metric::RSS, (40_000 + i * 4) as f64 * 1024.0),
            (Metric::CPU_SECONDS, i as f64 * 0.07),
            (Metric::counted("listeners", "Bus:change"), f64::NAN),
        ] {
            records.push(Record::Sample(Sample {
                at,
                source: SourceId(0),
                metric,
                value,
            }));
        }
    }
    let at = Ns(5_100_000_000);
    records.extend([
        Record::Gap {
            at,
            what: "readings".to_owned(),
            why: "the machine was suspended for 10 min".to_owned(),
        },
        Record::Clock {
            at,
            unix_ns: 1_795_238_645_100_000_000,
        },
        Record::Collection {
            at,
            source: SourceId(0),
            kind: "mark-sweep-compact".to_owned(),
            pause_ns: 2_000_000,
            before: Some(50_000_000),
            after: Some(21_000_000),
        },
        Record::Exit {
            at,
            process,
            exit: Some(Exit::Signal(15)),
        },
        Record::Drops { at, count: 3 },
    ]);
    records
}

/// Compared as text: NaN is not equal to itself.
fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

#[test]
fn the_log_of_this_version_reads_back_as_it_was_written() {
    let example = |version: u32| {
        let name = format!("tests/data/log-{version}.plog");
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    };
    let started = 1_795_238_040_000_000_000;
    let mut expected = vec![Record::Clock {
        at: Ns(0),
        unix_ns: started,
    }];
    expected.extend(records());
    let place = tempfile::tempdir().expect("a directory");
    let store = Store::open(&[place.path().join("s")]).expect("writable");
    let dir = store.create_run("a").expect("a run");
    let recorder = Recorder::start(Some(&dir), started).expect("a recorder");
    for record in records() {
        match record {
            Record::Sample(sample) => recorder.handle().sample(sample),
            record => recorder.handle().record(record),
        }
    }
    assert!(recorder.close().error.is_none());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::copy(dir.log_path(), example(2)).expect("writable");
    }
    // What is written now, and what every version wrote.
    for log in [dir.log_path(), example(1), example(2)] {
        let mut reader = read_log(&log).expect("opens");
        let read: Vec<Record> = reader.by_ref().collect();
        assert_eq!(texts(&read), texts(&expected), "{}", log.display());
        assert!(reader.is_closed());
        assert_eq!((reader.torn_bytes(), reader.unknown_records()), (0, 0));
    }
}
