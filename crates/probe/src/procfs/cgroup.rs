//! Where a process's memory limit is written: control groups of either version, also mixed on one host.

use super::parse_integer;

/// Version of the hierarchy that has the memory controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    /// `memory.limit_in_bytes` below a mount of its own.
    V1,
    /// `memory.max` in the unified hierarchy.
    V2,
}

impl Controller {
    /// The file that holds the limit of one group.
    pub(crate) fn limit_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }

    /// The file that holds what one group uses.
    pub(crate) fn usage_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }

    /// The line of `memory.stat` that says how much of that the kernel would drop first.
    pub(crate) fn droppable_key(self) -> &'static str {
        match self {
            // Without `total_` only the group itself counts, and not those below it.
            Self::V1 => "total_inactive_file",
            Self::V2 => "inactive_file",
        }
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) controller: Controller,
    /// The group that is seen at the mount point: `/` unless a container bind-mounts its own.
    pub(crate) root: String,
    pub(crate) point: String,
}

/// The mounts in `/proc/PID/mountinfo` that can hold a memory limit.
pub(crate) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut mount = mount.split(' ').skip(3);
            let (root, point) = (mount.next()?, mount.next()?);
            let mut file_system = file_system.split(' ');
            let controller = match file_system.next()? {
                "cgroup2" => Controller::V2,
                "cgroup" if file_system.nth(1)?.split(',').any(|o| o == "memory") => Controller::V1,
                _ => return None,
            };
            Some(Mount {
                controller,
                root: unescape(root),
                point: unescape(point),
            })
        })
        .collect()
}

/// The kernel writes blanks and backslashes in paths as `\040` and the like.
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4);
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            out.push(char::from(byte));
            rest = &rest[at + 4..];
        } else {
            out.push('\\');
            rest = &rest[at + 1..];
        }
    }
    out.push_str(rest);
    out
}

/// The groups in `/proc/PID/cgroup` that can limit memory: of a hierarchy with the memory controller, and the unified one.
pub(crate) fn memory_controller(cgroup: &str) -> Vec<(Controller, &str)> {
    cgroup
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            if hierarchy == "0" && controllers.is_empty() {
                Some((Controller::V2, path))
            } else if controllers.split(',').any(|c| c == "memory") {
                Some((Controller::V1, path))
            } else {
                None
            }
        })
        .collect()
}

/// A limit file's content; `None` for no limit.
pub(crate) fn parse_limit(text: &str) -> Option<u64> {
    // Version 1 writes "no limit" as the largest multiple of the page size, whatever that size is.
    parse_integer(text.trim().as_bytes()).filter(|&bytes| bytes < 1 << 62)
}

/// The number after a key in a file of `key number` lines.
pub(crate) fn parse_keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .and_then(|number| parse_integer(number.trim().as_bytes()))
}

/// Seconds of stall from a pressure file: the total of its `some` line, which is in microseconds.
pub(crate) fn parse_stall(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some
        .split(' ')
        .find_map(|word| word.strip_prefix("total="))?;
    Some(parse_integer(total.as_bytes())? as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_host_has_its_memory_where_the_option_says() {
        let mountinfo = "\
24 1 0:22 / /proc rw,nosuid - proc proc rw
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu\\040set rw,relatime - cgroup cgroup rw,cpuset
39 25 0:35 /docker/ab /sys/fs/cgroup/uni\\040fied rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(
            mounts(mountinfo),
            [
                Mount {
                    controller: Controller::V1,
                    root: "/".to_owned(),
                    point: "/sys/fs/cgroup/memory".to_owned(),
                },
                Mount {
                    controller: Controller::V2,
                    root: "/docker/ab".to_owned(),
                    point: "/sys/fs/cgroup/uni fied".to_owned(),
                },
            ]
        );
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let cgroup =
            "9:memory:/user.slice\n4:cpu,cpuacct:/\n1:name=systemd:/a:b\n0::/user.slice/x:y\n";
        assert_eq!(
            memory_controller(cgroup),
            [
                (Controller::V1, "/user.slice"),
                (Controller::V2, "/user.slice/x:y"),
            ]
        );
    }

    #[test]
    fn no_limit_is_not_a_number() {
        assert_eq!(parse_limit("536870912\n"), Some(536_870_912));
        assert_eq!(parse_limit("max\n"), None);
        // 4 KiB and 64 KiB pages.
        assert_eq!(parse_limit("9223372036854771712\n"), None);
        assert_eq!(parse_limit("9223372036854710272\n"), None);
    }
}
