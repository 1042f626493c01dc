//! A service in a process of its own, measured from outside.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use plimsoll_alloc::{Published, REGION_VARIABLE, Surviving};
use plimsoll_native::Symbols;

use crate::stacks::Survivors;

/// A service's own process: a program that is started for a scenario and killed with it.
///
/// Built with [`Scoped`](crate::Scoped) or [`Counted`](crate::Counted) it is judged by its live bytes, exactly, and with the
/// former the lines are named that allocate what stays; else it is judged by its resident memory. What it caches and tracks is known to
/// the scenario only through gauges of the tests' own process that ask it.
///
/// ```no_run
/// use std::net::{SocketAddr, TcpStream};
/// use std::process::Command;
/// use plimsoll::memory_testing::{Operation, Payload, Service, ServiceError, ServiceProcess, ServiceType};
///
/// struct Shop;
///
/// impl Service for Shop {
///     type Running = (ServiceProcess, SocketAddr);
///
///     fn service_type(&self) -> ServiceType {
///         ServiceType::Custom("shop".to_owned())
///     }
///     fn operations(&self) -> Vec<&'static str> {
///         vec!["visit"]
///     }
///     async fn start(&self) -> Result<Self::Running, ServiceError> {
///         let address = "127.0.0.1:8080".parse()?;
///         let process = ServiceProcess::spawn(Command::new("target/release/shop").arg("8080"))?;
///         while TcpStream::connect(address).is_err() {
///             std::thread::yield_now();
///         }
///         Ok((process, address))
///     }
///     fn process_of<'a>(&self, running: &'a Self::Running) -> Option<&'a ServiceProcess> {
///         Some(&running.0)
///     }
///     async fn operate(&self, running: &Self::Running, asked: &Operation) -> Result<u64, ServiceError> {
///         # fn get(_: SocketAddr, _: String) -> Result<u64, ServiceError> { Ok(1) }
///         get(running.1, format!("/carts/{}", asked.number))
///     }
///     async fn process(&self, running: &Self::Running, payload: &Payload) -> Result<u64, ServiceError> {
///         # fn post(_: SocketAddr, _: &str) -> Result<u64, ServiceError> { Ok(1) }
///         post(running.1, &payload.text)
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ServiceProcess(Arc<Other>);

impl ServiceProcess {
    /// Starts a program, to be read from outside.
    ///
    /// # Errors
    /// If it cannot be started, or there is no place for what it publishes.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plimsoll-service-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        private_folder().create(&folder)?;
        // A child that is to be exhausted hands no job on.
        let command = command
            .env_remove(super::exhaustion::VARIABLE)
            .env(REGION_VARIABLE, &folder);
        match command.spawn() {
            Ok(child) => Ok(Self(Arc::new(Other {
                pid: child.id(),
                child: Mutex::new(child),
                folder,
            }))),
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.pid
    }

    pub(crate) fn whose(&self) -> Whose {
        Whose::Other(Arc::clone(&self.0))
    }
}

/// For nobody else: stacks tell what a program does.
fn private_folder() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes elsewhere"))]
    let mut folder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        let mut child = self.0.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whose memory a scenario reads.
#[derive(Debug, Clone, Default)]
pub(crate) enum Whose {
    /// That of this process.
    #[default]
    Own,
    /// That of a process that was started for it.
    Other(Arc<Other>),
}

impl Whose {
    /// Its folder in `/proc`.
    pub(crate) fn proc(&self) -> String {
        match self {
            Self::Own => "/proc/self".to_owned(),
            Self::Other(other) => format!("/proc/{}", other.pid),
        }
    }

    pub(crate) fn other(&self) -> Option<&Other> {
        match self {
            Self::Own => None,
            Self::Other(other) => Some(other),
        }
    }
}

/// Another process.
#[derive(Debug)]
pub(crate) struct Other {
    pub(crate) pid: u32,
    child: Mutex<Child>,
    /// Where it publishes what it counts.
    folder: PathBuf,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Other {
    fn region(&self) -> PathBuf {
        self.folder.join(self.pid.to_string())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }

    /// What its allocator counts; `None` if it publishes nothing that can be read.
    pub(crate) fn published(&self) -> Option<Published> {
        plimsoll_alloc::read_published(&File::open(self.region()).ok()?)
            .ok()
            .flatten()
    }

    /// Which sampled blocks it has.
    pub(crate) fn surviving(&self) -> Option<Surviving> {
        plimsoll_alloc::read_surviving(&File::open(self.region()).ok()?)
            .ok()
            .flatten()
    }

    /// Has it sample.
    pub(crate) fn sample_every(&self, bytes: u64) {
        let file = File::options().read(true).write(true).open(self.region());
        // Without it what stays has no lines, which is said where they are missing.
        let _ = file.and_then(|file| plimsoll_alloc::ask_for_samples(&file, bytes));
    }

    /// Names the lines that allocated what it keeps.
    pub(crate) fn name(&self, kept: &mut [Survivors]) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let mut symbols = Symbols::new(&maps, "/");
        for kept in kept {
            kept.name(&mut symbols);
        }
    }
}
