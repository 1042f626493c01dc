//! Reads answers: heads by `httparse`, bodies by skimming them, never keeping them.
//!
//! The parser is fed what arrives, in whatever pieces, and its outcome does not depend on where they were cut. It
//! keeps at most [`HEAD_LIMIT`] bytes, and only of a head that is not complete yet.

use std::mem::MaybeUninit;
use std::time::Duration;

use crate::meter::Failure;

/// Longest head, longest trailer section.
pub(crate) const HEAD_LIMIT: usize = 64 * 1024;

/// What the head of the answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// The final status; 0 until its head was read.
    pub(crate) status: u16,
    /// Whether the connection ends with this answer.
    pub(crate) closes: bool,
    /// Whether it sets a cookie.
    pub(crate) sets_cookie: bool,
    /// After how long the server says it closes idle connections.
    pub(crate) idle_timeout: Option<Duration>,
    /// Whether it sends the client to something that looks like a login.
    pub(crate) to_login: bool,
}

impl Answer {
    /// Remembers what a header says about what comes after the answer.
    fn notice(&mut self, name: &str, value: &[u8]) {
        match name.len() {
            8 if name.eq_ignore_ascii_case("Location") => {
                self.to_login = (300..400).contains(&self.status) && is_login(value);
            }
            10 if name.eq_ignore_ascii_case("Set-Cookie") => self.sets_cookie = true,
            10 if name.eq_ignore_ascii_case("Keep-Alive") => {
                self.idle_timeout = idle_timeout(value);
            }
            _ => {}
        }
    }
}

/// What of an answer is kept for whoever looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capture {
    pub(crate) head: bool,
    pub(crate) body: bool,
}

impl Capture {
    pub(crate) const NOTHING: Self = Self {
        head: false,
        body: false,
    };
}

/// Longest part of a body that is kept: what is looked for in it stands near its start, and memory is bounded.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// What became of the bytes fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fed {
    /// So many belong to this answer.
    pub(crate) consumed: usize,
    /// Whether it is complete with them.
    pub(crate) complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Length(u64),
    Chunked(Chunk),
    UntilClose,
    Complete,
}

/// Where in a chunked body (RFC 9112 §7.1) the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    LastLf,
}

/// How long the body is, as the head says it.
struct Head {
    answer: Answer,
    body: Phase,
    interim: bool,
}

/// Reads one answer after the other.
#[derive(Debug)]
pub(crate) struct ResponseParser {
    phase: Phase,
    /// The start of a head that is not complete yet.
    head: Vec<u8>,
    /// Bytes of this answer's blank lines, chunk extensions and trailers, which are not kept but bounded.
    unkept: usize,
    to_head_request: bool,
    answer: Answer,
    capture: Capture,
    /// Longest part of a body that is kept.
    body_limit: usize,
    kept_head: Vec<u8>,
    kept_body: Vec<u8>,
}

