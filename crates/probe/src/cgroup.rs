//! The memory control group of a process: what it uses, what limits it, what it suffered. Both versions, also mixed on one
//! host, where memory may be accounted by one and pressure told by the other.
//!
//! Groups are nested and each may have a limit: what counts is the one with the least room. Its usage counts without the
//! file cache that the kernel would drop first (`inactive_file`), as the kubelet counts it.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_model::LimitKind;

use crate::process::Process;
use crate::procfs::{self, Controller};

/// The control groups that a process's memory is charged to, its own first.
#[derive(Debug, Clone)]
pub struct Cgroup {
    memory: Vec<PathBuf>,
    controller: Controller,
    /// The nearest group of the unified hierarchy that tells its pressure.
    pressure: Option<PathBuf>,
}

/// What a control group says at one moment. What is not told is `None`, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CgroupReading {
    /// Memory charged to the process's own group, file cache included, in bytes.
    pub usage: Option<u64>,
    /// The same without what the kernel would drop first.
    pub working_set: Option<u64>,
    /// The smallest hard limit from the group up, in bytes.
    pub limit: Option<u64>,
    /// The smallest limit above which the group is slowed down, in bytes (version 2 only).
    pub high: Option<u64>,
    /// What is left below the nearest of all these limits, in bytes, and which sort it is.
    pub room: Option<(u64, LimitKind)>,
    /// How often the group was slowed down at `high`.
    pub high_events: Option<u64>,
    /// How often it met its hard limit.
    pub limit_events: Option<u64>,
    /// How many of its processes the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Seconds in which some process of it waited for memory.
    pub stall_seconds: Option<f64>,
}

impl Cgroup {
    /// The groups of a process, as they are seen from here.
    pub fn of(process: &Process) -> Option<Self> {
        let groups = process.cgroup_file()?;
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&String::from_utf8_lossy(&groups), &mountinfo)
    }

    fn find(groups: &str, mountinfo: &str) -> Option<Self> {
        let mounts = procfs::mounts(mountinfo);
        let mut pressure = None;
        let mut memory: Option<(Controller, Vec<PathBuf>)> = None;
        for (controller, group) in procfs::memory_controller(groups) {
            let Some(mount) = mounts.iter().find(|m| m.controller == controller) else {
                continue;
            };
            let point = Path::new(&mount.point);
            // Outside of what is mounted here (another namespace), the mount point is the nearest group to be seen.
            let below = Path::new(group)
                .strip_prefix(&mount.root)
                .ok()
                .filter(|below| !below.starts_with(".."))
                .unwrap_or(Path::new(""));
            let levels: Vec<PathBuf> = point
                .join(below)
                .ancestors()
                .take_while(|directory| directory.starts_with(point))
                .map(Path::to_owned)
                .collect();
            if controller == Controller::V2 {
                pressure = levels
                    .iter()
                    .map(|level| level.join("memory.pressure"))
                    .find(|file| file.exists());
            }
            // A unified hierarchy without the controller accounts nothing.
            if levels
                .iter()
                .any(|level| level.join(controller.usage_file()).exists())
            {
                memory.get_or_insert((controller, levels));
            }
        }
        let (controller, memory) = memory?;
        Some(Self {
            memory,
            controller,
            pressure,
        })
    }

    /// `v1` or `v2`: the version that accounts the memory.
    pub fn version(&self) -> &'static str {
        match self.controller {
            Controller::V1 => "v1",
            Controller::V2 => "v2",
        }
    }

    /// Its own group, as a directory.
    pub fn directory(&self) -> &Path {
        self.memory.first().map_or(Path::new("/"), PathBuf::as_path)
    }

    /// Reads everything; about a dozen small files.
    pub fn read(&self) -> CgroupReading {
        let mut reading = CgroupReading::default();
        for (depth, level) in self.memory.iter().enumerate() {
            let number = |file: &str| {
                let text = fs::read_to_string(level.join(file)).ok()?;
                procfs::parse_limit(&text)
            };
            let usage = number(self.controller.usage_file());
            let keyed = |file: &str, key: &str| {
                let text = fs::read_to_string(level.join(file)).ok()?;
                procfs::parse_keyed(&text, key)
            };
            let max = number(self.controller.limit_file());
            let high = match self.controller {
                Controller::V1 => None,
                Controller::V2 => number("memory.high"),
            };
            let mut working_set = None;
            if depth == 0 || max.is_some() || high.is_some() {
                let droppable = keyed("memory.stat", self.controller.droppable_key());
                working_set = usage.map(|usage| usage.saturating_sub(droppable.unwrap_or(0)));
            }
            if depth == 0 {
                reading.usage = usage;
                reading.working_set = working_set;
                match self.controller {
                    Controller::V1 => {
                        reading.limit_events = number("memory.failcnt");
                        reading.oom_kills = keyed("memory.oom_control", "oom_kill");
                    }
                    Controller::V2 => {
                        reading.high_events = keyed("memory.events", "high");
                        reading.limit_events = keyed("memory.events", "max");
                        reading.oom_kills = keyed("memory.events", "oom_kill");
                    }
                }
            }
            let smaller = |old: Option<u64>, new: Option<u64>| old.into_iter().chain(new).min();
            reading.limit = smaller(reading.limit, max);
            reading.high = smaller(reading.high, high);
            for (limit, kind) in [(max, LimitKind::Cgroup), (high, LimitKind::CgroupHigh)] {
                let (Some(limit), Some(used)) = (limit, working_set) else {
                    continue;
                };
                let room = limit.saturating_sub(used);
                if reading.room.is_none_or(|(least, _)| room < least) {
                    reading.room = Some((room, kind));
                }
            }
        }
        reading.stall_seconds = self
            .pressure
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok())
            .and_then(|text| procfs::parse_stall(&text));
        reading
    }
}

