//! The driver against real sockets: the server of these tests counts for itself, and both must agree.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::time::Duration;

use plimsoll_load::{HttpDriver, HttpRequest};
use plimsoll_model::{Cancel, Cx, Mode, RoundSpec};

mod commands;
mod faults;
mod plans;
mod ready;
mod rounds;
mod server;

/// Longer than any round of these tests takes.
fn cx() -> Cx {
    Cx::within(&Cancel::try_new().unwrap(), Duration::from_mins(2))
}

fn spec(operations: u64, concurrency: u32) -> RoundSpec {
    RoundSpec::new(operations, Mode::Closed { concurrency })
}

fn driver(request: HttpRequest) -> HttpDriver {
    HttpDriver::try_new(request, 10).unwrap()
}
