//! `run.json` of every version, as it was written and as it still opens.

use std::path::Path;

use plimsoll_model::Run;
use plimsoll_store::Store;

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
