//! What is sent: one request, rendered once if it is the same for every operation.

use std::time::Duration;

use crate::template::{Place, Template, Unknown};
use crate::values::{Names, Values};
use crate::{Error, StatusRanges, Url};

/// Who we say we are unless a header says otherwise.
pub(crate) const USER_AGENT: &str = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
];

/// One HTTP request, made again and again. `{{seq}}` in path, query, header values and body is the number of the
/// operation, which no other operation of the driver has; `{{uuid}}` and `{{rand 1 100}}` are random.
///
/// On a WebSocket (`ws://`, `wss://`) an operation sends the body as one message and ends with the next one that comes. The
/// socket is opened by the first operation of a virtual user, and again whenever URL or headers change.
///
/// Beyond the headers given here only `Host`, `User-Agent`, `Accept: */*` and, with a body, `Content-Length` are sent;
/// a header given here replaces ours. No `Accept-Encoding`, so that nothing is compressed for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method, e.g. `GET`.
    pub method: String,
    /// URL.
    pub url: String,
    /// Headers, in this order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<Vec<u8>>,
    /// Statuses that are right answers; empty = 200 to 399.
    pub expect_status: StatusRanges,
    /// Longest wait for an answer, from the start of the operation to the last byte of its answer.
    pub timeout: Duration,
}

impl HttpRequest {
    /// The timeout unless another is set.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// A plain `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET".into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            expect_status: StatusRanges::default(),
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }
}

/// The bytes of a request, up to what changes with each operation.
#[derive(Debug)]
pub(crate) struct Rendering {
    /// Up to the empty line that ends it, which is not in it.
    head: Template,
    body: Template,
    /// All of it, if it never changes.
    fixed: Option<Vec<u8>>,
    /// Whether it is a message on a WebSocket.
    pub(crate) is_message: bool,
    /// Whether answers have no body whatever they say.
    pub(crate) is_head: bool,
    /// For people: method, path and query.
    pub(crate) name: String,
}

