//! What every service keeps beside its engine: sessions, a call tree, a cache of answers, an audit channel, tasks.
//!
//! Each is the bounded thing that it should be, or, if its leak is switched on, the usual mistake.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plimsoll::{Gauges, Live, Registration};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leak {
    /// Sessions are closed, and stay in their map.
    SessionMap,
    /// A child holds its parent by a strong reference.
    ArcCycle,
    /// Keys that never come again, and nothing throws entries out.
    UnboundedCache,
    /// Nobody receives.
    Channel,
    /// Tasks wait for what never comes.
    ForgottenTask,
}

impl Leak {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SessionMap,
        Self::ArcCycle,
        Self::UnboundedCache,
        Self::Channel,
        Self::ForgottenTask,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SessionMap => "session-map",
            Self::ArcCycle => "arc-cycle",
            Self::UnboundedCache => "unbounded-cache",
            Self::Channel => "channel",
            Self::ForgottenTask => "forgotten-task",
        }
    }
}

impl FromStr for Leak {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|leak| leak.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no leak is called '{name}'; there are: {names}")
        })
    }
}

/// Somebody who asked.
struct Session {
    answer: Vec<u8>,
    _live: Live<Session>,
}
plimsoll::track!(Session);

/// A step of answering.
struct Call {
    parent: Mutex<Option<plimsoll::Arc<Call>>>,
    children: Mutex<Vec<plimsoll::Arc<Call>>>,
    answer: Vec<u8>,
}
plimsoll::track!(Call { parent, children });

/// Bytes of an answer that are kept.
const KEPT: usize = 900;
/// Answers kept.
const ANSWERS: usize = 64;

struct Shared {
    leak: Option<Leak>,
    sessions: Mutex<HashMap<u64, Session>>,
    answers: Mutex<BTreeMap<u64, Vec<u8>>>,
    hits: AtomicU64,
    misses: AtomicU64,
    /// When something was answered, in answers.
    stamp: AtomicU64,
    sender: mpsc::UnboundedSender<Vec<u8>>,
    audit: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The books of one running service.
pub struct Books {
    shared: std::sync::Arc<Shared>,
    heartbeat: JoinHandle<()>,
    _gauges: [Registration; 3],
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books")
            .field("leak", &self.shared.leak)
            .finish()
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Books {
    /// Operations after which the cache of answers is full: two share a key.
    pub const WARM_UP: u64 = 2 * ANSWERS as u64 + 40;

    /// Opens them; a heartbeat asks the service for its health from now on.
    pub fn open(leak: Option<Leak>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = std::sync::Arc::new(Shared {
            leak,
            sessions: Mutex::default(),
            answers: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            sender,
            audit: Mutex::new(receiver),
            waiting: Mutex::default(),
        });
        let of = std::sync::Arc::clone(&shared);
        let answers = plimsoll::gauge("answers", move || {
            let answers = lock(&of.answers);
            Gauges {
                entries: Some(answers.len() as u64),
                bytes: Some(answers.values().map(|answer| answer.len() as u64).sum()),
                capacity: Some(ANSWERS as u64),
                hits: Some(of.hits.load(Ordering::Relaxed)),
                misses: Some(of.misses.load(Ordering::Relaxed)),
                ..Gauges::default()
            }
        });
        let of = std::sync::Arc::clone(&shared);
        let audit = plimsoll::gauge("audit", move || Gauges {
            entries: Some(lock(&of.audit).len() as u64),
            ..Gauges::default()
        });
        let of = std::sync::Arc::clone(&shared);
        let tasks = plimsoll::gauge("waiting tasks", move || Gauges {
            entries: Some(lock(&of.waiting).len() as u64),
            ..Gauges::default()
        });
        let of = std::sync::Arc::clone(&shared);
        let heartbeat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                // Health is asked for under one name, always.
                of.record(u64::MAX, vec![1; 700]).await;
            }
        });
        Self {
            shared,
            heartbeat,
            _gauges: [answers, audit, tasks],
        }
    }

    /// An operation was answered with a text; its length in bytes.
    pub async fn answered(&self, number: u64, text: String) -> u64 {
        let bytes = text.len() as u64;
        let mut kept = text.into_bytes();
        kept.truncate(KEPT);
        self.record(number, kept).await;
        bytes
    }

    /// An operation was answered.
    pub async fn record(&self, number: u64, answer: Vec<u8>) {
        self.shared.record(number, answer).await;
    }
}

impl Shared {
    async fn record(&self, number: u64, answer: Vec<u8>) {
        self.session(answer.clone());
        self.call(answer.clone());
        self.cache(number, answer.clone());
        self.audit(answer.clone());
        self.task(answer).await;
    }

    fn session(&self, answer: Vec<u8>) {
        let session = Session {
            answer,
            _live: Live::new(),
        };
        let id = self.stamp.fetch_add(1, Ordering::Relaxed);
        let mut sessions = lock(&self.sessions);
        sessions.insert(id, session);
        if self.leak != Some(Leak::SessionMap) {
            let closed = sessions.remove(&id);
            drop(closed.map(|session| session.answer));
        }
    }

    fn call(&self, answer: Vec<u8>) {
        let call = |answer| {
            plimsoll::Arc::new(Call {
                parent: Mutex::default(),
                children: Mutex::default(),
                answer,
            })
        };
        let (parent, child) = (call(answer), call(Vec::new()));
        if self.leak == Some(Leak::ArcCycle) {
            *lock(&child.parent) = Some(parent.clone());
        }
        let depth = child.answer.len().min(parent.answer.len());
        debug_assert_eq!(depth, 0);
        lock(&parent.children).push(child);
    }

    fn cache(&self, number: u64, answer: Vec<u8>) {
        let mut answers = lock(&self.answers);
        // Every other question has been asked a moment ago.
        let key = number & !1;
        let known = answers.contains_key(&key);
        let counter = if known { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        let key = if self.leak == Some(Leak::UnboundedCache) {
            // The moment is part of the key, so that nothing is ever found.
            self.stamp.fetch_add(1, Ordering::Relaxed)
        } else {
            key
        };
        answers.insert(key, answer);
        if self.leak != Some(Leak::UnboundedCache) && answers.len() > ANSWERS {
            answers.pop_first();
        }
    }

    fn audit(&self, answer: Vec<u8>) {
        // The receiver lives as long as we do.
        let _ = self.sender.send(answer);
        if self.leak != Some(Leak::Channel) {
            while lock(&self.audit).try_recv().is_ok() {}
        }
    }

    async fn task(&self, answer: Vec<u8>) {
        let (go, wait) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let _ = wait.await;
            drop(answer);
        });
        if self.leak == Some(Leak::ForgottenTask) {
            lock(&self.waiting).push(go);
            return;
        }
        let _ = go.send(());
        let _ = task.await;
    }
}
