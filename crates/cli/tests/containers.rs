//! Inside namespaces as containers have them.

mod common;

use common::{Place, example, finish, namespaces};

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

/// A directory that every user may enter, with a copy of plimsoll: test directories belong to whoever builds.
fn image() -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().expect("a directory");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), mode).expect("permitted");
    let copy = place.path().join("plimsoll");
    std::fs::copy(env!("CARGO_BIN_EXE_plimsoll"), &copy).expect("copied");
    let path = copy.to_str().expect("a readable path").to_owned();
    (place, path)
}

/// Everything that can be written is mounted read-only, the user is nobody anyone knows, and there is nowhere to keep a run:
/// it is watched, judged and reported all the same.
#[test]
fn a_user_of_no_name_on_a_read_only_root_is_served() {
    let Some(mut unshare) = namespaces(&["--mount", "--pid", "--fork", "--mount-proc"]) else {
        return;
    };
    let (place, plimsoll) = image();
    let script = format!(
        "mount --bind {here} {here} && mount -o remount,bind,ro {here} && \
         cd {here} && exec setpriv --reuid 10001 --regid 10001 --clear-groups \
         env -i PATH=/usr/bin:/bin TMPDIR={here} {plimsoll} monitor -i 50 -d 900 -- sleep 60",
        here = place.path().display()
    );
    let finished = finish(
        &unshare
            .args(["sh", "-c", &script])
            .output()
            .expect("unshare runs"),
    );
    finished
        .expect_code(0)
        .expect_said("the run is not kept")
        .expect_said("watched, not driven")
        .expect_said("PLIMSOLL_DIR");
}

/// An image with nothing in it but us, Node and the libraries both are linked with: no shell, nothing that can be written,
/// and a user without a name. With the shared memory that every container has, the probe gets in, the leak is proven and
/// its holder named; without, the process is watched from outside, and why is said.
#[test]
fn an_image_without_a_shell_is_enough_for_a_check() {
    let Some(_) = namespaces(&["--mount", "--pid", "--fork"]) else {
        return;
    };
    let place = Place::new();
    let (image, plimsoll) = image();
    let root = image.path();
    let node = program("node");
    for directory in ["proc", "app", "dev/shm"] {
        std::fs::create_dir_all(root.join(directory)).expect("made");
    }
    for linked in [plimsoll.as_str(), &node] {
        for library in libraries(linked) {
            let copy = root.join(library.trim_start_matches('/'));
            std::fs::create_dir_all(copy.parent().expect("a directory")).expect("made");
            std::fs::copy(&library, copy).expect("copied");
        }
    }
    for mounted in ["node", "dev/null"] {
        std::fs::write(root.join(mounted), "").expect("a place for it");
    }
    std::fs::copy(
        example("node/session-map/server.js"),
        root.join("app/server.js"),
    )
    .expect("copied");
    let inside = |more: &str, arguments: &str| {
        let script = format!(
            "mount --bind {root} {root} && mount --bind {node} {root}/node && \
             mount --bind /dev/null {root}/dev/null && mount -t proc none {root}/proc && \
             mount -o remount,bind,ro {root} && {more} && \
             exec chroot --userspec=10001:10001 {root} /plimsoll check {arguments} -- /node /app/server.js",
            root = root.display(),
        );
        let output = namespaces(&["--mount", "--pid", "--fork"])
            .expect("possible before")
            .args(["sh", "-c", &script])
            .env("PORT", place.port.to_string())
            .output();
        finish(&output.expect("unshare runs"))
    };
    let shared = format!(
        "mount -t tmpfs -o mode=1777 none {}/dev/shm",
        root.display()
    );
    let driven = format!(
        "--warm-up 300 --operations 200 --rounds 6 --url {}",
        place.url("/login")
    );
    inside(&shared, &driven)
        .expect_code(1)
        .expect_said("in Map `sessionsByToken` (server.js)")
        .expect_said("the run is not kept");
    inside("true", "--duration 2s")
        .expect_said("probe not loaded")
        .expect_said("private directory")
        .expect_said("watched, not driven");
}

