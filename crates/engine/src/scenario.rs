//! `[[driver.setup]]` and `[[driver.step]]` of `plimsoll.toml`: what virtual users do, step by step.
//!
//! Only shape is read here; what templates may say and whether steps fit together is known to the driver, and what it
//! refuses is located in the file afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use plimsoll_load::{Expect, Extract, Form, HttpRequest, Origin, Plan, Step, Table, Walk, Wire};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::config::parse_statuses;
use crate::error::Error;
use crate::file::{duration, position};
use crate::load::{Defaults, beside, origin, with_environment};

/// The steps of a configuration file.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    pub(crate) setup: Vec<Spanned<StepEntry>>,
    pub(crate) steps: Vec<Spanned<StepEntry>>,
    /// Table of values, relative to the file.
    pub(crate) csv: Option<String>,
    pub(crate) variables: BTreeMap<String, String>,
    /// The text of the file, to find places in.
    pub(crate) text: String,
}

/// One step as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StepEntry {
    name: Option<String>,
    method: Option<String>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    json: Option<Value>,
    /// What is sent on a WebSocket: a text, or a value as JSON.
    message: Option<Value>,
    extract: BTreeMap<String, String>,
    expect: ExpectEntry,
    #[serde(deserialize_with = "duration")]
    think: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    timeout: Option<Duration>,
    weight: Option<u32>,
    redirects: Option<u8>,
    trpc: Option<TrpcEntry>,
    graphql: Option<GraphqlEntry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExpectEntry {
    status: Option<String>,
    json: BTreeMap<String, Value>,
    contains: Option<String>,
    #[serde(deserialize_with = "duration")]
    within: Option<Duration>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrpcEntry {
    /// A procedure, or several that are called at once.
    path: OneOrMany,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    mutation: bool,
    #[serde(default)]
    transformer: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphqlEntry {
    query: String,
    #[serde(default)]
    variables: Option<Value>,
    #[serde(default)]
    operation: Option<String>,
}

impl Scenario {
    /// The plan these steps make. `base` is what relative URLs belong to.
    pub(crate) fn plan(
        &self,
        path: &Path,
        base: Option<&String>,
        defaults: &Defaults,
    ) -> Result<Plan, Error> {
        let table = self
            .csv
            .as_ref()
            .map(|name| read_table(&beside(path, name)));
        let steps = |entries: &[Spanned<StepEntry>]| -> Result<Vec<Step>, Error> {
            entries
                .iter()
                .map(|entry| {
                    entry.get_ref().step(base, defaults).map_err(|error| {
                        let at = position(&self.text, entry.span().start);
                        error.at(path, at)
                    })
                })
                .collect()
        };
        Ok(Plan {
            setup: steps(&self.setup)?,
            steps: steps(&self.steps)?,
            walk: Walk::Own,
            table: table.transpose()?,
            variables: self
                .variables
                .iter()
                .map(|(name, value)| Ok((name.clone(), with_environment(value)?)))
                .collect::<Result<_, Error>>()?,
            cookies: true,
            keep_alive: true,
            wire: Wire::default(),
        })
    }

    /// What the driver refused, with its place in the file.
    pub(crate) fn located(&self, path: &Path, error: plimsoll_load::Error) -> Error {
        let plimsoll_load::Error::Step {
            setup,
            index,
            error: ref inner,
            ..
        } = error
        else {
            return error.into();
        };
        let entries = if setup { &self.setup } else { &self.steps };
        let begin = entries.get(index).map_or(0, |e| e.span().start);
        let later = self.setup.iter().chain(&self.steps).map(|e| e.span().start);
        let end = later
            .filter(|s| *s > begin)
            .min()
            .unwrap_or(self.text.len());
        let written = match &**inner {
            plimsoll_load::Error::Template { text, .. } => text.clone(),
            plimsoll_load::Error::Request { what, .. } => {
                what.split('`').nth(1).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        let offset = self
            .text
            .get(begin..end)
            .and_then(|part| part.find(&written));
        Error::Config {
            path: path.to_owned(),
            line: Some(position(&self.text, begin + offset.unwrap_or(0))),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl StepEntry {
    fn step(&self, base: Option<&String>, defaults: &Defaults) -> Result<Step, Wrong> {
        let sugar = u8::from(self.trpc.is_some()) + u8::from(self.graphql.is_some());
        let bodies = [
            self.body.is_some(),
            self.json.is_some(),
            self.message.is_some(),
        ];
        let bodies = bodies.map(u8::from).iter().sum::<u8>();
        if sugar + bodies > 1 {
            return Err(Wrong::new(
                "body, json, message, trpc and graphql exclude each other",
            ));
        }
        let mut request = HttpRequest {
            method: String::new(),
            url: String::new(),
            headers: defaults.headers.clone(),
            body: self.body.clone().map(String::into_bytes),
            expect_status: match &self.expect.status {
                Some(list) => parse_statuses(Some(list)).map_err(|e| Wrong::new(e.to_string()))?,
                None => defaults.expect_status.clone(),
            },
            timeout: self.timeout.unwrap_or(defaults.timeout),
        };
        for (name, value) in &self.headers {
            let value = with_environment(value).map_err(|e| Wrong::new(e.to_string()))?;
            request
                .headers
                .retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            request.headers.push((name.clone(), value));
        }
        let (mut url, mut name, mut form) = (self.url.clone(), self.name.clone(), Form::Plain);
        if let Some(message) = &self.message {
            request.body = Some(match message {
                Value::String(text) => text.clone().into_bytes(),
                other => written(other).into_bytes(),
            });
        } else if let Some(json) = &self.json {
            set_json(&mut request, &written(json));
        } else if let Some(trpc) = &self.trpc {
            form = Form::Trpc;
            name = name.or_else(|| Some(format!("trpc {}", trpc.procedures().join(","))));
            url = Some(trpc.fill(url.as_deref().unwrap_or("/trpc"), &mut request)?);
        } else if let Some(graphql) = &self.graphql {
            form = Form::Graphql;
            name = name.or_else(|| graphql.operation.as_ref().map(|o| format!("graphql {o}")));
            url = Some(url.unwrap_or_else(|| "/graphql".to_owned()));
            set_json(&mut request, &graphql.document());
        }
        let url = url.ok_or_else(|| Wrong::new("a step needs a `url`"))?;
        request.url = absolute(&url, base)?;
        if self.message.is_some() {
            request.url = as_websocket(&request.url);
        }
        request.method = match (&self.method, &request.method[..]) {
            (Some(method), _) => method.clone(),
            (None, "") if request.body.is_some() => "POST".to_owned(),
            (None, "") => "GET".to_owned(),
            (None, chosen) => chosen.to_owned(),
        };
        let extract = self.extract.iter().map(|(variable, from)| {
            let from = from.parse::<Origin>().map_err(|reason| {
                Wrong::new(format!("extract `{variable}` = `{from}`: {reason}"))
            })?;
            Ok(Extract {
                variable: variable.clone(),
                from,
            })
        });
        Ok(Step {
            name: name.unwrap_or_default(),
            weight: self.weight.unwrap_or(1),
            extract: extract.collect::<Result<_, Wrong>>()?,
            expect: Expect {
                json: self.expect.json.clone().into_iter().collect(),
                contains: self.expect.contains.clone(),
                within: self.expect.within,
            },
            think: self.think.unwrap_or_default(),
            redirects: self.redirects.unwrap_or(0),
            form,
            request,
        })
    }
}

/// What is wrong with a step, before its place is known.
struct Wrong(String);

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn at(self, path: &Path, at: (usize, usize)) -> Error {
        Error::Config {
            path: path.to_owned(),
            line: Some(at),
            message: self.0,
            hint: None,
        }
    }
}

impl TrpcEntry {
    fn procedures(&self) -> &[String] {
        match &self.path {
            OneOrMany::One(path) => std::slice::from_ref(path),
            OneOrMany::Many(paths) => paths,
        }
    }

    /// Method and body of the call; returns its URL.
    fn fill(&self, base: &str, request: &mut HttpRequest) -> Result<String, Wrong> {
        let wrap = |input: &Value| -> Result<Value, Wrong> {
            match self.transformer.as_deref() {
                None => Ok(input.clone()),
                // What JSON itself can say needs no `meta`.
                Some("superjson") => Ok(serde_json::json!({ "json": input })),
                Some(other) => Err(Wrong::new(format!(
                    "transformer `{other}` is unknown: superjson is known"
                ))),
            }
        };
        let procedures = self.procedures();
        let input = match (&self.path, &self.input) {
            (OneOrMany::One(_), None) => None,
            (OneOrMany::One(_), Some(input)) => Some(wrap(input)?),
            (OneOrMany::Many(_), inputs) => {
                let none = Vec::new();
                let inputs = match inputs {
                    None => &none,
                    Some(Value::Array(inputs)) => inputs,
                    Some(_) => {
                        return Err(Wrong::new(
                            "the input of a batch is a list, one for each path",
                        ));
                    }
                };
                if !inputs.is_empty() && inputs.len() != procedures.len() {
                    let (i, p) = (inputs.len(), procedures.len());
                    return Err(Wrong::new(format!("{i} inputs for {p} paths")));
                }
                let calls = inputs
                    .iter()
                    .enumerate()
                    .map(|(i, input)| Ok((i.to_string(), wrap(input)?)));
                Some(Value::Object(calls.collect::<Result<_, Wrong>>()?))
            }
        };
        let mut url = format!("{}/{}", base.trim_end_matches('/'), procedures.join(","));
        let mut query = Vec::new();
        if matches!(self.path, OneOrMany::Many(_)) {
            query.push("batch=1".to_owned());
        }
        if self.mutation {
            "POST".clone_into(&mut request.method);
            set_json(request, &input.map_or_else(String::new, |i| written(&i)));
        } else {
            "GET".clone_into(&mut request.method);
            if let Some(input) = input {
                query.push(format!("input={}", encoded(&written(&input))));
            }
        }
        if !query.is_empty() {
            url = format!("{url}?{}", query.join("&"));
        }
        Ok(url)
    }
}

impl GraphqlEntry {
    fn document(&self) -> String {
        let mut document = serde_json::json!({ "query": self.query });
        if let Some(variables) = &self.variables {
            document["variables"] = variables.clone();
        }
        if let Some(operation) = &self.operation {
            document["operationName"] = operation.clone().into();
        }
        written(&document)
    }
}

fn set_json(request: &mut HttpRequest, json: &str) {
    request.body = Some(json.as_bytes().to_vec());
    let names = |name: &str| {
        request
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if !names("Content-Type") {
        request
            .headers
            .push(("Content-Type".into(), "application/json".into()));
    }
}

/// The JSON text. A string that is nothing but a number to be (`"{{seq}}"`, `"{{rand 1 9}}"`) is written as a number.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if is_number(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(written).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}:{}", Value::from(name.as_str()), written(value))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            // A space, or the braces of nested objects would look like those of a template.
            format!("{{ {} }}", fields.join(","))
        }
        other => other.to_string(),
    }
}

fn is_number(text: &str) -> bool {
    let name = text.strip_prefix("{{").and_then(|t| t.strip_suffix("}}"));
    name.is_some_and(|n| n.trim() == "seq" || n.trim().starts_with("rand "))
}

/// Percent-encoded for a query; templates stay.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let template = rest
            .strip_prefix("{{")
            .and_then(|inner| inner.find("}}"))
            .filter(|end| {
                rest[2..2 + end]
                    .chars()
                    .all(|c| c.is_alphanumeric() || " _.-".contains(c))
            });
        if let Some(end) = template {
            out.push_str(&rest[..end + 4]);
            rest = &rest[end + 4..];
            continue;
        }
        let mut characters = rest.chars();
        let Some(c) = characters.next() else { break };
        if c.is_ascii_alphanumeric() || "-._~".contains(c) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
        rest = characters.as_str();
    }
    out
}

/// The URL itself, or the path on the server of `base`.
fn absolute(url: &str, base: Option<&String>) -> Result<String, Wrong> {
    if url.contains("://") {
        return Ok(url.to_owned());
    }
    let base = base.ok_or_else(|| {
        Wrong::new(format!("`{url}` is a path without a server: `url = \"http://127.0.0.1:3000\"` in [driver] names it"))
    })?;
    let slash = if url.starts_with('/') { "" } else { "/" };
    Ok(format!("{}{slash}{url}", origin(base)))
}

/// The same place, for messages: http becomes ws, https becomes wss.
fn as_websocket(url: &str) -> String {
    match url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => url.to_owned(),
    }
}

fn read_table(path: &Path) -> Result<Table, Error> {
    let wrong = |line: Option<usize>, message: String| Error::Config {
        path: path.to_owned(),
        line: line.map(|l| (l, 1)),
        message,
        hint: None,
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(None, e.to_string()))?;
    Table::parse(&text).map_err(|(line, reason)| wrong(Some(line), reason))
}
