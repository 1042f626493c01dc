//! `cargo xtask frameworks [NAME...] [--runs N]`: the services of `examples/frameworks` on the frameworks they are written
//! for, leaky and fixed, under `plimsoll check`.
//!
//! Each is installed from npm where it lies, as its README says. A leaky one has to be a leak whose culprit is named (but on
//! Bun, which tells no holder), a fixed one no leak. Kept apart from `test`, which must do without a network and within minutes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::node;
use crate::workspace::{binary, command, is_installed, root};

const EXAMPLES: &str = "examples/frameworks";

/// A service and how it is checked. `{port}` and `{folder}` are filled in.
struct Service {
    name: &'static str,
    /// What has to be run after the installation.
    build: &'static [&'static str],
    /// Flags of `plimsoll check`.
    flags: &'static [&'static str],
    command: &'static [&'static str],
    /// What makes it the fixed one: a word more, or an environment variable.
    fixed: Fixed,
    /// A word of the culprit of the leaky one; `None` where the runtime tells no holder.
    culprit: Option<&'static str>,
    needs_redis: bool,
}

enum Fixed {
    Word(&'static str),
    Variable(&'static str, &'static str),
}

static SERVICES: [Service; 5] = [
    Service {
        name: "express",
        build: &[],
        flags: &["--url", "http://127.0.0.1:{port}/tickets/opera"],
        command: &["node", "{folder}/server.mjs"],
        fixed: Fixed::Word("--fixed"),
        culprit: Some("ticketRequests"),
        needs_redis: false,
    },
    Service {
        name: "fastify",
        build: &[],
        flags: &["--url", "http://127.0.0.1:{port}/quotes/tin"],
        command: &["node", "{folder}/server.mjs"],
        fixed: Fixed::Word("--fixed"),
        culprit: Some("metalFeed"),
        needs_redis: false,
    },
    Service {
        name: "next",
        build: &["{folder}/node_modules/.bin/next", "build", "{folder}"],
        flags: &[
            "--config",
            "{folder}/plimsoll.toml",
            "--url",
            "http://127.0.0.1:{port}",
            // Ten users do four steps each, and Next sways by a few hundred KiB from round to round: many in a round, and a
            // leak of less than 100 B an operation is no question that ten minutes answer.
            "--operations",
            "3000",
            "--floor",
            "100 B",
            "--max-time",
            "10m",
        ],
        command: &[
            "{folder}/node_modules/.bin/next",
            "start",
            "{folder}",
            "--hostname",
            "127.0.0.1",
        ],
        fixed: Fixed::Variable("FIXED", "1"),
        culprit: Some("readerVisits"),
        needs_redis: false,
    },
    Service {
        name: "bun",
        build: &[],
        flags: &["--url", "http://127.0.0.1:{port}/l/start"],
        command: &["{folder}/node_modules/.bin/bun", "{folder}/server.mjs"],
        fixed: Fixed::Word("--fixed"),
        culprit: None,
        needs_redis: false,
    },
    Service {
        name: "bullmq",
        build: &[],
        flags: &[
            "--op-cmd",
            "node {folder}/producer.mjs",
            "--ready-log",
            "ready for jobs",
        ],
        command: &["node", "{folder}/worker.mjs"],
        fixed: Fixed::Word("--fixed"),
        culprit: Some("invoicesByJob"),
        needs_redis: true,
    },
];

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (chosen, runs) = chosen(arguments)?;
    ensure!(
        chosen.iter().all(|service| !service.needs_redis)
            || is_installed("redis-server", &["--version"]),
        "redis-server is missing on this machine; Debian has it: apt-get install redis-server"
    );
    let binary = binary()?;
    println!(
        "{:<8} {:<5} {:>3}  {:<12} {:>26}  {:>5}  culprit",
        "service", "twin", "run", "verdict", "bytes/op (95 % interval)", "s"
    );
    let mut wrong = 0;
    let mut done = 0;
    for service in chosen {
        install(service)?;
        for is_fixed in [false, true] {
            for run in 1..=runs {
                let begun = Instant::now();
                let checked = check(service, is_fixed, &binary)?;
                let complaint = complaint(service, is_fixed, &checked.run);
                println!(
                    "{:<8} {:<5} {run:>3}  {}  {:>5.0}  {}",
                    service.name,
                    if is_fixed { "fixed" } else { "leaky" },
                    describe(&checked.run),
                    begun.elapsed().as_secs_f64(),
                    culprit(&checked.run),
                );
                done += 1;
                if let Some(complaint) = complaint {
                    wrong += 1;
                    println!("    WRONG: {complaint}\n{}", checked.said);
                }
            }
        }
    }
    println!("{done} runs, {wrong} wrong");
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The services named, or all, and how often each is run.
fn chosen(arguments: &[String]) -> anyhow::Result<(Vec<&'static Service>, u32)> {
    let mut runs = 1;
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--runs" {
            let count = rest.next().and_then(|word| word.parse().ok());
            runs = count
                .filter(|count| *count > 0)
                .context("--runs takes a number of runs, at least 1")?;
        } else {
            names.push(argument);
        }
    }
    let known = || SERVICES.iter().map(|service| service.name);
    if let Some(unknown) = names
        .iter()
        .find(|name| !known().any(|known| known == **name))
    {
        bail!(
            "no framework is called '{unknown}'; there are: {}",
            known().collect::<Vec<_>>().join(", ")
        );
    }
    let is_chosen =
        |service: &&Service| names.is_empty() || names.iter().any(|name| *name == service.name);
    Ok((SERVICES.iter().filter(is_chosen).collect(), runs))
}

