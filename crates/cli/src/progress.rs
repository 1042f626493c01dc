//! What a person sees on standard error while a run goes on: one line that is rewritten on a terminal, one plain line
//! per phase elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use plimsoll_model::{Event, Finding, Phase, Severity, units};

/// The line is rewritten at most this often.
const REDRAW: Duration = Duration::from_millis(100);

/// Tells events to a person.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the line or the terminal"
)]
#[derive(Debug)]
pub(crate) struct Progress {
    live: bool,
    quiet: bool,
    drawn: bool,
    /// Whether the line before told a doubt.
    doubted: bool,
    last: Option<Instant>,
    round: String,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self {
            live: stderr().is_terminal() && !dumb,
            quiet,
            drawn: false,
            doubted: false,
            last: None,
            round: String::new(),
        }
    }

    pub(crate) fn tell(&mut self, event: &Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::PhaseStarted {
                phase: Phase::Close,
                ..
            } => self.clear(),
            Event::PhaseStarted { phase, detail } => {
                if self.live {
                    self.draw(&format!("{}  {detail}", phase.as_str()), true);
                } else if matches!(phase, Phase::Start | Phase::Watch) {
                    self.line(&format!("{}: {detail}", phase.as_str()));
                }
            }
            Event::Waiting {
                seconds,
                last_line,
                doubt,
            } => {
                let last = doubt
                    .as_deref()
                    .or(last_line.as_deref())
                    .map(|l| format!("  | {l}"))
                    .unwrap_or_default();
                if self.live {
                    self.draw(
                        &format!("start  waiting {}{last}", units::duration(*seconds)),
                        true,
                    );
                } else if (*seconds as u64).is_multiple_of(10) || doubt.is_some() && !self.doubted {
                    self.doubted = doubt.is_some();
                    self.line(&format!(
                        "start: still waiting after {}{last}",
                        units::duration(*seconds)
                    ));
                }
            }
            Event::Progress {
                phase,
                done,
                planned,
                live_bytes,
                rate,
                seconds_left,
            } if self.live => {
                let of = planned.map(|p| format!("/{}", units::count(p as f64)));
                let parts = [
                    Some(format!(
                        "{}  {}{}",
                        phase.as_str(),
                        units::count(*done as f64),
                        of.unwrap_or_default()
                    )),
                    live_bytes.filter(|b| b.is_finite()).map(units::bytes),
                    rate.filter(|r| r.is_finite())
                        .map(|r| format!("{}/op so far", units::signed_bytes(r))),
                    seconds_left.map(|left| format!("at most {} left", units::duration(left))),
                ];
                let line = parts.into_iter().flatten().collect::<Vec<_>>().join("  ");
                self.draw(&line, done == planned.as_ref().unwrap_or(&u64::MAX));
            }
            Event::Driving {
                done,
                errors,
                planned,
                per_second,
                rss,
                seconds,
            } if self.live => {
                let of = planned.map(|p| format!("/{}", units::count(p as f64)));
                let parts = [
                    Some(format!(
                        "load  {}{}",
                        units::count(*done as f64),
                        of.unwrap_or_default()
                    )),
                    Some(format!("{}/s", units::count(*per_second))),
                    (*errors > 0).then(|| format!("{} errors", units::count(*errors as f64))),
                    rss.map(units::bytes),
                    Some(units::duration(*seconds)),
                ];
                self.draw(
                    &parts.into_iter().flatten().collect::<Vec<_>>().join("  "),
                    false,
                );
            }
            Event::PhaseEnded { phase, detail } if !self.live && !detail.is_empty() => {
                self.line(&format!("{}: {detail}", phase.as_str()));
            }
            Event::Line(line) => self.line(&plimsoll_report::safe_text(line)),
            Event::Found(finding) => self.found(finding),
            _ => {}
        }
    }

    fn found(&mut self, finding: &Finding) {
        // The report says all findings; only what limits the verdict is worth interrupting the line for.
        if finding.severity == Severity::Warning {
            self.clear();
            self.line(&format!("warning: {}", finding.message));
        }
    }

    fn draw(&mut self, line: &str, now: bool) {
        if !now && self.last.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        self.last = Some(Instant::now());
        self.drawn = true;
        self.round.clear();
        self.round
            .extend(line.chars().take(usize::from(width()) - 1));
        // Erase to the end of the line after writing, so that nothing flickers.
        let _ = write!(stderr(), "\r{}\x1b[K", self.round);
        let _ = stderr().flush();
    }

    /// Removes the live line.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(stderr(), "\r\x1b[K");
            let _ = stderr().flush();
        }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(stderr(), "{text}");
    }
}

/// Columns of the terminal, by the environment or a safe guess.
pub(crate) fn width() -> u16 {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|c| c.parse().ok())
        .filter(|c| (40..1000).contains(c))
        .unwrap_or(100)
}
