//! A service that is started anew in mid-run: an epoch, never "no leak", and named.

mod common;

use common::Place;

/// Holds nothing, and changes its own file at its 600th request: what watches it starts it anew, once.
const SERVER: &str = "
    const fs = require('fs');
    let requests = 0;
    require('http').createServer((_, response) => {
      if (++requests === 600 && !fs.existsSync('again')) {
        fs.writeFileSync('again', '');
        fs.appendFileSync(__filename, '//');
      }
      response.end('ok');
    }).listen(process.env.PORT, '127.0.0.1');
    setTimeout(() => process.exit(9), process.env.LIFETIME_S * 1000).unref();
";

#[test]
fn a_watcher_s_restart_is_an_epoch_and_no_verdict_of_health() {
    let place = Place::new();
    std::fs::write(place.directory.path().join("server.js"), SERVER).expect("a file");
    let url = place.url("/");
    let finished = place.run(&[
        "check",
        "--url",
        &url,
        "--warm-up",
        "60",
        "--operations",
        "60",
        "--rounds",
        "8",
        "--explain",
        "never",
        "--",
        "node",
        "--watch",
        "server.js",
    ]);
    finished
        .expect_code(3)
        .expect_said("`node --watch` is for development")
        .expect_said("the service was started anew once in the run")
        .expect_said("check it without what restarts it")
        .expect_said("bounded by a restart");
    let run = place.last_run();
    assert_eq!(run["status"]["state"], "completed", "{}", finished.said());
    assert_eq!(run["verdict"]["outcome"], "inconclusive");
    let sources = run["sources"].as_array().expect("sources");
    let lives: std::collections::BTreeSet<u64> = sources
        .iter()
        .filter(|source| source["role"] == "service" && source["isolate"] == 0)
        .filter_map(|source| source["process"]["pid"].as_u64())
        .collect();
    assert_eq!(lives.len(), 2, "both lives had a probe: {sources:?}");
    let rounds = run["rounds"].as_array().expect("rounds").iter();
    let measured = rounds.filter(|round| round["kind"] == "measured").count();
    assert_eq!(measured, 8);

    // The log has the changes of the tree: both lives began, and the first ended.
    let exported = place.run(&["export", "last", "--format", "jsonl"]).stdout;
    let records: Vec<serde_json::Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let when = |kind: &str, pid: u64| {
        let mut of_kind = records.iter().filter(|record| record["record"] == kind);
        let found = of_kind.find(|record| {
            record["process"]["pid"] == pid || record["process"]["id"]["pid"] == pid
        });
        found.map(|record| record["at_ns"].as_u64().expect("a time"))
    };
    let begun = |pid: &u64| when("process", *pid).unwrap_or_else(|| panic!("{pid}: {exported}"));
    let first = *lives.iter().min_by_key(|pid| begun(pid)).expect("a life");
    let second = *lives.iter().max_by_key(|pid| begun(pid)).expect("a life");
    let ended = when("exit", first).unwrap_or_else(|| panic!("{first}: {exported}"));
    assert!(begun(&first) < ended, "{exported}");
    // We end it ourselves, when all is told.
    assert_eq!(when("exit", second), None, "{exported}");
}

/// Without a load it is watched on; what a young process grows by is no leak.
#[test]
fn a_restart_while_it_is_watched_is_an_epoch_too() {
    let place = Place::new();
    let script = "
        const fs = require('fs');
        setInterval(() => 0, 50);
        if (!fs.existsSync('again')) setTimeout(() => {
          fs.writeFileSync('again', '');
          fs.appendFileSync(__filename, '//');
        }, 3000);
    ";
    std::fs::write(place.directory.path().join("job.js"), script).expect("a file");
    place
        .run(&[
            "check",
            "--duration",
            "12s",
            "--",
            "node",
            "--watch",
            "job.js",
        ])
        .expect_code(3)
        .expect_said("started anew once")
        .expect_said("bounded by a restart");
}

/// What a script starts one after another is not one service.
#[test]
fn another_program_does_not_take_its_place() {
    let place = Place::new();
    let finished = place.run(&[
        "check",
        "--duration",
        "20s",
        "--",
        "sh",
        "-c",
        "sleep 2; sleep 5; true",
    ]);
    finished
        .expect_code(4)
        .expect_said("the subject died")
        .expect_unsaid("started anew");
}
