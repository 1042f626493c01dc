//! Operations from what already exists: a description of an API (`OpenAPI`), or a recording of a browser (HAR).
//!
//! Of a description every safe `GET` is driven, with the example values it gives; what is left out is listed. Of a
//! recording only the requests to one server are driven, without static files, and secrets are taken out.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_load::{HttpRequest, Plan, Step, Walk};
use plimsoll_model::Finding;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::load::{Defaults, origin};

/// Largest file that is read.
const LARGEST: u64 = 256 << 20;
/// References that are followed to find one schema.
const DEEPEST: usize = 8;
/// Left-out routes that are named; the rest is counted.
const NAMED: usize = 8;

/// Operations, and what is to be said about those that are not among them.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) plan: Plan,
    pub(crate) findings: Vec<Finding>,
}

/// Reads a file of JSON, or of YAML where that is possible.
fn read(path: &Path) -> Result<Value, Error> {
    let wrong = |message: String, hint: Option<&str>| Error::Config {
        path: path.to_owned(),
        line: None,
        message,
        hint: hint.map(str::to_owned),
    };
    let length = std::fs::metadata(path)
        .map_err(|e| wrong(e.to_string(), None))?
        .len();
    if length > LARGEST {
        return Err(wrong("it has more than 256 MiB".to_owned(), None));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string(), None))?;
    document(path, &bytes)
}

