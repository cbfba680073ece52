//! Who may use the admin listener, and for what.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::listener::Stream;
use crate::tls::Tls;

/// What a request is to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see what is counted.
    Read,
    /// To see everything, and to change what is in force.
    Operate,
}

/// What is known of a client before it has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// It has shown who it is: by the user of a unix socket, or by a certificate that was asked for.
    is_trusted: bool,
}

/// The rules of one listener.
#[derive(Debug)]
pub struct Access {
    /// Digest of the bearer token.
    token: Option<[u8; 32]>,
    tls: Option<Arc<Tls>>,
    /// Clients without a certificate do not get through the handshake.
    asks_for_certificates: bool,
}

/// Why a request is not answered.
#[derive(Debug)]
pub struct Refusal {
    /// 401 or 403.
    pub status: StatusCode,
    /// A sentence that says what to do.
    pub message: String,
}

impl Access {
    /// With a token, if there is one; and with TLS, that asks all clients for certificates or does not.
    #[must_use]
    pub fn new(token: Option<&str>, tls: Option<Arc<Tls>>, asks_for_certificates: bool) -> Self {
        Self { token: token.map(digest), tls, asks_for_certificates }
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Lets a connection in, after its handshake.
    pub(super) async fn admit(&self, stream: Stream) -> Option<(Stream, Known)> {
        if let Some(user) = stream.peer_user() {
            // The superuser could do anyway what is asked for here.
            let own = rustix::process::geteuid().as_raw();
            if user != own && user != 0 {
                tracing::warn!("admin: a connection of user {user} was refused: it is not user {own}");
                return None;
            }
            return Some((stream, Known { is_trusted: true }));
        }
        let Some(tls) = &self.tls else { return Some((stream, Known { is_trusted: false })) };
        let mut config = rustls::ServerConfig::clone(&tls.current());
        // This listener has no HTTP/2, which browsers would choose.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        match TlsAcceptor::from(Arc::new(config)).accept(stream).await {
            Ok(stream) => {
                let known = Known { is_trusted: self.asks_for_certificates };
                Some((Stream::Tls(Box::new(stream)), known))
            }
            Err(error) => {
                tracing::debug!("admin: TLS handshake: {error}");
                None
            }
        }
    }

    /// Whether a request has a right.
    pub(super) fn check(&self, right: Right, known: Known, fields: &HeaderMap) -> Result<(), Refusal> {
        // A certificate is shown by a browser whoever asks it to; a token is not.
        if right == Right::Operate && is_of_another_site(fields) {
            let message = "another site's page has asked for this".to_owned();
            return Err(Refusal { status: StatusCode::FORBIDDEN, message });
        }
        if known.is_trusted {
            return Ok(());
        }
        let Some(token) = &self.token else {
            return match right {
                Right::Read => Ok(()),
                Right::Operate => Err(Refusal {
                    status: StatusCode::FORBIDDEN,
                    message:
                        "this address only has probes, metrics and profiles: give `admin` in [server] a `token`, or \
                              use its unix socket"
                            .to_owned(),
                }),
            };
        };
        // Digests are compared, so that the time it takes says nothing of the token.
        if given_token(fields).is_some_and(|given| digest(&given) == *token) {
            return Ok(());
        }
        Err(Refusal {
            status: StatusCode::UNAUTHORIZED,
            message: "the token is missing or wrong: `Authorization: Bearer TOKEN`".to_owned(),
        })
    }
}

/// Whether a browser has sent it for another site's page (Fetch Metadata, `Sec-Fetch-Site`).
pub(super) fn is_of_another_site(fields: &HeaderMap) -> bool {
    let site = fields.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    !matches!(site, None | Some(b"same-origin" | b"none"))
}

/// The token of a request: a bearer's (RFC 6750 section 2.1), or the password of whoever (RFC 7617), which is what tools send
/// that only take a URL.
fn given_token(fields: &HeaderMap) -> Option<String> {
    let (scheme, given) = fields.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(given.trim()).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights() {
        let stranger = Known { is_trusted: false };
        let fields = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        let open = Access::new(None, None, false);
        assert!(open.check(Right::Read, stranger, &HeaderMap::new()).is_ok());
        let refusal = open.check(Right::Operate, stranger, &HeaderMap::new()).unwrap_err();
        assert_eq!(refusal.status, StatusCode::FORBIDDEN);
        assert!(open.check(Right::Operate, Known { is_trusted: true }, &HeaderMap::new()).is_ok());
        let fetched =
            |site: &str| HeaderMap::from_iter([("sec-fetch-site".parse().unwrap(), site.parse().unwrap())]);
        assert!(open.check(Right::Operate, Known { is_trusted: true }, &fetched("same-origin")).is_ok());
        for site in ["cross-site", "same-site"] {
            assert!(open.check(Right::Operate, Known { is_trusted: true }, &fetched(site)).is_err());
        }
        let closed = Access::new(Some("0123456789abcdef"), None, false);
        for right in [Right::Read, Right::Operate] {
            assert!(closed.check(right, stranger, &fields("Bearer 0123456789abcdef")).is_ok());
            assert!(closed.check(right, stranger, &fields("bearer  0123456789abcdef")).is_ok());
            assert!(
                closed.check(right, stranger, &fields("Basic OjAxMjM0NTY3ODlhYmNkZWY=")).is_ok(),
                "as a password"
            );
            for bad in ["Bearer 0123456789abcde", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer"] {
                let refusal = closed.check(right, stranger, &fields(bad)).unwrap_err();
                assert_eq!(refusal.status, StatusCode::UNAUTHORIZED, "{bad}");
            }
        }
    }
}
