//! The hands on a driven subject: session, driver and load together, and what is said when one of them fails.

use std::time::{Duration, Instant};

use plimsoll_load::Driver;
use plimsoll_model::{Cx, RoundStats, units};

use crate::load::{Load, Means};
use crate::session::{Session, Stop};

/// The three hands on a driven subject.
pub(crate) struct Drive<'s, 'a> {
    pub(crate) session: &'s mut Session<'a>,
    pub(crate) driver: &'s mut dyn Driver,
    pub(crate) load: &'s Load,
}

impl Drive<'_, '_> {
    /// Lets time pass, watching the subject and the cancel request.
    pub(crate) fn rest(&mut self, length: Duration) -> Result<(), Stop> {
        let until = Instant::now() + length;
        loop {
            self.session.check_alive()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.session.nap(left.min(Duration::from_millis(50)));
        }
    }

    /// Runs the command that comes between rounds, if there is one.
    pub(crate) fn between_rounds(&mut self) -> Result<(), Stop> {
        let Some(command) = &self.session.config.around.between_rounds else {
            return Ok(());
        };
        crate::around::run(command)
            .map_err(|why| Stop::failed(format!("--between-rounds `{command}` {why}")))
    }

    /// Waits until nothing is in flight, after the round that is called so.
    pub(crate) fn quiesce(&mut self, round: &str) -> Result<(), Stop> {
        let cx = Cx::within(self.session.cancel, Duration::from_secs(10));
        match self.driver.quiesce(&cx) {
            Ok(_) => Ok(()),
            Err(_) if self.session.cancel.is_cancelled() => Err(Stop::Interrupted),
            Err(error) => Err(self.lost(round, &error)),
        }
    }

    pub(crate) fn lost(&mut self, round: &str, error: &plimsoll_load::Error) -> Stop {
        if let Err(Stop::Failed {
            what,
            details,
            hint,
        }) = self.session.check_alive_after_errors()
        {
            let hint = hint.or_else(|| {
                self.is_module().then(|| {
                    "an operation that ends its process ends the run: let it return, or throw"
                        .to_owned()
                })
            });
            return Stop::Failed {
                what: format!("{what} in {round}"),
                details,
                hint,
            };
        }
        Stop::Failed {
            what: if self.is_module() {
                format!("{error}, in {round}")
            } else {
                format!("the server was lost in {round}: {error}")
            },
            details: self.session.command_and_last_lines(),
            hint: None,
        }
    }

    /// Whether the operations are calls inside the subject.
    pub(crate) fn is_module(&self) -> bool {
        matches!(self.load.means, Means::Module(_))
    }

    pub(crate) fn too_many_errors(
        &mut self,
        round: &str,
        operations: u64,
        stats: &RoundStats,
    ) -> Stop {
        let kinds: Vec<String> = stats
            .errors_by_kind
            .iter()
            .map(|(kind, n)| format!("{} x {kind}", units::count(*n as f64)))
            .collect();
        let errors = stats.errors();
        let hint = if errors == operations && kinds.len() == 1 && kinds[0].contains("status") {
            "if that status is the right answer, name it with `--expect-status`; else check `--url` and its method".to_owned()
        } else {
            "errors change what the operations retain; raise `--max-errors` only if that is meant"
                .to_owned()
        };
        Stop::Failed {
            what: format!(
                "{} of {} operations failed in {round} ({}; allowed: {})",
                units::count(errors as f64),
                units::count(operations as f64),
                kinds.join(", "),
                units::percent(self.load.max_errors)
            ),
            details: self.session.command_and_last_lines(),
            hint: Some(hint),
        }
    }
}
