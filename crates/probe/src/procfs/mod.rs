//! The texts of procfs as values: parsers from bytes, without a system call or a clock.
//!
//! What a kernel does not tell is `None`, never 0. Nothing here allocates except where a name is returned.

mod cgroup;
mod descriptor;

pub(crate) use cgroup::{
    Controller, memory_controller, mounts, parse_keyed, parse_limit, parse_stall,
};
pub(crate) use descriptor::{Kinds, kind_of};

/// What `/proc/PID/stat` says of a process; times in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) threads: u64,
    pub(crate) start_ticks: u64,
}

impl Stat {
    /// From the whole line. The name in brackets may hold blanks and brackets itself, so fields count from the last one.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let end_of_name = line.iter().rposition(|&b| b == b')')?;
        let mut fields = line[end_of_name + 1..]
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        // proc_pid_stat(5) numbers fields from 1; `state`, the first after the name, is number 3.
        let state = *fields.next()?.first()?;
        let mut number = 3;
        let mut field = |wanted: usize| {
            let value = fields.nth(wanted - number - 1);
            number = wanted;
            value.and_then(parse_integer)
        };
        Some(Self {
            state,
            parent: u32::try_from(field(4)?).ok()?,
            group: u32::try_from(field(5)?).ok()?,
            session: u32::try_from(field(6)?).ok()?,
            minor_faults: field(10)?,
            major_faults: field(12)?,
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
        })
    }

    /// Whether nothing of it is left but its exit status. A process whose first thread ended before the others shows
    /// the same state and is alive.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// What one reading of `/proc/PID/status` says of a process's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident set size.
    pub rss: u64,
    /// Resident anonymous pages.
    pub rss_anon: Option<u64>,
    /// Resident pages of mapped files.
    pub rss_file: Option<u64>,
    /// Resident shared memory.
    pub rss_shmem: Option<u64>,
    /// Largest resident set so far.
    pub rss_peak: Option<u64>,
    /// Swapped-out bytes.
    pub swap: Option<u64>,
}

impl Memory {
    /// From the whole text; `None` if the process has no memory any more (a zombie) or never had (a kernel thread).
    pub(crate) fn parse(status: &[u8]) -> Option<Self> {
        let mut rss = None;
        let (mut anon, mut file, mut shmem, mut peak, mut swap) = (None, None, None, None, None);
        for line in status.split(|&b| b == b'\n') {
            let Some(colon) = line.iter().position(|&b| b == b':') else {
                continue;
            };
            let slot = match &line[..colon] {
                b"VmHWM" => &mut peak,
                b"VmRSS" => &mut rss,
                b"RssAnon" => &mut anon,
                b"RssFile" => &mut file,
                b"RssShmem" => &mut shmem,
                b"VmSwap" => &mut swap,
                _ => continue,
            };
            *slot = kibibytes(&line[colon + 1..]);
        }
        Some(Self {
            rss: rss?,
            rss_anon: anon,
            rss_file: file,
            rss_shmem: shmem,
            rss_peak: peak,
            swap,
        })
    }
}

/// One field of `/proc/PID/status`.
fn field<'s>(status: &'s [u8], name: &str) -> Option<&'s [u8]> {
    status.split(|&b| b == b'\n').find_map(|line| {
        let rest = line.strip_prefix(name.as_bytes())?;
        Some(rest.strip_prefix(b":")?.trim_ascii())
    })
}

/// The effective user of a status: the second of real, effective, saved and file system.
pub(crate) fn effective_user(status: &[u8]) -> Option<u32> {
    let users = field(status, "Uid")?;
    parse_pids(users).nth(1)
}

/// The pid of a process in the innermost namespace it lives in.
pub(crate) fn innermost_pid(status: &[u8]) -> Option<u32> {
    parse_pids(field(status, "NSpid")?).last()
}

/// Whether a status says that a signal has a handler.
pub(crate) fn catches(status: &[u8], signal: i32) -> Option<bool> {
    let mask = std::str::from_utf8(field(status, "SigCgt")?).ok()?;
    let mask = u64::from_str_radix(mask, 16).ok()?;
    let bit = u32::try_from(signal).ok()?.checked_sub(1)?;
    Some(mask.checked_shr(bit)? & 1 == 1)
}

/// A line of `/proc/meminfo` (`MemTotal`, `MemAvailable`), in bytes.
pub(crate) fn host_memory(meminfo: &[u8], name: &str) -> Option<u64> {
    meminfo
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
        .and_then(kibibytes)
}

/// `  1234 kB` as bytes.
fn kibibytes(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text.strip_suffix(b" kB")?;
    parse_integer(digits.trim_ascii())?.checked_mul(1024)
}

/// The effective capabilities in a `status` file, one bit each.
pub(crate) fn capabilities(status: &str) -> Option<u64> {
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// What `/proc` is mounted to hide, from `mountinfo`; `None` if nothing.
pub(crate) fn hidepid(mountinfo: &str) -> Option<String> {
    let options = mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_proc = mount.split(' ').nth(4) == Some("/proc");
        is_proc.then(|| file_system.split(' ').nth(2)).flatten()
    })?;
    let value = options
        .split(',')
        .find_map(|o| o.strip_prefix("hidepid="))?;
    (!matches!(value, "0" | "off")).then(|| value.to_owned())
}