impl Rendering {
    /// Checks and renders a request.
    pub(crate) fn try_new(request: &HttpRequest, url: &Url, names: &Names) -> Result<Self, Error> {
        let is_message = url.scheme.is_websocket();
        let method = if is_message {
            "GET".to_owned()
        } else {
            method(&request.method)?
        };
        if is_message && request.body.is_none() {
            return Err(Error::Request {
                what: "an operation on a WebSocket".to_owned(),
                reason: "it sends a message, which is its body".to_owned(),
            });
        }
        let unknown = |part: String| {
            move |unknown: Unknown| Error::Template {
                part,
                text: unknown.text,
                offset: unknown.offset,
                reason: unknown.reason,
            }
        };
        let mut head = Template::default();
        head.literal(format!("{method} ").as_bytes());
        head.append(
            Template::parse(url.path_and_query.as_bytes(), Place::Url, names)
                .map_err(unknown("URL".to_owned()))?,
        );
        head.literal(b" HTTP/1.1\r\n");
        for (name, value) in [
            ("Host", url.authority.as_str()),
            ("User-Agent", USER_AGENT),
            ("Accept", "*/*"),
        ] {
            if !request
                .headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
            {
                head.literal(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        for (name, value) in &request.headers {
            check_header(name, value)?;
            head.literal(format!("{name}: ").as_bytes());
            head.append(
                Template::parse(value.as_bytes(), Place::Header, names)
                    .map_err(unknown(format!("header `{name}`")))?,
            );
            head.literal(b"\r\n");
        }
        if is_message {
            head.literal(
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
            );
        }
        // A method that usually has a body says so when it has none: servers answer 411 otherwise.
        let has_body =
            request.body.is_some() || matches!(method.as_str(), "POST" | "PUT" | "PATCH");
        if has_body && !is_message {
            head.literal(b"Content-Length: ");
            head.body_length();
            head.literal(b"\r\n");
        }

        let body = request.body.as_deref().unwrap_or_default();
        let mut rendering = Self {
            head,
            body: Template::parse(body, Place::Body, names).map_err(unknown("body".to_owned()))?,
            fixed: None,
            is_message,
            is_head: method == "HEAD",
            name: name(if is_message { "WS" } else { &method }, &url.path_and_query),
        };
        // A message is apart from the request that opens its socket.
        if !is_message && rendering.head.is_fixed() && rendering.body.is_fixed() {
            let mut bytes = Vec::new();
            let mut random = crate::values::Random::new(0);
            let mut values = Values {
                seq: 0,
                random: &mut random,
                row: &[],
                variables: &[],
            };
            let rendered = rendering.render(&mut values, &mut Vec::new(), &mut bytes, |_| {});
            if rendered.is_ok() {
                rendering.fixed = Some(bytes);
            }
        }
        Ok(rendering)
    }

    /// The bytes, if they are the same for every operation.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        self.fixed.as_deref()
    }

    /// Whether it takes values from the table.
    pub(crate) fn has_columns(&self) -> bool {
        self.head.has_columns() || self.body.has_columns()
    }

    /// Variables it cannot do without.
    pub(crate) fn variables(&self) -> impl Iterator<Item = usize> + '_ {
        self.head.variables().chain(self.body.variables())
    }

    /// Replaces `out` by the bytes of an operation; `scratch` is overwritten. `more` may add header lines to the head.
    ///
    /// # Errors
    /// The variable that has no value yet.
    pub(crate) fn render(
        &self,
        values: &mut Values<'_>,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
        more: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), usize> {
        out.clear();
        scratch.clear();
        self.body.render(values, 0, scratch)?;
        self.head.render(values, scratch.len(), out)?;
        more(out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(scratch);
        Ok(())
    }
}

fn method(text: &str) -> Result<String, Error> {
    let wrong = |reason: &str| Error::Request {
        what: format!("method `{text}`"),
        reason: reason.to_owned(),
    };
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err(wrong("a method is one word, e.g. GET"));
    }
    let upper = text.to_ascii_uppercase();
    if upper == "CONNECT" {
        return Err(wrong(
            "it opens a tunnel, and there is no answer to wait for",
        ));
    }
    // Methods are case-sensitive; only of the common ones is it clear what `post` means.
    Ok(if METHODS.contains(&upper.as_str()) {
        upper
    } else {
        text.to_owned()
    })
}

fn check_header(name: &str, value: &str) -> Result<(), Error> {
    let wrong = |reason: &str| Error::Request {
        what: format!("header `{name}`"),
        reason: reason.to_owned(),
    };
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(wrong("this is no name of a header"));
    }
    if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(wrong("its value holds a control character"));
    }
    for computed in ["Content-Length", "Transfer-Encoding"] {
        if name.eq_ignore_ascii_case(computed) {
            return Err(wrong("the length is computed from the body"));
        }
    }
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What to call the operation, cut where it gets longer than a line bears.
fn name(method: &str, path_and_query: &str) -> String {
    const LONGEST: usize = 60;
    match path_and_query.get(..LONGEST) {
        Some(start) if path_and_query.len() > LONGEST => format!("{method} {start}…"),
        _ => format!("{method} {path_and_query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(request: &HttpRequest, seq: u64) -> Result<String, String> {
        let url = Url::parse(&request.url).map_err(|e| e.to_string())?;
        let rendering =
            Rendering::try_new(request, &url, &Names::default()).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        let mut values = Values {
            seq,
            random: &mut crate::values::Random::new(1),
            row: &[],
            variables: &[],
        };
        rendering
            .render(&mut values, &mut Vec::new(), &mut out, |_| {})
            .unwrap();
        if let Some(fixed) = rendering.fixed() {
            assert_eq!(fixed, out);
        }
        Ok(String::from_utf8(out)
            .unwrap()
            .replace(USER_AGENT, "plimsoll/V"))
    }

    #[test]
    fn a_plain_get_says_who_and_what() {
        assert_eq!(
            rendered(&HttpRequest::get("http://127.0.0.1:3000/a?b"), 1).unwrap(),
            "GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: plimsoll/V\r\nAccept: */*\r\n\r\n"
        );
    }

    #[test]
    fn the_length_follows_the_number() {
        let request = HttpRequest {
            method: "post".into(),
            headers: vec![
                ("host".into(), "shop.example".into()),
                ("X-Id".into(), "a{{seq}}".into()),
            ],
            body: Some(br#"{"id":{{seq}},"n":"{{seq}}"}"#.to_vec()),
            ..HttpRequest::get("http://[::1]/{{seq}}")
        };
        assert_eq!(
            rendered(&request, 9).unwrap(),
            "POST /9 HTTP/1.1\r\nUser-Agent: plimsoll/V\r\nAccept: */*\r\nhost: shop.example\r\nX-Id: a9\r\nContent-Length: 16\r\n\r\n{\"id\":9,\"n\":\"9\"}"
        );
        assert!(
            rendered(&request, 10_000)
                .unwrap()
                .contains("Content-Length: 24\r\n")
        );
    }

    #[test]
    fn a_body_that_could_be_there_has_a_length() {
        let request = HttpRequest {
            method: "PUT".into(),
            ..HttpRequest::get("http://localhost/")
        };
        assert!(
            rendered(&request, 1)
                .unwrap()
                .contains("Content-Length: 0\r\n\r\n")
        );
    }

    #[test]
    fn what_would_break_the_framing_is_refused() {
        let with = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            rendered(
                &HttpRequest {
                    headers,
                    ..HttpRequest::get("http://localhost/")
                },
                1,
            )
        };
        assert!(
            with("A", "b\r\nC: d")
                .unwrap_err()
                .contains("control character")
        );
        assert!(with("A b", "c").unwrap_err().contains("no name"));
        assert!(
            with("content-length", "3")
                .unwrap_err()
                .contains("computed")
        );
        assert!(with("A", "{{user}}").unwrap_err().contains("{{user}}"));
        let method = |method: &str| {
            rendered(
                &HttpRequest {
                    method: method.into(),
                    ..HttpRequest::get("http://localhost/")
                },
                1,
            )
        };
        assert!(method("GET /").is_err());
        assert!(method("connect").is_err());
        assert!(method("purge").unwrap().starts_with("purge / "));
    }
}
