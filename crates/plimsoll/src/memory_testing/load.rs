//! Drives a service: exactly so many operations, each a task of its own with a deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use plimsoll_alloc::Scope;
use tokio::task::{JoinError, JoinSet};

use super::service::{Operation, Payload, ServiceError, Started};

/// Different complaints that are told apart; what comes after is counted together.
const MOST_COMPLAINTS: usize = 20;
/// Characters of one.
const LONGEST_COMPLAINT: usize = 160;
/// Operations that did not end, after which no more are begun: their memory would be anybody's.
const MOST_ENDLESS: u64 = 3;
/// What an operation that holds its thread gets beyond its deadline.
const GRACE: Duration = Duration::from_secs(5);

/// What an operation consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Work {
    /// The service's kinds of operation, in turns.
    Operations,
    /// Payloads of so many bytes.
    Payloads(u64),
}

/// How operations are issued.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// So many in flight; the next begins when one ends.
    Closed(u32),
    /// So many begin each second, whatever became of those before, as long as no more than these are in flight.
    Open(f64, u32),
}

/// What came of one operation.
struct Done {
    outcome: Result<u64, String>,
    taken: Duration,
    endless: bool,
}

/// What came of many.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Microseconds.
    pub(crate) times: Histogram<u64>,
    /// Wall time of the rounds.
    pub(crate) busy: Duration,
}

impl Tally {
    pub(crate) fn new() -> Self {
        // 1 µs to 10 min to a thousandth: of fixed size, however many operations there are.
        let times = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self {
            done: 0,
            failed: 0,
            bytes_in: 0,
            bytes_out: 0,
            times: times.unwrap_or_else(|_| unreachable!("the bounds are right")),
            busy: Duration::ZERO,
        }
    }

    pub(crate) fn begun(&self) -> u64 {
        self.done + self.failed
    }

    pub(crate) fn error_rate(&self) -> f64 {
        self.failed as f64 / self.begun() as f64
    }

    fn count(&mut self, done: &Done) {
        // Beyond ten minutes all are as slow.
        self.times.saturating_record(done.taken.as_micros() as u64);
        match done.outcome {
            Ok(bytes) => {
                self.done += 1;
                self.bytes_out += bytes;
            }
            Err(_) => self.failed += 1,
        }
    }
}

/// What failed since the service was started.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    pub(crate) begun: u64,
    pub(crate) failed: u64,
    endless: u64,
    pub(crate) by_words: BTreeMap<String, u64>,
}

impl Complaints {
    pub(crate) fn error_rate(&self) -> f64 {
        self.failed as f64 / self.begun.max(1) as f64
    }

    /// The one heard most often.
    pub(crate) fn loudest(&self) -> Option<(&str, u64)> {
        let most = self.by_words.iter().max_by_key(|(_, count)| **count)?;
        Some((most.0, *most.1))
    }

    fn count(&mut self, done: &Done) {
        self.begun += 1;
        self.endless += u64::from(done.endless);
        if let Err(words) = &done.outcome {
            self.complain(words, 1);
        }
    }

    fn complain(&mut self, words: &str, times: u64) {
        self.failed += times;
        let words = &words[..words.floor_char_boundary(LONGEST_COMPLAINT)];
        if let Some(count) = self.by_words.get_mut(words) {
            *count += times;
            return;
        }
        let is_one_too_many = self.by_words.len() >= MOST_COMPLAINTS;
        let words = if is_one_too_many { "others" } else { words };
        *self.by_words.entry(words.to_owned()).or_default() += times;
    }
}

/// Drives one service.
pub(crate) struct Load {
    started: Arc<dyn Started>,
    kinds: Vec<&'static str>,
    timeout: Duration,
    /// What operations allocate is counted to it, if there is one.
    pub(crate) scope: Option<Scope>,
    next: u64,
    /// Of the phase that is measured.
    pub(crate) tally: Tally,
    pub(crate) complaints: Complaints,
}

impl Load {
    pub(crate) fn new(
        started: Arc<dyn Started>,
        kinds: Vec<&'static str>,
        timeout: Duration,
        tally: Tally,
    ) -> Self {
        Self {
            started,
            kinds,
            timeout,
            scope: None,
            next: 0,
            tally,
            complaints: Complaints::default(),
        }
    }

    pub(crate) fn kinds(&self) -> &[&'static str] {
        &self.kinds
    }

    /// The number of the next operation.
    pub(crate) fn number_from(&mut self, number: u64) {
        self.next = number;
    }

