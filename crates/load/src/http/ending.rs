//! How what a virtual user does comes to its end: answered, redirected, failed or too late, each exactly once; and
//! what to advise about the answers.

use std::cmp::Reverse;
use std::mem;
use std::time::{Duration, Instant};

use plimsoll_model::{Finding, units};

use super::{HttpDriver, Noticed, PAUSE, Stop, action};
use crate::connection::{Closing, State, Step};
use crate::meter::{Ended, Failure};
use crate::response::{Answer, Capture};
use crate::user::Doing;

impl HttpDriver {
    pub(super) fn settle(&mut self, slot: usize, step: Step) {
        match step {
            Step::Wait | Step::Connected => {}
            Step::Again => self.round.again.push(slot),
            Step::Answered { answer, open } => self.answered(slot, answer, open),
            Step::Failed(failure) => {
                if self.connections[slot].state() == State::Connecting {
                    self.connect_failed(slot, failure);
                } else {
                    if failure.is_final() {
                        self.round.unfit.get_or_insert(failure);
                    }
                    self.fail(slot, failure, Duration::ZERO);
                }
            }
        }
    }

    fn answered(&mut self, slot: usize, answer: Answer, open: bool) {
        let now = Instant::now();
        let connection = &mut self.connections[slot];
        self.spoken = connection.spoken().or(self.spoken);
        if open && self.script.keep_alive {
            connection.rest(now, answer.idle_timeout);
        } else if answer.closes || open {
            self.announced_ends += u64::from(answer.closes);
            self.round.announced_ends += 1;
            connection.close(Closing::Planned);
        } else {
            connection.close(Closing::Lost);
        }
        self.round.refused_since = None;
        self.round.answers += 1;
        self.set_cookie_answers += u64::from(answer.sets_cookie);
        self.login_redirects += u64::from(answer.to_login);

        let user = &mut self.users[slot];
        let Some(action) = action(&self.script, user.doing) else {
            return;
        };
        let parser = &self.connections[slot].parser;
        if self.script.cookies && answer.sets_cookie {
            let request = &self.connections[slot].request;
            user.take_cookies(
                parser,
                if user.own_request {
                    request
                } else {
                    action.rendering.fixed().unwrap_or(request)
                },
            );
        }
        if action.redirects > 0 && matches!(answer.status, 301..=303 | 307 | 308) {
            let request = if user.own_request {
                &self.connections[slot].request[..]
            } else {
                action.rendering.fixed().unwrap_or_default()
            };
            let server = &self.script.url;
            if let Some(next) = user.redirected(answer.status, parser, request, server) {
                if user.hops >= action.redirects {
                    self.end(slot, Some(now), Err(Failure::Redirects));
                } else {
                    user.hops += 1;
                    self.follow(slot, next);
                }
                return;
            }
        }
        let result = if !action.expect.contains(answer.status) {
            Err(Failure::Status(answer.status))
        } else if action.is_plain() {
            Ok(())
        } else {
            user.examine(action, parser, now)
        };
        self.end(slot, Some(now), result);
    }

    /// Goes where the answer says, within the same operation.
    fn follow(&mut self, slot: usize, request: Vec<u8>) {
        let user = &mut self.users[slot];
        user.own_request = true;
        let connection = &mut self.connections[slot];
        let is_head = request.starts_with(b"HEAD ");
        let capture = Capture {
            head: true,
            body: action(&self.script, user.doing).is_some_and(|a| a.capture.body),
        };
        connection.request = request;
        let (received, sent) = (connection.received, connection.sent);
        connection.begin(user.begun, is_head, false, capture);
        (connection.received, connection.sent) = (received, sent);
        if let Err(Stop::Failed(_)) = self.send(slot) {
            self.fail(slot, Failure::Connect, PAUSE);
        }
    }

    /// What the user did is over: answered at `at`, if at all.
    pub(super) fn end(&mut self, slot: usize, at: Option<Instant>, result: Result<(), Failure>) {
        let user = &mut self.users[slot];
        let connection = &mut self.connections[slot];
        let doing = mem::replace(&mut user.doing, Doing::Nothing);
        connection.started = None;
        match doing {
            Doing::Nothing => {}
            Doing::Setup(step) => self.setup_ended(slot, step, result),
            Doing::Step(step) => {
                let unauthorized =
                    result == Err(Failure::Status(401)) && !self.script.setup.is_empty();
                // The first refusal after a success is what a token does when it is over.
                let refreshes = unauthorized && user.went_well;
                if unauthorized {
                    user.is_set_up = false;
                }
                user.went_well = result.is_ok() || (user.went_well && !unauthorized);
                self.meter.refreshed += u64::from(refreshes);
                let failure = result.err().filter(|_| !refreshes);
                self.meter.ended(Ended {
                    operation: step,
                    latency: at.map(|at| at - user.due),
                    service: at.map_or(Duration::ZERO, |at| at - user.begun),
                    bytes_in: connection.received,
                    bytes_out: connection.sent,
                    failure,
                });
                self.round.ended += 1;
                let think = self.script.steps[step].think;
                self.release(slot, think);
            }
        }
    }

