//! Runs on a disk that others write to, damage, and fill up.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use plimsoll_model::Outcome;
use plimsoll_model::RunState::{Ended, Running, Unfinished};
use plimsoll_store::{Error, Recorder, Store, run_id};

mod common;

const START: u64 = 1_795_238_040_000_000_000;

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&[dir.path().join(".plimsoll")]).expect("writable");
    Place { dir, store }
}

impl Place {
    /// Writes a run that started so many seconds after the first, and returns its name.
    fn add(&self, seconds: u64) -> String {
        let started = START + seconds * 1_000_000_000;
        let dir = self.store.create_run(&run_id(started, 7)).expect("a run");
        dir.write_run(&common::run(dir.id(), started))
            .expect("written");
        dir.id().to_owned()
    }

    fn document(&self, id: &str) -> PathBuf {
        self.dir
            .path()
            .join(".plimsoll/runs")
            .join(id)
            .join("run.json")
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("there").permissions().mode() & 0o777
}

#[test]
fn runs_are_private_and_never_committed() {
    let place = place();
    let id = place.add(0);
    let root = place.dir.path().join(".plimsoll");
    assert_eq!(
        fs::read_to_string(root.join(".gitignore")).expect("there"),
        "*\n"
    );
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("runs").join(&id)), 0o700);
    assert_eq!(mode(&place.document(&id)), 0o600);
    let names: Vec<_> = fs::read_dir(root.join("runs").join(&id))
        .expect("there")
        .map(|e| e.expect("there").file_name())
        .collect();
    assert_eq!(
        names.len(),
        2,
        "the document and the lock, no draft: {names:?}"
    );
}

#[test]
fn a_directory_that_was_there_before_is_not_hidden_from_git() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("main.rs"), "").expect("writable");
    Store::open(&[dir.path().to_owned()]).expect("writable");
    assert!(!dir.path().join(".gitignore").exists());
}

#[test]
fn the_first_place_that_can_be_written_is_taken_and_the_others_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("writable");
    // Not even root creates a directory in the first two.
    let candidates = [
        PathBuf::from("/proc/plimsoll"),
        file.join("x"),
        dir.path().join("good"),
    ];
    let store = Store::open(&candidates).expect("the third");
    assert_eq!(store.root(), candidates[2]);
    let skipped: Vec<_> = store.skipped().iter().map(|(path, _)| path).collect();
    assert_eq!(skipped, [&candidates[0], &candidates[1]]);

    let error = Store::open(&candidates[..2]).expect_err("none");
    let text = error.to_string();
    assert!(
        text.starts_with("no directory for runs can be written: /proc/plimsoll ("),
        "{text}"
    );
    assert_eq!(
        error.hint(),
        Some("set `PLIMSOLL_DIR` to a directory that this user may write")
    );
    assert!(!Path::new("/proc/plimsoll").exists());
}

#[test]
fn a_link_laid_out_in_a_shared_directory_is_not_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (shared, elsewhere) = (dir.path().join("shared"), dir.path().join("elsewhere"));
    fs::create_dir(&shared).expect("created");
    fs::create_dir(&elsewhere).expect("created");
    fs::set_permissions(&shared, PermissionsExt::from_mode(0o1777)).expect("ours");
    symlink(&elsewhere, shared.join("plimsoll")).expect("linked");
    let error = Store::open(&[shared.join("plimsoll")]).expect_err("a trap");
    assert!(
        error.to_string().contains("belongs to somebody else"),
        "{error}"
    );
    assert!(Store::open(&[shared.join("mine")]).is_ok());
}

#[test]
fn reading_creates_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join(".plimsoll");
    let store = Store::read_only(&root);
    assert_eq!(store.list().expect("an empty list"), []);
    assert!(matches!(store.load("last"), Err(Error::NotFound { .. })));
    assert!(!root.exists());
}

