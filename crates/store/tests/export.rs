//! A log written out for other tools, read back by our own reader of tables.

use std::fs;

use plimsoll_model::{Metric, Ns, ProcessId, Role, Sample, Source, SourceId};
use plimsoll_store::{ExportFormat, Record, Recorder, RunDir, Store, export};

const START: u64 = 1_795_238_040_000_000_000;
const HOUR: u64 = 3_600_000_000_000;

fn recorded(place: &tempfile::TempDir) -> RunDir {
    let store = Store::open(&[place.path().join("s")]).expect("writable");
    let dir = store.create_run("a").expect("a run");
    let recorder = Recorder::start(Some(&dir), START).expect("a recorder");
    let handle = recorder.handle();
    handle.record(Record::Source(Source {
        id: SourceId(0),
        process: ProcessId {
            pid: 4121,
            start_ticks: 7,
        },
        isolate: None,
        role: Role::Service,
    }));
    for i in 0..40_u64 {
        let at = Ns(i * 1_000_000_000);
        if i == 20 {
            // Somebody set the clock forward by an hour.
            handle.record(Record::Clock {
                at,
                unix_ns: START + at.0 + HOUR,
            });
            handle.record(Record::Gap {
                at,
                what: "wall clock".to_owned(),
                why: "it was set forward by 1 h".to_owned(),
            });
        }
        for (metric, value) in [
            (Metric::RSS, (50 + i) as f64 * 1e6),
            (Metric::counted("a,b", "\"c\""), i as f64),
            (Metric::THREADS, if i == 3 { f64::NAN } else { 7.0 }),
        ] {
            handle.sample(Sample {
                at,
                source: SourceId(0),
                metric,
                value,
            });
        }
    }
    let recorded = recorder.close();
    assert!(recorded.error.is_none());
    dir
}

fn text(dir: &RunDir, format: ExportFormat, metrics: &[&str]) -> String {
    let metrics: Vec<String> = metrics.iter().map(|m| (*m).to_owned()).collect();
    let mut out = Vec::new();
    let exported = export(&dir.log_path(), format, &metrics, &mut out).expect("exported");
    assert_eq!(
        (exported.rows, exported.torn_bytes, exported.is_closed),
        (40, 0, true)
    );
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_table_has_a_row_for_each_moment_and_the_wall_times_that_were_shown() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = recorded(&place);
    let table = text(&dir, ExportFormat::Csv, &[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0],
        "time,elapsed_s,source,pid,isolate,role,\"a,b/\"\"c\"\"\",rss,threads"
    );
    assert_eq!(
        lines[4],
        "2026-11-21T05:14:03.000Z,3.000000,0,4121,,service,3,53000000,"
    );
    assert!(lines[20].starts_with("2026-11-21T05:14:19.000Z,19.000000"));
    assert!(lines[21].starts_with("2026-11-21T06:14:20.000Z,20.000000"));

    // Our own reader understands it.
    let file = place.path().join("t.csv");
    fs::write(&file, text(&dir, ExportFormat::Csv, &["rss"])).expect("written");
    let choice = plimsoll_store::table::Choice {
        time_column: Some("elapsed_s".to_owned()),
        columns: vec!["rss".to_owned()],
        interval_s: None,
    };
    let found = plimsoll_store::table::read(&file, &choice).expect("read");
    let plimsoll_store::table::Found::Tables(tables) = found else {
        panic!("no tables: {found:?}");
    };
    assert_eq!(tables.len(), 1);
    assert_eq!(tables[0].value.len(), 40);
    assert_eq!(tables[0].value[39], 89e6);
}

#[test]
fn lines_of_json_have_events_too() {
    let place = tempfile::tempdir().expect("a directory");
    let lines = text(&recorded(&place), ExportFormat::JsonLines, &["threads"]);
    let values: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |kind: &str| values.iter().filter(|v| v["record"] == kind).count();
    assert_eq!(
        (of("reading"), of("gap"), of("source"), of("clock")),
        (40, 1, 1, 2)
    );
    let gap = values.iter().find(|v| v["record"] == "gap").expect("a gap");
    assert_eq!(gap["time"], "2026-11-21T06:14:20.000Z");
    assert_eq!(gap["why"], "it was set forward by 1 h");
    let fourth = values.iter().filter(|v| v["record"] == "reading").nth(3);
    assert!(fourth.expect("a reading")["values"]["threads"].is_null());
}

#[test]
fn a_metric_that_is_not_there_is_told_with_those_that_are() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = recorded(&place);
    let asked = ["heap_used".to_owned()];
    let error = export(&dir.log_path(), ExportFormat::Csv, &asked, &mut Vec::new());
    let message = error.expect_err("refused").to_string();
    assert!(
        message.contains("`heap_used`") && message.contains("rss"),
        "{message}"
    );
}

#[test]
fn of_a_torn_log_everything_whole_is_written() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = recorded(&place);
    let bytes = fs::read(dir.log_path()).expect("readable");
    fs::write(dir.log_path(), &bytes[..bytes.len() - 3]).expect("written");
    let mut out = Vec::new();
    let exported = export(&dir.log_path(), ExportFormat::Csv, &[], &mut out).expect("exported");
    // Only the mark of its end is torn.
    assert_eq!((exported.rows, exported.is_closed), (40, false));
    assert!(exported.torn_bytes > 0);
}
