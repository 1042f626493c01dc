//! What a person reads.

use plimsoll_model::{Finding, Metric, Run};
use plimsoll_report::{Style, text};

mod common;

const STYLE: Style = Style {
    color: false,
    width: 100,
    ascii: false,
};

/// Every kind of run there is, by name.
fn all() -> Vec<(&'static str, Run)> {
    let noise = "the noise is larger than the growth in question";
    let filling = "still growing, but ever more slowly: a cache that fills, or a leak";
    vec![
        ("leak", common::leak()),
        ("leak_with_culprit", common::listeners()),
        ("leak_with_holder", common::held()),
        ("leak_of_a_count", common::count_only()),
        ("no_leak", common::no_leak()),
        (
            "inconclusive_noise",
            common::inconclusive(noise, Some(6000)),
        ),
        (
            "inconclusive_still_filling",
            common::inconclusive(filling, Some(60_000)),
        ),
        (
            "inconclusive_warm_up",
            common::inconclusive("the warm-up had not settled", None),
        ),
        ("failed", common::failed()),
        ("interrupted", common::interrupted()),
        ("passive", common::passive()),
        ("without_probe", common::without_probe()),
    ]
}

#[test]
fn every_kind_of_run_reads_as_it_should() {
    for (name, run) in all() {
        insta::assert_snapshot!(name, text(&run, STYLE));
    }
}

#[test]
fn a_report_fits_one_screen() {
    for (name, run) in all() {
        let text = text(&run, STYLE);
        assert!(
            text.lines().count() <= 22,
            "{name}: {} lines",
            text.lines().count()
        );
        assert!(
            text.lines().all(|l| l.chars().count() <= 100),
            "{name}:\n{text}"
        );
        let narrow = Style { width: 60, ..STYLE };
        let text = plimsoll_report::text(&run, narrow);
        assert!(
            text.lines().all(|l| l.chars().count() <= 60),
            "{name}:\n{text}"
        );
    }
}

#[test]
fn hints_name_only_what_this_tool_has() {
    const FLAGS: [&str; 22] = [
        "--url",
        "--ready-url",
        "--ready-port",
        "--ready-log",
        "--ready-timeout",
        "--operations",
        "--rounds",
        "--warm-up",
        "--concurrency",
        "--max-time",
        "--duration",
        "--max-errors",
        "--floor",
        "--explain",
        "--expect-rate",
        "--inconclusive",
        "--timeout",
        "--format",
        "--json",
        "--metric",
        "--limit",
        "--planned",
    ];
    const VERBS: [&str; 5] = ["check", "analyze", "report", "history", "explain"];
    for (name, mut run) in all() {
        // The flag of the subject itself is not ours.
        run.subject.command = vec!["node".to_owned()];
        let text = text(&run, STYLE);
        for flag in text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .filter(|w| w.starts_with("--"))
        {
            assert!(FLAGS.contains(&flag), "{name}: {flag}");
        }
        for said in text.split("plimsoll ").skip(1) {
            assert!(
                VERBS.iter().any(|v| said.starts_with(v)),
                "{name}: plimsoll {said}"
            );
        }
    }
}

#[test]
fn ascii_is_ascii_and_colour_is_only_colour() {
    for (name, run) in all() {
        let plain = text(&run, STYLE);
        let ascii = text(
            &run,
            Style {
                ascii: true,
                ..STYLE
            },
        );
        assert!(ascii.is_ascii(), "{name}:\n{ascii}");
        let coloured = text(
            &run,
            Style {
                color: true,
                ..STYLE
            },
        );
        assert!(coloured.contains("\x1b["));
        let mut bare = String::new();
        for (i, part) in coloured.split("\x1b[").enumerate() {
            bare.push_str(if i == 0 {
                part
            } else {
                part.split_once('m').map_or("", |(_, rest)| rest)
            });
        }
        assert_eq!(bare, plain, "{name}: the words are the same without colour");
    }
    insta::assert_snapshot!(
        "leak_ascii",
        text(
            &common::leak(),
            Style {
                ascii: true,
                ..STYLE
            }
        )
    );
}

#[test]
fn a_subject_cannot_write_to_the_terminal() {
    let text = text(&common::hostile(), STYLE);
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(!text.contains(['\u{202e}', '\u{fffe}']));
    assert!(
        !text.lines().any(|line| line.starts_with("NO LEAK")),
        "{text}"
    );
}

#[test]
fn a_run_cut_short_never_reads_as_no_leak() {
    for mut run in [common::interrupted(), common::failed()] {
        run.verdict = common::no_leak().verdict;
        let text = text(&run, STYLE).to_lowercase();
        assert!(
            !text.contains("no leak") && text.contains("verdict until then: inconclusive"),
            "{text}"
        );
    }
}

#[test]
fn a_run_of_which_nothing_is_known_still_reads() {
    let mut run = common::failed();
    run.verdict = None;
    run.headline = Some(99);
    run.series.clear();
    run.rounds.clear();
    run.subject.ready = None;
    run.subject.service = None;
    run.load = None;
    insta::assert_snapshot!("failed_at_start", text(&run, STYLE));
    run.status = plimsoll_model::RunStatus::Completed;
    insta::assert_snapshot!("nothing_judged", text(&run, STYLE));
}

#[test]
fn numbers_that_are_none_are_unknown() {
    let mut run = common::leak();
    for verdict in run
        .verdict
        .iter_mut()
        .chain(run.series[0].verdict.iter_mut())
    {
        verdict.leak_probability = f64::NAN;
        let growth = verdict.growth.as_mut().expect("a leak has a growth");
        growth.rate = f64::NAN;
        growth.interval.low = f64::NAN;
        growth.interval.high = f64::INFINITY;
        growth.time_to_limit.as_mut().expect("a limit").high = Some(f64::NAN);
    }
    let points = run.series[0].points.as_mut().expect("points");
    points.value[4] = f64::NAN;
    let text = text(&run, STYLE);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    assert!(text.contains("unknown"), "{text}");
}

#[test]
fn what_has_no_place_on_the_screen_is_counted() {
    let mut run = common::listeners();
    run.culprits = vec![run.culprits[0].clone(); 5];
    run.findings = (0..9)
        .map(|i| Finding::info("x", format!("finding {i}")))
        .collect();
    let other = run.series[0].verdict.clone();
    run.series.push(common::series(
        Metric::counted("timers", "Timeout"),
        &[1.0, 2.0],
        other,
    ));
    let text = text(&run, STYLE);
    assert!(text.contains("and 2 more, see `--format json`"), "{text}");
    assert!(text.contains("and 4 more, see `--format json`"), "{text}");
    assert!(text.contains("timers Timeout"), "{text}");
}
