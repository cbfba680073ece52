//! Two versions of a guest behind one name: each client gets one of them, and how they do is counted side by side.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::COOKIE;
use http::{HeaderMap, Response};

use crate::body::Body;
use crate::chain::{Answered, Callee};
use crate::error::{Error, Kind, Origin};
use crate::guest::{Guest, Incoming};

/// The whole of which a canary gets a share: hundredths of a percent.
pub const WHOLE: u32 = 10_000;

/// Upper bounds of the latency classes, in units of 0.25 ms: each is twice the one before, up to 2 minutes; the last has none.
const CLASSES: usize = 20;

/// What keeps a client with one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StickyBy {
    /// Its address.
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
    share: u32,
    sticky: StickyBy,
    tallies: [Arc<Tally>; 2],
}

/// How a version does.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    failures: AtomicU64,
    latency: [AtomicU64; CLASSES],
}

/// How a version does, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests that were answered or have failed.
    pub requests: u64,
    /// Those that failed by the handler's fault: traps, limits of its own, and statuses from 500.
    pub failures: u64,
    /// Until the head of the response 95 % took at most this long, within a factor of two; `None` while there were none.
    pub p95: Option<Duration>,
}

impl Tally {
    fn note(&self, took: Duration, has_failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if has_failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let quarters = took.as_micros() / 250;
        let class = (u128::BITS - quarters.leading_zeros()) as usize;
        self.latency[class.min(CLASSES - 1)].fetch_add(1, Ordering::Relaxed);
    }

    fn failed_late(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted until now.
    #[must_use]
    pub(super) fn counted(&self) -> Counted {
        let classes: Vec<u64> = self.latency.iter().map(|class| class.load(Ordering::Relaxed)).collect();
        let wanted = (classes.iter().sum::<u64>() * 95).div_ceil(100);
        let mut sum = 0;
        let class = classes.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        Counted {
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            p95: class.filter(|_| sum > 0).map(|class| Duration::from_micros(250 << class)),
        }
    }
}

impl Split {
    /// `share` of [`WHOLE`] requests for the canary.
    #[must_use]
    pub fn new(stable: Arc<Guest>, canary: Arc<Guest>, share: u32, sticky: StickyBy) -> Self {
        Self { stable, canary, share: share.min(WHOLE), sticky, tallies: Default::default() }
    }

    /// The version that there was.
    pub(crate) fn stable(&self) -> &Guest {
        &self.stable
    }

    /// The one on trial.
    pub(crate) fn canary(&self) -> &Guest {
        &self.canary
    }

    /// How the version does that there was, and how the canary.
    #[must_use]
    pub fn counted(&self) -> [Counted; 2] {
        [self.tallies[0].counted(), self.tallies[1].counted()]
    }

    /// Answers one request, for which [`Self::is_for_canary`] has decided.
    ///
    /// # Errors
    /// As [`Guest::serve`].
    pub(crate) async fn serve(&self, request: Incoming, is_canary: bool) -> Result<Response<Body>, Error> {
        let guest = if is_canary { &self.canary } else { &self.stable };
        let (tally, begun) = (&self.tallies[usize::from(is_canary)], Instant::now());
        let served = Arc::clone(guest).serve(request).await;
        let has_failed = match &served {
            Ok(response) => response.status().is_server_error(),
            Err(error) => is_fault(error.kind()),
        };
        tally.note(begun.elapsed(), has_failed);
        let tally = Arc::clone(tally);
        served.map(|response| {
            response.map(|body| {
                body.observed(move |error| {
                    if is_fault(error.kind()) {
                        tally.failed_late();
                    }
                })
            })
        })
    }

    /// Whether a request with these fields, of the client at this address, is the canary's.
    pub(crate) fn is_for_canary(&self, fields: &HeaderMap, remote: &str) -> bool {
        // Without the port, which is another one for each connection.
        let address = remote.rsplit_once(':').map_or(remote, |(address, _)| address).as_bytes();
        let key = match &self.sticky {
            StickyBy::Client => None,
            StickyBy::Header(name) => fields.get(name).map(|value| value.as_bytes()),
            StickyBy::Cookie(name) => cookie(fields, name),
        };
        // Its keys are fixed, so that a client stays where it is when the program starts again. With the version in it, it is not
        // the same clients who try each canary.
        let mut hasher = DefaultHasher::new();
        self.canary.version().hash(&mut hasher);
        key.unwrap_or(address).hash(&mut hasher);
        hasher.finish() % u64::from(WHOLE) < u64::from(self.share)
    }
}

impl Callee for Split {
    fn call(self: Arc<Self>, request: Incoming) -> Answered {
        let is_canary = self.is_for_canary(&request.parts.headers, &request.peer.remote);
        Box::pin(async move { self.serve(request, is_canary).await })
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
    fn latency_is_counted_in_classes() {
        let tally = Tally::default();
        assert_eq!(tally.counted(), Counted::default());
        (0..95).for_each(|_| tally.note(Duration::from_micros(900), false));
        (0..5).for_each(|_| tally.note(Duration::from_secs(1_000), true));
        let counted = tally.counted();
        assert_eq!((counted.requests, counted.failures), (100, 5));
        assert_eq!(counted.p95, Some(Duration::from_millis(1)));
        tally.note(Duration::from_secs(1_000), true);
        assert!(tally.counted().p95 > Some(Duration::from_secs(60)));
    }

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