impl ResponseParser {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Head,
            head: Vec::new(),
            unkept: 0,
            to_head_request: false,
            answer: Answer::default(),
            capture: Capture::NOTHING,
            body_limit: BODY_LIMIT,
            kept_head: Vec::new(),
            kept_body: Vec::new(),
        }
    }

    /// Forgets the last answer and expects the next.
    pub(crate) fn begin(&mut self, to_head_request: bool, capture: Capture) {
        self.phase = Phase::Head;
        self.head.clear();
        self.head.shrink_to(4 * 1024);
        self.unkept = 0;
        self.to_head_request = to_head_request;
        self.answer = Answer::default();
        self.capture = capture;
        self.kept_head.clear();
        self.kept_body.clear();
        self.kept_body.shrink_to(16 * 1024);
    }

    /// From now on so much of a body is kept.
    pub(crate) fn keep_up_to(&mut self, bytes: usize) {
        self.body_limit = bytes;
    }

    /// The head of the answer, if it was to be kept.
    pub(crate) fn kept_head(&self) -> &[u8] {
        &self.kept_head
    }

    /// The start of the body, if it was to be kept.
    pub(crate) fn kept_body(&self) -> &[u8] {
        &self.kept_body
    }

    fn keep_body(&mut self, bytes: &[u8]) {
        if self.capture.body {
            let room = self.body_limit - self.kept_body.len();
            self.kept_body
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn keep_head(&mut self, head: &Head, bytes: &[u8]) {
        if self.capture.head && !head.interim {
            self.kept_head.extend_from_slice(bytes);
        }
    }

    /// What is known of the answer so far.
    pub(crate) fn answer(&self) -> Answer {
        self.answer
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Failure> {
        let mut consumed = 0;
        while consumed < bytes.len() && self.phase != Phase::Complete {
            let rest = &bytes[consumed..];
            consumed += match self.phase {
                Phase::Head => self.feed_head(rest)?,
                Phase::Length(left) => {
                    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.phase = length(left - taken as u64);
                    self.keep_body(&rest[..taken]);
                    taken
                }
                Phase::Chunked(chunk) => self.feed_chunked(chunk, rest)?,
                Phase::UntilClose => {
                    self.keep_body(rest);
                    rest.len()
                }
                Phase::Complete => 0,
            };
        }
        Ok(Fed {
            consumed,
            complete: self.phase == Phase::Complete,
        })
    }

    /// Takes the head of an answer that is not HTTP/1.1; its body is given by [`ResponseParser::take_body`].
    pub(crate) fn take_head<'h>(
        &mut self,
        status: u16,
        version: &str,
        fields: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) {
        self.answer = Answer {
            status,
            ..Answer::default()
        };
        self.phase = Phase::UntilClose;
        if self.capture.head {
            self.kept_head
                .extend_from_slice(format!("{version} {status}\r\n").as_bytes());
        }
        for (name, value) in fields {
            self.answer.notice(name, value);
            if self.capture.head {
                for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                    self.kept_head.extend_from_slice(part);
                }
            }
        }
    }

    /// Takes the next part of the body of such an answer.
    pub(crate) fn take_body(&mut self, bytes: &[u8]) {
        self.keep_body(bytes);
    }

    /// Takes an answer that is nothing but a body.
    pub(crate) fn take_message(&mut self, bytes: &[u8]) {
        self.answer = Answer {
            status: 101,
            ..Answer::default()
        };
        self.keep_body(bytes);
    }

    /// The server sends no more: this is the end of some answers, and cuts off the others.
    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        match self.phase {
            Phase::Complete => Ok(()),
            Phase::UntilClose => {
                self.phase = Phase::Complete;
                Ok(())
            }
            Phase::Head if self.head.is_empty() => Err(Failure::ClosedBefore),
            _ => Err(Failure::ClosedInside),
        }
    }

    /// Returns how many bytes belong to the head.
    fn feed_head(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let mut bytes = bytes;
        let mut consumed = 0;
        if self.head.is_empty() {
            // Blank lines before the status line are skipped, as RFC 9112 §2.2 has servers do.
            let blank = bytes.iter().take_while(|b| b"\r\n".contains(b)).count();
            self.spend(blank)?;
            bytes = &bytes[blank..];
            consumed = blank;
            check_start(bytes)?;
            // The common case: all of it is here, nothing has to be copied.
            if let Ok(Some((length, head))) = parse_head(bytes, self.to_head_request) {
                if length > HEAD_LIMIT {
                    return Err(Failure::HeadTooLong);
                }
                self.keep_head(&head, &bytes[..length]);
                self.accept(&head);
                return Ok(consumed + length);
            }
        }

        // Whatever is wrong with an incomplete head is said once its end is here, or it could depend on the cuts.
        let known = self.head.len();
        let room = HEAD_LIMIT + 1 - known;
        let taken = bytes.len().min(room);
        self.head.extend_from_slice(&bytes[..taken]);
        check_start(&self.head)?;
        let Some(end) = end_of_head(&self.head, known.saturating_sub(2)) else {
            return if self.head.len() > HEAD_LIMIT {
                Err(Failure::HeadTooLong)
            } else {
                Ok(consumed + taken)
            };
        };
        if end > HEAD_LIMIT {
            return Err(Failure::HeadTooLong);
        }
        let Some((length, head)) = parse_head(&self.head[..end], self.to_head_request)? else {
            return Err(Failure::Malformed);
        };
        debug_assert_eq!(length, end, "a head ends at its first empty line");
        let known_head = std::mem::take(&mut self.head);
        self.keep_head(&head, &known_head[..end]);
        self.head = known_head;
        self.head.clear();
        self.accept(&head);
        Ok(consumed + (end - known))
    }

    fn accept(&mut self, head: &Head) {
        if !head.interim {
            self.answer = head.answer;
            self.phase = head.body;
        }
    }

    fn feed_chunked(&mut self, chunk: Chunk, bytes: &[u8]) -> Result<usize, Failure> {
        if let Chunk::Data { left } = chunk {
            let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - taken as u64;
            self.keep_body(&bytes[..taken]);
            self.phase = Phase::Chunked(if left == 0 {
                Chunk::DataCr
            } else {
                Chunk::Data { left }
            });
            return Ok(taken);
        }
        let byte = bytes[0];
        let next = match chunk {
            Chunk::Size { size, digits } => match (byte, digits) {
                (b'\r', 1..) => Chunk::SizeLf { size },
                // Some servers pad the size with spaces.
                (b';' | b' ' | b'\t', 1..) => Chunk::Extension { size },
                (_, 16..) => return Err(Failure::Malformed),
                _ => {
                    let digit = char::from(byte).to_digit(16).ok_or(Failure::Malformed)?;
                    Chunk::Size {
                        size: size << 4 | u64::from(digit),
                        digits: digits + 1,
                    }
                }
            },
            Chunk::Extension { size } => {
                self.spend(1)?;
                match byte {
                    b'\r' => Chunk::SizeLf { size },
                    b'\n' => return Err(Failure::Malformed),
                    _ => Chunk::Extension { size },
                }
            }
            Chunk::SizeLf { size: 0 } if byte == b'\n' => Chunk::TrailerStart,
            Chunk::SizeLf { size } if byte == b'\n' => Chunk::Data { left: size },
            Chunk::DataCr if byte == b'\r' => Chunk::DataLf,
            Chunk::DataLf if byte == b'\n' => Chunk::Size { size: 0, digits: 0 },
            Chunk::TrailerStart if byte == b'\r' => Chunk::LastLf,
            Chunk::TrailerStart | Chunk::Trailer => {
                self.spend(1)?;
                match (chunk, byte) {
                    (Chunk::Trailer, b'\n') => Chunk::TrailerStart,
                    (_, b'\n') => return Err(Failure::Malformed),
                    _ => Chunk::Trailer,
                }
            }
            Chunk::LastLf if byte == b'\n' => {
                self.phase = Phase::Complete;
                return Ok(1);
            }
            _ => return Err(Failure::Malformed),
        };
        self.phase = Phase::Chunked(next);
        Ok(1)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        self.unkept += bytes;
        if self.unkept > HEAD_LIMIT {
            return Err(Failure::HeadTooLong);
        }
        Ok(())
    }
}

