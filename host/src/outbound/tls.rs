//! TLS as a client: who is trusted, and what is offered.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// What handshakes are made with. The system's roots are read when they are first needed.
#[derive(Debug)]
pub(super) struct Trust {
    extra: Vec<CertificateDer<'static>>,
    configs: OnceLock<Result<Configs, String>>,
}

#[derive(Clone, Debug)]
struct Configs {
    /// Offers HTTP/2 and HTTP/1.1.
    both: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, for what HTTP/2 does not have.
    http1: Arc<ClientConfig>,
}

impl Trust {
    pub(super) fn new(extra: Vec<CertificateDer<'static>>) -> Self {
        Self { extra, configs: OnceLock::new() }
    }

    /// The settings of a handshake.
    pub(super) async fn config(self: &Arc<Self>, http1_only: bool) -> Result<Arc<ClientConfig>, String> {
        if self.configs.get().is_none() {
            let trust = Arc::clone(self);
            // A few hundred files, which takes its time.
            let read = move || {
                trust.configs.get_or_init(|| configs(&trust.extra));
            };
            tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
        }
        let configs = self.configs.get().ok_or("there are no settings for TLS")?.clone()?;
        Ok(if http1_only { configs.http1 } else { configs.both })
    }
}

fn configs(extra: &[CertificateDer<'static>]) -> Result<Configs, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Some of a system's certificates may be of no use, and others still are.
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!("a certificate of the system is left out: {error}");
    }
    roots.add_parsable_certificates(native.certs);
    for certificate in extra {
        roots.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let mut both = config.clone();
    both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut http1 = config;
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Configs { both: Arc::new(both), http1: Arc::new(http1) })
}
