//! Runs the work under every allocator in turn, in shuffled order, over and over, with the bare one twice, so that what a busy
//! machine does to one it does to all. Instructions are counted by valgrind where it is installed: the same on any machine.

use std::path::PathBuf;
use std::process::Command;

const ALLOCATORS: [&str; 9] = [
    "bare",
    "bare",
    "counted",
    "scoped",
    "in_scope",
    "sampled",
    "cap",
    "peak_alloc",
    "stats_alloc",
];
const WORKS: [&str; 3] = ["pair", "window", "threads"];

fn main() {
    let turns: usize = match std::env::args().nth(1) {
        Some(turns) => turns.parse().expect("the number of turns"),
        None => 15,
    };
    for work in WORKS {
        let times = if work == "window" {
            2_000_000
        } else {
            8_000_000
        };
        let mut order: Vec<usize> = (0..ALLOCATORS.len()).collect();
        let mut taken = vec![Vec::new(); ALLOCATORS.len()];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..turns {
            for i in (1..order.len()).rev() {
                // SplitMix64 (Steele, Lea, Flood 2014).
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                order.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
            }
            for &i in &order {
                taken[i].push(nanoseconds(ALLOCATORS[i], work, times));
            }
        }
        println!("{work}: CPU ns per block allocated and freed, over {turns} turns");
        println!(
            "{:<12} {:>8} {:>8} {:>9} {:>9} {:>13}",
            "", "least", "median", "+ least", "+ median", "+ instructions"
        );
        let least = |i: usize| taken[i].iter().copied().fold(f64::INFINITY, f64::min);
        let median = |i: usize| {
            let mut sorted = taken[i].clone();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        // By turns: a slow stretch of the machine is taken from both.
        let more = |i: usize| {
            let mut by_turn: Vec<f64> =
                taken[i].iter().zip(&taken[0]).map(|(a, b)| a - b).collect();
            by_turn.sort_by(f64::total_cmp);
            by_turn[by_turn.len() / 2]
        };
        let bare = instructions("bare", work);
        for (i, name) in ALLOCATORS.iter().enumerate() {
            let instructions = match (bare, instructions(name, work)) {
                (Some(bare), Some(count)) => format!("{:+.1}", count - bare),
                _ => "-".to_owned(),
            };
            println!(
                "{name:<12} {:>8.2} {:>8.2} {:>+9.2} {:>+9.2} {instructions:>13}",
                least(i),
                median(i),
                least(i) - least(0),
                more(i)
            );
        }
        println!();
    }
}

fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    own.with_file_name(name)
}

fn nanoseconds(allocator: &str, work: &str, times: u64) -> f64 {
    let output = Command::new(binary(allocator))
        .args([work, &times.to_string()])
        .output();
    let output = output.expect("the binaries lie beside this one");
    let text = String::from_utf8(output.stdout).expect("a number");
    text.trim().parse().expect("a number")
}

/// Instructions per time: the difference between two lengths leaves only what the work takes.
fn instructions(allocator: &str, work: &str) -> Option<f64> {
    let of = |times: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=lackey", "--basic-counts=yes"])
            .arg(binary(allocator))
            .args([work, &times.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stderr).ok()?;
        let line = text.lines().find(|line| line.contains("guest instrs:"))?;
        let digits: String = line
            .rsplit(':')
            .next()?
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        digits.parse::<f64>().ok()
    };
    Some((of(60_000)? - of(20_000)?) / 40_000.0)
}
