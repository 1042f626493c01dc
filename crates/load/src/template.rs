//! Text with `{{…}}` in it: `{{seq}}`, `{{uuid}}`, `{{rand 1 100}}`, `{{csv.column}}`, `{{variable}}`.

use std::io::Write as _;

use crate::values::{Names, Values};

/// One stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it is.
    Literal(Vec<u8>),
    /// The number of the operation, which no other operation of the run has.
    Seq,
    /// A random identifier, version 4.
    Uuid,
    /// A random number, both ends included.
    Rand { low: i64, high: i64 },
    /// A column of the table.
    Column(usize),
    /// A variable.
    Variable(usize),
    /// The number of bytes of the body.
    BodyLength,
}

/// Where a value is put, which decides what may not stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Percent-encoded unless unreserved (RFC 3986 §2.3).
    Url,
    /// Without control characters: a line break would begin another header.
    Header,
    /// As it is.
    Body,
}

/// Text with variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<(Piece, Option<Place>)>,
}

/// What is between double braces and no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// As it stands there, braces included.
    pub(crate) text: String,
    /// Its place in the template, in bytes.
    pub(crate) offset: usize,
    pub(crate) reason: String,
}

impl Template {
    /// Finds the values in `text`. Braces around anything that is no name stay as they are.
    pub(crate) fn parse(text: &[u8], place: Place, names: &Names) -> Result<Self, Unknown> {
        let mut template = Self::default();
        for span in spans(text) {
            match span {
                Span::Text(bytes) => template.literal(bytes),
                Span::Value {
                    name,
                    offset,
                    whole,
                } => {
                    let piece = piece(name, names).map_err(|reason| Unknown {
                        text: String::from_utf8_lossy(whole).into_owned(),
                        offset,
                        reason,
                    })?;
                    template.pieces.push((piece, Some(place)));
                }
            }
        }
        Ok(template)
    }

    /// Adds bytes as they are.
    pub(crate) fn literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some((Piece::Literal(last), _)) = self.pieces.last_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.pieces.push((Piece::Literal(bytes.to_vec()), None));
        }
    }

    /// Adds what `other` holds.
    pub(crate) fn append(&mut self, other: Self) {
        for piece in other.pieces {
            match piece {
                (Piece::Literal(bytes), _) => self.literal(&bytes),
                piece => self.pieces.push(piece),
            }
        }
    }

    /// Adds the length of the body.
    pub(crate) fn body_length(&mut self) {
        self.pieces.push((Piece::BodyLength, None));
    }

    /// Whether it renders the same for every operation (given a body that does).
    pub(crate) fn is_fixed(&self) -> bool {
        self.pieces
            .iter()
            .all(|(piece, _)| matches!(piece, Piece::Literal(_) | Piece::BodyLength))
    }

    /// Whether it uses the table.
    pub(crate) fn has_columns(&self) -> bool {
        self.pieces
            .iter()
            .any(|(piece, _)| matches!(piece, Piece::Column(_)))
    }

    /// Variables it uses.
    pub(crate) fn variables(&self) -> impl Iterator<Item = usize> + '_ {
        self.pieces.iter().filter_map(|(piece, _)| match piece {
            Piece::Variable(index) => Some(*index),
            _ => None,
        })
    }

    /// Appends what it says now.
    ///
    /// # Errors
    /// The variable that has no value yet.
    pub(crate) fn render(
        &self,
        values: &mut Values<'_>,
        body_length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), usize> {
        for (piece, place) in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Seq => decimal(values.seq, out),
                Piece::BodyLength => decimal(body_length as u64, out),
                Piece::Uuid => uuid(values, out),
                Piece::Rand { low, high } => {
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "{}", values.random.between(*low, *high));
                }
                Piece::Column(index) => {
                    let value = values.row.get(*index).map_or("", String::as_str);
                    put(value.as_bytes(), *place, out);
                }
                Piece::Variable(index) => match values.variables.get(*index) {
                    Some(Some(value)) => put(value, *place, out),
                    _ => return Err(*index),
                },
            }
        }
        Ok(())
    }
}

/// A stretch of a text: as it is, or a name between double braces.
pub(crate) enum Span<'a> {
    Text(&'a [u8]),
    Value {
        name: &'a str,
        offset: usize,
        /// The name with its braces.
        whole: &'a [u8],
    },
}

/// Cuts a text at its `{{name}}`s.
pub(crate) fn spans(text: &[u8]) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(next) = find(&text[at..], *b"{{") {
        let open = at + next;
        if let Some((name, length)) = variable(&text[open..]) {
            if begin < open {
                found.push(Span::Text(&text[begin..open]));
            }
            found.push(Span::Value {
                name,
                offset: open,
                whole: &text[open..open + length],
            });
            at = open + length;
            begin = at;
        } else {
            at = open + 1;
        }
    }
    if begin < text.len() {
        found.push(Span::Text(&text[begin..]));
    }
    found
}

/// The name between the double braces at the start of `text`, and the bytes up to behind them.
fn variable(text: &[u8]) -> Option<(&str, usize)> {
    // Names are short; without a bound a megabyte of braces would be searched once per brace.
    let inner = text.strip_prefix(b"{{")?;
    let inner = &inner[..inner.len().min(64)];
    let end = find(inner, *b"}}")?;
    let name = inner[..end].trim_ascii();
    let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_. -".contains(b));
    let name = is_name.then(|| std::str::from_utf8(name).ok()).flatten()?;
    Some((name, end + 4))
}

