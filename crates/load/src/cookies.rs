//! The cookies of one virtual user: name, value, path and expiry (RFC 6265), for the one server a plan has.
//!
//! Domains are not looked at, because there is only one; `Secure` neither, because the server is on this machine.

use std::time::{Duration, Instant};

/// Cookies kept at most, as browsers do per domain; the oldest goes first.
const MOST: usize = 180;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
    until: Option<Instant>,
}

/// Cookies, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Jar {
    cookies: Vec<Cookie>,
}

impl Jar {
    pub(crate) fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// Takes the value of a `Set-Cookie` header in an answer to a request for `path`.
    pub(crate) fn take(&mut self, header: &[u8], path: &[u8], now: Instant) {
        let mut parts = header.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let Some((name, value)) = parts.next().and_then(pair) else {
            return;
        };
        let mut cookie = Cookie {
            name: name.to_vec(),
            value: value.to_vec(),
            path: default_path(path).to_vec(),
            until: None,
        };
        let mut is_over = false;
        let mut has_max_age = false;
        for part in parts {
            let (name, value) = pair(part).unwrap_or((part, b""));
            if name.eq_ignore_ascii_case(b"path") && value.starts_with(b"/") {
                cookie.path = value.to_vec();
            } else if name.eq_ignore_ascii_case(b"max-age") {
                let seconds = std::str::from_utf8(value)
                    .ok()
                    .and_then(|v| v.parse::<i64>().ok());
                if let Some(seconds) = seconds {
                    has_max_age = true;
                    is_over = seconds <= 0;
                    cookie.until = u64::try_from(seconds)
                        .ok()
                        .and_then(|s| now.checked_add(Duration::from_secs(s)));
                }
            } else if name.eq_ignore_ascii_case(b"expires") && !has_max_age {
                // Servers delete a cookie by a date long past; dates to come lie behind the end of a run.
                is_over = year(value).is_some_and(|year| year < 2020);
            }
        }
        self.cookies
            .retain(|c| c.name != cookie.name || c.path != cookie.path);
        if !is_over {
            if self.cookies.len() >= MOST {
                self.cookies.remove(0);
            }
            self.cookies.push(cookie);
        }
    }

    /// Appends the `Cookie` header line of a request for `path`, if there is anything to send.
    pub(crate) fn header(&mut self, path: &[u8], now: Instant, out: &mut Vec<u8>) {
        self.cookies
            .retain(|c| c.until.is_none_or(|until| until > now));
        let mut first = true;
        for cookie in self.cookies.iter().filter(|c| matches(&c.path, path)) {
            out.extend_from_slice(if first { b"Cookie: " } else { b"; " });
            first = false;
            out.extend_from_slice(&cookie.name);
            out.push(b'=');
            out.extend_from_slice(&cookie.value);
        }
        if !first {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The first number of four digits.
fn year(date: &[u8]) -> Option<u16> {
    let digits = date.windows(4).find(|w| w.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Name and value around the first `=`.
pub(crate) fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b'=')?;
    let (name, value) = (text[..at].trim_ascii(), text[at + 1..].trim_ascii());
    (!name.is_empty()).then_some((name, value))
}

/// RFC 6265 §5.1.4: the path up to its last slash.
fn default_path(path: &[u8]) -> &[u8] {
    let path = path.split(|b| *b == b'?').next().unwrap_or_default();
    match path.iter().rposition(|b| *b == b'/') {
        Some(at @ 1..) => &path[..at],
        _ => b"/",
    }
}

/// RFC 6265 §5.1.4: whether a cookie of `own` is sent to `path`.
fn matches(own: &[u8], path: &[u8]) -> bool {
    let path = path.split(|b| *b == b'?').next().unwrap_or_default();
    path.strip_prefix(own)
        .is_some_and(|rest| rest.is_empty() || own.ends_with(b"/") || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(jar: &mut Jar, path: &str, now: Instant) -> String {
        let mut out = Vec::new();
        jar.header(path.as_bytes(), now, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cookies_go_back_where_they_belong() {
        let now = Instant::now();
        let mut jar = Jar::default();
        jar.take(b"sid=a=1; Path=/; HttpOnly; SameSite=Lax", b"/enter", now);
        jar.take(b"cart=7", b"/shop/items?x=/y/z", now);
        jar.take(b"deep=1; Path=/shop/items", b"/", now);
        assert_eq!(sent(&mut jar, "/", now), "Cookie: sid=a=1\r\n");
        assert_eq!(
            sent(&mut jar, "/shop/cart?a", now),
            "Cookie: sid=a=1; cart=7\r\n"
        );
        assert_eq!(
            sent(&mut jar, "/shop/items/3", now),
            "Cookie: sid=a=1; cart=7; deep=1\r\n"
        );
        assert_eq!(sent(&mut jar, "/shopping", now), "Cookie: sid=a=1\r\n");
    }

    #[test]
    fn they_are_replaced_and_end() {
        let now = Instant::now();
        let mut jar = Jar::default();
        for value in ["1", "2"] {
            jar.take(
                format!("sid={value}; path=/; Max-Age=10").as_bytes(),
                b"/",
                now,
            );
        }
        assert_eq!(sent(&mut jar, "/", now), "Cookie: sid=2\r\n");
        assert_eq!(sent(&mut jar, "/", now + Duration::from_secs(10)), "");
        jar.take(b"sid=3; path=/", b"/", now);
        jar.take(
            b"sid=; path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            b"/",
            now,
        );
        assert!(jar.is_empty());
        jar.take(b"no name", b"/", now);
        jar.take(b"=x", b"/", now);
        assert!(jar.is_empty());
    }

    #[test]
    fn a_server_that_sets_ever_new_ones_does_not_fill_memory() {
        let now = Instant::now();
        let mut jar = Jar::default();
        for n in 0..1_000 {
            jar.take(format!("c{n}=1").as_bytes(), b"/", now);
        }
        assert_eq!(jar.cookies.len(), MOST);
        assert_eq!(jar.cookies[MOST - 1].name, b"c999");
    }
}
