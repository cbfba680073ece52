//! Certificates made on the spot, and clients that trust them.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::{Conn, DEADLINE};

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM and as the client takes them.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these DNS names, of which the first is its common name.
    pub(crate) fn sign(&self, names: &[&str]) -> Identity {
        self.sign_with(names, |_| ())
    }

    /// As [`Self::sign`], with other parameters.
    pub(crate) fn sign_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("nobody", String::as_str));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
            chain: vec![cert.der().clone()],
            private: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}

/// A client: whom it trusts, who it is, what it speaks.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Trusts this authority, and speaks HTTP/1.1.
    pub(crate) fn new(authority: &Authority) -> Self {
        Self::with(authority, None, &["http/1.1"], rustls::ALL_VERSIONS)
    }

    /// As [`Self::new`], with a certificate.
    pub(crate) fn with_identity(authority: &Authority, identity: &Identity) -> Self {
        Self::with(authority, Some(identity), &["http/1.1"], rustls::ALL_VERSIONS)
    }

    pub(crate) fn with(
        authority: &Authority,
        identity: Option<&Identity>,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.as_ref().der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let Identity { chain, private, .. } = identity;
                builder.with_client_auth_cert(chain.clone(), private.clone_key()).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Shakes hands, asking for `name`; an IP address asks for none.
    pub(crate) fn handshake(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<(ClientConnection, TcpStream)> {
        let mut socket = TcpStream::connect_timeout(&address, DEADLINE)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(self.config(), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok((session, socket))
    }

    /// A connection for requests to `name`.
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> Conn {
        let (session, socket) = self.handshake(address, name).unwrap();
        Conn::tls(session, socket)
    }

    /// Whether the server lets this client in: with TLS 1.3 that shows when it reads.
    pub(crate) fn is_let_in(&self, address: SocketAddr, name: &str) -> bool {
        let Ok((mut session, mut socket)) = self.handshake(address, name) else { return false };
        use std::io::{Read as _, Write as _};
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut answer = [0; 8];
        asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1"
    }
}