    fn setup_ended(&mut self, slot: usize, step: usize, result: Result<(), Failure>) {
        let user = &mut self.users[slot];
        self.round.setups -= 1;
        match result {
            Ok(()) if step + 1 < self.script.setup.len() => {
                self.round.setups += 1;
                if let Err(Stop::Failed(_)) =
                    self.begin(slot, Doing::Setup(step + 1), Instant::now())
                {
                    self.fail(slot, Failure::Connect, PAUSE);
                }
            }
            Ok(()) => {
                user.is_set_up = true;
                user.setup_failures = 0;
                user.position = 0;
                self.release(slot, Duration::ZERO);
            }
            Err(failure) => {
                // Whether the server is lost is seen elsewhere.
                let absent = matches!(failure, Failure::Refused | Failure::Unreachable);
                if !absent && user.setup_failed() {
                    user.setup_failures = 0;
                    let text = self.meter.text(failure);
                    self.round.broken.get_or_insert((step, text));
                }
                self.release(slot, PAUSE);
            }
        }
    }

    /// The user can go on, after a pause.
    fn release(&mut self, slot: usize, pause: Duration) {
        if pause.is_zero() {
            self.round.free.push_back(slot);
        } else {
            self.round
                .paused
                .push(Reverse((Instant::now() + pause, slot)));
        }
    }

    /// Counts what this user did, if it did something, and closes its connection.
    fn fail(&mut self, slot: usize, failure: Failure, pause: Duration) {
        let connection = &mut self.connections[slot];
        let was_busy = connection.started.is_some();
        connection.close(Closing::Lost);
        if was_busy {
            let before = self.round.free.len();
            self.end(slot, None, Err(failure));
            if !pause.is_zero() && self.round.free.len() > before {
                self.round.free.pop_back();
                self.release(slot, pause);
            }
        }
    }

    pub(super) fn connect_failed(&mut self, slot: usize, failure: Failure) {
        if failure.is_final() {
            self.round.unfit.get_or_insert(failure);
        }
        if matches!(failure, Failure::Refused | Failure::Unreachable) {
            self.round.refused_since.get_or_insert_with(Instant::now);
        }
        self.fail(slot, failure, PAUSE);
    }

    /// Gives up operations that take too long, and finds when the next may have to be.
    pub(super) fn expire(&mut self, now: Instant) {
        let mut next = now + self.timeout;
        for slot in 0..self.connections.len() {
            let Some(started) = self.connections[slot].started else {
                continue;
            };
            let timeout =
                action(&self.script, self.users[slot].doing).map_or(self.timeout, |a| a.timeout);
            let end = started + timeout;
            if end <= now {
                self.fail(slot, Failure::Timeout, Duration::ZERO);
            } else {
                next = next.min(end);
            }
        }
        self.round.next_timeout = next;
    }

    /// What deserves an advice.
    pub(super) fn advice(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(spoken) = self.spoken {
            found.push(Finding::info("spoken", format!("driven by {spoken}")));
        }
        let Noticed {
            answers,
            unauthorized,
            forbidden,
            too_many,
        } = self.noticed;
        let mut advise = |id: &str, count: u64, what: &str, hint: &str| {
            if count > 0 {
                let count = units::count(count as f64);
                found.push(Finding::warning(
                    id,
                    format!("{count} operations were {what}"),
                    Some(hint),
                ));
            }
        };
        advise(
            "unauthorized",
            unauthorized,
            "answered 401, unauthorized",
            "send a token with `--header 'Authorization: env:TOKEN'`, or log in by a `[[driver.setup]]` step",
        );
        advise(
            "forbidden",
            forbidden,
            "answered 403, forbidden",
            "the user it is driven as may not do this: take another one",
        );
        advise(
            "rate-limited",
            too_many,
            "answered 429, too many requests",
            "drive it slower with `--rate`, or lift its rate limit for the test",
        );
        advise(
            "login",
            self.login_redirects,
            "redirected to what looks like a login",
            "log in by a `[[driver.setup]]` step, or send a token with `--header`; a login page says nothing about the service",
        );
        if !self.script.cookies && answers > 0 && self.set_cookie_answers > answers / 2 {
            found.push(Finding {
                hint: Some("if the service keeps a session per visitor, that growth is of the load's making: `--cookies` keeps and returns them".to_owned()),
                ..Finding::info(
                    "new-session-per-request",
                    "every answer sets a cookie, and none is sent back: each request is a new visitor",
                )
            });
        }
        found
    }
}