    /// What came of operations of this phase; another begins.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::replace(&mut self.tally, Tally::new())
    }

    /// Forgets what came of operations of this phase.
    pub(crate) fn restart(&mut self) {
        drop(self.take_tally());
    }

    /// The service, to be stopped, and what failed of it.
    pub(crate) fn end(self) -> (Arc<dyn Started>, Complaints) {
        (self.started, self.complaints)
    }

    /// Whether operations do not end, so that no more may be begun.
    pub(crate) fn is_stuck(&self) -> bool {
        self.complaints.endless >= MOST_ENDLESS
    }

    pub(crate) async fn settle(&self) {
        let settled = Arc::clone(&self.started).settle();
        // What does not settle is read as it is.
        let _ = tokio::time::timeout(self.timeout, settled).await;
    }

    /// Exactly so many operations, unless they do not end.
    pub(crate) async fn round(&mut self, work: Work, pace: Pace, operations: u64) {
        let begun = Instant::now();
        let mut flying = JoinSet::new();
        let most = match pace {
            Pace::Closed(most) | Pace::Open(_, most) => most.max(1) as usize,
        };
        for number in 0..operations {
            let due = match pace {
                Pace::Closed(_) => None,
                Pace::Open(rate, _) => {
                    let due = begun + Duration::from_secs_f64(number as f64 / rate);
                    if due > Instant::now() {
                        tokio::time::sleep_until(due.into()).await;
                    }
                    Some(due)
                }
            };
            while let Some(done) = flying.try_join_next() {
                self.count(done);
            }
            while flying.len() >= most && !self.is_stuck() {
                self.join(&mut flying).await;
            }
            if self.is_stuck() {
                break;
            }
            self.begin(work, None, due, &mut flying);
        }
        while !flying.is_empty() && !self.is_stuck() {
            self.join(&mut flying).await;
        }
        // What does not end is left behind, and said: a task that holds its thread cannot be taken away.
        flying.detach_all();
        self.tally.busy += begun.elapsed();
    }

    /// One operation of a kind alone; whether it succeeded.
    pub(crate) async fn alone(&mut self, work: Work, kind: Option<&'static str>) -> bool {
        let failed = self.tally.failed;
        let mut flying = JoinSet::new();
        self.begin(work, kind, None, &mut flying);
        self.join(&mut flying).await;
        flying.detach_all();
        self.tally.failed == failed
    }

    /// The payload of an operation of its own; `None` if there is no memory for it.
    pub(crate) fn payload(&mut self, bytes: u64) -> Option<Payload> {
        self.next += 1;
        Payload::try_new(self.next - 1, bytes as usize)
    }

    /// Whether the service takes a payload in, and what it says if not. That it may refuse is no complaint.
    pub(crate) async fn offer(&self, payload: Payload) -> Result<u64, String> {
        let operation = Arc::clone(&self.started).process(payload);
        let within = tokio::spawn(tokio::time::timeout(self.timeout, operation));
        match within.await {
            Ok(Ok(outcome)) => outcome.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err(format!("did not end within {:?}", self.timeout)),
            Err(error) => Err(words_of_end(error)),
        }
    }

    fn begin(
        &mut self,
        work: Work,
        kind: Option<&'static str>,
        due: Option<Instant>,
        flying: &mut JoinSet<Done>,
    ) {
        let number = self.next;
        self.next += 1;
        let started = Arc::clone(&self.started);
        let asked = match work {
            Work::Operations => {
                let turn = (number % self.kinds.len() as u64) as usize;
                let kind = kind.unwrap_or(self.kinds[turn]);
                Ok(started.operate(Operation { kind, number }))
            }
            Work::Payloads(bytes) => match Payload::try_new(number, bytes as usize) {
                Some(payload) => {
                    self.tally.bytes_in += bytes;
                    Ok(started.process(payload))
                }
                None => Err(format!("no memory for a payload of {bytes} bytes")),
            },
        };
        let scope = self.scope.clone();
        let timeout = self.timeout;
        flying.spawn(async move {
            let begun = due.unwrap_or_else(Instant::now);
            let mut endless = false;
            let outcome = match asked {
                Err(complaint) => Err(complaint),
                Ok(operation) => {
                    let within = async {
                        match scope {
                            Some(scope) => scope.wrap(operation).await,
                            None => operation.await,
                        }
                    };
                    if let Ok(outcome) = tokio::time::timeout(timeout, within).await {
                        outcome.map_err(|error: ServiceError| error.to_string())
                    } else {
                        endless = true;
                        Err(format!("did not end within {timeout:?}"))
                    }
                }
            };
            Done {
                outcome,
                taken: begun.elapsed(),
                endless,
            }
        });
    }

    /// Waits for one of those in flight.
    async fn join(&mut self, flying: &mut JoinSet<Done>) {
        let patience = self.timeout + GRACE;
        match tokio::time::timeout(patience, flying.join_next()).await {
            Ok(Some(done)) => self.count(done),
            Ok(None) => {}
            // A task that does not even come to its deadline holds its thread.
            Err(_) => {
                let stuck = (flying.len() as u64).max(1);
                self.tally.failed += stuck;
                self.complaints.begun += stuck;
                self.complaints.endless += stuck.max(MOST_ENDLESS);
                let words = format!("holds its thread and did not end within {patience:?}");
                self.complaints.complain(&words, stuck);
            }
        }
    }

    fn count(&mut self, joined: Result<Done, JoinError>) {
        let done = joined.unwrap_or_else(|error| Done {
            outcome: Err(words_of_end(error)),
            taken: Duration::ZERO,
            endless: false,
        });
        self.tally.count(&done);
        self.complaints.count(&done);
    }
}

/// Why a task did not come to its end.
fn words_of_end(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("panicked: {}", words_of(&*panic)),
        Err(_) => "was cancelled: the runtime ends".to_owned(),
    }
}

/// What a panic said.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
