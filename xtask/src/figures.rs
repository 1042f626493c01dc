//! The figures that the changelog quotes, measured on this machine: the rate against the truth, false alarms on the
//! healthy twins (also beside a busy core), and what the tool itself costs.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::workspace;

/// Example, path, and the flag of its leaky side.
const EXAMPLES: [(&str, &str, &[&str]); 3] = [
    ("session-map", "/login", &[]),
    ("request-listener", "/front-page", &[]),
    ("bounded-cache", "/catalogue", &["--unbounded"]),
];

/// Runs of `--help` and of `true` whose CPU time is compared.
const STARTS: u32 = 300;

/// Measures and prints everything as a Markdown table. `cargo xtask figures [RUNS]`: runs of each healthy twin,
/// 10 unless said otherwise, once with the machine to itself and once beside a busy core.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let runs: u32 = match arguments {
        [] => 10,
        [number] => number.parse().context("RUNS is a number")?,
        _ => bail!("usage: cargo xtask figures [RUNS]"),
    };
    let built = workspace::cargo()
        .args(["build", "--release", "--package", "plimsoll-cli"])
        .status()?;
    ensure!(built.success(), "the release build failed");
    let binary = workspace::root().join("target/release/plimsoll");
    println!("| figure | measured |\n|---|---|");
    start_up(&binary)?;
    truth(&binary)?;
    false_alarms(&binary, runs, false)?;
    false_alarms(&binary, runs, true)?;
    slow_start(&binary)
}

/// What one run said.
struct Said {
    code: i32,
    document: Value,
}

impl Said {
    fn number(&self, pointer: &str) -> Option<f64> {
        self.document.pointer(pointer)?.as_f64()
    }
}

fn server(example: &str) -> String {
    format!("examples/node/{example}/server.js")
}

fn check(
    binary: &Path,
    path: &str,
    environment: &[(&str, &str)],
    subject: &[&str],
) -> anyhow::Result<Said> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let place = std::env::temp_dir().join(format!("plimsoll-figures-{}", std::process::id()));
    let output = workspace::command(binary)
        .args([
            "check",
            "--json",
            "--url",
            &format!("http://127.0.0.1:{port}{path}"),
            "--",
            "node",
        ])
        .args(subject)
        .env("PORT", port.to_string())
        .env("PLIMSOLL_DIR", &place)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let _ = std::fs::remove_dir_all(&place);
    let document = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("plimsoll printed no run for {subject:?}"))?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        document,
    })
}

fn truth(binary: &Path) -> anyhow::Result<()> {
    for (example, path, leaky) in EXAMPLES {
        let file = server(example);
        let mut command = workspace::command("node");
        command.args(["examples/truth.mjs", &file, "--path", path, "--json"]);
        if !leaky.is_empty() {
            command.arg("--").args(leaky);
        }
        let printed = workspace::output_of(command.stderr(Stdio::null()))?;
        let document: Value = serde_json::from_str(&printed).context("the truth is no JSON")?;
        let true_rate = document["bytes_per_op"]
            .as_f64()
            .context("the truth has no rate")?;
        let subject: Vec<&str> = std::iter::once(file.as_str())
            .chain(leaky.iter().copied())
            .collect();
        let said = check(binary, path, &[], &subject)?;
        let rate = said.number("/verdict/growth/rate").unwrap_or(f64::NAN);
        let low = said
            .number("/verdict/growth/interval/low")
            .unwrap_or(f64::NAN);
        let high = said
            .number("/verdict/growth/interval/high")
            .unwrap_or(f64::NAN);
        println!(
            "| {example}, leaky: bytes per request | {rate:.0} ({low:.0} … {high:.0}), truth {true_rate:.0}, {:+.1} %; exit {}, {:.0} s |",
            100.0 * (rate / true_rate - 1.0),
            said.code,
            said.number("/duration").unwrap_or(0.0) / 1e9,
        );
    }
    Ok(())
}

/// Something else that keeps one core busy, ended when dropped.
struct Busy(Child);

impl Busy {
    fn start() -> anyhow::Result<Self> {
        Ok(Self(
            Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .spawn()?,
        ))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn false_alarms(binary: &Path, runs: u32, beside_load: bool) -> anyhow::Result<()> {
    let _busy = beside_load.then(Busy::start).transpose()?;
    for (example, path, _) in EXAMPLES {
        let file = server(example);
        let mut codes = [0_u32; 5];
        let mut seconds = Vec::new();
        let mut peak: f64 = 0.0;
        for _ in 0..runs {
            let said = check(binary, path, &[], &[&file, "--fixed"])?;
            if let Some(count) = usize::try_from(said.code)
                .ok()
                .and_then(|c| codes.get_mut(c))
            {
                *count += 1;
            }
            seconds.push(said.number("/duration").unwrap_or(0.0) / 1e9);
            peak = peak.max(said.number("/observer/rss_peak").unwrap_or(0.0));
        }
        seconds.sort_by(f64::total_cmp);
        println!(
            "| {example} --fixed x {runs}{} | {} no leak, {} leak, {} inconclusive, {} failed; median {:.0} s, own RSS at most {:.1} MiB |",
            if beside_load { ", one core busy" } else { "" },
            codes[0],
            codes[1],
            codes[3],
            codes[4],
            seconds[seconds.len() / 2],
            peak / 1_048_576.0,
        );
    }
    Ok(())
}

fn slow_start(binary: &Path) -> anyhow::Result<()> {
    let environment = [("START_S", "60"), ("HEAP_MB", "200")];
    let said = check(
        binary,
        "/",
        &environment,
        &["examples/faults/slow-start.js"],
    )?;
    let ready = said.number("/subject/ready").unwrap_or(0.0) / 1e9;
    let whole = said.number("/duration").unwrap_or(0.0) / 1e9;
    println!(
        "| 60 s start, 200 MB heap | {} (exit {}) {:.0} s after readiness at {ready:.0} s |",
        said.document["verdict"]["outcome"]
            .as_str()
            .unwrap_or("no verdict"),
        said.code,
        whole - ready,
    );
    Ok(())
}

fn start_up(binary: &Path) -> anyhow::Result<()> {
    let size = std::fs::metadata(binary)?.len();
    println!("| release binary | {:.1} MB |", size as f64 / 1e6);
    let mut costs = Vec::new();
    for program in [binary.as_os_str(), "true".as_ref()] {
        let before = children_ticks()?;
        for _ in 0..STARTS {
            Command::new(program)
                .arg("--help")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
        }
        let ticks = children_ticks()? - before;
        costs.push(ticks as f64 * 10.0 / f64::from(STARTS));
    }
    println!(
        "| `plimsoll --help`, CPU | {:.2} ms, {:.1} x `true` |",
        costs[0],
        costs[0] / costs[1].max(0.01)
    );
    Ok(())
}

/// CPU time of ended children in clock ticks (10 ms on Linux), from the kernel's own account.
fn children_ticks() -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    // proc(5): cutime and cstime are fields 16 and 17; the first after the name is 3.
    let field = |number: usize| {
        fields
            .get(number - 3)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Ok(field(16) + field(17))
}
