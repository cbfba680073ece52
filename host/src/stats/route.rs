//! The requests of one route.

use std::array;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::{Counter, Histogram};
use crate::error::Kind;

/// Status codes that are counted one by one: those that RFC 9110 and its companions register. Others, which guests may well
/// use, are `other`, so that they cannot make series.
pub const CODES: [u16; 55] = [
    101, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400,
    401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424,
    425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 511,
];

/// What stands for requests whose client went away before there was a response; nginx has it.
const CLIENT_CLOSED_REQUEST: &str = "499";

/// What names the series of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// The server's name.
    pub server: Arc<str>,
    /// The pattern; empty for requests without a route.
    pub pattern: Arc<str>,
    /// The handler's name, or the built-in's kind; empty without a route.
    pub handler: Arc<str>,
    /// The first digits of the digest of its code; empty for what is built in.
    pub version: Arc<str>,
}

impl RouteKey {
    pub(super) fn unrouted(server: Arc<str>) -> Self {
        Self { server, pattern: "".into(), handler: "".into(), version: "".into() }
    }
}

/// One handler, guest or built in, over all its routes and versions.
#[derive(Debug)]
pub struct HandlerStats {
    /// Its name.
    pub name: Arc<str>,
    /// Its failures, in the order of [`Kind::NOT_LIMITS`].
    errors: [Counter; Kind::NOT_LIMITS.len()],
}

impl HandlerStats {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, errors: array::from_fn(|_| Counter::default()) }
    }

    /// Counts a failure. Limits are counted elsewhere, with those that are none.
    pub fn failed(&self, kind: Kind) {
        if let Some(index) = Kind::NOT_LIMITS.iter().position(|known| *known == kind) {
            self.errors[index].increment();
        }
    }

    /// How often it has failed, by kind.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kind::NOT_LIMITS.iter().zip(&self.errors).map(|(kind, count)| (kind.name(), count.get()))
    }
}

/// One route.
#[derive(Debug)]
pub struct RouteStats {
    /// Its handler.
    pub handler: Arc<HandlerStats>,
    /// The first digits of the digest of the handler's code; empty for what is built in.
    pub version: Arc<str>,
    /// What stands for it in a [`crate::tag::Tag`]; never 0.
    pub number: u32,
    /// In the order of [`CODES`]; then others, and those without a response.
    codes: [Counter; CODES.len() + 2],
    /// From the end of the request's head to the last byte of the response.
    pub duration: Histogram,
    /// Content of requests, as far as it was read.
    pub request_bytes: Counter,
    /// Content of responses, as far as it was handed to the connection.
    pub response_bytes: Counter,
}

impl RouteStats {
    pub(super) fn new(handler: Arc<HandlerStats>, version: Arc<str>, number: u32) -> Self {
        Self {
            handler,
            version,
            number,
            codes: array::from_fn(|_| Counter::default()),
            duration: Histogram::default(),
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
        }
    }

    /// Requests by status, those that there were.
    pub fn codes(&self) -> impl Iterator<Item = (String, u64)> {
        let names = CODES.iter().map(u16::to_string);
        let names = names.chain(["other".to_owned(), CLIENT_CLOSED_REQUEST.to_owned()]);
        names.zip(&self.codes).map(|(name, count)| (name, count.get())).filter(|(_, count)| *count > 0)
    }

    /// Counts a request that was refused before it was one: it has taken no time that says anything.
    pub fn refused(&self, status: u16) {
        self.codes[index_of(status)].increment();
    }

    /// Requests that were answered or given up, and those of them with a status from 500.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        let is_failure = |index: usize| CODES.get(index).is_some_and(|code| *code >= 500);
        self.codes.iter().enumerate().fold((0, 0), |(all, failed), (index, count)| {
            (all + count.get(), failed + if is_failure(index) { count.get() } else { 0 })
        })
    }

    fn count(&self, status: Option<StatusCode>) {
        let index = match status {
            // By far the most, and the search is for the others.
            Some(StatusCode::OK) => OK,
            Some(status) => index_of(status.as_u16()),
            None => CODES.len() + 1,
        };
        self.codes[index].increment();
    }
}