#[test]
fn writers_that_ask_for_the_same_name_get_one_each() {
    let place = place();
    let mut names: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| place.store.create_run("same").expect("a run")))
            .collect();
        let dirs: Vec<_> = writers
            .into_iter()
            .map(|w| w.join().expect("no panic"))
            .collect();
        dirs.iter().map(|d| d.id().to_owned()).collect()
    });
    names.sort();
    assert_eq!(
        names,
        [
            "same", "same-2", "same-3", "same-4", "same-5", "same-6", "same-7", "same-8"
        ]
    );
    for bad in ["", ".hidden", "a/b", "..", "a b", "é"] {
        assert!(
            matches!(place.store.create_run(bad), Err(Error::BadName { .. })),
            "{bad}"
        );
    }
}

#[test]
fn a_list_is_newest_first_and_one_bad_run_does_not_spoil_it() {
    let place = place();
    let first = place.add(0);
    let truncated = place.add(1);
    let garbage = place.add(2);
    let newer = place.add(3);
    let killed = run_id(START + 4_000_000_000, 7);
    drop(place.store.create_run(&killed).expect("a run"));
    let running = place
        .store
        .create_run(&run_id(START + 5_000_000_000, 7))
        .expect("a run");
    let last = place.add(6);

    let document = |id: &str| fs::read(place.document(id)).expect("there");
    let whole = document(&truncated);
    fs::write(place.document(&truncated), &whole[..whole.len() / 2]).expect("writable");
    fs::write(
        place.document(&garbage),
        "{\"schema\":\"plimsoll.run/1\",\"verb\":7}",
    )
    .expect("writable");
    let text = String::from_utf8(document(&newer)).expect("text");
    fs::write(
        place.document(&newer),
        text.replace("plimsoll.run/1", "plimsoll.run/2"),
    )
    .expect("writable");

    let list = place.store.list().expect("a list");
    let rows: Vec<_> = list
        .iter()
        .map(|r| (r.id.as_str(), r.state, r.problem.as_deref()))
        .collect();
    assert_eq!(
        rows,
        [
            (last.as_str(), Ended, None),
            (running.id(), Running, None),
            (&killed, Unfinished, None),
            (
                &newer,
                Ended,
                Some("it is written as plimsoll.run/2, this plimsoll reads plimsoll.run/1")
            ),
            (
                &garbage,
                Ended,
                Some("invalid type: integer `7`, expected a string at line 1 column 36")
            ),
            (
                &truncated,
                Ended,
                Some("the end is missing: it was cut off")
            ),
            (&first, Ended, None),
        ]
    );
    assert!(
        list.windows(2)
            .all(|w| w[0].started_unix_ns > w[1].started_unix_ns)
    );

    let head = list[0].head.as_ref().expect("readable");
    assert_eq!(head.command, ["sh", "-c", "node server.js"]);
    assert_eq!(
        head.load.as_deref(),
        Some("GET http://127.0.0.1:3000/api/items")
    );
    assert_eq!(head.verdict.as_ref().expect("one").outcome, Outcome::Leak);
    assert_eq!(
        head.headline.as_ref().expect("one").0.as_str(),
        "live_bytes"
    );
    assert_eq!(head.exit_code, 4);

    let newest: Vec<_> = place.store.list_newest(2).expect("a list");
    assert_eq!(newest, list[..2]);
}

#[test]
fn a_run_is_found_by_last_by_id_by_prefix_and_by_path() {
    let place = place();
    let (first, last) = (place.add(0), place.add(3600));
    // A run that is being written is not the last one that ended.
    let running = place
        .store
        .create_run(&run_id(START + 7200 * 1_000_000_000, 7))
        .expect("a run");
    let load = |name: &str| place.store.load(name).map(|run| run.id);

    assert_eq!(load("last").expect("found"), last);
    assert_eq!(load(&first).expect("found"), first);
    assert_eq!(load("20261121T0514").expect("found"), first);
    let document = place.document(&first);
    assert_eq!(load(&document.to_string_lossy()).expect("found"), first);
    let dir = document.parent().expect("a parent");
    assert_eq!(load(&dir.to_string_lossy()).expect("found"), first);
    assert_eq!(place.store.find("20261121T0514").expect("found"), dir);

    let message = |name: &str| {
        let runs = place.dir.path().join(".plimsoll/runs");
        let text = load(name).expect_err("not found").to_string();
        text.replace(&*runs.to_string_lossy(), "RUNS")
    };
    assert_eq!(
        message("2026"),
        format!(
            "`2026` could be any of 3 runs: {}, {last}, {first}",
            running.id()
        )
    );
    assert_eq!(
        message("20261121T051400.001Z-7"),
        format!("there is no run `20261121T051400.001Z-7` in RUNS; the nearest is `{first}`")
    );
    assert_eq!(message("yesterday"), "there is no run `yesterday` in RUNS");
    assert_eq!(message(""), "there is no run `` in RUNS");
    assert_eq!(
        message(running.id()),
        format!(
            "run `{0}` has no run.json: it is still running, or was killed before it ended (its log is RUNS/{0}/samples.plog)",
            running.id()
        )
    );
    assert!(message("./nowhere.json").starts_with("failed to read ./nowhere.json: "));
}

