//! From files to what rustls serves with.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

use super::names::ByName;
use super::{CertificateFiles, ClientAuth, ClientCa, Fault, NamedFile, TlsFiles};

/// Largest PEM file, in bytes: room for every authority there is. A larger one is refused.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Protocols by preference (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What tells one state of the files from another: for each file inode, size and time of change; nothing for one that
/// cannot be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<(u64, u64, i64, i64)>>);

impl Stamp {
    pub(super) fn of(files: &TlsFiles) -> Self {
        let stamp = |file: &NamedFile| {
            let found = std::fs::metadata(&file.path).ok()?;
            Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        };
        Self(files.all().map(stamp).collect())
    }
}

/// Loads everything.
pub(super) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, Vec<Fault>> {
    let provider = Arc::new(default_provider());
    let mut faults = Vec::new();
    let mut by_name = ByName::default();
    for (index, files) in files.certificates.iter().enumerate() {
        let loaded = certificate(files, &provider).and_then(|(certified, names)| {
            if names.is_empty() && index > 0 {
                let why = "has no DNS name among its alternative names, so that no client would ever get it; only the first certificate may be without";
                return Err(fault(&files.cert, "the certificate", why));
            }
            by_name.add(certified, names);
            Ok(())
        });
        faults.extend(loaded.err());
    }
    let verifier = match files.client_ca.as_ref().map(|ca| client_verifier(ca, &provider)) {
        None => Some(WebPkiClientVerifier::no_client_auth()),
        Some(Ok(verifier)) => Some(verifier),
        Some(Err(fault)) => {
            faults.push(fault);
            None
        }
    };
    let Some(verifier) = verifier.filter(|_| faults.is_empty()) else { return Err(faults) };
    server_config(provider, verifier, by_name).map(Arc::new).map_err(|error| {
        let file = &files.certificates[0].cert;
        vec![fault(file, "TLS", &format!("cannot be set up: {error}"))]
    })
}

fn server_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    by_name: ByName,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    // Sessions are resumed by tickets, whose keys live as long as these files: whoever is let in by an authority that is
    // replaced has to show a certificate again.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

/// A certificate with its key, and the names that it is for.
fn certificate(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), Fault> {
    let chain = certificates(&files.cert)?;
    let pem = read(&files.key, "the private key")?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let why = match error {
            pem::Error::NoItemsFound => {
                "holds no private key that can be used (PEM of PKCS #8, PKCS #1 or SEC 1, without a password)"
                    .to_owned()
            }
            error => format!("is not valid PEM: {error}"),
        };
        fault(&files.key, "the private key", &why)
    })?;
    let (names, expiry) = super::names::of(&chain[0])
        .map_err(|error| fault(&files.cert, "the certificate", &format!("cannot be read: {error}")))?;
    if let Some(expiry) = expiry {
        tracing::warn!("the certificate {} {expiry}; clients will refuse it", files.cert.path.display());
    }
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let why = format!("does not belong to the certificate {}", files.cert.path.display());
            fault(&files.key, "the private key", &why)
        }
        error => fault(&files.key, "the private key", &format!("cannot be used: {error}")),
    })?;
    Ok((certified, names))
}

fn client_verifier(
    ca: &ClientCa,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&ca.file)? {
        roots
            .add(certificate)
            .map_err(|error| fault(&ca.file, "the client authority", &format!("cannot be used: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match ca.auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder
        .build()
        .map_err(|error| fault(&ca.file, "the client authority", &format!("cannot be used: {error}")))
}

/// At least one.
fn certificates(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = read(file, "the certificate")?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found =
        found.map_err(|error| fault(file, "the certificate", &format!("is not valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(fault(
            file,
            "the certificate",
            "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)",
        ));
    }
    Ok(found)
}

fn read(file: &NamedFile, what: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&file.path)
        .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => {
            Err(fault(file, what, &format!("is larger than {} MiB", FILE_BYTES_MAX >> 20)))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(Fault {
            is_missing: error.kind() == std::io::ErrorKind::NotFound,
            ..fault(file, what, &format!("cannot be read: {error}"))
        }),
    }
}

fn fault(file: &NamedFile, what: &str, why: &str) -> Fault {
    let message = format!("`tls`: {what} {} {why}", file.path.display());
    Fault { line: file.line, is_missing: false, message }
}
