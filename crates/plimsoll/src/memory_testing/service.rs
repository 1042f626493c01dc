//! The service under test, as its author describes it.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::apart::{ServiceProcess, Whose};

/// Whatever a service's own code fails with.
pub type ServiceError = Box<dyn std::error::Error + Send + Sync>;

/// Which service a test is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ServiceType {
    /// Runs scripts.
    ScriptEngine,
    /// Runs models.
    InferenceEngine,
    /// Keeps data.
    DataStore,
    /// Speaks the Model Context Protocol.
    McpGateway,
    /// Any other, by its name.
    Custom(String),
}

impl std::fmt::Display for ServiceType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Custom(name) => f.write_str(name),
            known => write!(f, "{known:?}"),
        }
    }
}

/// One operation that a service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// One of those that [`Service::operations`] names.
    pub kind: &'static str,
    /// A number that no other operation of the run has: inputs are to differ by it.
    pub number: u64,
}

/// Much data at once: lines of text, no two payloads the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// As [`Operation::number`].
    pub number: u64,
    /// As many bytes as were asked for, ASCII.
    pub text: String,
}

impl Payload {
    /// A payload of `bytes` bytes; `None` if there is no memory for it.
    pub(crate) fn try_new(number: u64, bytes: usize) -> Option<Self> {
        let mut text = String::new();
        text.try_reserve_exact(bytes).ok()?;
        let mut line = number;
        let mut block = String::new();
        for _ in 0..64 {
            // Steele and Vigna's mixing constant: neighbours look nothing alike.
            line = line.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            // Into a string nothing fails.
            let _ = writeln!(block, "{line:016x} {:016x}", line.rotate_left(32));
        }
        while text.len() < bytes {
            let room = bytes - text.len();
            text.push_str(&block[..block.len().min(room)]);
        }
        Some(Self { number, text })
    }
}

/// A service that scenarios can start, drive and stop. What it caches, pools and queues it makes known by
/// [`gauge`](crate::gauge()); what it creates, by [`track!`](crate::track).
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use plimsoll::memory_testing::{Operation, Payload, Service, ServiceError, ServiceType};
///
/// struct Notes;
///
/// impl Service for Notes {
///     type Running = Mutex<BTreeMap<u64, String>>;
///
///     fn service_type(&self) -> ServiceType {
///         ServiceType::Custom("notes".to_owned())
///     }
///     fn operations(&self) -> Vec<&'static str> {
///         vec!["write", "erase"]
///     }
///     async fn start(&self) -> Result<Self::Running, ServiceError> {
///         Ok(Mutex::default())
///     }
///     async fn operate(&self, notes: &Self::Running, asked: &Operation) -> Result<u64, ServiceError> {
///         let mut notes = notes.lock().map_err(|error| error.to_string())?;
///         let slot = asked.number % 100;
///         let gone = match asked.kind {
///             "write" => notes.insert(slot, format!("note {}", asked.number)),
///             _ => notes.remove(&slot),
///         };
///         Ok(gone.map_or(0, |note| note.len() as u64))
///     }
///     async fn process(&self, notes: &Self::Running, payload: &Payload) -> Result<u64, ServiceError> {
///         let mut notes = notes.lock().map_err(|error| error.to_string())?;
///         notes.insert(100, payload.text.to_uppercase());
///         Ok(notes.remove(&100).map_or(0, |note| note.len() as u64))
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// The service while it runs.
    type Running: Send + Sync + 'static;

    /// Which it is.
    fn service_type(&self) -> ServiceType;

    /// The kinds of operation there are. They are asked for in turns.
    fn operations(&self) -> Vec<&'static str>;

    /// Starts it.
    fn start(&self) -> impl Future<Output = Result<Self::Running, ServiceError>> + Send;

    /// One operation; how many bytes it answered with.
    fn operate(
        &self,
        running: &Self::Running,
        operation: &Operation,
    ) -> impl Future<Output = Result<u64, ServiceError>> + Send;

    /// Takes much data in; how many bytes it answered with. What does not fit is to be refused by an error.
    fn process(
        &self,
        running: &Self::Running,
        payload: &Payload,
    ) -> impl Future<Output = Result<u64, ServiceError>> + Send;

    /// The process it runs in, if not in that of the tests.
    fn process_of<'a>(&self, _running: &'a Self::Running) -> Option<&'a ServiceProcess> {
        None
    }

    /// Lets pending work of caches and pools be done: memory is read after it.
    fn settle(&self, _running: &Self::Running) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Operations after which its caches are full; more are run until memory grows evenly.
    fn warm_up_operations(&self) -> u64 {
        100
    }

    /// Stops it. It is dropped afterwards.
    fn stop(&self, _running: &Self::Running) -> impl Future<Output = ()> + Send {
        async {}
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A [`Service`] of any type.
pub(crate) trait Known: Send + Sync {
    fn service_type(&self) -> ServiceType;
    fn operations(&self) -> Vec<&'static str>;
    fn warm_up_operations(&self) -> u64;
    fn start(&self) -> Boxed<Result<Arc<dyn Started>, ServiceError>>;
}

/// One that runs.
pub(crate) trait Started: Send + Sync {
    /// Whose memory is that of the service.
    fn whose(&self) -> Whose;
    fn operate(self: Arc<Self>, operation: Operation) -> Boxed<Result<u64, ServiceError>>;
    fn process(self: Arc<Self>, payload: Payload) -> Boxed<Result<u64, ServiceError>>;
    fn settle(self: Arc<Self>) -> Boxed<()>;
    fn stop(self: Arc<Self>) -> Boxed<()>;
}

pub(crate) struct Registered<S>(pub(crate) Arc<S>);

struct Bound<S: Service> {
    service: Arc<S>,
    running: S::Running,
}

impl<S: Service> Known for Registered<S> {
    fn service_type(&self) -> ServiceType {
        self.0.service_type()
    }

    fn operations(&self) -> Vec<&'static str> {
        self.0.operations()
    }

    fn warm_up_operations(&self) -> u64 {
        self.0.warm_up_operations()
    }

    fn start(&self) -> Boxed<Result<Arc<dyn Started>, ServiceError>> {
        let service = Arc::clone(&self.0);
        Box::pin(async move {
            let running = service.start().await?;
            let bound: Arc<dyn Started> = Arc::new(Bound { service, running });
            Ok(bound)
        })
    }
}

impl<S: Service> Started for Bound<S> {
    fn whose(&self) -> Whose {
        let process = self.service.process_of(&self.running);
        process.map_or(Whose::Own, ServiceProcess::whose)
    }

    fn operate(self: Arc<Self>, operation: Operation) -> Boxed<Result<u64, ServiceError>> {
        Box::pin(async move { self.service.operate(&self.running, &operation).await })
    }

    fn process(self: Arc<Self>, payload: Payload) -> Boxed<Result<u64, ServiceError>> {
        Box::pin(async move { self.service.process(&self.running, &payload).await })
    }

    fn settle(self: Arc<Self>) -> Boxed<()> {
        Box::pin(async move { self.service.settle(&self.running).await })
    }

    fn stop(self: Arc<Self>) -> Boxed<()> {
        Box::pin(async move { self.service.stop(&self.running).await })
    }
}
