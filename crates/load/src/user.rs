//! A virtual user: what it does now, where it stands in its walk, what it remembers.

use std::time::Instant;

use crate::Url;
use crate::cookies::Jar;
use crate::meter::Failure;
use crate::request::Rendering;
use crate::response::ResponseParser;
use crate::script::{Action, Script, headers};
use crate::values::{Random, Values};

/// Attempts to set up before a virtual user gives up, and the round with it.
const SETUP_ATTEMPTS: u8 = 3;

/// What a virtual user does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Nothing,
    /// An operation: index of its step.
    Step(usize),
    /// Index of a setup step.
    Setup(usize),
}

/// One virtual user; it has one connection.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) doing: Doing,
    /// When the operation under way was due, and when it began.
    pub(crate) due: Instant,
    pub(crate) begun: Instant,
    /// Where in the round's sequence it is.
    pub(crate) position: usize,
    pub(crate) is_set_up: bool,
    /// Whether an operation went well since it was set up.
    pub(crate) went_well: bool,
    pub(crate) setup_failures: u8,
    /// Redirects followed within this operation.
    pub(crate) hops: u8,
    /// Whether the request is one of its own, not the fixed one of the step.
    pub(crate) own_request: bool,
    pub(crate) seq: u64,
    row: Option<usize>,
    jar: Jar,
    variables: Vec<Option<Vec<u8>>>,
    random: Random,
}

impl User {
    pub(crate) fn new(number: u64, script: &Script) -> Self {
        let now = Instant::now();
        Self {
            doing: Doing::Nothing,
            due: now,
            begun: now,
            position: 0,
            is_set_up: script.setup.is_empty(),
            went_well: false,
            setup_failures: 0,
            hops: 0,
            own_request: false,
            seq: 0,
            row: None,
            jar: Jar::default(),
            variables: script.initial.clone(),
            random: Random::new(number),
        }
    }

    /// Forgets what its last setup found.
    pub(crate) fn begin_setup(&mut self, script: &Script) {
        self.variables.clone_from(&script.initial);
        self.jar = Jar::default();
        self.went_well = false;
    }

    /// A setup step failed; whether to give up.
    pub(crate) fn setup_failed(&mut self) -> bool {
        self.setup_failures += 1;
        self.setup_failures >= SETUP_ATTEMPTS
    }

    /// Takes the next row of the table, at the start of a walk.
    pub(crate) fn take_row(&mut self, script: &Script, next: &mut usize) {
        let Some(table) = &script.table else { return };
        if self.row.is_none() || !script.keeps_row {
            self.row = Some(*next % table.rows.len());
            *next = (*next + 1) % table.rows.len();
        }
    }

    /// Every operation is to be the same: nothing random, the first row.
    pub(crate) fn use_same_input(&mut self) {
        self.random = Random::new(0);
        if self.row.is_some() {
            self.row = Some(0);
        }
    }

    /// Writes the request of a step, unless it is always the same.
    pub(crate) fn render(
        &mut self,
        rendering: &Rendering,
        script: &Script,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.hops = 0;
        self.own_request = rendering.fixed().is_none() || !self.jar.is_empty();
        if !self.own_request {
            return Ok(());
        }
        let row = self.row.zip(script.table.as_ref());
        let mut values = Values {
            seq: self.seq,
            random: &mut self.random,
            row: row.map_or(&[], |(row, table)| table.rows[row].as_slice()),
            variables: &self.variables,
        };
        let jar = &mut self.jar;
        rendering
            .render(&mut values, scratch, out, |head| {
                if !jar.is_empty() {
                    let path = path_of(head).to_vec();
                    jar.header(&path, Instant::now(), head);
                }
            })
            .map_err(|_| Failure::NoValue)
    }

    /// Keeps the cookies an answer sets.
    pub(crate) fn take_cookies(&mut self, answer: &ResponseParser, request: &[u8]) {
        let now = Instant::now();
        for (name, value) in headers(answer.kept_head()) {
            if name.eq_ignore_ascii_case(b"set-cookie") {
                self.jar.take(value, path_of(request), now);
            }
        }
    }

