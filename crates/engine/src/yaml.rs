//! YAML, read into JSON values: what descriptions of APIs are written in.
//!
//! Of a file with several documents the first is taken. Aliases are expanded, within bounds: a few lines can name billions.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Values at most, each expanded alias counted.
const MOST_VALUES: usize = 2_000_000;
/// Lists and mappings within each other at most.
const DEEPEST: usize = 100;

/// Reads a document.
///
/// # Errors
/// Line, column, and what is wrong there.
pub(crate) fn parse(text: &str) -> Result<Value, ((usize, usize), String)> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = (error.marker().line(), error.marker().col() + 1);
            (at, error.info().to_owned())
        })?;
        let at = (span.start.line(), span.start.col() + 1);
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event).map_err(|what| (at, what))?;
    }
    Ok(builder.done.unwrap_or(Value::Null))
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    done: Option<Value>,
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
}

/// A list or mapping whose end has not come, the anchor it has (0 = none), and how many values there were before it.
struct Open {
    content: Content,
    anchor: usize,
    before: usize,
}

enum Content {
    List(Vec<Value>),
    /// And the key whose value comes next.
    Mapping(Map<String, Value>, Option<String>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text =
                    style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                let value = if is_text || self.expects_key() {
                    Value::String(text.into_owned())
                } else {
                    plain(&text)
                };
                self.add(value, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.begin(Content::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => {
                if self.expects_key() {
                    return Err("a key is a text".to_owned());
                }
                self.begin(Content::Mapping(Map::new(), None), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(());
                };
                let value = match open.content {
                    Content::List(items) => Value::Array(items),
                    Content::Mapping(fields, _) => Value::Object(fields),
                };
                // The values within are counted already.
                let within = self.values - open.before;
                self.add_counted(value, open.anchor, within)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (value, size) = known.ok_or("an alias of itself")?;
                self.add(value, 0, size)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, content: Content, anchor: usize) -> Result<(), String> {
        if self.expects_key() {
            return Err("a key is a text".to_owned());
        }
        if self.open.len() >= DEEPEST {
            return Err(format!("more than {DEEPEST} levels within each other"));
        }
        self.open.push(Open {
            content,
            anchor,
            before: self.values,
        });
        self.values += 1;
        Ok(())
    }

    fn expects_key(&self) -> bool {
        let last = self.open.last().map(|open| &open.content);
        matches!(last, Some(Content::Mapping(_, None)))
    }

    fn add(&mut self, value: Value, anchor: usize, size: usize) -> Result<(), String> {
        self.values += size;
        if self.values > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values, aliases expanded"));
        }
        self.add_counted(value, anchor, size)
    }

    fn add_counted(&mut self, value: Value, anchor: usize, size: usize) -> Result<(), String> {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.done = Some(value),
            Some(Content::List(items)) => items.push(value),
            Some(Content::Mapping(fields, key)) => match (key.take(), value) {
                (None, Value::String(text)) => *key = Some(text),
                (None, _) => return Err("a key is a text".to_owned()),
                (Some(key), value) if key == "<<" => merge(fields, value),
                (Some(key), value) => {
                    fields.insert(key, value);
                }
            },
        }
        Ok(())
    }
}

/// `<<: *other`: the fields of another mapping, where there are none of that name.
fn merge(fields: &mut Map<String, Value>, other: Value) {
    match other {
        Value::Object(others) => {
            for (name, value) in others {
                fields.entry(name).or_insert(value);
            }
        }
        Value::Array(all) => all.into_iter().for_each(|one| merge(fields, one)),
        _ => {}
    }
}

/// What a scalar without quotes is (YAML 1.2, core schema).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Ok(number) = text.parse::<i64>()
        && !digits.is_empty()
    {
        return number.into();
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(rest) = text.strip_prefix(prefix)
            && let Ok(number) = u64::from_str_radix(rest, radix)
        {
            return number.into();
        }
    }
    // `nan` and `inf` are words here, though Rust reads them as numbers.
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match text.parse::<f64>() {
        Ok(number) if is_number => number.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_become_what_json_would_say() {
        let check = |text: &str, expected: Value| assert_eq!(parse(text), Ok(expected), "{text}");
        check(
            "openapi: 3.1.0\npaths:\n  /a/{id}:\n    get:\n      responses: { 200: { description: 'ok' } }\n",
            json!({"openapi": "3.1.0", "paths": {"/a/{id}": {"get": {"responses": {"200": {"description": "ok"}}}}}}),
        );
        check(
            "- 1\n- -2.5e1\n- 0x10\n- true\n- ~\n- \"7\"\n- !!str 8\n- nan\n- 1.2.3\n- |\n  a\n  b\n",
            json!([1, -25.0, 16, true, null, "7", "8", "nan", "1.2.3", "a\nb\n"]),
        );
        check(
            "base: &b { x: 1, y: 2 }\nown: { <<: *b, y: 3 }\nlist: [*b]\n",
            json!({"base": {"x": 1, "y": 2}, "own": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}]}),
        );
        check("", Value::Null);
        check("--- 1\n--- 2\n", json!(1));
    }

    #[test]
    fn what_is_wrong_is_located_and_what_explodes_is_refused() {
        let (at, what) = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(at.0 >= 2, "{at:?} {what}");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let line = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb = format!("{bomb}a{level}: &a{level} [{line}]\n");
        }
        assert!(parse(&bomb).unwrap_err().1.contains("aliases expanded"));
        assert!(parse(&"[".repeat(5_000)).is_err());
        assert!(parse("? [1]\n: 2\n").is_err());
    }
}