/// Where a program of this name is.
fn program(name: &str) -> String {
    let path = std::env::var_os("PATH").expect("a PATH");
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("no {name} in PATH"));
    let real = found.canonicalize().expect("it exists");
    real.to_str().expect("a readable path").to_owned()
}

/// The shared libraries that a program is linked with, and the loader.
fn libraries(program: &str) -> Vec<String> {
    let output = std::process::Command::new("ldd").arg(program).output();
    let listed = String::from_utf8(output.expect("ldd runs").stdout).expect("text");
    let paths = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    paths.map(str::to_owned).collect()
}

#[test]
fn the_first_directory_that_can_be_written_is_taken_and_said() {
    let Some(mut unshare) = namespaces(&["--mount"]) else {
        return;
    };
    let (place, plimsoll) = image();
    let temporary = tempfile::tempdir().expect("a directory");
    let script = format!(
        "mount --bind {here} {here} && mount -o remount,bind,ro {here} && cd {here} && \
         exec env TMPDIR={temporary} {plimsoll} monitor -q -i 50 -d 500 -- sleep 60",
        here = place.path().display(),
        temporary = temporary.path().display(),
    );
    let finished = finish(
        &unshare
            .args(["sh", "-c", &script])
            .output()
            .expect("unshare runs"),
    );
    finished.expect_code(0);
    let runs = temporary.path().join("plimsoll/runs");
    assert_eq!(
        std::fs::read_dir(&runs).expect("runs").count(),
        1,
        "{}",
        finished.said()
    );
}