    /// Looks into an answer with a good status.
    pub(crate) fn examine(
        &mut self,
        action: &Action,
        answer: &ResponseParser,
        now: Instant,
    ) -> Result<(), Failure> {
        action.examine(answer, now - self.begun, &mut self.variables)
    }

    /// The request that follows a redirect, if it leads to the same server.
    pub(crate) fn redirected(
        &mut self,
        status: u16,
        answer: &ResponseParser,
        request: &[u8],
        server: &Url,
    ) -> Option<Vec<u8>> {
        let (_, location) =
            headers(answer.kept_head()).find(|(name, _)| name.eq_ignore_ascii_case(b"location"))?;
        let location = std::str::from_utf8(location).ok()?;
        let path = resolve(location, path_of(request), server)?;
        let head_end = request.windows(4).position(|w| w == b"\r\n\r\n")? + 2;
        let (head, body) = (&request[..head_end], &request[head_end + 2..]);
        let mut lines = head.split_inclusive(|b| *b == b'\n');
        let method = lines.next()?.split(|b| *b == b' ').next()?;
        // RFC 9110 §15.4: 307 and 308 keep method and body, the others become a GET.
        let keeps = matches!(status, 307 | 308);
        let method: &[u8] = if keeps || method == b"HEAD" {
            method
        } else {
            b"GET"
        };
        let mut next = [method, b" ", path.as_bytes(), b" HTTP/1.1\r\n"].concat();
        for line in lines {
            let name = line.split(|b| *b == b':').next().unwrap_or_default();
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let of_body = is("Content-Length") || is("Content-Type");
            if !is("Cookie") && (keeps || !of_body) {
                next.extend_from_slice(line);
            }
        }
        self.jar.header(path.as_bytes(), Instant::now(), &mut next);
        next.extend_from_slice(b"\r\n");
        if keeps {
            next.extend_from_slice(body);
        }
        Some(next)
    }
}

/// Path and query of a rendered request.
fn path_of(request: &[u8]) -> &[u8] {
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    line.split(|b| *b == b' ').nth(1).unwrap_or(b"/")
}

/// Where a `Location` leads on the same server.
fn resolve(location: &str, from: &[u8], server: &Url) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let path = if let Some((scheme, rest)) = location.split_once("://") {
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let same = scheme.eq_ignore_ascii_case(server.scheme.as_str())
            && host.eq_ignore_ascii_case(&server.authority);
        if !same {
            return None;
        }
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        }
    } else if location.starts_with("//") {
        return None;
    } else if location.starts_with('/') {
        location.to_owned()
    } else {
        let from = std::str::from_utf8(from).ok()?;
        let from = from.split('?').next().unwrap_or("/");
        format!(
            "{}/{location}",
            from.rsplit_once('/').map_or("", |(before, _)| before)
        )
    };
    path.bytes().all(|b| b.is_ascii_graphic()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_only_to_the_same_server() {
        let server = Url::parse("http://127.0.0.1:3000/").unwrap();
        let check = |location: &str, expected: Option<&str>| {
            let seen = resolve(location, b"/a/b?c", &server);
            assert_eq!(seen.as_deref(), expected, "{location}");
        };
        check("/x?y#z", Some("/x?y"));
        check("x", Some("/a/x"));
        check("http://127.0.0.1:3000/q", Some("/q"));
        check("http://127.0.0.1:3000", Some("/"));
        check("http://127.0.0.1:3001/q", None);
        check("https://127.0.0.1:3000/q", None);
        check("//example.org/", None);
        check("/a b", None);
    }

    #[test]
    fn the_path_is_that_of_the_request_line() {
        assert_eq!(path_of(b"GET /a?b HTTP/1.1\r\nX: /c d\r\n"), b"/a?b");
        assert_eq!(path_of(b""), b"/");
    }
}
