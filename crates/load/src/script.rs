//! A plan, checked and made ready to be carried out.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;

use crate::cookies::pair;
use crate::meter::Failure;
use crate::plan::{Extract, Form, Origin, Plan, Step, Walk, Wire};
use crate::request::Rendering;
use crate::response::{Capture, ResponseParser};
use crate::transport::Reach;
use crate::trust::server_name;
use crate::values::Names;
use crate::{Error, StatusRange, StatusRanges, Table, Url};

/// Kinds of operation at most: each has a histogram.
const MOST_STEPS: usize = 1_000;

/// A plan that can be carried out.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) setup: Vec<Action>,
    pub(crate) steps: Vec<Action>,
    /// Values of the variables when a virtual user begins.
    pub(crate) initial: Vec<Option<Vec<u8>>>,
    pub(crate) table: Option<Table>,
    /// Whether a virtual user keeps its row: its setup depends on it.
    pub(crate) keeps_row: bool,
    pub(crate) walk: Walk,
    pub(crate) cookies: bool,
    pub(crate) keep_alive: bool,
    /// Where the server is, and how it is reached.
    pub(crate) url: Url,
    pub(crate) reach: Reach,
    /// The sequence of a shared walk, and of an own one.
    pub(crate) order: Vec<u32>,
    /// For each step the steps without which it cannot be done, itself last.
    needs: Vec<Vec<u32>>,
    /// What the answers are expected to be, for people.
    pub(crate) checks: Vec<String>,
}

/// A step, ready to be done.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) name: String,
    pub(crate) rendering: Rendering,
    pub(crate) expect: StatusRanges,
    pub(crate) timeout: Duration,
    pub(crate) think: Duration,
    pub(crate) redirects: u8,
    pub(crate) capture: Capture,
    extract: Vec<(usize, Origin, u16)>,
    json: Vec<(String, Value, u16)>,
    contains: Option<(String, u16)>,
    within: Option<(Duration, u16)>,
    form: (Form, u16),
}

impl Script {
    /// Checks and renders everything.
    ///
    /// # Errors
    /// The first step that cannot be carried out.
    pub(crate) fn try_new(plan: Plan) -> Result<Self, Error> {
        let unsupported = |what: &str, instead: &str| Error::Unsupported {
            what: what.to_owned(),
            instead: instead.to_owned(),
        };
        if plan.steps.is_empty() {
            return Err(unsupported("a plan without steps", "name at least one"));
        }
        if plan.steps.len() > MOST_STEPS {
            return Err(unsupported("a plan of so many steps", "at most 1,000"));
        }
        let mut names = Names {
            columns: plan.table.iter().flat_map(|t| t.columns.clone()).collect(),
            ..Names::default()
        };
        let mut initial = Vec::new();
        for (name, value) in &plan.variables {
            names.variables.push(name.clone());
            initial.push(Some(value.clone().into_bytes()));
        }
        for extract in plan
            .setup
            .iter()
            .chain(&plan.steps)
            .flat_map(|s| &s.extract)
        {
            if !names.variables.contains(&extract.variable) {
                names.variables.push(extract.variable.clone());
                initial.push(None);
            }
        }
        let mut checks = Vec::new();
        let mut url = None;
        let mut compile = |steps: Vec<Step>, setup: bool| -> Result<Vec<Action>, Error> {
            let mut compiled = Vec::with_capacity(steps.len());
            for (index, step) in steps.into_iter().enumerate() {
                let name = step_name(&step, setup, index);
                let action = Action::try_new(step, &names, plan.keep_alive, &mut url, &mut checks);
                compiled.push(action.map_err(|error| Error::Step {
                    setup,
                    index,
                    name,
                    error: Box::new(error),
                })?);
            }
            Ok(compiled)
        };
        let weights: Vec<u32> = plan.steps.iter().map(|s| s.weight).collect();
        let single = plan.setup.is_empty() && plan.steps.len() == 1;
        let unwrapped = |error| match error {
            // Where there is one request, there is nothing to tell it from.
            Error::Step { error, .. } if single => *error,
            error => error,
        };
        let setup = compile(plan.setup, true)?;
        let mut steps = compile(plan.steps, false).map_err(unwrapped)?;
        number_twins(&mut steps);
        let url = url.ok_or_else(|| unsupported("a plan without steps", "name at least one"))?;
        let messages = setup.iter().chain(&steps).any(|a| a.rendering.is_message);
        if plan.wire.http2 && messages {
            return Err(unsupported(
                "a WebSocket over HTTP/2",
                "leave out `http2`: it is opened over HTTP/1.1",
            ));
        }
        let reach = reach(&plan.wire, messages, &url)?;
        let order = match plan.walk {
            Walk::Shared => interleave(&weights),
            Walk::Own => interleave_in_order(&weights),
        };
        if order.is_empty() {
            return Err(unsupported(
                "a plan whose weights are all 0",
                "one must be more",
            ));
        }
        let keeps_row = setup.iter().any(|a| a.rendering.has_columns());
        Ok(Self {
            needs: needs(&steps),
            setup,
            steps,
            initial,
            table: plan.table,
            keeps_row,
            walk: plan.walk,
            cookies: plan.cookies,
            keep_alive: plan.keep_alive,
            url,
            reach,
            order,
            checks,
        })
    }

