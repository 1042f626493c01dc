//! Drivers that are programs: what they say they did is checked, and a program that fails is an error, not a result.

use std::ffi::OsString;

use plimsoll_load::{Driver, Error, ExternalDriver, WorkerDriver, words};
use plimsoll_model::{Cancel, ProcessId, SubjectHandle};
use regex_lite::Regex;

use crate::{cx, spec};

fn subject() -> SubjectHandle {
    SubjectHandle {
        process: ProcessId {
            pid: 4_321,
            start_ticks: 0,
        },
    }
}

fn worker(script: &str) -> WorkerDriver {
    let command = ["sh", "-c", script].map(OsString::from).to_vec();
    let mut worker = WorkerDriver::new(command, 3);
    worker.prepare(&subject()).unwrap();
    worker
}

fn external(command: &str, count: Option<&str>) -> Result<ExternalDriver, Error> {
    let count = count.map(|c| Regex::new(c).unwrap());
    ExternalDriver::try_new(words(command).unwrap(), 3, count, None)
}

#[test]
fn a_worker_does_round_after_round() {
    let mut worker = worker(
        r#"while read -r verb n; do echo "$verb $n for $PLIMSOLL_SUBJECT_PID with $PLIMSOLL_CONCURRENCY"; echo noise >&2; echo "done $n errors 2"; done"#,
    );
    for n in [10, 500] {
        let stats = worker.round(&spec(n, 3), &cx()).unwrap();
        assert_eq!((stats.done, stats.errors()), (n - 2, 2));
        assert_eq!(stats.errors_by_kind["reported by the worker"], 2);
    }
}

#[test]
fn a_worker_that_dies_or_lies_fails_the_round() {
    let check = |script: &str, said: &str| {
        let error = worker(script).round(&spec(100, 1), &cx()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(matches!(error, Error::Program { .. }));
    };
    check(
        "read line; echo no database >&2; exit 7",
        "ended in a round (exit status: 7); its last line: no database",
    );
    check(
        "read line; echo done 90 errors 0; cat",
        "answered `done 90 errors 0`",
    );
    check(
        "read line; echo done 100 errors 101; cat",
        "answered `done 100 errors 101`",
    );
    check("true", "ended in a round");
    let missing =
        WorkerDriver::new(vec!["./there-is-no-such-worker".into()], 1).prepare(&subject());
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("cannot be started")
    );
}

#[test]
fn a_silent_worker_is_given_up_and_ended() {
    let mut silent = worker("echo $$; exec cat >/dev/null");
    let cancel = Cancel::try_new().unwrap();
    cancel.cancel();
    let cancelled = plimsoll_model::Cx::within(&cancel, std::time::Duration::from_mins(1));
    assert!(matches!(
        silent.round(&spec(1, 1), &cancelled),
        Err(Error::Cancelled { .. })
    ));
    let late = plimsoll_model::Cx::within(
        &Cancel::try_new().unwrap(),
        std::time::Duration::from_millis(20),
    );
    assert!(matches!(
        silent.round(&spec(1, 1), &late),
        Err(Error::Deadline { .. })
    ));
    Box::new(silent).close();
}

#[test]
fn an_external_driver_is_counted_or_told_how_many() {
    let mut told = external(
        "sh -c 'test {n} = 40 && test $PLIMSOLL_OPERATIONS = 40'",
        None,
    )
    .unwrap();
    assert_eq!(told.round(&spec(40, 1), &cx()).unwrap().done, 40);

    let counting = "sh -c 'echo iterations: 7; echo iterations: 38 done'";
    let mut counted = external(counting, Some(r"iterations: (\d+)")).unwrap();
    assert_eq!(counted.round(&spec(40, 1), &cx()).unwrap().done, 38);

    let failed = |command: &str, count: Option<&str>| {
        let mut driver = external(command, count).unwrap();
        driver.round(&spec(40, 1), &cx()).unwrap_err().to_string()
    };
    assert!(
        failed("sh -c 'echo threshold crossed {n}; exit 99'", None)
            .contains("failed (exit status: 99); its last line: threshold crossed 40")
    );
    assert!(
        failed("echo nothing", Some(r"iterations: (\d+)")).contains("no operation that is counted")
    );
    assert!(matches!(
        external("k6 run s.js", None),
        Err(Error::Unsupported { .. })
    ));
}
