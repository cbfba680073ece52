//! HTTPS: certificates and keys from files, chosen by the name that a client asks for, replaced without a restart.
//!
//! Knows no socket: `connection/handshake.rs` has the handshake.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

mod files;
mod names;
mod subject;

pub use subject::subject;

/// How often the files are looked at. A change is taken up at the second look that finds the same, so that of a
/// certificate and its key not only one is replaced.
const FILES_LOOK: Duration = Duration::from_secs(1);

/// A file that the deployment names.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// Where it is.
    pub path: PathBuf,
    /// The line that names it.
    pub line: usize,
}

/// Where it is named makes no difference to what it is.
impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for NamedFile {}

/// A certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that lead to its authority, in PEM.
    pub cert: NamedFile,
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: NamedFile,
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// The handshake fails without one.
    Required,
    /// The handshake fails with a wrong one, but not without.
    Optional,
}

/// Mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCa {
    /// The authorities, in PEM, of which one must have signed a client's certificate.
    pub file: NamedFile,
    /// Whether there must be one.
    pub auth: ClientAuth,
}

/// What the HTTPS of a server is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Never empty; the first is for clients that ask for no name, or for one that none of them has.
    pub certificates: Vec<CertificateFiles>,
    /// Authorities of clients; `None`: clients are not asked.
    pub client_ca: Option<ClientCa>,
}

impl TlsFiles {
    fn all(&self) -> impl Iterator<Item = &NamedFile> {
        let certificates = self.certificates.iter().flat_map(|files| [&files.cert, &files.key]);
        certificates.chain(self.client_ca.iter().map(|ca| &ca.file))
    }
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line of the deployment that names it.
    pub line: usize,
    /// Whether it is not there.
    pub is_missing: bool,
    /// A sentence that says what is wrong and what to do.
    pub message: String,
}

/// Files that were loaded, and can be loaded again while connections go on.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    /// What the files looked like when they were last loaded, or failed to.
    seen: Mutex<files::Stamp>,
}

impl Tls {
    /// Loads the files and checks what is in them. A certificate that has expired is only warned about.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<Fault>> {
        // Before the files are read: what changes after that is seen as a change.
        let stamp = files::Stamp::of(&files);
        let config = files::load(&files)?;
        Ok(Self { files, current: ArcSwap::from(config), seen: Mutex::new(stamp) })
    }

    /// What a handshake that begins now uses. Connections that are open keep what they have.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again. When anything is wrong with them, what was loaded before stays, and the log says why. Blocks
    /// on the file system.
    pub fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = files::Stamp::of(&self.files);
        let names = self.files.certificates.iter().map(|files| files.cert.path.display().to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        match files::load(&self.files) {
            Ok(config) => {
                self.current.store(config);
                tracing::info!("certificates were reloaded: {names}");
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!("certificates were not reloaded, the old ones stay: {}", fault.message);
                }
            }
        }
    }

    /// Whether the files have changed since they were loaded, and are the same as at the look before.
    fn should_reload(&self, before: &mut files::Stamp) -> bool {
        let now = files::Stamp::of(&self.files);
        let changed = now != *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = now == *before;
        *before = now;
        changed && settled
    }
}

/// The certificates of all servers of a process.
#[derive(Clone, Debug, Default)]
pub struct Certificates(Vec<Arc<Tls>>);

impl Certificates {
    /// Those of these servers.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = Arc<Tls>>) -> Self {
        Self(servers.into_iter().collect())
    }

    /// Reads all files again, on a thread that may block. See [`Tls::reload`].
    pub async fn reload(&self) {
        let all = self.0.clone();
        // An error means that the runtime is going down, or that it panicked, which is logged already.
        let _ = tokio::task::spawn_blocking(move || all.iter().for_each(|tls| tls.reload())).await;
    }

    /// Looks at the files for ever, and reloads what has changed. Cancel safe.
    ///
    /// By looking, not by being notified: that survives files that are replaced by renaming, links that are turned, and
    /// network file systems.
    pub async fn watch(self) {
        let mut before = vec![files::Stamp::default(); self.0.len()];
        while !self.0.is_empty() {
            tokio::time::sleep(FILES_LOOK).await;
            let all = self.0.clone();
            let looking = tokio::task::spawn_blocking(move || {
                for (tls, before) in all.iter().zip(&mut before) {
                    if tls.should_reload(before) {
                        tls.reload();
                    }
                }
                before
            });
            // As above: there is nothing left to watch for.
            let Ok(looked) = looking.await else { return };
            before = looked;
        }
    }
}