/// From a sidecar that shares the pid namespace, and from the host: other mount, network and user namespaces do not matter
/// for what the kernel tells.
#[test]
fn a_process_in_other_namespaces_is_seen_from_outside() {
    for flags in [
        &["--mount", "--net", "--uts", "--ipc"][..],
        &["--pid", "--fork", "--mount-proc", "--net"],
        &["--user", "--map-root-user", "--mount"],
    ] {
        let Some(mut unshare) = namespaces(flags) else {
            continue;
        };
        let place = Place::new();
        // The subject says its pid as its own /proc knows it, then waits for its standard input to end.
        let mut child = unshare
            .args(["sh", "-c", "echo up; exec cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("read");
        let pid = child.id().to_string();
        let watched = place.run(&["monitor", "--pid", &pid, "-i", "50", "-d", "600"]);
        watched.expect_code(0).expect_said("rss");
        let doctor = place.run(&["doctor", "--pid", &pid]);
        doctor.expect_code(0).expect_said("memory: can be read");
        if !flags.contains(&"--fork") {
            doctor
                .expect_said("it lives in other ones")
                .expect_said("nsenter");
        }
        drop(child.stdin.take());
        child.wait().expect("ends");
    }
}

/// A healthy server in mount and network namespaces of its own, started by these words; it says when it listens.
fn contained(place: &Place, as_user: &str) -> Option<std::process::Child> {
    let mut unshare = namespaces(&["--mount", "--net", "--uts", "--ipc"])?;
    let server = example("faults/external-leak.js");
    // Where we keep our own socket there is something else in it.
    let hide = if server.starts_with("/tmp/") {
        "true"
    } else {
        "mount -t tmpfs -o mode=1777 none /tmp"
    };
    let script = format!(
        "{hide} && ip link set lo up && exec {as_user} node --inspect-port=0 {server} --fixed"
    );
    let mut child = unshare
        .args(["sh", "-c", &script])
        .env_remove("TMPDIR")
        .env("PORT", place.port.to_string())
        .env("LIFETIME_S", "240")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("unshare runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("read");
    assert!(line.contains("listening"), "{line}");
    Some(child)
}

/// Starts what follows as a user that nobody knows.
const NOBODY: &str = "setpriv --reuid 10001 --regid 10001 --clear-groups";
const SHORT: [&str; 6] = ["--warm-up", "60", "--operations", "60", "--rounds", "6"];

/// Issue 5: from the host, a Node in a container, of a user of its own, is driven by its own port and seen from inside, and
/// nothing stays in it.
#[test]
fn a_node_in_namespaces_of_its_own_is_entered_by_root() {
    let place = Place::new();
    let Some(mut child) = contained(&place, NOBODY) else {
        return;
    };
    let (pid, url) = (child.id().to_string(), place.url("/"));
    let mut arguments = vec!["check", "--pid", &pid, "--url", &url];
    arguments.extend(SHORT);
    let finished = place.run(&arguments);
    let left = std::fs::read_dir(format!("/proc/{pid}/root/tmp")).map_or(0, |entries| {
        let names = entries.flatten().map(|entry| entry.file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("plimsoll-"))
            .count()
    });
    let lives = child.try_wait().expect("a child of ours").is_none();
    let _ = child.kill();
    let _ = child.wait();
    assert!([0, 3].contains(&finished.code), "{}", finished.said());
    finished.expect_said("were put in through its inspector");
    assert!(lives, "it was ended");
    if !example("").starts_with("/tmp/") {
        assert_eq!(left, 0, "something was left in it");
    }
}

/// Who may not enter says what it takes, in one line.
#[test]
fn a_node_in_namespaces_of_its_own_is_kept_from_others_and_that_is_said() {
    let place = Place::new();
    for (as_user, said) in [
        ("", "it belongs to user 0, and we are user 10001"),
        (
            NOBODY,
            "it lives in another network namespace, which takes CAP_SYS_ADMIN to enter",
        ),
    ] {
        let Some(mut child) = contained(&place, as_user) else {
            return;
        };
        let (_image, plimsoll) = image();
        let temporary = tempfile::tempdir().expect("a directory");
        let pid = child.id().to_string();
        let words: Vec<&str> = NOBODY.split(' ').collect();
        let output = std::process::Command::new(words[0])
            .args(&words[1..])
            .args([&plimsoll, "check", "--pid", &pid, "--duration", "2s"])
            .current_dir("/")
            .env("TMPDIR", temporary.path())
            .output();
        let _ = child.kill();
        let _ = child.wait();
        finish(&output.expect("setpriv runs"))
            .expect_said(said)
            .expect_said("run plimsoll as");
    }
}

/// Without rights over the process, what is not seen is said, in one line.
#[test]
fn a_process_of_another_user_is_seen_in_part_and_that_is_said() {
    let Some(mut unshare) = namespaces(&["--mount"]) else {
        return;
    };
    let (_image, plimsoll) = image();
    let place = tempfile::tempdir().expect("a directory");
    let mut subject = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("starts");
    let pid = subject.id().to_string();
    let output = unshare
        .args([
            "setpriv",
            "--reuid",
            "10001",
            "--regid",
            "10001",
            "--clear-groups",
            &plimsoll,
        ])
        .args(["monitor", "--pid", &pid, "-i", "50", "-d", "600"])
        .current_dir("/")
        .env("TMPDIR", place.path())
        .output();
    let _ = subject.kill();
    let _ = subject.wait();
    finish(&output.expect("unshare runs"))
        .expect_code(0)
        .expect_said("rss")
        .expect_said("CAP_SYS_PTRACE");
}

/// Fills a small disk while a monitor records onto it: the command and the watching go on, and the log stays readable.
#[test]
fn a_disk_that_fills_up_ends_the_recording_and_nothing_else() {
    let Some(mut unshare) = namespaces(&["--mount"]) else {
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    let script = format!(
        "mount -t tmpfs -o size=64k none {disk} && cd {disk} && \
         {{ {plimsoll} monitor -q -i 5 -d 6s -o /dev/stderr --json -- sh -c 'sleep 1; cat /dev/zero > filler; sleep 4; rm filler; sleep 60'; \
         echo exit $?; PLIMSOLL_DIR={disk}/.plimsoll {plimsoll} export last --metric rss | wc -l; }}",
        disk = place.path().display(),
        plimsoll = env!("CARGO_BIN_EXE_plimsoll"),
    );
    let finished = finish(
        &unshare
            .args(["sh", "-c", &script])
            .output()
            .expect("unshare runs"),
    );
    finished
        .expect_said("exit 0")
        .expect_said("the log ends early");
    let rows: u32 = finished
        .stdout
        .lines()
        .last()
        .unwrap_or("0")
        .trim()
        .parse()
        .expect("a number");
    assert!(rows > 10, "{}", finished.said());
}
