//! What this machine lets us see: facts for a doctor, each read once.

use std::fs;
use std::path::Path;

use crate::{os, procfs};

/// The inode of the first pid namespace (`PROC_PID_INIT_INO` of the kernel).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Number of the capability to look into processes of others (`CAP_SYS_PTRACE`).
const PTRACE: u32 = 19;
/// Number of the capability to enter namespaces (`CAP_SYS_ADMIN`).
const ADMIN: u32 = 21;

fn may(capability: u32) -> bool {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| procfs::capabilities(&status))
        .is_some_and(|set| set & (1 << capability) != 0)
}

/// Whether we may enter the namespaces of others.
pub(crate) fn may_enter_namespaces() -> bool {
    may(ADMIN)
}

/// What the machine says of itself. What it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// The user we act as.
    pub user: u32,
    /// Whether we may look into processes of other users.
    pub may_trace_others: bool,
    /// `kernel.yama.ptrace_scope`: from 1 on only descendants may be traced; `None` where there is no Yama.
    pub ptrace_scope: Option<u32>,
    /// The `hidepid` option of procfs, if it hides anything.
    pub hidepid: Option<String>,
    /// Whether our pid namespace is the first one, that of the machine.
    pub sees_all_processes: Option<bool>,
    /// How many descriptors we may have open, once raised.
    pub descriptors: Option<u64>,
    /// Whether the kernel tells how long processes wait for memory.
    pub tells_pressure: bool,
}

impl Surroundings {
    /// Looks.
    pub fn look() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let trimmed = |path: &str| text(path).map(|t| t.trim().to_owned());
        let namespace = fs::read_link("/proc/self/ns/pid").ok();
        Self {
            kernel: trimmed("/proc/sys/kernel/osrelease"),
            user: os::net::own_uid(),
            may_trace_others: may(PTRACE),
            ptrace_scope: trimmed("/proc/sys/kernel/yama/ptrace_scope")
                .and_then(|t| t.parse().ok()),
            hidepid: text("/proc/self/mountinfo").and_then(|mounts| procfs::hidepid(&mounts)),
            sees_all_processes: namespace.map(|n| n.as_os_str() == FIRST_PID_NAMESPACE),
            descriptors: os::most_descriptors(),
            tells_pressure: Path::new("/proc/pressure/memory").exists(),
        }
    }
}

/// Free space for this user on the file system of a path, in bytes.
pub fn free_space(path: &Path) -> Option<u64> {
    os::free_space(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_something_of_itself() {
        let around = Surroundings::look();
        assert!(around.kernel.is_some_and(|release| release.contains('.')));
        assert!(around.descriptors.is_some_and(|most| most >= 256));
        assert!(free_space(Path::new("/")).is_some());
        assert_eq!(free_space(Path::new("/no/such/place")), None);
    }
}
