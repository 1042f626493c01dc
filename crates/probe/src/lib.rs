//! Sees processes. From outside: procfs, process trees, sockets, a spawned subject and its output. From inside: probes in
//! language runtimes that connect to the hub over a private Unix socket.
//!
//! A probe never judges. Operating-system calls live behind the one module `os`; everything else is plain Rust.

mod attach;
mod cdp;
mod cgroup;
mod clock;
mod error;
mod evidence;
mod family;
mod hub;
mod network;
mod node;
mod os;
mod output;
mod pipe;
mod process;
mod procfs;
mod protocol;
mod python;
mod runtime;
mod sampler;
mod sockets;
mod subject;
mod surroundings;
mod tree;
mod wrapped;

pub use attach::{Attached, NotAttached, Way, attach, may_be_attached};
pub use cdp::{Cdp, Event as CdpEvent, Target, targets};
pub use cgroup::{Cgroup, CgroupReading, host_stall_seconds};
pub use clock::{ClockChange, ClockWatch};
pub use error::Error;
pub use evidence::{Script, connect, headroom_for_snapshot, scripts, stream_snapshot};
pub use family::{Family, FamilyChange, processes_named, wait_for_end};
pub use hub::{Hub, HubEvent, HubOptions, IsolateInfo};
pub use network::Network;
pub use output::{Line, Lines};
pub use plimsoll_alloc::{Published, SAMPLED_EVERY, Surviving};
pub use process::{OwnUsage, Process, Resident, available_memory, host_memory, own_usage};
pub use procfs::Memory;
pub use runtime::{Runtime, Sampler};
pub use sampler::ProcessSampler;
pub use sockets::{
    Listener, connection_holders, listener_owners, listeners, listening_ports, port_holder,
};
pub use subject::{
    Launch, Subject, become_subreaper, kill_subjects, program_of, raise_descriptor_limit,
    reap_strangers,
};
pub use surroundings::{Surroundings, free_space};
pub use tree::{Members, members, roles_of};
pub use wrapped::{Signals, Wrapped};