/// Seconds in which some process of this machine waited for memory; `None` where the kernel does not tell.
pub fn host_stall_seconds() -> Option<f64> {
    procfs::parse_stall(&fs::read_to_string("/proc/pressure/memory").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a mounted hierarchy.
    fn hierarchy(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        place
    }

    #[test]
    fn the_level_with_the_least_room_counts() {
        let place = hierarchy(&[
            ("memory.stat", "inactive_file 0\n"),
            ("pod/memory.current", "900\n"),
            ("pod/memory.max", "1000\n"),
            ("pod/memory.stat", "anon 1\ninactive_file 100\n"),
            ("pod/memory.high", "max\n"),
            ("pod/app/memory.current", "500\n"),
            ("pod/app/memory.max", "max\n"),
            ("pod/app/memory.high", "800\n"),
            ("pod/app/memory.stat", "inactive_file 50\n"),
            (
                "pod/app/memory.events",
                "low 0\nhigh 7\nmax 2\noom 1\noom_kill 1\noom_group_kill 0\n",
            ),
            (
                "pod/app/memory.pressure",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
            ),
        ]);
        let mountinfo = format!(
            "39 25 0:35 / {} rw - cgroup2 cgroup2 rw\n",
            place.path().display()
        );
        let group = Cgroup::find("0::/pod/app\n", &mountinfo).unwrap();
        assert_eq!(group.version(), "v2");
        assert_eq!(
            group.read(),
            CgroupReading {
                usage: Some(500),
                working_set: Some(450),
                limit: Some(1000),
                high: Some(800),
                // 1000 − (900 − 100) above is less than 800 − 450.
                room: Some((200, LimitKind::Cgroup)),
                high_events: Some(7),
                limit_events: Some(2),
                oom_kills: Some(1),
                stall_seconds: Some(2.5),
            }
        );
    }

    #[test]
    fn of_a_mixed_host_each_hierarchy_tells_what_it_knows() {
        let memory = hierarchy(&[
            ("job/memory.usage_in_bytes", "4096\n"),
            ("job/memory.limit_in_bytes", "8192\n"),
            (
                "job/memory.stat",
                "cache 1\ninactive_file 9\ntotal_inactive_file 1024\n",
            ),
            ("job/memory.failcnt", "3\n"),
            (
                "job/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            ),
        ]);
        let unified = hierarchy(&[(
            "job/memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        )]);
        let mountinfo = format!(
            "30 25 0:26 / {} rw - cgroup cgroup rw,memory\n39 25 0:35 / {} rw - cgroup2 cgroup2 rw\n",
            memory.path().display(),
            unified.path().display()
        );
        let group = Cgroup::find("4:memory:/job\n0::/job\n", &mountinfo).unwrap();
        let reading = group.read();
        assert_eq!(group.version(), "v1");
        assert_eq!(
            (reading.working_set, reading.limit, reading.room),
            (Some(3072), Some(8192), Some((5120, LimitKind::Cgroup)))
        );
        assert_eq!(
            (
                reading.limit_events,
                reading.oom_kills,
                reading.stall_seconds
            ),
            (Some(3), Some(2), Some(0.0))
        );
        assert_eq!(
            Cgroup::find("0::/job\n", &mountinfo).map(|g| g.version()),
            None
        );
    }

    #[test]
    fn our_own_group_can_be_read() {
        let own = Process::open(std::process::id()).unwrap();
        // Not every sandbox shows it.
        if let Some(group) = Cgroup::of(&own) {
            let reading = group.read();
            assert!(reading.usage.is_none_or(|bytes| bytes > 0), "{reading:?}");
            assert!(reading.working_set <= reading.usage, "{reading:?}");
        }
    }
}
