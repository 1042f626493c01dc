//! Sees processes. From outside: procfs, process trees, sockets, a spawned subject and its output. From inside: probes in
//! language runtimes that connect to the hub over a private Unix socket.
//!
//! A probe never judges. Operating-system calls live behind the one module `os`; everything else is plain Rust.

mod error;
mod hub;
mod node;
mod os;
mod output;
mod process;
mod procfs;
mod protocol;
mod runtime;
mod sampler;
mod sockets;
mod subject;
mod tree;

pub use error::Error;
pub use hub::{Hub, HubEvent, IsolateInfo};
pub use process::Process;
pub use runtime::{Runtime, Sampler};
pub use sampler::ProcessSampler;
pub use sockets::{Listener, listeners};
pub use subject::{Launch, Subject};