    /// The sequence of a round of one kind of operation.
    pub(crate) fn only(&self, step: usize) -> Option<&[u32]> {
        self.needs.get(step).map(Vec::as_slice)
    }
}

/// How the server is reached.
fn reach(wire: &Wire, messages: bool, url: &Url) -> Result<Reach, Error> {
    let http2 = wire.http2;
    if !url.scheme.is_secure() {
        return Ok(Reach { tls: None, http2 });
    }
    let mut config = ClientConfig::clone(&*wire.trust.config()?);
    // A virtual user has one connection: where it opens WebSockets, it speaks HTTP/1.1 beside them.
    let offered: &[&[u8]] = match (http2, messages) {
        (true, _) => &[b"h2"],
        (false, true) => &[b"http/1.1"],
        (false, false) => &[b"h2", b"http/1.1"],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(Reach {
        tls: Some((Arc::new(config), server_name(&url.host)?)),
        http2,
    })
}

fn step_name(step: &Step, setup: bool, index: usize) -> String {
    let kind = if setup { "setup step" } else { "step" };
    if step.name.is_empty() {
        format!("{kind} {}", index + 1)
    } else {
        format!("{kind} `{}`", step.name)
    }
}

/// Steps of the same name would not be told apart in a table.
fn number_twins(steps: &mut [Action]) {
    for index in 0..steps.len() {
        let before = (0..index)
            .filter(|i| steps[*i].name == steps[index].name)
            .count();
        if before > 0 {
            steps[index].name = format!("{} #{}", steps[index].name, before + 1);
        }
    }
}

/// Each step as often as its weight, spread evenly: the one that is most behind its share comes next.
fn interleave(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<u64> = weights.iter().map(|w| u64::from(w / divisor)).collect();
    // Weights with a long period are scaled down to one that fits.
    let total: u64 = weights.iter().sum();
    let period = total.min(10_000);
    let mut credit = vec![0_i64; weights.len()];
    (0..period)
        .filter_map(|_| {
            for (credit, weight) in credit.iter_mut().zip(&weights) {
                *credit += weight.cast_signed();
            }
            let next = (0..credit.len()).max_by_key(|i| (credit[*i], std::cmp::Reverse(*i)))?;
            credit[next] -= total.cast_signed();
            u32::try_from(next).ok()
        })
        .collect()
}

/// Each step as often as its weight, one after the other.
fn interleave_in_order(weights: &[u32]) -> Vec<u32> {
    weights
        .iter()
        .enumerate()
        .flat_map(|(index, weight)| {
            std::iter::repeat_n(u32::try_from(index).unwrap_or(u32::MAX), *weight as usize)
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// For each step those before it whose extracted variables it uses, theirs too, and itself.
fn needs(steps: &[Action]) -> Vec<Vec<u32>> {
    let mut all: Vec<Vec<u32>> = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let mut own: Vec<u32> = Vec::new();
        for variable in step.rendering.variables() {
            let source = (0..index)
                .rev()
                .find(|earlier| steps[*earlier].extract.iter().any(|(v, ..)| *v == variable));
            own.extend(source.into_iter().flat_map(|s| all[s].iter().copied()));
        }
        own.push(u32::try_from(index).unwrap_or(u32::MAX));
        own.sort_unstable();
        own.dedup();
        all.push(own);
    }
    all
}

impl Action {
    fn try_new(
        mut step: Step,
        names: &Names,
        keep_alive: bool,
        server: &mut Option<Url>,
        checks: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let url = Url::parse(&step.request.url)?;
        same_server(server, &url)?;
        if step.request.timeout.is_zero() {
            return Err(Error::Request {
                what: "timeout".into(),
                reason: "it must be longer than nothing".into(),
            });
        }
        let has = |name: &str| {
            let headers = &step.request.headers;
            headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        if !keep_alive && !has("Connection") && !url.scheme.is_websocket() {
            step.request
                .headers
                .push(("Connection".into(), "close".into()));
        }
        let rendering = Rendering::try_new(&step.request, &url, names)?;
        check_message(&rendering, &step)?;
        let mut check = |text: String| {
            let index = u16::try_from(checks.len()).unwrap_or(u16::MAX);
            checks.push(text);
            index
        };
        let expect = step.expect;
        let json: Vec<_> = expect
            .json
            .into_iter()
            .map(|(pointer, value)| {
                let index = check(format!("expected {pointer} = {value}"));
                (pointer, value, index)
            })
            .collect();
        let contains = expect.contains.map(|text| {
            let index = check(format!("expected text `{text}`"));
            (text, index)
        });
        let within = expect.within.map(|time| {
            let shown = plimsoll_model::units::duration(time.as_secs_f64());
            (time, check(format!("slower than {shown}")))
        });
        let form = match step.form {
            Form::Plain => (Form::Plain, 0),
            Form::Trpc => (Form::Trpc, check("tRPC error in the answer".to_owned())),
            Form::Graphql => (
                Form::Graphql,
                check("GraphQL errors in the answer".to_owned()),
            ),
        };
        let extract: Vec<_> = step
            .extract
            .into_iter()
            .filter_map(|Extract { variable, from }| {
                let index = check(format!("`{variable}` is not in the answer"));
                let at = names.variables.iter().position(|v| *v == variable)?;
                Some((at, from, index))
            })
            .collect();
        let in_head = |origin: &Origin| matches!(origin, Origin::Header(_) | Origin::Cookie(_));
        Ok(Self {
            capture: Capture {
                head: rendering.is_message
                    || step.redirects > 0
                    || extract.iter().any(|(_, o, _)| in_head(o)),
                body: !json.is_empty()
                    || contains.is_some()
                    || form.0 != Form::Plain
                    || extract.iter().any(|(_, o, _)| !in_head(o)),
            },
            name: if step.name.is_empty() {
                rendering.name.clone()
            } else {
                step.name
            },
            expect: if rendering.is_message {
                // What opens a WebSocket, and what its messages are given as.
                StatusRange::new(101, 101)
                    .into_iter()
                    .collect::<Vec<_>>()
                    .into()
            } else if step.request.expect_status.is_empty() {
                let usual = StatusRange::new(200, 399).into_iter();
                usual.collect::<Vec<_>>().into()
            } else {
                step.request.expect_status
            },
            timeout: step.request.timeout,
            think: step.think,
            redirects: step.redirects,
            rendering,
            extract,
            json,
            contains,
            within,
            form,
        })
    }

    /// Whether nothing but the status is looked at.
    pub(crate) fn is_plain(&self) -> bool {
        (self.capture == Capture::NOTHING || (self.rendering.is_message && !self.capture.body))
            && self.within.is_none()
            && self.extract.is_empty()
    }

    /// Looks into an answer with a good status and takes from it what is wanted.
    pub(crate) fn examine(
        &self,
        answer: &ResponseParser,
        took: Duration,
        variables: &mut [Option<Vec<u8>>],
    ) -> Result<(), Failure> {
        if let Some((longest, check)) = self.within
            && took > longest
        {
            return Err(Failure::Check(check));
        }
        let body = answer.kept_body();
        if let Some((text, check)) = &self.contains
            && !contains(body, text.as_bytes())
        {
            return Err(Failure::Check(*check));
        }
        let wants_json = !self.json.is_empty()
            || self.form.0 != Form::Plain
            || self
                .extract
                .iter()
                .any(|(_, o, _)| matches!(o, Origin::Json(_)));
        let document: Option<Value> = if wants_json {
            serde_json::from_slice(body).ok()
        } else {
            None
        };
        if !self.form.0.holds(document.as_ref()) {
            return Err(Failure::Check(self.form.1));
        }
        let at = |pointer: &str| document.as_ref().and_then(|d| d.pointer(pointer));
        for (pointer, value, check) in &self.json {
            if !at(pointer).is_some_and(|found| same(found, value)) {
                return Err(Failure::Check(*check));
            }
        }
        for (variable, origin, check) in &self.extract {
            let found = match origin {
                Origin::Json(pointer) => at(pointer).map(|value| match value {
                    Value::String(text) => text.clone().into_bytes(),
                    other => other.to_string().into_bytes(),
                }),
                Origin::Header(name) => headers(answer.kept_head())
                    .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
                    .map(|(_, value)| value.to_vec()),
                Origin::Cookie(name) => headers(answer.kept_head())
                    .filter(|(n, _)| n.eq_ignore_ascii_case(b"set-cookie"))
                    .filter_map(|(_, value)| pair(value.split(|b| *b == b';').next()?))
                    .find(|(n, _)| *n == name.as_bytes())
                    .map(|(_, value)| value.to_vec()),
                Origin::Regex(regex) => {
                    let text = String::from_utf8_lossy(body);
                    let groups = regex.captures(&text);
                    groups
                        .and_then(|g| g.get(1).or(g.get(0)))
                        .map(|m| m.as_str().as_bytes().to_vec())
                }
            };
            let value = found.ok_or(Failure::Check(*check))?;
            variables[*variable] = Some(value);
        }
        Ok(())
    }
}

/// A message has nothing beside its text.
fn check_message(rendering: &Rendering, step: &Step) -> Result<(), Error> {
    let of_head = |e: &Extract| matches!(e.from, Origin::Header(_) | Origin::Cookie(_));
    if rendering.is_message && step.extract.iter().any(of_head) {
        return Err(Error::Request {
            what: "extract".into(),
            reason: "a message has neither headers nor cookies, only json: and regex:".into(),
        });
    }
    Ok(())
}

/// One driver has one server.
fn same_server(server: &mut Option<Url>, url: &Url) -> Result<(), Error> {
    let Some(server) = server else {
        *server = Some(url.clone());
        return Ok(());
    };
    if (&server.host, server.port) != (&url.host, url.port) {
        return Err(Error::Unsupported {
            what: format!("{} beside {}", url.authority, server.authority),
            instead: "one driver has one server".to_owned(),
        });
    }
    if server.scheme.is_secure() != url.scheme.is_secure() {
        return Err(Error::Unsupported {
            what: format!("{} beside {}", url.scheme.as_str(), server.scheme.as_str()),
            instead: "a server speaks TLS on a port or does not".to_owned(),
        });
    }
    Ok(())
}

impl Form {
    /// Whether an answer of this form is free of errors.
    fn holds(self, document: Option<&Value>) -> bool {
        match (self, document) {
            (Self::Plain, _) => true,
            (_, None) => false,
            (Self::Graphql, Some(document)) => {
                let errors = document.get("errors").and_then(Value::as_array);
                errors.is_none_or(Vec::is_empty) && document.get("data").is_some()
            }
            (Self::Trpc, Some(Value::Array(calls))) => {
                calls.iter().all(|call| call.get("result").is_some())
            }
            (Self::Trpc, Some(call)) => call.get("result").is_some(),
        }
    }
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

/// The headers of a head that was found to be well-formed.
pub(crate) fn headers(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|b| *b == b'\n').skip(1).filter_map(|line| {
        let at = line.iter().position(|b| *b == b':')?;
        Some((line[..at].trim_ascii(), line[at + 1..].trim_ascii()))
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_spread_evenly() {
        assert_eq!(interleave(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(interleave(&[4, 2]), [0, 1, 0]);
        assert_eq!(interleave(&[0, 3]), [1]);
        assert!(interleave(&[0, 0]).is_empty());
        assert_eq!(interleave_in_order(&[2, 1]), [0, 0, 1]);
    }

    #[test]
    fn errors_inside_good_answers_are_seen() {
        let check = |form: Form, text: &str, good: bool| {
            let document = serde_json::from_str(text).ok();
            assert_eq!(form.holds(document.as_ref()), good, "{text}");
        };
        check(Form::Trpc, r#"{"result":{"data":1}}"#, true);
        check(
            Form::Trpc,
            r#"[{"result":{"data":1}},{"error":{"json":{}}}]"#,
            false,
        );
        check(Form::Trpc, r#"[{"result":{"data":1}},{"result":{}}]"#, true);
        check(Form::Trpc, "<html>", false);
        check(Form::Graphql, r#"{"data":{"a":1}}"#, true);
        check(
            Form::Graphql,
            r#"{"data":null,"errors":[{"message":"no"}]}"#,
            false,
        );
        check(Form::Plain, "", true);
    }
}
