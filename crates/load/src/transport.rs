//! What bytes go through: a TCP stream, or TLS over one. Nothing here blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// How a server is reached, beyond its address.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// TLS, for whose name, and what is offered to be spoken over it.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Whether HTTP/2 is spoken without asking.
    pub(crate) http2: bool,
}

/// A stream that carries one connection.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Secure(Box<Secure>),
}

/// TLS over TCP. Everything the session has to say is sent with the next read, write or flush.
#[derive(Debug)]
pub(crate) struct Secure {
    stream: TcpStream,
    session: ClientConnection,
}

impl Transport {
    /// A stream that is being connected.
    pub(crate) fn try_new(stream: TcpStream, reach: &Reach) -> io::Result<Self> {
        let Some((config, name)) = &reach.tls else {
            return Ok(Self::Plain(stream));
        };
        let session =
            ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
        Ok(Self::Secure(Box::new(Secure { stream, session })))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(secure) => &secure.stream,
        }
    }

    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Goes on with the handshake of TLS; whether there is nothing left of it.
    pub(crate) fn shake_hands(&mut self) -> io::Result<bool> {
        let Self::Secure(secure) = self else {
            return Ok(true);
        };
        while secure.session.is_handshaking() {
            secure.push()?;
            if secure.session.wants_write() {
                return Ok(false);
            }
            match secure.pull() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        secure.push()?;
        Ok(true)
    }

    /// What both sides agreed to speak over TLS.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(secure) => secure.session.alpn_protocol(),
        }
    }

    /// Says that nothing more comes from here.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        if let Self::Secure(secure) = self {
            secure.session.send_close_notify();
            secure.push()?;
        }
        self.tcp().shutdown(Shutdown::Write)
    }
}

impl Secure {
    /// Takes what has arrived; 0 = the server sends no more.
    fn pull(&mut self) -> io::Result<usize> {
        let received = loop {
            match self.session.read_tls(&mut self.stream) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if let Err(error) = self.session.process_new_packets() {
            // The server is told why; that it may not hear it changes nothing.
            let _ = self.push();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(received)
    }

    /// Sends what waits to be sent, as far as there is room.
    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let secure = match self {
            Self::Plain(stream) => return stream.read(buffer),
            Self::Secure(secure) => secure,
        };
        loop {
            match secure.session.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Hung up without saying so: whether the answer was complete is seen by its own length.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            secure.pull()?;
            secure.push()?;
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let secure = match self {
            Self::Plain(stream) => return stream.write(bytes),
            Self::Secure(secure) => secure,
        };
        // What still waits makes room first.
        secure.push()?;
        let taken = secure.session.writer().write(bytes)?;
        secure.push()?;
        if taken == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// All of it is on its way; `WouldBlock` where it is not.
    fn flush(&mut self) -> io::Result<()> {
        let secure = match self {
            Self::Plain(_) => return Ok(()),
            Self::Secure(secure) => secure,
        };
        secure.push()?;
        if secure.session.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(())
    }
}