/// A document of JSON or YAML; `path` is where it is from.
fn document(path: &Path, bytes: &[u8]) -> Result<Value, Error> {
    let wrong = |at: (usize, usize), message: String| Error::Config {
        path: path.to_owned(),
        line: Some(at),
        message,
        hint: None,
    };
    let start = bytes.iter().find(|b| !b.is_ascii_whitespace());
    if start == Some(&b'{') {
        return serde_json::from_slice(bytes)
            .map_err(|e| wrong((e.line(), e.column().max(1)), e.to_string()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| wrong((1, 1), format!("it is neither JSON nor YAML: {e}")))?;
    let value = crate::yaml::parse(text).map_err(|(at, what)| wrong(at, what))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(wrong(
            (1, 1),
            "it is no JSON object and no YAML mapping".to_owned(),
        ))
    }
}

/// Every safe operation of an `OpenAPI` 3 description (or Swagger 2), one kind each. `named` are further ones, as
/// `POST /path`, that are driven though they change something.
pub(crate) fn openapi(
    path: &Path,
    base: Option<&String>,
    named: &[String],
    defaults: &Defaults,
) -> Result<Imported, Error> {
    described(path, &read(path)?, base, named, defaults)
}

/// The same of a description that was answered at `url`; unless it names a server of this machine, it is the one there.
pub(crate) fn openapi_of(
    url: &str,
    answer: &[u8],
    base: Option<&String>,
    named: &[String],
    defaults: &Defaults,
) -> Result<Imported, Error> {
    let path = Path::new(url);
    let there = origin(url);
    let base = base.unwrap_or(&there);
    described(path, &document(path, answer)?, Some(base), named, defaults)
}

fn described(
    path: &Path,
    document: &Value,
    base: Option<&String>,
    named: &[String],
    defaults: &Defaults,
) -> Result<Imported, Error> {
    let wrong = |message: &str, hint: &str| Error::Config {
        path: path.to_owned(),
        line: None,
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    };
    let paths = document.get("paths").and_then(Value::as_object);
    let paths = paths.ok_or_else(|| {
        wrong(
            "it has no `paths`",
            "an OpenAPI 3 or Swagger 2 description is needed",
        )
    })?;
    let server = server(document, base).ok_or_else(|| {
        wrong(
            "it names no server of this machine",
            "name it with `--url`, for example `--url http://127.0.0.1:3000`",
        )
    })?;
    let (mut steps, mut left_out) = (Vec::new(), Vec::new());
    let mut wanted: Vec<&String> = named.iter().collect();
    for (route, item) in paths {
        let Some(item) = resolve(document, item).as_object().cloned() else {
            continue;
        };
        for method in ["get", "post", "put", "patch", "delete"] {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let name = format!("{} {route}", method.to_uppercase());
            let asked = wanted.iter().position(|n| n.eq_ignore_ascii_case(&name));
            if let Some(at) = asked {
                wanted.remove(at);
            } else if method != "get" {
                left_out.push(format!("{name} (it may change something)"));
                continue;
            }
            match request(document, &item, operation, method, route, &server, defaults) {
                Ok(request) => steps.push(Step {
                    name,
                    ..Step::of(request)
                }),
                Err(why) => left_out.push(format!("{name} ({why})")),
            }
        }
    }
    if let Some(missing) = wanted.first() {
        return Err(wrong(
            &format!("`{missing}` is not in it"),
            "an operation is written `POST /path`, with the path as in the description",
        ));
    }
    if steps.is_empty() {
        return Err(wrong(
            "none of its operations can be driven",
            &left_out.join("; "),
        ));
    }
    let mut findings = Vec::new();
    if !left_out.is_empty() {
        let shown = left_out
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join("; ");
        let more = match left_out.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let count = left_out.len();
        findings.push(Finding {
            hint: Some(
                "name one with `--openapi-operation 'POST /path'` to drive it all the same"
                    .to_owned(),
            ),
            ..Finding::info(
                "not-driven",
                format!("{count} operations of the description are not driven: {shown}{more}"),
            )
        });
    }
    let plan = Plan {
        steps,
        ..Plan::of([])
    };
    Ok(Imported { plan, findings })
}

/// Origin and base path of the server.
fn server(document: &Value, base: Option<&String>) -> Option<String> {
    let listed = document.pointer("/servers/0/url").and_then(Value::as_str);
    let listed = listed
        .or_else(|| document.get("basePath").and_then(Value::as_str))
        .unwrap_or("");
    let path = if listed.contains("://") {
        &listed[origin(listed).len()..]
    } else {
        listed
    };
    let path = path.trim_end_matches('/');
    match base {
        Some(base) => Some(format!("{}{path}", origin(base))),
        None => listed
            .contains("://")
            .then(|| format!("{}{path}", origin(listed))),
    }
}

/// What a `$ref` within the document leads to.
fn resolve<'d>(document: &'d Value, mut value: &'d Value) -> &'d Value {
    for _ in 0..DEEPEST {
        let Some(target) = value.get("$ref").and_then(Value::as_str) else {
            break;
        };
        let Some(found) = target.strip_prefix('#').and_then(|p| document.pointer(p)) else {
            break;
        };
        value = found;
    }
    value
}

fn request(
    document: &Value,
    item: &Map<String, Value>,
    operation: &Value,
    method: &str,
    route: &str,
    server: &str,
    defaults: &Defaults,
) -> Result<HttpRequest, String> {
    let mut path = route.to_owned();
    let (mut query, mut headers) = (Vec::new(), defaults.headers.clone());
    let own = operation.get("parameters").and_then(Value::as_array);
    let common = item.get("parameters").and_then(Value::as_array);
    let mut seen = Vec::new();
    for parameter in own.into_iter().chain(common).flatten() {
        let parameter = resolve(document, parameter);
        let text = |key: &str| {
            parameter
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (name, place) = (text("name"), text("in"));
        if seen.contains(&(name, place)) {
            continue;
        }
        seen.push((name, place));
        let required = place == "path" || parameter.get("required") == Some(&Value::Bool(true));
        let example = example(document, parameter);
        match (place, example) {
            ("path", Some(value)) => path = path.replace(&format!("{{{name}}}"), &percent(&value)),
            ("query", Some(value)) => query.push(format!("{}={}", percent(name), percent(&value))),
            ("header", Some(value)) if required => headers.push((name.to_owned(), value)),
            (_, None) if required && place != "body" => {
                return Err(format!("no example for its {place} parameter `{name}`"));
            }
            _ => {}
        }
    }
    if path.contains('{') {
        return Err("its path has a parameter that is not described".to_owned());
    }
    let content = operation.pointer("/requestBody/content/application~1json");
    let body = match (method, content) {
        ("get" | "delete", _) | (_, None) => None,
        (_, Some(content)) => Some(example(document, content).ok_or("no example for its body")?),
    };
    if body.is_some() {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    }
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", query.join("&"))
    };
    Ok(HttpRequest {
        method: method.to_uppercase(),
        url: format!("{server}{path}{query}"),
        headers,
        body: body.map(String::into_bytes),
        expect_status: defaults.expect_status.clone(),
        timeout: defaults.timeout,
    })
}

/// The example value of a parameter or body: its own, the first of several, that of its schema, its default, the first
/// of its allowed values.
fn example(document: &Value, described: &Value) -> Option<String> {
    let schema = described.get("schema").map(|s| resolve(document, s));
    let first = |examples: &Value| -> Option<Value> {
        match examples {
            Value::Array(all) => all.first().cloned(),
            Value::Object(all) => resolve(document, all.values().next()?)
                .get("value")
                .cloned(),
            _ => None,
        }
    };
    let found = described
        .get("example")
        .cloned()
        .or_else(|| described.get("examples").and_then(first))
        .or_else(|| schema?.get("example").cloned())
        .or_else(|| schema?.get("examples").and_then(first))
        .or_else(|| schema?.get("default").cloned())
        .or_else(|| described.get("default").cloned())
        .or_else(|| schema?.get("enum")?.get(0).cloned())
        .or_else(|| described.get("enum")?.get(0).cloned())?;
    Some(match found {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The requests of a browser's recording that went to one server: that of `base`, or else the one asked most often.
pub(crate) fn har(
    path: &Path,
    base: Option<&String>,
    defaults: &Defaults,
) -> Result<Imported, Error> {
    let document = read(path)?;
    let wrong = |message: &str| Error::Config {
        path: path.to_owned(),
        line: None,
        message: message.to_owned(),
        hint: Some("save it in the browser's network tools as HAR".to_owned()),
    };
    let entries = document.pointer("/log/entries").and_then(Value::as_array);
    let entries = entries.ok_or_else(|| wrong("it has no `log.entries`"))?;
    let url_of = |entry: &Value| {
        entry
            .pointer("/request/url")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let mut origins: BTreeMap<String, usize> = BTreeMap::new();
    for url in entries.iter().filter(|e| !is_static(e)).filter_map(url_of) {
        *origins.entry(origin(&url)).or_default() += 1;
    }
    let recorded = origins
        .iter()
        .max_by_key(|(_, n)| **n)
        .map(|(o, _)| o.clone());
    let recorded =
        recorded.ok_or_else(|| wrong("it has no requests that are not for static files"))?;
    let server = base.map_or_else(|| recorded.clone(), |base| origin(base));
    // A recording against another machine is driven here if `--url` says so.
    let host = if origins.contains_key(&server) {
        server.clone()
    } else {
        recorded
    };
    let (mut steps, mut foreign, mut of_files) = (Vec::<Step>::new(), 0, 0);
    let mut redacted = 0;
    for entry in entries {
        let Some(url) = url_of(entry) else { continue };
        if is_static(entry) {
            of_files += 1;
        } else if origin(&url) == host {
            let step = recorded_step(entry, &url[host.len()..], &server, defaults, &mut redacted);
            // The same request again makes it heavier, not another kind.
            match steps.iter_mut().find(|s| s.request == step.request) {
                Some(known) => known.weight += 1,
                None => steps.push(step),
            }
        } else {
            foreign += 1;
        }
    }
    let plan = Plan {
        steps,
        walk: Walk::Own,
        cookies: true,
        ..Plan::of([])
    };
    let mut findings = Vec::new();
    if foreign + of_files > 0 {
        findings.push(Finding::info(
            "not-driven",
            format!("of the recording {of_files} requests for static files and {foreign} to other servers are not driven"),
        ));
    }
    if redacted > 0 {
        findings.push(Finding {
            hint: Some("give them anew with `--header 'Authorization: env:TOKEN'`, or log in by `[[driver.setup]]`".to_owned()),
            ..Finding::info("redacted", format!("{redacted} secrets of the recording were taken out"))
        });
    }
    Ok(Imported { plan, findings })
}

fn is_static(entry: &Value) -> bool {
    let url = entry
        .pointer("/request/url")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    let extension = file
        .rsplit_once('.')
        .map_or("", |(_, e)| e)
        .to_ascii_lowercase();
    let files = [
        "js", "mjs", "css", "map", "png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico",
        "woff", "woff2", "ttf", "otf", "mp4", "webm", "mp3", "wasm",
    ];
    let kind = entry
        .pointer("/response/content/mimeType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    files.contains(&extension.as_str())
        || ["image/", "font/", "video/", "audio/", "text/css"]
            .iter()
            .any(|k| kind.starts_with(k))
        || kind.contains("javascript")
        || !url.starts_with("http")
}

fn recorded_step(
    entry: &Value,
    path_and_query: &str,
    server: &str,
    defaults: &Defaults,
    redacted: &mut usize,
) -> Step {
    let request = &entry["request"];
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let query: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                *redacted += 1;
                format!("{name}=REDACTED")
            }
            _ => pair.to_owned(),
        })
        .collect();
    let mut url = format!("{server}{}", if path.is_empty() { "/" } else { path });
    if !query.is_empty() {
        url = format!("{url}?{}", query.join("&"));
    }
    // What stands between double braces in a recording was no template of ours.
    let url = url.replace("{{", "%7B%7B");
    let mut headers = defaults.headers.clone();
    for header in request["headers"].as_array().into_iter().flatten() {
        let (name, value) = (
            header["name"].as_str().unwrap_or_default(),
            header["value"].as_str().unwrap_or_default(),
        );
        if name.eq_ignore_ascii_case("cookie") || is_secret(name) {
            *redacted += 1;
        } else if ["content-type", "accept", "x-requested-with"]
            .contains(&name.to_ascii_lowercase().as_str())
            && !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let body = request.pointer("/postData/text").and_then(Value::as_str);
    let body = body.map(|text| redact_body(text, redacted));
    Step::of(HttpRequest {
        method: request["method"].as_str().unwrap_or("GET").to_owned(),
        url,
        headers,
        body: body.map(|b| b.replace("{{", "{ {").into_bytes()),
        expect_status: defaults.expect_status.clone(),
        timeout: defaults.timeout,
    })
}

/// Takes secrets out of a JSON document or a form.
fn redact_body(text: &str, redacted: &mut usize) -> String {
    if let Ok(mut document) = serde_json::from_str::<Value>(text) {
        redact(&mut document, redacted);
        return document.to_string();
    }
    let is_form = text.contains('=') && !text.contains(['\n', '<', '{']);
    if !is_form {
        return text.to_owned();
    }
    let pairs: Vec<String> = text
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                *redacted += 1;
                format!("{name}=REDACTED")
            }
            _ => pair.to_owned(),
        })
        .collect();
    pairs.join("&")
}

fn redact(value: &mut Value, redacted: &mut usize) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if is_secret(name) && !field.is_object() && !field.is_array() {
                    *redacted += 1;
                    *field = "REDACTED".into();
                } else {
                    redact(field, redacted);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, redacted)),
        _ => {}
    }
}

