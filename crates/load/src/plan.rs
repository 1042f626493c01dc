//! What a load consists of: steps that virtual users walk through, and what they do once before.
//!
//! One request is one operation. A plan has one server: what another server answers says nothing about this one.

use std::str::FromStr;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;

use crate::script::Script;
use crate::template::{Span, spans};
use crate::{Error, HttpRequest, Table, Trust};

/// Everything a driver is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What each virtual user does once before its first operation, uncounted: log in, find a token. Done again after an
    /// answer 401.
    pub setup: Vec<Step>,
    /// The operations.
    pub steps: Vec<Step>,
    /// Who goes where.
    pub walk: Walk,
    /// Rows for `{{csv.column}}`; a virtual user takes the next one each time it begins the steps anew.
    pub table: Option<Table>,
    /// Variables with a value from the start.
    pub variables: Vec<(String, String)>,
    /// Whether virtual users keep cookies and send them back.
    pub cookies: bool,
    /// Whether connections carry more than one operation.
    pub keep_alive: bool,
    /// What is spoken below the requests.
    pub wire: Wire,
}

/// What is spoken below the requests.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    /// Whether it is HTTP/2, without asking where there is no TLS. Else it is where a server with TLS chooses it.
    pub http2: bool,
    /// Whose certificates are good.
    pub trust: Trust,
}

/// In which order the steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// All virtual users share one sequence, in which each step comes as often as its weight says.
    Shared,
    /// Each virtual user walks through all steps, in their order.
    Own,
}

/// One request, and what its answer must be and yields.
#[derive(Debug, Clone)]
pub struct Step {
    /// What to call it; empty = method and path.
    pub name: String,
    /// The request.
    pub request: HttpRequest,
    /// How often it comes, compared with the others.
    pub weight: u32,
    /// What is taken from the answer.
    pub extract: Vec<Extract>,
    /// What the answer must be, beyond its status.
    pub expect: Expect,
    /// Pause of the virtual user behind it.
    pub think: Duration,
    /// Redirects that are followed, as part of the same operation. Only to the same server.
    pub redirects: u8,
    /// What an error looks like inside an answer.
    pub form: Form,
}

/// A value taken from an answer into a variable.
#[derive(Debug, Clone)]
pub struct Extract {
    /// The variable.
    pub variable: String,
    /// Where it is.
    pub from: Origin,
}

/// Where in an answer a value is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// JSON pointer (RFC 6901) into the body: `json:/data/id`.
    Json(String),
    /// A header: `header:X-Request-Id`.
    Header(String),
    /// A cookie that the answer sets: `cookie:sid`.
    Cookie(String),
    /// The first group of a regular expression in the body, or all it matches: `regex:id=(\d+)`.
    Regex(Regex),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text
            .split_once(':')
            .ok_or("it is written json:/pointer, header:Name, cookie:name or regex:pattern")?;
        let rest = rest.trim();
        if rest.is_empty() && kind != "json" {
            return Err(format!("nothing stands behind `{kind}:`"));
        }
        match kind.trim() {
            "json" if rest.is_empty() || rest.starts_with('/') => Ok(Self::Json(rest.to_owned())),
            "json" => Err("a JSON pointer begins with `/`, an example: json:/data/id".to_owned()),
            "header" => Ok(Self::Header(rest.to_owned())),
            "cookie" => Ok(Self::Cookie(rest.to_owned())),
            "regex" => Regex::new(rest)
                .map(Self::Regex)
                .map_err(|e| format!("`{rest}` is no regular expression: {e}")),
            other => Err(format!("`{other}` is none of json, header, cookie, regex")),
        }
    }
}

/// What an answer must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// Values by JSON pointer into the body.
    pub json: Vec<(String, Value)>,
    /// Text in the body.
    pub contains: Option<String>,
    /// Longest time from the start of the operation to the end of its answer.
    pub within: Option<Duration>,
}

/// What an error looks like inside an answer with a good status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The status says it all.
    #[default]
    Plain,
    /// tRPC: an `error` element, also one of a batch.
    Trpc,
    /// GraphQL: a list of `errors`.
    Graphql,
}

impl Step {
    /// A request without anything around it.
    pub fn of(request: HttpRequest) -> Self {
        Self {
            name: String::new(),
            request,
            weight: 1,
            extract: Vec::new(),
            expect: Expect::default(),
            think: Duration::ZERO,
            redirects: 0,
            form: Form::Plain,
        }
    }
}

impl Plan {
    /// Requests that have nothing to do with each other.
    pub fn of(requests: impl IntoIterator<Item = HttpRequest>) -> Self {
        Self {
            setup: Vec::new(),
            steps: requests.into_iter().map(Step::of).collect(),
            walk: Walk::Shared,
            table: None,
            variables: Vec::new(),
            cookies: false,
            keep_alive: true,
            wire: Wire::default(),
        }
    }

    /// Checks whether it can be carried out; returns the names of its operations.
    ///
    /// # Errors
    /// The first step that cannot.
    pub fn check(&self) -> Result<Vec<String>, Error> {
        let script = Script::try_new(self.clone())?;
        Ok(script.steps.into_iter().map(|step| step.name).collect())
    }

    /// Whether operations differ by what is filled in: numbers, random values, rows of the table.
    pub fn has_inputs(&self) -> bool {
        let is_input = |name: &str| {
            let first = name.split(' ').next().unwrap_or_default();
            ["seq", "uuid", "rand"].contains(&first) || name.starts_with("csv.")
        };
        let holds = |text: &[u8]| {
            let found = spans(text);
            found
                .iter()
                .any(|span| matches!(span, Span::Value { name, .. } if is_input(name)))
        };
        self.steps.iter().any(|step| {
            let request = &step.request;
            holds(request.url.as_bytes())
                || request
                    .headers
                    .iter()
                    .any(|(_, value)| holds(value.as_bytes()))
                || request.body.as_deref().is_some_and(holds)
        })
    }

    /// Longest time an operation may take.
    pub fn timeout(&self) -> Duration {
        let steps = self.steps.iter().chain(&self.setup);
        let longest = steps.map(|s| s.request.timeout).max();
        longest.unwrap_or(HttpRequest::DEFAULT_TIMEOUT)
    }
}
