//! TLS with an admin listener: whom the commands trust, and who they are themselves.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::TlsFiles;

/// What stands in for the options.
const CA_VARIABLE: &str = "WASMUX_ADMIN_CA";
const CERT_VARIABLE: &str = "WASMUX_ADMIN_CERT";
const KEY_VARIABLE: &str = "WASMUX_ADMIN_KEY";

/// Files that a server's TLS wants.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TlsArgs {
    /// With https://: a PEM file with the authorities of which one has to have signed the server's certificate; else
    /// $WASMUX_ADMIN_CA, else those of the system, and the certificates that the file has for its admin listener
    #[arg(long, value_name = "FILE", global = true)]
    admin_ca: Option<PathBuf>,
    /// With https://: a PEM file with the certificate of this client, else $WASMUX_ADMIN_CERT
    #[arg(long, value_name = "FILE", global = true)]
    admin_cert: Option<PathBuf>,
    /// And its private key, else $WASMUX_ADMIN_KEY
    #[arg(long, value_name = "FILE", global = true)]
    admin_key: Option<PathBuf>,
}

/// What handshakes are made with.
#[derive(Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    identity: Arc<Identity>,
}

/// Trusts these certificates, whatever their names are, and those that the roots vouch for.
#[derive(Debug)]
struct Trusted {
    pinned: Vec<CertificateDer<'static>>,
    roots: Arc<WebPkiServerVerifier>,
}

/// Who the client is, if the server asks.
#[derive(Debug)]
struct Identity {
    certificate: Option<(PathBuf, Arc<CertifiedKey>)>,
    was_asked: AtomicBool,
}

fn or_variable(given: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
    given.cloned().or_else(|| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

/// At least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(file)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("{} is not valid PEM: {error}", file.display()))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate in PEM", file.display()));
    }
    Ok(found)
}

impl TlsArgs {
    /// What handshakes are made with; `own` are the files of the server, if they are at hand.
    pub(super) fn settings(&self, own: Option<&TlsFiles>) -> Result<Tls, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ca = or_variable(self.admin_ca.as_ref(), CA_VARIABLE);
        let pinned = match (&ca, own) {
            (None, Some(own)) => own
                .certificates
                .iter()
                // One that cannot be read is not trusted, which is said when it matters.
                .filter_map(|files| certificates(&files.cert.path).ok()?.into_iter().next())
                .collect(),
            _ => Vec::new(),
        };
        let roots = Arc::new(roots(ca.as_deref())?);
        let roots = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let trusted = Trusted { pinned, roots: roots.map_err(|error| error.to_string())? };
        let certificate = self.certificate(&provider)?;
        let identity = Arc::new(Identity { certificate, was_asked: AtomicBool::new(false) });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trusted))
            .with_client_cert_resolver(Arc::<Identity>::clone(&identity));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), identity })
    }

    fn certificate(&self, provider: &CryptoProvider) -> Result<Option<(PathBuf, Arc<CertifiedKey>)>, String> {
        let cert = or_variable(self.admin_cert.as_ref(), CERT_VARIABLE);
        let key = or_variable(self.admin_key.as_ref(), KEY_VARIABLE);
        let (cert, key) = match (cert, key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => return Err("--admin-cert needs --admin-key, its private key".to_owned()),
            (None, Some(_)) => return Err("--admin-key needs --admin-cert, its certificate".to_owned()),
        };
        let chain = certificates(&cert)?;
        let secret = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|_| {
            format!("{} holds no private key that can be used: PEM, without a password", key.display())
        })?;
        let certified = CertifiedKey::from_der(chain, secret, provider);
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("the private key {} does not belong to {}", key.display(), cert.display())
            }
            error => format!("the private key {} cannot be used: {error}", key.display()),
        })?;
        Ok(Some((cert, Arc::new(certified))))
    }
}

/// Those of this file, else the system's.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(file) = file else {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{} cannot be used: {error}", file.display()))?;
    }
    Ok(roots)
}

impl Tls {
    /// Shakes hands with the server of this name.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// What to do about an error, if TLS is the reason.
    pub(super) fn advice(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let fault =
            std::iter::successors(Some(error), |error| inner(*error)).find_map(|error| error.downcast_ref());
        match fault {
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Some(
                "its certificate is signed by nobody that is trusted here: name the authority with --admin-ca"
                    .to_owned(),
            ),
            Some(rustls::Error::InvalidMessage(_)) => {
                Some("it does not speak TLS: leave out https://".to_owned())
            }
            // It says no only after the handshake, and may be gone before that is read.
            _ if self.identity.was_asked.load(Ordering::Relaxed) => Some(match &self.identity.certificate {
                None => {
                    "it asks clients for a certificate: name yours with --admin-cert and --admin-key".to_owned()
                }
                Some((file, _)) => format!("it asks for a certificate, and may not accept {}", file.display()),
            }),
            _ => None,
        }
    }
}

/// The error in this one; what is in an error of I/O is none of its sources.
fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.certificate.as_ref().map(|(_, certified)| Arc::clone(certified))
    }

    fn has_certs(&self) -> bool {
        self.certificate.is_some()
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // It is the one in the file, and the handshake proves that the server has its key.
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.roots.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}