/// Whether a header, parameter or field of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    [
        "auth",
        "token",
        "secret",
        "password",
        "passwd",
        "apikey",
        "session",
        "csrf",
        "xsrf",
        "credential",
        "signature",
    ]
    .iter()
    .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn defaults() -> Defaults {
        Defaults {
            headers: Vec::new(),
            expect_status: plimsoll_load::StatusRanges::default(),
            timeout: Duration::from_secs(1),
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.json");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    const API: &str = r##"{"openapi":"3.0.0","servers":[{"url":"https://api.example.org/v1/"}],
      "paths":{
        "/users/{id}":{"parameters":[{"$ref":"#/components/parameters/Id"}],
          "get":{"parameters":[{"name":"view","in":"query","schema":{"enum":["full & more"]}},{"name":"page","in":"query"}]},
          "delete":{}},
        "/orders/{number}":{"get":{"parameters":[{"name":"number","in":"path","required":true}]}},
        "/orders":{"post":{"requestBody":{"content":{"application/json":{"example":{"n":1}}}}}}},
      "components":{"parameters":{"Id":{"name":"id","in":"path","required":true,"schema":{"type":"string","example":"a/b"}}}}}"##;

    #[test]
    fn safe_operations_of_a_description_are_driven_and_the_others_named() {
        let (_directory, path) = file(API);
        let base = "http://127.0.0.1:3000/ignored".to_owned();
        let imported = openapi(&path, Some(&base), &[], &defaults()).unwrap();
        let urls: Vec<&str> = imported
            .plan
            .steps
            .iter()
            .map(|s| s.request.url.as_str())
            .collect();
        assert_eq!(
            urls,
            ["http://127.0.0.1:3000/v1/users/a%2Fb?view=full%20%26%20more"]
        );
        let said = &imported.findings[0].message;
        for part in [
            "3 operations",
            "DELETE /users/{id} (it may change",
            "GET /orders/{number} (no example for its path parameter `number`)",
        ] {
            assert!(said.contains(part), "{said}");
        }

        let named = ["post /orders".to_owned()];
        let imported = openapi(&path, Some(&base), &named, &defaults()).unwrap();
        let post = imported
            .plan
            .steps
            .iter()
            .find(|s| s.name == "POST /orders")
            .unwrap();
        assert_eq!(post.request.body.as_deref(), Some(&br#"{"n":1}"#[..]));
        let unknown = openapi(
            &path,
            Some(&base),
            &["POST /nowhere".to_owned()],
            &defaults(),
        );
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("`POST /nowhere` is not in it")
        );
    }

    #[test]
    fn what_is_no_description_is_refused() {
        for (text, said) in [
            ("openapi: 3.0.0", "no `paths`"),
            ("{\"a\":\n", "EOF"),
            ("{}", "no `paths`"),
            (r#"{"paths":{}}"#, "names no server"),
            (
                r#"{"servers":[{"url":"http://127.0.0.1:1"}],"paths":{"/a":{"post":{}}}}"#,
                "none of its operations",
            ),
        ] {
            let (_directory, path) = file(text);
            let error = openapi(&path, None, &[], &defaults()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_recording_is_driven_without_files_strangers_and_secrets() {
        let entry = |method: &str, url: &str, headers: &str, body: &str| {
            let body = if body.is_empty() {
                String::new()
            } else {
                format!(r#","postData":{{"text":{}}}"#, Value::from(body))
            };
            format!(
                r#"{{"request":{{"method":"{method}","url":"{url}","headers":[{headers}]{body}}},"response":{{"content":{{"mimeType":"application/json"}}}}}}"#
            )
        };
        let secret = r#"{"name":"Authorization","value":"Bearer s3cret"},{"name":"Cookie","value":"sid=s3cret"},{"name":"Accept","value":"a/b"}"#;
        let entries = [
            entry(
                "GET",
                "https://shop.example/items?page=1&access_token=s3cret",
                secret,
                "",
            ),
            entry(
                "GET",
                "https://shop.example/items?page=1&access_token=s3cret2",
                secret,
                "",
            ),
            entry(
                "POST",
                "https://shop.example/enter",
                "",
                r#"{"user":"ann","password":"s3cret","deep":[{"xsrfValue":"s3cret"}]}"#,
            ),
            entry("POST", "https://shop.example/form", "", "a=b&passwd=s3cret"),
            entry("GET", "https://shop.example/app.js", "", ""),
            entry("GET", "https://tracker.example/pixel", "", ""),
        ];
        let (_directory, path) = file(&format!(
            r#"{{"log":{{"entries":[{}]}}}}"#,
            entries.join(",")
        ));
        let base = "http://127.0.0.1:3000".to_owned();
        let imported = har(&path, Some(&base), &defaults()).unwrap();
        let all = format!(
            "{:?}",
            imported
                .plan
                .steps
                .iter()
                .map(|s| (
                    &s.request.url,
                    &s.request.headers,
                    s.request
                        .body
                        .as_ref()
                        .map(|b| String::from_utf8_lossy(b).into_owned())
                ))
                .collect::<Vec<_>>()
        );
        assert!(!all.contains("s3cret"), "{all}");
        let urls: Vec<(&str, u32)> = imported
            .plan
            .steps
            .iter()
            .map(|s| (s.request.url.as_str(), s.weight))
            .collect();
        assert_eq!(
            urls,
            [
                (
                    "http://127.0.0.1:3000/items?page=1&access_token=REDACTED",
                    2
                ),
                ("http://127.0.0.1:3000/enter", 1),
                ("http://127.0.0.1:3000/form", 1),
            ]
        );
        assert!(
            imported.findings[0]
                .message
                .contains("1 requests for static files and 1 to other servers")
        );
        let (_directory, path) = file("{}");
        assert!(
            har(&path, None, &defaults())
                .unwrap_err()
                .to_string()
                .contains("log.entries")
        );
    }
}
