//! Inside namespaces as containers have them.

mod common;

use common::{Place, finish, namespaces};

/// Issue 5: the leader of our session lives outside of our pid namespace, as under `docker exec`, `nsenter` and the runners
/// of some continuous-integration services: `getsid` and the session in `stat` are 0 then, for us and for all around us.
#[test]
fn a_check_works_where_the_leader_of_its_session_is_out_of_sight() {
    let Some(mut unshare) = namespaces(&["--pid", "--fork", "--mount-proc"]) else {
        return;
    };
    let place = Place::new();
    let output = unshare
        .arg(env!("CARGO_BIN_EXE_plimsoll"))
        .args([
            "check",
            "--duration",
            "3s",
            "--json",
            "--",
            "node",
            "-e",
            "setInterval(() => 0, 50)",
        ])
        .current_dir(place.directory.path())
        .output()
        .expect("unshare runs");
    let finished = finish(&output);
    let run: serde_json::Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", finished.said()));
    assert_eq!(run["status"]["state"], "completed", "{}", finished.said());
    assert_eq!(run["subject"]["service"]["runtime"]["name"], "node");
    assert!(
        finished.code == 0 || finished.code == 3,
        "{}",
        finished.said()
    );
    finished.expect_unsaid("survivors");
}
