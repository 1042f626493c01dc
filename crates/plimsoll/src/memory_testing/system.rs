//! What the operating system knows of a process, ours or another: resident memory, stacks, mappings, CPU time, limits.
//!
//! `proc` is its folder in `/proc`. All of it is read from `/proc` and the control group, and is `None` elsewhere.

use std::fs;

/// Bytes of a line `NAME:   123 kB` of a file in `/proc`.
fn kibibytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let value = line.trim_start_matches(':').trim().strip_suffix("kB")?;
    Some(1024 * value.trim().parse::<u64>().ok()?)
}

/// Bytes of a field of its status: `VmRSS`, `VmSize`, `VmData`.
pub(crate) fn status_bytes(proc: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{proc}/status")).ok()?;
    kibibytes_of(&text, field)
}

/// Seconds of CPU that it has used.
pub(crate) fn cpu_seconds(proc: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("{proc}/stat")).ok()?;
    // The name may hold anything, blanks and parentheses too: fields are counted from its end.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // Linux tells user space hundredths of a second whatever the kernel counts in (`USER_HZ`).
    Some(ticks as f64 / 100.0)
}

/// Resident bytes of the mappings that the stacks of its threads are in.
///
/// A thread tells where its stack is as long as it waits (`/proc/self/task/N/syscall`); of one that runs it is not known, so
/// that this is what is seen of it.
pub(crate) fn stack_bytes(proc: &str) -> Option<u64> {
    let local = 0_u8;
    let mut pointers = vec![std::ptr::from_ref(&local).addr() as u64];
    for thread in fs::read_dir(format!("{proc}/task")).ok()?.flatten() {
        let Ok(call) = fs::read_to_string(thread.path().join("syscall")) else {
            continue;
        };
        // `N args… sp pc`; or `running`.
        let words: Vec<&str> = call.split_whitespace().collect();
        let pointer = words.len().checked_sub(2).and_then(|at| words.get(at));
        let pointer =
            pointer.and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        pointers.extend(pointer.filter(|pointer| *pointer > 0));
    }
    let mappings = fs::read_to_string(format!("{proc}/smaps")).ok()?;
    stacks_in(&mappings, &pointers)
}

fn stacks_in(smaps: &str, pointers: &[u64]) -> Option<u64> {
    let mut total = 0;
    let mut is_stack = false;
    for line in smaps.lines() {
        let range = line.split_whitespace().next().and_then(|word| {
            let (from, to) = word.split_once('-')?;
            let parse = |text| u64::from_str_radix(text, 16).ok();
            Some(parse(from)?..parse(to)?)
        });
        if let Some(range) = range {
            is_stack = pointers.iter().any(|pointer| range.contains(pointer));
        } else if is_stack && line.starts_with("Rss:") {
            total += kibibytes_of(line, "Rss")?;
        }
    }
    (total > 0).then_some(total)
}

/// The memory there is for this process: the limit of its control group, or the machine's.
pub(crate) fn memory_limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| kibibytes_of(&text, "MemTotal"));
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| {
            let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
            let file = format!("/sys/fs/cgroup{}/memory.max", path.trim_end_matches('/'));
            fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
        });
    match (group, machine) {
        (Some(group), Some(machine)) => Some(group.min(machine)),
        (group, machine) => group.or(machine),
    }
}

/// Takes from a process, or from this one, the right to more than `bytes` of data: heap, stacks and whatever it maps for itself.
/// No bytes give the right back.
///
/// # Errors
/// As the system has it.
#[cfg(target_os = "linux")]
pub(crate) fn limit_data(pid: Option<u32>, bytes: Option<u64>) -> std::io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    // What was started here has our own maximum.
    let maximum = getrlimit(Resource::Data).maximum;
    let current = match (bytes, maximum) {
        (Some(bytes), Some(most)) => Some(bytes.min(most)),
        (bytes, most) => bytes.or(most),
    };
    let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    prlimit(pid, Resource::Data, Rlimit { current, maximum })?;
    Ok(())
}

/// Only Linux counts what a process maps for itself.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_data(_pid: Option<u32>, _bytes: Option<u64>) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{cpu_seconds, memory_limit, stack_bytes, stacks_in, status_bytes};

    #[test]
    fn the_mappings_that_hold_a_stack_pointer_are_added_up() {
        let smaps = "7f0000000000-7f0000002000 rw-p 00000000 00:00 0 \nSize: 8 kB\nRss:                   8 kB\n\
            7f0000010000-7f0000020000 rw-p 00000000 00:00 0 [stack]\nRss:                  12 kB\nPss: 12 kB\n";
        assert_eq!(stacks_in(smaps, &[0x7f00_0001_0010]), Some(12 << 10));
        assert_eq!(
            stacks_in(smaps, &[0x7f00_0001_0010, 0x7f00_0000_0000]),
            Some(20 << 10)
        );
        assert_eq!(stacks_in(smaps, &[0x10]), None);
    }

    #[test]
    fn this_process_is_known() {
        let own = "/proc/self";
        let resident = status_bytes(own, "VmRSS").unwrap();
        assert!(status_bytes(own, "VmSize").unwrap() > resident);
        let stacks = stack_bytes(own).unwrap();
        assert!((4096..64 << 20).contains(&stacks), "{stacks}");
        assert!(memory_limit().unwrap() > resident);
        let before = cpu_seconds(own).unwrap();
        let mut turns = 0_u64;
        while cpu_seconds(own).unwrap() < before + 0.02 {
            turns = std::hint::black_box(turns + 1);
        }
        assert!(turns > 0);
    }
}
