//! Text with `{{seq}}` in it: the number of the operation, which no other operation of the run has.

/// One stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it is.
    Literal(Vec<u8>),
    /// The number of the operation.
    Seq,
    /// The number of bytes of the body.
    BodyLength,
}

/// Text with variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Finds the variables in `text`. Anything else between double braces stays as it is.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(at) = find(rest, *b"{{") {
            if let Some((name, length)) = variable(&rest[at..])
                && name == b"seq"
            {
                template.literal(&rest[..at]);
                template.pieces.push(Piece::Seq);
                rest = &rest[at + length..];
            } else {
                template.literal(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
        template.literal(rest);
        template
    }

    /// The first thing between double braces that is no variable but looks like one, e.g. `{{sequence}}`.
    pub(crate) fn unknown_variable(text: &str) -> Option<&str> {
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            if let Some((name, length)) = variable(&rest.as_bytes()[at..])
                && name != b"seq"
            {
                return rest.get(at..at + length);
            }
            rest = &rest[at + 1..];
        }
        None
    }

    /// Adds bytes as they are.
    pub(crate) fn literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(Piece::Literal(last)) = self.pieces.last_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.pieces.push(Piece::Literal(bytes.to_vec()));
        }
    }

    /// Adds what `other` holds.
    pub(crate) fn append(&mut self, other: Self) {
        for piece in other.pieces {
            match piece {
                Piece::Literal(bytes) => self.literal(&bytes),
                piece => self.pieces.push(piece),
            }
        }
    }

    /// Adds the length of the body.
    pub(crate) fn body_length(&mut self) {
        self.pieces.push(Piece::BodyLength);
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether it renders the same for every operation (given a body that does).
    pub(crate) fn is_fixed(&self) -> bool {
        !self.pieces.contains(&Piece::Seq)
    }

    /// Bytes it renders to for operation `seq`, itself holding no length of a body.
    pub(crate) fn length(&self, seq: u64) -> u64 {
        let digits = u64::from(seq.checked_ilog10().unwrap_or(0)) + 1;
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(bytes) => bytes.len() as u64,
                Piece::Seq => digits,
                Piece::BodyLength => 0,
            })
            .sum()
    }

    /// Appends what it says for operation `seq`.
    pub(crate) fn render(&self, seq: u64, body_length: u64, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Seq => decimal(seq, out),
                Piece::BodyLength => decimal(body_length, out),
            }
        }
    }
}

/// The name between the double braces at the start of `text`, and the bytes up to behind them.
fn variable(text: &[u8]) -> Option<(&[u8], usize)> {
    // Names are short; without a bound a megabyte of braces would be searched once per brace.
    let inner = text.strip_prefix(b"{{")?;
    let inner = &inner[..inner.len().min(64)];
    let end = find(inner, *b"}}")?;
    let name = inner[..end].trim_ascii();
    let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_. -".contains(b));
    is_name.then_some((name, end + 4))
}

fn find(haystack: &[u8], needle: [u8; 2]) -> Option<usize> {
    haystack.windows(2).position(|window| *window == needle)
}

fn decimal(mut number: u64, out: &mut Vec<u8>) {
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

    fn check(text: &str, seq: u64, expected: &str) {
        let template = Template::parse(text.as_bytes());
        let mut out = Vec::new();
        template.render(seq, 0, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(template.length(seq), expected.len() as u64);
    }

    #[test]
    fn numbers_are_put_in_and_all_else_stays() {
        check("/u/{{seq}}?b={{ seq }}", 907, "/u/907?b=907");
        check("{{seq}}", 0, "0");
        check("{{seq}}", u64::MAX, "18446744073709551615");
        check("{{{seq}}}", 10, "{10}");
        check(r#"{"a":{"b":{}}}"#, 1, r#"{"a":{"b":{}}}"#);
        check("{{ {{seq}} {{", 1, "{{ 1 {{");
        check("{{sequence}}", 1, "{{sequence}}");
        check("", 1, "");
    }

    #[test]
    fn what_looks_like_a_variable_is_found() {
        assert_eq!(
            Template::unknown_variable("/{{seq}}/{{ uuid }}"),
            Some("{{ uuid }}")
        );
        assert_eq!(Template::unknown_variable("/{{seq}}/{{}}/{{1}}"), None);
    }
}
