//! Drives subjects: operations in rounds of exactly N.
//!
//! A driver makes operations happen and says truthfully what came of them; it never judges. Nothing is retried, and no
//! per-operation data is kept: a driver that grows with the operations it makes would be the leak it looks for.
//!
//! [`HttpDriver`] is a closed or open loop over `HTTP` and `WebSocket`s on one thread, the caller's. Every operation it begins ends in exactly
//! one of two ways, answered as expected or counted under a kind of error, and while nothing is in flight the number of
//! its connections is the same after every round, because a server pays bytes for each of them.
//!
//! ```no_run
//! use std::time::Duration;
//! use plimsoll_load::{Driver, HttpDriver, HttpRequest};
//! use plimsoll_model::{Cancel, Cx, Mode, RoundSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut driver = HttpDriver::try_new(HttpRequest::get("http://127.0.0.1:3000/api/items?id={{seq}}"), 10)?;
//! let round = RoundSpec::new(1_000, Mode::Closed { concurrency: 10 });
//! let cx = Cx::within(&Cancel::try_new()?, Duration::from_secs(60));
//! let stats = driver.round(&round, &cx)?;
//! assert_eq!(stats.done + stats.errors(), 1_000);
//! driver.quiesce(&cx)?;
//! # Ok(())
//! # }
//! ```

mod clock;
mod command;
mod connection;
mod cookies;
mod count;
mod driver;
mod error;
mod http;
mod http2;
mod meter;
mod module;
mod plan;
mod ready;
mod request;
mod response;
mod script;
mod status;
mod template;
mod transport;
mod trust;
mod url;
mod user;
mod values;
mod wait;
mod websocket;

pub use command::{Asked, ExternalDriver, WorkerDriver, words};
pub use count::{Counter, LineCount};
pub use driver::Driver;
pub use error::Error;
pub use http::HttpDriver;
pub use meter::Progress;
pub use module::{Language, Module, ModuleDriver, ModuleHost, SuiteHost};
pub use plan::{Expect, Extract, Form, Origin, Plan, Step, Walk, Wire};
pub use ready::{fetch, port_is_silent, probe_ready};
pub use request::HttpRequest;
pub use status::{StatusRange, StatusRanges};
pub use trust::Trust;
pub use url::{Scheme, Url};
pub use values::Table;