/// Where a status is in [`CODES`], or others behind them.
fn index_of(status: u16) -> usize {
    CODES.binary_search(&status).unwrap_or(CODES.len())
}

/// Where 200 is in [`CODES`].
const OK: usize = 2;

/// Bytes of a response that are counted together: those of a long one do not come all at its end, nor one by one.
const COUNTED_BYTES: u64 = 64 << 10;

/// One request under way; counted when it is dropped, or before.
#[derive(Debug)]
pub struct Meter {
    begin: Instant,
    route: Option<Arc<RouteStats>>,
    status: Option<StatusCode>,
    /// Not yet counted.
    response_bytes: u64,
    is_counted: bool,
}

impl Meter {
    /// For a request whose head was there at `begin`.
    #[must_use]
    pub fn new(begin: Instant) -> Self {
        Self { begin, route: None, status: None, response_bytes: 0, is_counted: false }
    }

    /// It is one of these; before that it is none.
    pub fn belongs_to(&mut self, route: &Arc<RouteStats>) {
        self.route = Some(Arc::clone(route));
    }

    /// Whose it is, if that is known.
    #[must_use]
    pub fn route(&self) -> Option<&Arc<RouteStats>> {
        self.route.as_ref()
    }

    /// There is a response.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So much of its content was handed on.
    pub fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
        if self.response_bytes >= COUNTED_BYTES {
            self.count_bytes();
        }
    }

    fn count_bytes(&mut self) {
        if self.response_bytes > 0
            && let Some(route) = &self.route
        {
            route.response_bytes.add(std::mem::take(&mut self.response_bytes));
        }
    }

    /// Counts it now: what comes after is no response, however long it lasts.
    pub fn count(&mut self) {
        if let Some(route) = &self.route
            && !std::mem::replace(&mut self.is_counted, true)
        {
            route.count(self.status);
            route.duration.observe(self.begin.elapsed());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.count();
        self.count_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order() {
        assert!(CODES.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(CODES[OK], 200);
    }

    #[test]
    fn each_request_is_counted_once_however_it_ends() {
        let stats = Arc::new(RouteStats::new(Arc::new(HandlerStats::new("h".into())), "".into(), 1));
        for (status, bytes) in [(Some(200), 5), (Some(200), 0), (Some(799), 1), (None, 0)] {
            let mut meter = Meter::new(Instant::now());
            meter.belongs_to(&stats);
            if let Some(status) = status {
                meter.answered(StatusCode::from_u16(status).unwrap());
            }
            meter.sent(bytes);
        }
        drop(Meter::new(Instant::now()));
        let expected = [("200", 2), ("other", 1), ("499", 1)].map(|(code, count)| (code.to_owned(), count));
        assert_eq!(stats.codes().collect::<Vec<_>>(), expected);
        assert_eq!((stats.response_bytes.get(), stats.requests()), (6, (4, 0)));
        assert_eq!(stats.duration.cumulative().last(), Some(("+Inf", 4)));
    }

    #[test]
    fn what_goes_on_for_long_is_counted_meanwhile() {
        let stats = Arc::new(RouteStats::new(Arc::new(HandlerStats::new("h".into())), "".into(), 1));
        let mut meter = Meter::new(Instant::now());
        meter.belongs_to(&stats);
        meter.answered(StatusCode::SWITCHING_PROTOCOLS);
        meter.sent(100);
        assert_eq!(stats.response_bytes.get(), 0);
        meter.sent(COUNTED_BYTES as usize);
        assert_eq!(stats.response_bytes.get(), COUNTED_BYTES + 100);
        meter.count();
        assert_eq!(stats.duration.cumulative().last(), Some(("+Inf", 1)));
        meter.sent(1);
        drop(meter);
        assert_eq!(stats.response_bytes.get(), COUNTED_BYTES + 101);
        assert_eq!(stats.codes().collect::<Vec<_>>(), [("101".to_owned(), 1)]);
    }

    #[test]
    fn failures_are_counted_by_kind() {
        let stats = HandlerStats::new("h".into());
        stats.failed(Kind::Trapped);
        stats.failed(Kind::Limit(crate::limit::Limit::Cpu));
        let counted: Vec<_> = stats.errors().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("trapped", 1)]);
    }
}