/// Installs a service, and builds it if its files are others than last time.
fn install(service: &Service) -> anyhow::Result<()> {
    let folder = folder(service);
    node::install_in(&folder)?;
    let Some((program, arguments)) = service.build.split_first() else {
        return Ok(());
    };
    let mut sources_now = String::new();
    for path in sources(&folder)? {
        sources_now +=
            &fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    }
    let stamp = folder.join("node_modules/.built-from");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == sources_now) {
        return Ok(());
    }
    let built = command(fill(program, &folder, 0))
        .args(arguments.iter().map(|word| fill(word, &folder, 0)))
        .env("NEXT_TELEMETRY_DISABLED", "1")
        .current_dir(&folder)
        .stdout(Stdio::null())
        .status()?;
    ensure!(built.success(), "{} could not be built", service.name);
    fs::write(stamp, sources_now).context("cannot write the stamp of the build")
}

/// The files of a service, in order.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == "node_modules" || name.to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn folder(service: &Service) -> PathBuf {
    root().join(EXAMPLES).join(service.name)
}

fn fill(word: &str, folder: &Path, port: u16) -> String {
    word.replace("{folder}", &folder.to_string_lossy())
        .replace("{port}", &port.to_string())
}

/// What a check said.
struct Checked {
    run: Value,
    said: String,
}

fn check(service: &Service, is_fixed: bool, binary: &Path) -> anyhow::Result<Checked> {
    let folder = folder(service);
    let port = free_port()?;
    let redis = if service.needs_redis {
        Some(Redis::start()?)
    } else {
        None
    };
    // Runs are recorded below the folder that a check is started in.
    let place = root().join("target/frameworks").join(service.name);
    fs::create_dir_all(&place)?;
    let mut check = Command::new(binary);
    check
        .args(["check", "--json"])
        .args(service.flags.iter().map(|word| fill(word, &folder, port)))
        .arg("--")
        .args(service.command.iter().map(|word| fill(word, &folder, port)))
        .env("PORT", port.to_string())
        .env("NEXT_TELEMETRY_DISABLED", "1")
        .current_dir(place);
    if let Some(redis) = &redis {
        check.env("REDIS_PORT", redis.port.to_string());
    }
    match service.fixed {
        Fixed::Word(word) if is_fixed => check.arg(word),
        Fixed::Variable(name, value) if is_fixed => check.env(name, value),
        Fixed::Word(_) | Fixed::Variable(..) => &mut check,
    };
    let output = check
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    Ok(Checked {
        run: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What is wrong with a run, if anything is.
fn complaint(service: &Service, is_fixed: bool, run: &Value) -> Option<String> {
    let expected = if is_fixed { "no_leak" } else { "leak" };
    let outcome = run["verdict"]["outcome"].as_str().unwrap_or("none");
    if outcome != expected {
        let reason = run["verdict_reason"].as_str().unwrap_or_default();
        return Some(format!("{outcome} where {expected} was expected: {reason}"));
    }
    let word = service.culprit.filter(|_| !is_fixed)?;
    let is_named = run["culprits"].as_array().is_some_and(|culprits| {
        culprits.iter().any(|culprit| {
            ["holder", "kind"]
                .iter()
                .filter_map(|part| culprit[part].as_str())
                .any(|text| text.contains(word))
        })
    });
    (!is_named).then(|| format!("no culprit names {word}"))
}

/// The verdict and its rate, in columns.
fn describe(run: &Value) -> String {
    let verdict = &run["verdict"];
    let outcome = verdict["outcome"].as_str().unwrap_or("none");
    let growth = &verdict["growth"];
    let rate = match growth["rate"].as_f64() {
        Some(rate) => format!(
            "{rate:+.1} ({:+.1} … {:+.1})",
            growth["interval"]["low"].as_f64().unwrap_or(f64::NAN),
            growth["interval"]["high"].as_f64().unwrap_or(f64::NAN),
        ),
        None => "-".to_owned(),
    };
    format!("{:<12} {rate:>26}", outcome.replace('_', " "))
}

/// The first culprit on one line.
fn culprit(run: &Value) -> String {
    let first = &run["culprits"][0];
    ["kind", "holder", "place"]
        .iter()
        .filter_map(|part| first[part].as_str())
        .collect::<Vec<_>>()
        .join(" | ")
}

/// A port that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A Redis of our own that keeps nothing; ended with this value.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run redis-server")?;
        let redis = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{SERVICES, chosen, complaint, run};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn services_and_runs_are_chosen() {
        let (services, runs) = chosen(&words("bun --runs 5 next")).unwrap();
        let names: Vec<_> = services.iter().map(|service| service.name).collect();
        assert_eq!((names, runs), (vec!["next", "bun"], 5));
        assert_eq!(chosen(&[]).unwrap().0.len(), SERVICES.len());
        assert!(chosen(&words("--runs 0")).is_err());
        let error = run(&words("koa")).unwrap_err().to_string();
        assert!(error.starts_with("no framework is called 'koa'; there are: express,"));
    }

    #[test]
    fn a_leak_without_its_name_is_a_complaint() {
        let leak = |holder: &str| json!({"verdict": {"outcome": "leak"}, "culprits": [{"holder": holder, "kind": "x"}]});
        let express = &SERVICES[0];
        assert_eq!(
            complaint(express, false, &leak("Map `ticketRequests`")),
            None
        );
        assert!(complaint(express, false, &leak("Map")).is_some());
        assert!(complaint(express, true, &leak("Map `ticketRequests`")).is_some());
        assert!(complaint(express, false, &json!(null)).is_some());
        let clean = json!({"verdict": {"outcome": "no_leak"}, "culprits": []});
        assert_eq!(complaint(express, true, &clean), None);
    }
}