#[test]
fn a_damaged_document_is_told_with_its_place_and_a_newer_one_with_its_version() {
    let place = place();
    let id = place.add(0);
    let path = place.document(&id);
    let whole = fs::read_to_string(&path).expect("there");
    let fails = |text: &str| {
        fs::write(&path, text).expect("writable");
        let error = place.store.load("last").expect_err("damaged").to_string();
        error.replace(&*path.to_string_lossy(), "run.json")
    };

    assert_eq!(
        fails(&whole.replace("plimsoll.run/1", "plimsoll.run/7")),
        "run.json is written as plimsoll.run/7, this plimsoll reads plimsoll.run/1; use the version that wrote it, or a \
         newer one"
    );
    let truncated = fails(&whole[..1000]);
    assert!(
        truncated.starts_with("run.json is damaged or not a run, line 1 column 1000: EOF while"),
        "{truncated}"
    );
    assert_eq!(
        fails("{\n  \"schema\": 3\n}"),
        "run.json is damaged or not a run, line 2 column 13: invalid type: integer `3`, expected a string"
    );
    assert_eq!(
        fails(&whole.replace("plimsoll.run/1", "somebody.else/1")),
        "run.json is damaged or not a run, line 1 column 1: schema `somebody.else/1` is not `plimsoll.run/1`"
    );
    // Fields may be added within a version: an older tool opens what a newer one wrote.
    fs::write(&path, whole.replacen('{', "{\"a_later_field\":[1,2],", 1)).expect("writable");
    assert_eq!(place.store.load("last").expect("opens").id, id);
}

#[test]
fn a_document_that_cannot_be_written_leaves_the_old_one() {
    let place = place();
    let dir = place.store.create_run("a").expect("a run");
    let mut run = common::run("a", START);
    dir.write_run(&run).expect("written");
    // A directory in the way of the draft fails even for root.
    fs::create_dir(dir.path().join(".run.json.draft")).expect("created");
    run.exit_code = 70;
    let error = dir.write_run(&run).expect_err("in the way");
    assert!(error.to_string().starts_with("failed to write "), "{error}");
    assert_eq!(place.store.load("a").expect("the old one").exit_code, 4);
}

#[test]
fn a_run_of_which_nothing_came_is_discarded_whole() {
    let place = place();
    let dir = place.store.create_run("a").expect("a run");
    Recorder::start(Some(&dir), 0).expect("a recorder").close();
    dir.discard();
    assert_eq!(place.store.list().expect("a list"), []);
}

#[test]
fn numbers_that_json_has_not_do_not_make_a_run_unreadable() {
    let place = place();
    let dir = place.store.create_run("a").expect("a run");
    let mut run = common::run("a", START);
    let growth = run
        .verdict
        .as_mut()
        .and_then(|v| v.growth.as_mut())
        .expect("measured");
    growth.acceleration = f64::INFINITY;
    growth.interval.high = f64::NAN;
    let points = run.series[0].points.as_mut().expect("points");
    points.value[1] = f64::NAN;
    dir.write_run(&run).expect("written");
    let loaded = place.store.load("a").expect("readable");
    assert!(loaded.series[0].points.as_ref().expect("points").value[1].is_nan());
    assert!(place.store.list().expect("a list")[0].problem.is_none());
}
