//! The URLs a driver takes, and what may be loaded without asking.

use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::Error;
use crate::template::{Span, spans};

/// What a URL begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
    /// `ws://`
    Ws,
    /// `wss://`
    Wss,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Ws, Self::Wss];

    /// As it stands in front of `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Whether it is spoken over TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    /// Whether messages are exchanged over a WebSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }
}

/// A URL. Its path and query may hold templates such as `{{seq}}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// What is spoken.
    pub scheme: Scheme,
    /// Name or address of the host; of an IPv6 address without the brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query, percent-encoded where they have to be; at least `/`.
    pub path_and_query: String,
    /// What a `Host` header says: the host, and the port unless it is the usual one.
    pub authority: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// Spaces and characters beyond ASCII are percent-encoded as a browser does, a fragment is dropped.
    ///
    /// # Errors
    /// If it is no URL, or none that can be driven; a user in it is refused by name.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |reason: &str| Error::Url {
            url: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("it does not start with `http://`"))?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
            .ok_or_else(|| wrong("only http, https, ws and wss are spoken"))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong(
                "a user or password is sent as a header, `Authorization: Basic …`",
            ));
        }
        let (host, port) = split_authority(authority, scheme.port()).map_err(wrong)?;
        let shown = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        Ok(Self {
            authority: if port == scheme.port() {
                shown
            } else {
                format!("{shown}:{port}")
            },
            path_and_query: encode(path).map_err(wrong)?,
            scheme,
            host,
            port,
        })
    }

    /// Whether it is sure to mean this machine: a loopback or unspecified address, or `localhost`.
    ///
    /// A name is not looked up for this: that it resolves to this machine today does not make it ours.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            // Linux connects to the unspecified address as to loopback, and servers print it as theirs.
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback() || address.is_unspecified()
            }
            Err(_) => self.is_localhost(),
        }
    }

    /// Addresses to try, in this order.
    ///
    /// `localhost` is never looked up (RFC 6761 §6.3); servers listen on either of its addresses, or both.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        if self.is_localhost() {
            return Ok(vec![
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port),
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), self.port),
            ]);
        }
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }

    fn is_localhost(&self) -> bool {
        self.host == "localhost" || self.host.ends_with(".localhost")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

impl std::str::FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

fn split_authority(authority: &str, usual_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest
            .split_once(']')
            .ok_or("the bracket of the IPv6 address is not closed")?;
        address
            .parse::<Ipv6Addr>()
            .map_err(|_| "between the brackets is no IPv6 address")?;
        match port.strip_prefix(':') {
            None if port.is_empty() => (address, ""),
            Some(port) => (address, port),
            None => return Err("behind the bracket only a port may follow"),
        }
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        if port.contains(':') {
            return Err("an IPv6 address is written in brackets, `http://[::1]:3000/`");
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if !host.bytes().all(is_name) {
            return Err("the host holds a character that no host name has");
        }
        (host, port)
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    let port = match port {
        "" => usual_port,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("the port is not between 1 and 65535")?,
        _ => return Err("the port is no number"),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// Percent-encodes what may not stand in a request line and keeps templates.
fn encode(path: &str) -> Result<String, &'static str> {
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for span in spans(path.as_bytes()) {
        let bytes = match span {
            Span::Text(bytes) => bytes,
            Span::Value { name, .. } => {
                encoded.push_str("{{");
                encoded.push_str(name);
                encoded.push_str("}}");
                continue;
            }
        };
        for &byte in bytes {
            match byte {
                b'!'..=b'~' => encoded.push(char::from(byte)),
                b' ' | 0x80.. => {
                    // Writing to a string cannot fail.
                    let _ = write!(encoded, "%{byte:02X}");
                }
                _ => return Err("the path holds a control character"),
            }
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match Url::parse(text) {
            Ok(url) => format!(
                "{} {} {} {}{}",
                url.host,
                url.port,
                url.authority,
                url.path_and_query,
                if url.is_loopback() { " loopback" } else { "" }
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn urls_are_taken_apart() {
        check(
            "http://127.0.0.1:3000/a/b?c=d",
            "127.0.0.1 3000 127.0.0.1:3000 /a/b?c=d loopback",
        );
        check("http://localhost", "localhost 80 localhost / loopback");
        check(
            "HTTP://LocalHost:80/A",
            "localhost 80 localhost /A loopback",
        );
        check(
            "http://api.localhost:81?x=1#top",
            "api.localhost 81 api.localhost:81 /?x=1 loopback",
        );
        check("https://localhost/", "localhost 443 localhost / loopback");
        check(
            "wss://localhost:80/",
            "localhost 80 localhost:80 / loopback",
        );
        check("http://[::1]:8080/", "::1 8080 [::1]:8080 / loopback");
        check(
            "http://[::ffff:127.0.0.1]",
            "::ffff:127.0.0.1 80 [::ffff:127.0.0.1] / loopback",
        );
        check(
            "http://0.0.0.0:8000/",
            "0.0.0.0 8000 0.0.0.0:8000 / loopback",
        );
        check(
            "http://example.org:8080/x",
            "example.org 8080 example.org:8080 /x",
        );
        check("http://10.0.0.1/", "10.0.0.1 80 10.0.0.1 /");
        check(
            "http://127.0.0.1.example.org/",
            "127.0.0.1.example.org 80 127.0.0.1.example.org /",
        );
        check(
            " http://127.0.0.1:3000/ü b/{{ seq }} ",
            "127.0.0.1 3000 127.0.0.1:3000 /%C3%BC%20b/{{seq}} loopback",
        );
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_reason() {
        check(
            "localhost:3000",
            "the URL `localhost:3000` cannot be used: it does not start with `http://`",
        );
        check(
            "ftp://localhost",
            "the URL `ftp://localhost` cannot be used: only http, https, ws and wss are spoken",
        );
        check(
            "http://",
            "the URL `http://` cannot be used: it has no host",
        );
        check(
            "http://:80/",
            "the URL `http://:80/` cannot be used: it has no host",
        );
        check(
            "http://a:0/",
            "the URL `http://a:0/` cannot be used: the port is not between 1 and 65535",
        );
        check(
            "http://a:65536/",
            "the URL `http://a:65536/` cannot be used: the port is not between 1 and 65535",
        );
        check(
            "http://a:b/",
            "the URL `http://a:b/` cannot be used: the port is no number",
        );
        check(
            "http://::1/",
            "the URL `http://::1/` cannot be used: an IPv6 address is written in brackets, `http://[::1]:3000/`",
        );
        check(
            "http://[::1/",
            "the URL `http://[::1/` cannot be used: the bracket of the IPv6 address is not closed",
        );
        check(
            "http://[::1]x/",
            "the URL `http://[::1]x/` cannot be used: behind the bracket only a port may follow",
        );
        check(
            "http://127.0.0.1@example.org/",
            "the URL `http://127.0.0.1@example.org/` cannot be used: a user or password is sent as a header, `Authorization: Basic …`",
        );
        check(
            "http://{{seq}}/",
            "the URL `http://{{seq}}/` cannot be used: the host holds a character that no host name has",
        );
        check(
            "http://a/\r\nx",
            "the URL `http://a/\r\nx` cannot be used: the path holds a control character",
        );
    }
}
