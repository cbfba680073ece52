//! Two versions of a guest behind one name: each client gets one of them, and how they do is counted side by side.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use http::header::COOKIE;
use http::{HeaderMap, Response};

use self::tally::Tally;
use crate::body::Body;
use crate::chain::{Answered, Callee};
use crate::error::{Error, Kind, Origin};
use crate::guest::{Guest, Incoming};

mod tally;

pub use tally::Counted;

/// The whole of which a canary gets a share: hundredths of a percent.
pub const WHOLE: u32 = 10_000;

/// What keeps a client with one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StickyBy {
    /// Its address; without one of its own, nothing.
    Client,
    /// A header field's value; its address without one.
    Header(http::HeaderName),
    /// A cookie's value; its address without one.
    Cookie(String),
}

/// A handler's version, and another that gets a share of its requests.
#[derive(Debug)]
pub struct Split {
    stable: Arc<Guest>,
    canary: Arc<Guest>,
    /// The canary's, of [`WHOLE`].
    share: AtomicU32,
    sticky: StickyBy,
    /// Another one for each trial, so that it is not the same clients who get every canary.
    salt: u64,
    /// Requests of which nothing is known that would keep them with a version.
    strangers: AtomicU64,
    tallies: [Arc<Tally>; 2],
}

impl Split {
    /// `share` of [`WHOLE`] requests for the canary.
    #[must_use]
    pub fn new(stable: Arc<Guest>, canary: Arc<Guest>, share: u32, sticky: StickyBy, salt: u64) -> Self {
        let share = AtomicU32::new(share.min(WHOLE));
        Self {
            stable,
            canary,
            share,
            sticky,
            salt,
            strangers: AtomicU64::new(0),
            tallies: Default::default(),
        }
    }

    /// From now on the canary gets nothing.
    pub fn withdraw(&self) {
        self.share.store(0, Ordering::Relaxed);
    }

    /// The version that there was.
    pub(crate) fn stable(&self) -> &Guest {
        &self.stable
    }

    /// How the version does that there was, and how the canary.
    #[must_use]
    pub fn counted(&self) -> [Counted; 2] {
        [self.tallies[0].counted(), self.tallies[1].counted()]
    }

    /// Answers one request.
    ///
    /// # Errors
    /// As [`Guest::serve`].
    pub(crate) async fn serve(&self, request: Incoming) -> Result<Response<Body>, Error> {
        let is_canary = self.is_for_canary(&request.parts.headers, &request.peer.remote);
        let guest = if is_canary { &self.canary } else { &self.stable };
        let tally = &self.tallies[usize::from(is_canary)];
        let asked = tally.asked();
        let served = Arc::clone(guest).serve(request).await;
        match &served {
            Ok(response) => asked.answered(response.status().is_server_error()),
            // A host that is full says nothing about a version.
            Err(error) if error.kind().origin() == Origin::Host => asked.forget(),
            Err(error) => asked.answered(is_fault(error.kind())),
        }
        let tally = Arc::clone(tally);
        served.map(|response| {
            response.map(|body| {
                body.observed(move |error| {
                    if is_fault(error.kind()) {
                        tally.failed();
                    }
                })
            })
        })
    }

    fn is_for_canary(&self, fields: &HeaderMap, remote: &str) -> bool {
        // Without the port, which is another one for each connection. A proxy on this machine is no client.
        let address = remote.parse().ok().map(|address: SocketAddr| address.ip().to_canonical());
        let address = address.filter(|address| !address.is_loopback()).map(|address| address.to_string());
        let key = match &self.sticky {
            StickyBy::Client => None,
            StickyBy::Header(name) => fields.get(name).map(|value| value.as_bytes()),
            StickyBy::Cookie(name) => cookie(fields, name),
        };
        // Its keys are fixed, so that a client stays where it is when the program starts again.
        let mut hasher = DefaultHasher::new();
        self.salt.hash(&mut hasher);
        match key.or(address.as_deref().map(str::as_bytes)) {
            Some(key) => key.hash(&mut hasher),
            None => self.strangers.fetch_add(1, Ordering::Relaxed).hash(&mut hasher),
        }
        hasher.finish() % u64::from(WHOLE) < u64::from(self.share.load(Ordering::Relaxed))
    }
}

impl Callee for Split {
    fn call(self: Arc<Self>, request: Incoming) -> Answered {
        Box::pin(async move { self.serve(request).await })
    }
}

/// Whether an error is the version's own: of clients, and of a host that is full, both versions have the same.
fn is_fault(kind: Kind) -> bool {
    matches!(kind.origin(), Origin::Guest)
}

/// The value of a cookie (RFC 6265 section 4.2.1).
fn cookie<'f>(fields: &'f HeaderMap, name: &str) -> Option<&'f [u8]> {
    let pairs = fields.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, "a=1; user=x".parse().unwrap());
        fields.append(COOKIE, "users=z;user2=y".parse().unwrap());
        let find = |name| cookie(&fields, name).map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(find("user").as_deref(), Some("x"));
        assert_eq!(find("user2").as_deref(), Some("y"));
        assert_eq!(find("use"), None);
    }
}