/// A decimal number that fills the whole text.
pub(crate) fn parse_integer(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// The pids of a `children` file.
pub(crate) fn parse_pids(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    text.split(u8::is_ascii_whitespace)
        .filter_map(parse_integer)
        .filter_map(|pid| u32::try_from(pid).ok())
}

/// Arguments or environment entries: texts that each end with a zero byte.
pub(crate) fn parse_strings(text: &[u8]) -> impl Iterator<Item = &[u8]> + '_ {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    text.split(|&b| b == 0).filter(move |_| !text.is_empty())
}

/// A variable of an environment.
pub(crate) fn variable(environment: &[u8], name: &str) -> Option<String> {
    parse_strings(environment).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"4121 (a) b (node) S 4100 4099 4098 0 -1 4194560 7001 12 3 4 250 51 0 0 20 0 11 0 880055 1234567 8901 \
        18446744073709551615 1 1 0 0 0 0 0 4096 134234626 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn a_name_with_blanks_and_brackets_moves_no_field() {
        assert_eq!(
            Stat::parse(STAT),
            Some(Stat {
                state: b'S',
                parent: 4100,
                group: 4099,
                session: 4098,
                minor_faults: 7001,
                major_faults: 3,
                user_ticks: 250,
                system_ticks: 51,
                threads: 11,
                start_ticks: 880_055,
            })
        );
    }

    #[test]
    fn a_process_is_dead_only_when_its_last_thread_is() {
        let sleeping = Stat::parse(STAT).unwrap();
        let state = |state, threads| Stat {
            state,
            threads,
            ..sleeping
        };
        assert!(!sleeping.is_dead());
        assert!(state(b'Z', 1).is_dead());
        assert!(!state(b'Z', 2).is_dead());
    }

    #[test]
    fn a_torn_stat_line_is_unknown() {
        // Up to the start of the last field that is read.
        let start_time = STAT.windows(6).position(|w| w == b"880055").unwrap();
        for length in 0..=start_time {
            assert_eq!(Stat::parse(&STAT[..length]), None, "{length}");
        }
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"1 (x"), None);
    }

    #[test]
    fn memory_is_in_bytes_and_what_is_missing_is_unknown() {
        let status = b"Name:\tVmRSS: 5 kB\nState:\tS\nVmHWM:\t   44000 kB\nVmRSS:\t   42000 kB\nRssAnon:\t 2000 kB\n\
            RssFile:\t   40000 kB\nVmSwap:\t       0 kB\nThreads:\t7\n";
        assert_eq!(
            Memory::parse(status),
            Some(Memory {
                rss: 42_000 * 1024,
                rss_anon: Some(2_000 * 1024),
                rss_file: Some(40_000 * 1024),
                rss_shmem: None,
                rss_peak: Some(44_000 * 1024),
                swap: Some(0),
            })
        );
        assert_eq!(
            Memory::parse(b"Name:\tzombie\nState:\tZ (zombie)\nThreads:\t1\n"),
            None
        );
    }

    #[test]
    fn a_status_says_who_it_is_and_what_it_handles() {
        let status =
            b"Name:\tnode\nNSpid:\t4121\t7\nUid:\t0\t1000\t0\t0\nSigCgt:\t0000000100004602\n";
        assert_eq!(effective_user(status), Some(1000));
        assert_eq!(innermost_pid(status), Some(7));
        assert_eq!(catches(status, 10), Some(true));
        assert_eq!(catches(status, 12), Some(false));
        assert_eq!(catches(status, 0), None);
        assert_eq!(catches(b"Name:\tSigCgt\n", 10), None);
    }

    #[test]
    fn lists_end_with_or_without_a_zero() {
        let list = |text: &'static [u8]| parse_strings(text).collect::<Vec<_>>();
        assert_eq!(list(b"node\0a b\0\0"), [&b"node"[..], b"a b", b""]);
        assert_eq!(list(b"npm start"), [&b"npm start"[..]]);
        assert!(list(b"").is_empty());
        assert_eq!(parse_pids(b"12 34 ").collect::<Vec<_>>(), [12, 34]);
    }

    #[test]
    fn memory_of_the_machine_is_told_by_name() {
        let meminfo = b"MemTotal:       24630884 kB\nMemFree: 1 kB\nMemAvailable: 7 kB\n";
        assert_eq!(host_memory(meminfo, "MemTotal"), Some(24_630_884 * 1024));
        assert_eq!(host_memory(meminfo, "MemAvailable"), Some(7 * 1024));
        assert_eq!(host_memory(meminfo, "Mem"), None);
    }

    #[test]
    fn what_is_hidden_and_what_is_allowed() {
        let mounts = "22 1 0:21 / /proc rw,nosuid - proc proc rw,hidepid=invisible\n";
        assert_eq!(hidepid(mounts).as_deref(), Some("invisible"));
        assert_eq!(hidepid("22 1 0:21 / /proc rw - proc proc rw\n"), None);
        assert_eq!(
            hidepid("22 1 0:21 / /proc rw - proc proc rw,hidepid=0\n"),
            None
        );
        assert_eq!(
            capabilities("Name:\tx\nCapEff:\t0000000000080000\n"),
            Some(1 << 19)
        );
        assert_eq!(capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn numbers_do_not_wrap() {
        assert_eq!(parse_integer(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_integer(b"18446744073709551616"), None);
        assert_eq!(parse_integer(b"-1"), None);
        assert_eq!(parse_integer(b""), None);
    }
}