fn length(left: u64) -> Phase {
    if left == 0 {
        Phase::Complete
    } else {
        Phase::Length(left)
    }
}

/// Something that is no HTTP/1 at all is seen at once, without waiting for an empty line that may never come.
fn check_start(head: &[u8]) -> Result<(), Failure> {
    let start = b"HTTP/1.";
    let known = head.len().min(start.len());
    if head[..known] == start[..known] {
        Ok(())
    } else {
        Err(Failure::Malformed)
    }
}

/// The end of the first empty line at or after `from`.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|at| match &bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The head at the start of `bytes` and its length, `None` if it is not complete.
fn parse_head(bytes: &[u8], to_head_request: bool) -> Result<Option<(usize, Head)>, Failure> {
    let config = httparse::ParserConfig::default();
    let mut few = [const { MaybeUninit::uninit() }; 64];
    let mut response = httparse::Response::new(&mut []);
    let mut many;
    let mut status = config.parse_response_with_uninit_headers(&mut response, bytes, &mut few);
    if status == Err(httparse::Error::TooManyHeaders) {
        // As many as Node takes.
        many = vec![MaybeUninit::uninit(); 2_000];
        response = httparse::Response::new(&mut []);
        status = config.parse_response_with_uninit_headers(&mut response, bytes, &mut many);
    }
    match status {
        Ok(httparse::Status::Complete(length)) => {
            read_head(&response, to_head_request).map(|head| Some((length, head)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Failure::Malformed),
    }
}

fn read_head(
    response: &httparse::Response<'_, '_>,
    to_head_request: bool,
) -> Result<Head, Failure> {
    let status = response.code.unwrap_or_default();
    if !(100..=999).contains(&status) {
        return Err(Failure::Malformed);
    }
    let is_http_1_0 = response.version == Some(0);
    let mut answer = Answer {
        status,
        ..Answer::default()
    };
    let mut content_length = None;
    let mut coding: Option<bool> = None;
    let (mut says_close, mut says_keep) = (false, false);
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            10 if is("Connection") => {
                for token in header.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    says_close |= token.eq_ignore_ascii_case(b"close");
                    says_keep |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("Content-Length") => {
                for part in header.value.split(|b| *b == b',') {
                    let length = decimal(part.trim_ascii()).ok_or(Failure::Malformed)?;
                    if content_length.is_some_and(|known| known != length) {
                        return Err(Failure::Malformed);
                    }
                    content_length = Some(length);
                }
            }
            17 if is("Transfer-Encoding") => {
                let last = header
                    .value
                    .rsplit(|b| *b == b',')
                    .next()
                    .unwrap_or_default();
                let last = last.trim_ascii();
                if !last.eq_ignore_ascii_case(b"identity") {
                    coding = Some(last.eq_ignore_ascii_case(b"chunked"));
                }
            }
            _ => answer.notice(header.name, header.value),
        }
    }

    // RFC 9112 §6.3, in its order.
    let interim = (100..200).contains(&status) && status != 101;
    let body = if interim || to_head_request || matches!(status, 101 | 204 | 304) {
        Phase::Complete
    } else if let Some(chunked) = coding {
        if chunked {
            Phase::Chunked(Chunk::Size { size: 0, digits: 0 })
        } else {
            Phase::UntilClose
        }
    } else if let Some(content_length) = content_length {
        length(content_length)
    } else {
        Phase::UntilClose
    };
    answer.closes = says_close
        || (is_http_1_0 && !says_keep)
        || body == Phase::UntilClose
        // What follows is another protocol.
        || status == 101
        // Two lengths: the answer is read as chunked, but what lies behind it is not trusted.
        || (coding.is_some() && (content_length.is_some() || is_http_1_0));
    Ok(Head {
        answer,
        body,
        interim,
    })
}

/// Whether a redirect leads to something that looks like a login.
fn is_login(location: &[u8]) -> bool {
    let location = String::from_utf8_lossy(location).to_ascii_lowercase();
    ["login", "log-in", "signin", "sign-in", "/auth", "sso"]
        .iter()
        .any(|word| location.contains(word))
}

/// The `timeout=5` of a `Keep-Alive` header.
fn idle_timeout(value: &[u8]) -> Option<Duration> {
    value
        .split(|b| *b == b',')
        .find_map(|part| part.trim_ascii().strip_prefix(b"timeout="))
        .and_then(decimal)
        .map(Duration::from_secs)
}

/// Digits and nothing else; `u64::from_str` would also take a sign.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How reading `bytes` ends, cut at `cuts`, with the connection closed behind them: the answer and the bytes it
    /// took, or the failure.
    fn read(bytes: &[u8], cuts: &[usize], to_head: bool) -> Result<(Answer, usize), Failure> {
        let mut parser = ResponseParser::new();
        parser.begin(to_head, Capture::NOTHING);
        let mut at = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            let fed = parser.feed(&bytes[at..cut])?;
            at += fed.consumed;
            if fed.complete {
                return Ok((parser.answer(), at));
            }
            assert_eq!(at, cut, "what is not complete takes all it is given");
        }
        parser.end().map(|()| (parser.answer(), at))
    }

    /// `expected` is the status, `+` if the connection stays open, and what is left over.
    fn check(bytes: &str, to_head: bool, expected: &str) {
        let every: Vec<usize> = (0..bytes.len()).collect();
        for cuts in [&[][..], &every] {
            let seen = match read(bytes.as_bytes(), cuts, to_head) {
                Ok((answer, taken)) => format!(
                    "{}{} {:?}",
                    answer.status,
                    if answer.closes { "" } else { "+" },
                    &bytes[taken..]
                ),
                Err(failure) => failure.to_string(),
            };
            assert_eq!(seen, expected, "{bytes:?}");
        }
    }

    #[test]
    fn bodies_end_where_the_head_says() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP",
            false,
            "200+ \"HTTP\"",
        );
        check(
            "HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
            false,
            "200+ \"\"",
        );
        check(
            "HTTP/1.1 200 OK\nContent-Length: 2, 2\nContent-Length: 2\n\nok",
            false,
            "200+ \"\"",
        );
        check(
            "\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nx",
            false,
            "204+ \"x\"",
        );
        check(
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            false,
            "304+ \"\"",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            true,
            "200+ \"\"",
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            true,
            "200+ \"\"",
        );
        check("HTTP/1.1 200 OK\r\n\r\nuntil close", false, "200 \"\"");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil close",
            false,
            "200 \"\"",
        );
        check(
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
            false,
            "200 \"\"",
        );
        check(
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na",
            false,
            "200+ \"\"",
        );
        check(
            "HTTP/1.1 500 Oh\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na",
            false,
            "500 \"\"",
        );
    }

    #[test]
    fn chunks_are_skimmed() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
        let chunked = |body: &str, expected| check(&format!("{head}{body}"), false, expected);
        chunked("0\r\n\r\n", "200+ \"\"");
        chunked(
            "3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\nHTTP",
            "200+ \"HTTP\"",
        );
        chunked("1  \r\na\r\n0\r\nDigest: x\r\nEnd: \r\n\r\n", "200+ \"\"");
        chunked("3\r\nabcd\r\n0\r\n\r\n", "malformed response");
        chunked("x\r\n", "malformed response");
        chunked("\r\n", "malformed response");
        chunked("3\nabc", "malformed response");
        chunked("11111111111111111\r\n", "malformed response");
        chunked("3\r\nab", "closed inside the answer");
        chunked("0\r\n", "closed inside the answer");
        chunked(
            &format!("0\r\n{}", "a".repeat(HEAD_LIMIT + 1)),
            "response head over 64 KiB",
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            false,
            "200 \"\"",
        );
    }

    #[test]
    fn interim_answers_are_passed_over() {
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            false,
            "200+ \"\"",
        );
        check(
            "HTTP/1.1 100 Continue\r\n\r\n",
            false,
            "closed before the answer",
        );
        check(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nx",
            false,
            "101 \"x\"",
        );
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        check("", false, "closed before the answer");
        check("HTTP/1.1 20", false, "closed inside the answer");
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            false,
            "closed inside the answer",
        );
        check("HTTP/2 200\r\n\r\n", false, "malformed response");
        check("SSH-2.0-OpenSSH_9.2p1\r\n", false, "malformed response");
        check("\x16\x03\x01", false, "malformed response");
        check("HTTP/1.1 abc OK\r\n\r\n", false, "malformed response");
        check("HTTP/1.1 000 OK\r\n\r\n", false, "malformed response");
        check(
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            false,
            "malformed response",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            false,
            "malformed response",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            false,
            "malformed response",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            false,
            "malformed response",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            false,
            "malformed response",
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            false,
            "malformed response",
        );
    }

    #[test]
    fn heads_are_long_but_bounded() {
        let many = "A: b\r\n".repeat(1_000);
        check(
            &format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n"),
            false,
            "200+ \"\"",
        );
        let most = "A: b\r\n".repeat(2_001);
        check(
            &format!("HTTP/1.1 200 OK\r\n{most}\r\n"),
            false,
            "malformed response",
        );
        let long = "a".repeat(HEAD_LIMIT);
        check(
            &format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n"),
            false,
            "response head over 64 KiB",
        );
        check(
            &format!("HTTP/1.1 200 {long}"),
            false,
            "response head over 64 KiB",
        );
        check(
            &"\r\n".repeat(HEAD_LIMIT),
            false,
            "response head over 64 KiB",
        );
    }

    #[test]
    fn what_is_asked_for_is_kept_however_it_was_cut() {
        let text = b"HTTP/1.1 100 Continue\r\nA: no\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let mut parser = ResponseParser::new();
        for step in [1, 7, text.len()] {
            let capture = Capture {
                head: true,
                body: true,
            };
            parser.begin(false, capture);
            for piece in text.chunks(step) {
                parser.feed(piece).unwrap();
            }
            assert_eq!(parser.kept_body(), b"abcde");
            assert!(parser.kept_head().ends_with(b"A: b\r\n\r\n"));
            assert!(!parser.kept_head().windows(5).any(|w| w == b"A: no"));
        }
        parser.begin(false, Capture::NOTHING);
        parser.feed(text).unwrap();
        assert_eq!(
            (parser.kept_head(), parser.kept_body()),
            (&b""[..], &b""[..])
        );
    }

    #[test]
    fn what_the_engine_asks_about_is_read() {
        let text = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nKeep-Alive: timeout=5, max=99\r\nContent-Length: 0\r\n\r\n";
        let (answer, _) = read(text, &[], false).unwrap();
        assert!(answer.sets_cookie);
        assert_eq!(answer.idle_timeout, Some(Duration::from_secs(5)));
    }

    /// Answers put together from parts, right and wrong, with rubbish in between.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            8 => prop::sample::select(vec![
                "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 100 \n", "HTTP/1.1 500",
                "Content-Length: 3\r\n", "Content-Length: 12\n", "Transfer-Encoding: chunked\r\n", "A: b\r\n",
                "Connection: close\r\n", "\r\n", "\n", "\r", "\r\n\r\n", "\n\n", "3\r\nabc\r\n", "0\r\n", "0\r\n\r\n",
                "a;b=c\r\n0123456789\r\n", "abc", "HTTP/1.", ": ", " ",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..12),
        ];
        let start = prop_oneof![
            3 => Just("HTTP/1.1 200 OK\r\n"),
            1 => Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            1 => Just(""),
        ];
        (start, prop::collection::vec(part, 0..12))
            .prop_map(|(start, parts)| [start.as_bytes().to_vec(), parts.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn the_outcome_does_not_depend_on_the_cuts(
            bytes in answers(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
            to_head in any::<bool>(),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let every: Vec<usize> = (0..bytes.len()).collect();
            let whole = read(&bytes, &[], to_head);
            prop_assert_eq!(read(&bytes, &cuts, to_head), whole);
            prop_assert_eq!(read(&bytes, &every, to_head), whole);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let every: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(read(&bytes, &every, false), read(&bytes, &[], false));
        }
    }
}
