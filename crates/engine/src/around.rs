//! What happens around the load: what must be there before, and commands before the start, between rounds and at the end.
//!
//! These commands are the user's own words and are given to `sh`.

use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Error;

/// How long something that is needed may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of output that are kept for an error.
const KEPT: u64 = 64 * 1024;

/// Commands and needs around a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// `--needs`
    pub needs: Vec<String>,
    /// `--prepare`
    pub prepare: Option<String>,
    /// `--between-rounds`
    pub between_rounds: Option<String>,
    /// `--cleanup`
    pub cleanup: Option<String>,
}

impl Around {
    /// These, and where they say nothing, the lower ones.
    pub(crate) fn or(self, lower: Self) -> Self {
        Self {
            needs: if self.needs.is_empty() {
                lower.needs
            } else {
                self.needs
            },
            prepare: self.prepare.or(lower.prepare),
            between_rounds: self.between_rounds.or(lower.between_rounds),
            cleanup: self.cleanup.or(lower.cleanup),
        }
    }

    /// Before the subject starts: everything needed accepts connections, and the preparation went well.
    pub(crate) fn before(&self) -> Result<(), Error> {
        for need in &self.needs {
            check_need(need)?;
        }
        match &self.prepare {
            Some(command) => run(command).map_err(|why| {
                Error::usage(
                    format!("--prepare `{command}` {why}"),
                    "run it by hand first; nothing was started",
                )
            }),
            None => Ok(()),
        }
    }
}

/// Runs a command; says what went wrong if it fails.
pub(crate) fn run(command: &str) -> Result<(), String> {
    let (mut reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let errors = writer.try_clone().map_err(|e| e.to_string())?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|e| format!("cannot be started: {e}"))?;
    // `Command` is gone, and our ends of the pipe with it: its end is that of the command.
    let mut said = Vec::new();
    let _ = (&mut reader).take(KEPT).read_to_end(&mut said);
    let _ = std::io::copy(&mut reader, &mut std::io::sink());
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|l| !l.trim().is_empty());
    Err(match last {
        Some(line) => format!("failed ({status}): {line}"),
        None => format!("failed ({status})"),
    })
}

fn check_need(need: &str) -> Result<(), Error> {
    let wrong = || {
        Error::usage(
            format!("--needs `{need}` is not understood"),
            "an example: --needs tcp:127.0.0.1:5432",
        )
    };
    let address = need.strip_prefix("tcp:").ok_or_else(wrong)?;
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok())
        .ok_or_else(wrong)?;
    let addresses = address.to_socket_addrs().map_err(|e| {
        Error::usage(
            format!("--needs {need}: its host cannot be looked up, {e}"),
            "check the name",
        )
    })?;
    for address in addresses {
        if TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
            return Ok(());
        }
    }
    let what =
        usual_service(port).map_or_else(String::new, |name| format!(" ({name}, by its port)"));
    Err(Error::usage(
        format!("nothing answers at {need}{what}, and the subject needs it"),
        "start it first; nothing was started",
    ))
}

/// What usually listens on a port.
fn usual_service(port: u16) -> Option<&'static str> {
    Some(match port {
        1433 => "SQL Server",
        2379 => "etcd",
        3306 => "MySQL",
        4222 => "NATS",
        5432 => "PostgreSQL",
        5672 => "RabbitMQ",
        6379 => "Redis",
        9042 => "Cassandra",
        9092 => "Kafka",
        9200 => "Elasticsearch",
        11211 => "memcached",
        27017 => "MongoDB",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_say_why_they_failed() {
        assert_eq!(run("true"), Ok(()));
        assert_eq!(
            run("echo one; echo two >&2; exit 3"),
            Err("failed (exit status: 3): two".to_owned())
        );
        // More than a pipe holds.
        assert_eq!(run("head -c 300000 /dev/zero | tr '\\0' x"), Ok(()));
    }

    #[test]
    fn what_is_needed_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(check_need(&format!("tcp:127.0.0.1:{port}")).is_ok());
        drop(listener);
        let error = check_need(&format!("tcp:127.0.0.1:{port}")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("nothing answers at tcp:127.0.0.1")
        );
        assert_eq!(usual_service(5432), Some("PostgreSQL"));
        for need in ["postgres", "tcp:127.0.0.1", "tcp:127.0.0.1:x"] {
            assert!(
                check_need(need)
                    .unwrap_err()
                    .to_string()
                    .contains("not understood"),
                "{need}"
            );
        }
    }
}
