//! A service that describes its operations only once it runs is started once before, to be asked.

use std::time::{Duration, Instant};

use plimsoll_load::Url;
use plimsoll_model::{Cancel, Finding, units};
use plimsoll_probe::{Launch, Subject};

use crate::config::{Config, Origin};
use crate::error::Error;
use crate::load::{DESCRIPTION, DriverFlags, LARGEST_DESCRIPTION};

/// How long it may take to end again.
const GRACE: Duration = Duration::from_secs(3);
/// Between two questions.
const POLL: Duration = Duration::from_millis(50);

/// The same configuration with the load that the service describes; `None` where it is known already.
///
/// # Errors
/// If the service does not start, or does not describe itself in time.
pub(crate) fn described(config: &Config, cancel: &Cancel) -> Result<Option<Config>, Error> {
    let Some((url, driver)) = config.described.as_deref() else {
        return Ok(None);
    };
    let Origin::Command(command) = &config.origin else {
        return Ok(None);
    };
    let mut subject = Subject::spawn(&Launch {
        command: command.clone(),
        env: config
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        output_dir: None,
    })?;
    let answer = ask(config, &subject, url, cancel);
    let survivors = subject.end(GRACE);
    let answer = answer?;
    if let Some(survivor) = survivors.first() {
        return Err(Error::usage(
            format!(
                "pid {} did not end when it had described itself",
                survivor.id.pid
            ),
            "save the description first, and name the file",
        ));
    }
    load(config, driver, url, &answer).map(Some)
}

fn ask(config: &Config, subject: &Subject, url: &Url, cancel: &Cancel) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + config.ready_timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = DESCRIPTION.min(left).max(Duration::from_millis(1));
        let error = match plimsoll_load::fetch(url, &config.wire, patience, LARGEST_DESCRIPTION) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let gone = subject.exit().is_some() && subject.tree().is_empty();
        // A page that is not there does not come by waiting; one that fails may.
        let wrong = matches!(
            &error,
            plimsoll_load::Error::NotReady {
                status: Some(400..=499),
                ..
            } | plimsoll_load::Error::Unfit { .. }
        );
        if gone || wrong || left.is_zero() || cancel.is_cancelled() {
            let last = subject.last_lines(1).pop().unwrap_or_default();
            let after = units::duration(config.ready_timeout.as_secs_f64());
            let what = if gone {
                format!("the subject ended before it described itself: {last}")
            } else if wrong || cancel.is_cancelled() {
                error.to_string()
            } else {
                format!("the subject did not describe itself within {after}: {error}")
            };
            return Err(Error::usage(
                what,
                "`--openapi` names the page at which the service answers with its description",
            ));
        }
        subject.wait_exit(POLL, cancel);
    }
}

fn load(config: &Config, driver: &DriverFlags, url: &Url, answer: &[u8]) -> Result<Config, Error> {
    let mut load = driver.load(&config.wire, Some(answer))?;
    if let Some(load) = &mut load {
        load.findings.push(Finding::info(
            "described",
            format!("the subject was started once before, to read its description at {url}"),
        ));
    }
    Ok(Config {
        load,
        described: None,
        ..config.clone()
    })
}
