//! `plimsoll analyze`: files of many shapes, several at once, the stream, and files that cannot be judged.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Finished, Place, finish};
use serde_json::{Value, json};

/// Rows of a sawtooth that grows by `rate` bytes per second, ten a second.
fn rows(rate: f64) -> String {
    let row = |i: u32| {
        let sawtooth = f64::from((i * 7919) % 97) * 1000.0;
        let at = f64::from(i) * 0.1;
        format!("{at},{}\n", 5e7 + sawtooth + rate * at)
    };
    std::iter::once("t_s,bytes\n".to_owned())
        .chain((0..3000).map(row))
        .collect()
}

fn write(place: &Place, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(place.directory.path().join(name), text).expect("written");
}

fn fed(place: &Place, arguments: &[&str], text: &str) -> Finished {
    let mut child = place
        .command(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .expect("plimsoll starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    finish(&child.wait_with_output().expect("it ends"))
}

#[test]
fn a_recorded_series_gets_the_verdict_of_the_same_judge() {
    let place = Place::new();
    for (name, rate, code) in [("leak.csv", 20_000.0, 1), ("flat.csv", 0.0, 0)] {
        write(&place, name, rows(rate));
        let run = place.run(&["analyze", "--json", name]);
        run.expect_code(code);
        let verdict: Value = serde_json::from_str(&run.stdout).expect("one flat object");
        assert_eq!(verdict["schema"], "plimsoll.verdict/1");
        if rate > 0.0 {
            let low = verdict["rate_ci_low"].as_f64().expect("an interval");
            let high = verdict["rate_ci_high"].as_f64().expect("an interval");
            assert!(low <= rate && rate <= high, "{low} … {high}");
        }
    }
    place
        .run(&["analyze", "leak.csv"])
        .expect_code(1)
        .expect_said("read as: `t_s` is the time in seconds")
        .expect_said("fitted model");
}

#[test]
fn several_series_end_with_the_worst_code() {
    let place = Place::new();
    write(&place, "leak.csv", rows(20_000.0));
    write(&place, "flat.csv", rows(0.0));
    write(&place, "short.csv", "t_s,bytes\n0,1\n1,1\n");
    let run = place.run(&["analyze", "--json", "flat.csv", "short.csv"]);
    run.expect_code(3);
    let both: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(both["verdict"], "inconclusive");
    assert_eq!(both["series"][0]["name"], "flat.csv");
    assert_eq!(both["series"][1]["verdict"], "inconclusive");
    place
        .run(&["analyze", "flat.csv", "short.csv", "leak.csv"])
        .expect_code(1)
        .expect_said("LEAK   1 of 3 series");
    place
        .run(&["analyze", "flat.csv", "flat.csv"])
        .expect_code(0);
}

#[test]
fn a_soak_log_is_judged_by_column_with_its_units() {
    let place = Place::new();
    let row = |i: u32| {
        format!(
            "{},{:.2},{:.2},{:.2},{}\n",
            1_795_238_040_000_u64 + u64::from(i) * 60_000,
            f64::from(i) / 60.0,
            20.0 + f64::from(i) * 0.5 + f64::from(i * 7 % 5) * 0.1,
            90.0 + f64::from(i * 7 % 5) * 0.1,
            i * 100,
        )
    };
    let text: String =
        std::iter::once("timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n".to_owned())
            .chain((0..240).map(row))
            .collect();
    let run = fed(&place, &["analyze", "--json", "-"], &text);
    run.expect_code(1);
    let both: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let heap = &both["series"][0];
    assert_eq!(heap["verdict"], "leak");
    assert_eq!(heap["metric"], "heap_used");
    let rate = heap["rate_bytes_per_s"].as_f64().expect("a rate");
    let truth = 0.5 * 1_048_576.0 / 60.0;
    assert!((rate / truth - 1.0).abs() < 0.05, "{rate} B/s for {truth}");
    assert_eq!(both["series"][1]["verdict"], "no_leak");
    let only = fed(&place, &["analyze", "--column", "rss_mb", "-"], &text);
    only.expect_code(0).expect_said("NO LEAK");
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_place_and_a_way_out() {
    let place = Place::new();
    write(&place, "two.csv", "t,a,b\n1,2,3\n");
    write(&place, "word.csv", "t_s,bytes\n1,2\n2,many\n");
    write(&place, "binary", [0_u8, 1, 2, 3]);
    for (name, parts) in [
        (
            "two.csv",
            [
                "two.csv:1: it is not clear which column",
                "hint: name it with `--column NAME`",
            ],
        ),
        (
            "word.csv",
            [
                "word.csv:3: `many` is no number",
                "hint: correct or delete the row",
            ],
        ),
        ("binary", ["binary:1: not a text file", "hint: give a CSV"]),
        (
            "nothing",
            [
                "there is neither a file nor a run `nothing`",
                "`plimsoll history`",
            ],
        ),
        (
            "./nothing.csv",
            ["failed to read ./nothing.csv", "o such file"],
        ),
    ] {
        let run = place.run(&["analyze", name]);
        run.expect_code(2)
            .expect_said(parts[0])
            .expect_said(parts[1]);
        assert!(run.stdout.is_empty(), "{}", run.said());
    }
    place.run(&["analyze"]).expect_code(2).expect_said("<FILE>");
    fed(&place, &["analyze", "-"], "")
        .expect_code(2)
        .expect_said("standard input: the file is empty");
}

#[test]
fn one_point_is_inconclusive() {
    let place = Place::new();
    fed(&place, &["analyze", "-"], "t_s,bytes\n0,5\n")
        .expect_code(3)
        .expect_said("INCONCLUSIVE");
}

#[test]
fn a_run_that_was_recorded_is_judged_again() {
    let place = Place::new();
    place
        .run(&["check", "--duration", "2s", "--", "sh", "-c", "sleep 30"])
        .expect_said("sleep 30");
    let by_name = place.run(&["analyze", "--json", "last"]);
    let id = place.last_run()["id"].as_str().expect("an id").to_owned();
    let directory = format!(".plimsoll/runs/{id}");
    assert!([0, 3].contains(&by_name.code), "{}", by_name.said());
    let verdict: Value = serde_json::from_str(&by_name.stdout).expect("JSON");
    assert_eq!(verdict["metric"], "rss_anon");
    assert_eq!(verdict["assumptions"][0], "the points that the run judged");
    for way in [directory.clone(), format!("{directory}/run.json")] {
        place.run(&["analyze", &way]).expect_code(by_name.code);
    }
    let log = place.run(&["analyze", &format!("{directory}/samples.plog")]);
    assert!([0, 1, 3].contains(&log.code), "{}", log.said());
}

#[test]
fn the_stream_answers_each_line_at_once_and_goes_on_after_a_bad_one() {
    let place = Place::new();
    let mut child = place
        .command(&["analyze", "--stream"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("plimsoll starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut ask = |line: String| -> Value {
        writeln!(stdin, "{line}").expect("it reads");
        let answer = answers.next().expect("an answer").expect("text");
        serde_json::from_str(&answer).expect("JSON")
    };
    let request = |id: &str, each: f64| {
        let column = |f: &dyn Fn(f64) -> f64| (0..12).map(|i| f(f64::from(i))).collect::<Vec<_>>();
        json!({
            "id": id,
            "series": {
                "metric": "live_bytes", "axis": "op", "collected": true,
                "t_s": column(&|i| i), "ops": column(&|i| i * 1000.0),
                "value": column(&|i| 2e7 + i * 1000.0 * each),
            },
        })
        .to_string()
    };
    let leak = ask(request("a", 64.0));
    assert_eq!(
        (&leak["id"], &leak["verdict"]),
        (&json!("a"), &json!("leak"))
    );
    assert!((leak["rate_bytes_per_op"].as_f64().expect("a rate") - 64.0).abs() < 1.0);
    let bad = ask("{\"id\":5,".to_owned());
    assert_eq!(bad["id"], Value::Null);
    assert!(bad["error"].as_str().expect("why").contains("EOF"));
    let wrong = ask("{\"id\":5,\"series\":{}}".to_owned());
    assert_eq!(wrong["id"], 5);
    assert!(wrong.get("schema").is_none());
    let healthy = ask(request("b", 0.0));
    assert_eq!(
        (&healthy["id"], &healthy["verdict"]),
        (&json!("b"), &json!("no_leak"))
    );
    assert_eq!(healthy["schema"], "plimsoll.verdict/1");
    drop(stdin);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
