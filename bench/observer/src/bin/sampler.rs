//! `cargo xtask bench sampler`: what reading processes costs, as a share of a core and beside the bare system calls.

#![expect(clippy::print_stdout, reason = "a bench talks to whoever started it")]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use plimsoll_bench::{Idle, Variant, median, pairs, ratio, say};
use plimsoll_model::{Ns, SourceId};
use plimsoll_probe::{Family, Process, ProcessSampler, Sampler};

const SLICES: usize = 40;

fn sampler(pids: &[u32]) -> ProcessSampler {
    let mut sampler = ProcessSampler::new();
    for (i, &pid) in pids.iter().enumerate() {
        if let Ok(process) = Process::open(pid) {
            sampler.watch(SourceId(i as u32), process);
        }
    }
    sampler
}

/// A second of ticks at ten a second; each wakes up, as a real one does.
fn second(mut tick: impl FnMut()) -> u64 {
    let start = Instant::now();
    for i in 1..=10_u32 {
        tick();
        let next = start + Duration::from_millis(100) * i;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    1
}

fn tick(sampler: &mut ProcessSampler) {
    sampler.tick(Ns(0), &mut |sample| {
        black_box(sample);
    });
}

/// Share of a core at ten readings a second, wake-ups included.
fn share(what: &str, pids: &[u32], slices: usize, wanted: &str) {
    let mut reading = sampler(pids);
    let mut variants = [
        Variant {
            name: "only waking up",
            slice: Box::new(|| second(|| ())),
        },
        Variant {
            name: "only waking up, again",
            slice: Box::new(|| second(|| ())),
        },
        Variant {
            name: "reading",
            slice: Box::new(|| second(|| tick(&mut reading))),
        },
    ];
    let measured = pairs(slices, &mut variants);
    let percent = |i: usize| {
        let (middle, low, high) = median(&measured[i].seconds);
        (middle * 100.0, low * 100.0, high * 100.0)
    };
    say(
        &format!("{what}, full set at 10 Hz"),
        percent(2),
        "% of core",
        wanted,
    );
    say("  of that, waking up", percent(0), "% of core", "");
    say(
        "  A/A: waking up / waking up",
        ratio(&measured[1], &measured[0]),
        "ratio",
        "1",
    );
}

/// The same files by bare `pread` and `fstat`, without looking at what they hold.
struct Bare(Vec<[File; 3]>);

impl Bare {
    fn open(pids: &[u32]) -> Self {
        let open = |pid: &u32| {
            let file = |name: &str| File::open(format!("/proc/{pid}/{name}")).ok();
            Some([file("status")?, file("stat")?, file("fd")?])
        };
        Self(pids.iter().filter_map(open).collect())
    }

    fn tick(&self, buffer: &mut [u8]) {
        for [status, stat, descriptors] in &self.0 {
            black_box(status.read_at(buffer, 0).unwrap_or(0));
            black_box(stat.read_at(buffer, 0).unwrap_or(0));
            black_box(descriptors.metadata().map_or(0, |m| m.len()));
        }
    }
}

/// Reading, parsing and handing on beside the bare calls.
fn beside_bare(what: &str, pids: &[u32], ticks: u64) {
    let mut reading = sampler(pids);
    let bare = Bare::open(pids);
    let mut buffers = [vec![0; 4096], vec![0; 4096]];
    let [first, second] = &mut buffers;
    let repeat = |mut tick: Box<dyn FnMut() + '_>| {
        (0..ticks).for_each(|_| tick());
        ticks
    };
    let (bare, processes) = (&bare, pids.len() as f64);
    let mut variants = [
        Variant {
            name: "bare",
            slice: Box::new(|| repeat(Box::new(|| bare.tick(first)))),
        },
        Variant {
            name: "bare, again",
            slice: Box::new(|| repeat(Box::new(|| bare.tick(second)))),
        },
        Variant {
            name: "reading",
            slice: Box::new(|| repeat(Box::new(|| tick(&mut reading)))),
        },
    ];
    let measured = pairs(SLICES, &mut variants);
    let micros = |i: usize| {
        let (middle, low, high) = median(&measured[i].seconds);
        let scale = 1e6 / processes;
        (middle * scale, low * scale, high * scale)
    };
    say(
        &format!("{what}: reading, hot"),
        micros(2),
        "µs each",
        "≤ 20",
    );
    say("  bare pread, pread, fstat", micros(0), "µs each", "");
    say(
        "  reading / bare",
        ratio(&measured[2], &measured[0]),
        "ratio",
        "≤ 1.5",
    );
    say(
        "  A/A: bare / bare",
        ratio(&measured[1], &measured[0]),
        "ratio",
        "1",
    );
}

/// The one file that memory alone needs, read by us and by a bare `pread`.
fn statm(pid: u32) {
    const READS: u64 = 2000;
    let (Ok(process), Ok(file)) = (Process::open(pid), File::open(format!("/proc/{pid}/statm")))
    else {
        return;
    };
    let Some(mut resident) = process.resident() else {
        return;
    };
    let mut buffers = [[0_u8; 128]; 2];
    let [first, second] = &mut buffers;
    let read = |buffer: &mut [u8; 128]| {
        (0..READS).for_each(|_| {
            black_box(file.read_at(buffer, 0).unwrap_or(0));
        });
        READS
    };
    let mut variants = [
        Variant {
            name: "bare",
            slice: Box::new(|| read(first)),
        },
        Variant {
            name: "bare, again",
            slice: Box::new(|| read(second)),
        },
        Variant {
            name: "ours",
            slice: Box::new(|| {
                (0..READS).for_each(|_| {
                    black_box(resident.bytes());
                });
                READS
            }),
        },
    ];
    let measured = pairs(SLICES, &mut variants);
    say(
        "statm: ours / bare pread",
        ratio(&measured[2], &measured[0]),
        "ratio",
        "≤ 1.5",
    );
    say(
        "  A/A: bare / bare",
        ratio(&measured[1], &measured[0]),
        "ratio",
        "1",
    );
}

fn main() {
    let _ = plimsoll_probe::raise_descriptor_limit();
    let one = Idle::start(1);
    statm(one.pids()[0]);
    beside_bare("1 process", &one.pids(), 500);
    share("1 process", &one.pids(), SLICES, "≤ 0.10");

    let hundred = Idle::start(100);
    beside_bare("100 processes", &hundred.pids(), 10);
    share("100 processes", &hundred.pids(), SLICES, "≤ 2");
    drop(hundred);

    let thousand = Idle::start(1000);
    println!("{} processes started", thousand.pids().len());
    beside_bare("1,000 processes", &thousand.pids(), 1);
    let roots = thousand
        .pids()
        .iter()
        .filter_map(|&pid| Process::open(pid).ok())
        .collect();
    let mut family = Family::of(roots);
    family.look();
    let mut looking = [Variant {
        name: "look",
        slice: Box::new(|| {
            black_box(family.look());
            1
        }),
    }];
    let (middle, low, high) = median(&pairs(SLICES, &mut looking)[0].seconds);
    say(
        "1,000 processes: who is there",
        (middle * 1e3, low * 1e3, high * 1e3),
        "ms",
        "",
    );
    drop(looking);
    drop(thousand);

    let held: Vec<File> = (0..10_000)
        .map_while(|_| File::open("/dev/null").ok())
        .collect();
    println!("{} descriptors held", held.len());
    beside_bare(
        "1 process of 10,000 descriptors",
        &[std::process::id()],
        500,
    );
    drop(held);
}
