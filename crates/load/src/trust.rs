//! Whom a TLS connection trusts, and what went wrong where it does not.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::Error;

/// Whom TLS connections trust: the authorities of the system and those of a file, or everybody. Cheap to clone; files are
/// read when it is first needed.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Whom>);

#[derive(Debug, Default)]
struct Whom {
    everybody: bool,
    authorities: Option<PathBuf>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    /// `authorities` is a file of certificates (PEM) that are trusted beside those of the system: of an authority, or of
    /// the server itself. With `everybody` nothing about a certificate is checked.
    pub fn new(authorities: Option<PathBuf>, everybody: bool) -> Self {
        Self(Arc::new(Whom {
            everybody,
            authorities,
            config: OnceLock::new(),
        }))
    }

    /// What a TLS connection needs to know.
    ///
    /// # Errors
    /// If the file of certificates cannot be read.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.0.config.get() {
            return Ok(config.clone());
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::try_new(&self.0, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions that rustls calls safe")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(self.0.config.get_or_init(|| Arc::new(config)).clone())
    }
}

/// The name a certificate must be for.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(|_| Error::Url {
            url: host.to_owned(),
            reason: "no certificate can be for this name".to_owned(),
        }),
    }
}

/// Checks certificates. One that the file of authorities holds itself is trusted as it is: a private server is usually
/// given the very certificate that signs itself, which the rules of the public web refuse.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    everybody: bool,
    known: Vec<CertificateDer<'static>>,
    /// `None` = there is no authority at all.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    fn try_new(whom: &Whom, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let known = match &whom.authorities {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(known.iter().cloned());
        if !whom.everybody {
            // What of the system's store cannot be read is missing there; a certificate that needs it is refused.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Ok(Self {
            provider: provider.clone(),
            everybody: whom.everybody,
            known,
            authorities: authorities.ok(),
        })
    }
}

/// The certificates of a file.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |reason: String| Error::Certificates {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|e| wrong(e.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.everybody || self.known.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Why there is no TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsFailure {
    UnknownIssuer,
    Expired,
    NotValidYet,
    OtherName,
    BadCertificate,
    NotTls,
    NoCommonVersion,
    WantsCertificate,
    NoHttp2,
    Other,
}

impl TlsFailure {
    /// The reason behind an error of reading or writing, if it is one of TLS.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        use rustls::{AlertDescription as Alert, Error as Tls, InvalidMessage};
        let inner = error.get_ref()?.downcast_ref::<Tls>()?;
        Some(match inner {
            Tls::InvalidCertificate(reason) => match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotValidYet
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                // What signs itself is called an authority that is used as a server; nobody else vouches for it.
                CertificateError::UnknownIssuer | CertificateError::Other(_) => Self::UnknownIssuer,
                _ => Self::BadCertificate,
            },
            Tls::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            Tls::AlertReceived(Alert::NoApplicationProtocol) | Tls::NoApplicationProtocol => {
                Self::NoHttp2
            }
            Tls::AlertReceived(Alert::ProtocolVersion)
            | Tls::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::NoCommonVersion,
            Tls::AlertReceived(Alert::CertificateRequired) => Self::WantsCertificate,
            _ => Self::Other,
        })
    }

    /// Whether the next attempt would end the same way.
    pub(crate) fn is_final(self) -> bool {
        self != Self::Other
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "name the certificate, or that of its authority, with `--ca FILE`; `--insecure` checks nothing"
            }
            Self::Expired | Self::NotValidYet => {
                "give the service a certificate of today, or check nothing with `--insecure`"
            }
            Self::OtherName => {
                "use the host name the certificate is for, or check nothing with `--insecure`"
            }
            Self::BadCertificate => {
                "look at it with `openssl s_client -connect HOST:PORT`; `--insecure` checks nothing"
            }
            Self::NotTls => "the service speaks without TLS there: write http:// or ws://",
            Self::NoCommonVersion => "TLS 1.2 and 1.3 are spoken here; older versions are not",
            Self::WantsCertificate => {
                "certificates of clients are not supported: let the service accept none for the test"
            }
            Self::NoHttp2 => "leave out `--http2`: the service does not speak it there",
            Self::Other => "look at the log of the service",
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "the certificate is signed by nobody who is trusted",
            Self::Expired => "the certificate has expired",
            Self::NotValidYet => "the certificate is not valid yet",
            Self::OtherName => "the certificate is for another name",
            Self::BadCertificate => "the certificate is not valid",
            Self::NotTls => "no TLS is spoken there",
            Self::NoCommonVersion => "no version of TLS in common",
            Self::WantsCertificate => "the server wants a certificate of the client",
            Self::NoHttp2 => "the server does not speak HTTP/2",
            Self::Other => "TLS failed",
        })
    }
}