/// What a name stands for, or why it stands for nothing.
fn piece(name: &str, names: &Names) -> Result<Piece, String> {
    if let Some(index) = names.variables.iter().position(|v| v == name) {
        return Ok(Piece::Variable(index));
    }
    if let Some(column) = name.strip_prefix("csv.") {
        return match names.columns.iter().position(|c| c == column) {
            Some(index) => Ok(Piece::Column(index)),
            None if names.columns.is_empty() => Err("no table was named with `csv`".to_owned()),
            None => Err(format!("the columns are {}", names.columns.join(", "))),
        };
    }
    let mut words = name.split_ascii_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("seq"), None, ..) => Ok(Piece::Seq),
        (Some("uuid"), None, ..) => Ok(Piece::Uuid),
        (Some("rand"), Some(low), Some(high), None) => {
            match (low.parse::<i64>(), high.parse::<i64>()) {
                (Ok(low), Ok(high)) if low <= high => Ok(Piece::Rand { low, high }),
                _ => Err("`rand` takes two whole numbers, the smaller first".to_owned()),
            }
        }
        (Some("rand"), ..) => Err("`rand` takes two whole numbers: {{rand 1 100}}".to_owned()),
        _ => {
            let mut known = vec!["seq".to_owned(), "uuid".to_owned(), "rand A B".to_owned()];
            known.extend(names.variables.iter().cloned());
            known.extend(names.columns.iter().map(|c| format!("csv.{c}")));
            Err(format!("known are {}", known.join(", ")))
        }
    }
}

fn put(value: &[u8], place: Option<Place>, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match place {
        Some(Place::Url) => {
            for &byte in value {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(byte);
                } else {
                    out.extend([
                        b'%',
                        HEX[usize::from(byte >> 4)],
                        HEX[usize::from(byte & 15)],
                    ]);
                }
            }
        }
        Some(Place::Header) => {
            out.extend(value.iter().filter(|b| **b >= b' ' && **b != 0x7f));
        }
        Some(Place::Body) | None => out.extend_from_slice(value),
    }
}

fn uuid(values: &mut Values<'_>, out: &mut Vec<u8>) {
    let (a, b) = (values.random.next(), values.random.next());
    // Version 4, variant 1: RFC 9562 §5.4.
    let (a, b) = (a & !0xf000 | 0x4000, b >> 2 | 1 << 63);
    let _ = write!(
        out,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    );
}

fn find(haystack: &[u8], needle: [u8; 2]) -> Option<usize> {
    haystack.windows(2).position(|window| *window == needle)
}

pub(crate) fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Random;

    fn names() -> Names {
        Names {
            variables: vec!["token".into(), "id".into()],
            columns: vec!["user".into()],
        }
    }

    fn rendered(text: &str, place: Place, seq: u64) -> Result<String, String> {
        let template = Template::parse(text.as_bytes(), place, &names())
            .map_err(|u| u.text + ": " + &u.reason)?;
        let mut out = Vec::new();
        let mut values = Values {
            seq,
            random: &mut Random::new(7),
            row: &["ann lee".to_owned()],
            variables: &[Some(b"a/b\r\nc".to_vec()), None],
        };
        template
            .render(&mut values, 0, &mut out)
            .map_err(|v| format!("{} has no value", names().variables[v]))?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn check(text: &str, seq: u64, expected: &str) {
        assert_eq!(
            rendered(text, Place::Body, seq).as_deref(),
            Ok(expected),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_put_in_and_all_else_stays() {
        check("/u/{{seq}}?b={{ seq }}", 907, "/u/907?b=907");
        check("{{seq}}", 0, "0");
        check("{{seq}}", u64::MAX, "18446744073709551615");
        check("{{{seq}}}", 10, "{10}");
        check(r#"{"a":{"b":{}}}"#, 1, r#"{"a":{"b":{}}}"#);
        check("{{ {{seq}} {{", 1, "{{ 1 {{");
        check("", 1, "");
    }

    #[test]
    fn values_are_encoded_for_their_place() {
        let text = "{{token}}|{{csv.user}}";
        assert_eq!(
            rendered(text, Place::Url, 0).unwrap(),
            "a%2Fb%0D%0Ac|ann%20lee"
        );
        assert_eq!(rendered(text, Place::Header, 0).unwrap(), "a/bc|ann lee");
        assert_eq!(rendered(text, Place::Body, 0).unwrap(), "a/b\r\nc|ann lee");
        assert_eq!(
            rendered("{{id}}", Place::Body, 0).unwrap_err(),
            "id has no value"
        );
    }

    #[test]
    fn random_values_look_as_they_should() {
        let id = rendered("{{uuid}}", Place::Body, 0).unwrap();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        let number: i64 = rendered("{{rand -5 5}}", Place::Body, 0)
            .unwrap()
            .parse()
            .unwrap();
        assert!((-5..=5).contains(&number));
    }

    #[test]
    fn what_stands_for_nothing_is_refused_with_what_does() {
        let refused = |text| rendered(text, Place::Body, 0).unwrap_err();
        assert_eq!(
            refused("/{{seq}}/{{ user }}"),
            "{{ user }}: known are seq, uuid, rand A B, token, id, csv.user"
        );
        assert_eq!(refused("{{csv.age}}"), "{{csv.age}}: the columns are user");
        assert!(refused("{{rand 5 1}}").contains("the smaller first"));
        assert!(refused("{{rand}}").contains("two whole numbers"));
        check("/{{seq}}/{{}}/{{1}}", 3, "/3/{{}}/{{1}}");
    }
}
