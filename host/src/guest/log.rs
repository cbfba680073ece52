//! Log lines of guests: each carries the handler's name and the request id, and none can break the log's form.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;
use wasmux_abi::LOG_BYTES_MAX;

use super::exchange::Incoming;
use super::masks::Masks;
use super::share::Share;
use crate::limit::Limit;
use crate::printable;
use crate::request_id::RequestId;
use crate::trace::TraceId;

/// The `tracing` target of everything guests write, for filters.
pub(super) const TARGET: &str = "guest";

/// What every line costs beside its text: time, level, handler and request id.
const LINE_BYTES: u64 = 100;

/// Writes the lines of one instance, for the request that it handles. Clones are the same log: they go over to the next
/// request together.
#[derive(Clone, Debug)]
pub(super) struct GuestLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    share: Arc<Share>,
    /// The first digits of the digest of the handler's code.
    version: Arc<str>,
    masks: Arc<Masks>,
    /// What may be written for each request, with [`LINE_BYTES`] for each line; the rest is left out.
    bytes_max: u64,
    /// What may still be written for this one.
    bytes: AtomicU64,
    /// That the rest is dropped has been said.
    is_announced: AtomicBool,
    /// None before the first, and where an instance has several at a time.
    request: Mutex<Option<About>>,
}

/// The request that lines are about.
#[derive(Debug)]
struct About {
    id: RequestId,
    /// If it is sampled.
    trace: Option<TraceId>,
}

impl GuestLog {
    /// The log of an instance, without a request.
    pub(super) fn new(
        (share, version): (&Arc<Share>, &Arc<str>),
        bytes_max: u64,
        masks: &Arc<Masks>,
    ) -> Self {
        let (bytes, is_announced) = (AtomicU64::new(bytes_max), AtomicBool::new(false));
        let (share, version, masks) = (Arc::clone(share), Arc::clone(version), Arc::clone(masks));
        let request = Mutex::default();
        Self(Arc::new(Inner { share, version, masks, bytes_max, bytes, is_announced, request }))
    }

    /// What the handler, whose log it is, uses of the host.
    pub(super) fn share(&self) -> &Share {
        &self.0.share
    }

    fn request(&self) -> MutexGuard<'_, Option<About>> {
        self.0.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun, which has all that a request may have; `None` in an instance that has several.
    pub(super) fn begin(&self, request: Option<&Incoming>) {
        *self.request() = request.map(|request| {
            let trace = request.notes.as_ref().and_then(|notes| notes.trace());
            let trace = trace.filter(|trace| trace.is_sampled()).map(|trace| trace.id());
            About { id: request.id.clone(), trace }
        });
        self.0.bytes.store(self.0.bytes_max, Ordering::Relaxed);
        self.0.is_announced.store(false, Ordering::Relaxed);
    }

    /// Whether the request may log so much more. The first line that does not fit is announced, the rest are dropped.
    fn is_within_budget(&self, bytes: usize) -> bool {
        let take = |left: u64| left.checked_sub(bytes as u64 + LINE_BYTES);
        if self.0.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return true;
        }
        if !self.0.is_announced.swap(true, Ordering::Relaxed) {
            let request = self.request();
            let (handler, version) = (&**self.0.share.name(), self.version());
            let request_id = request.as_ref().map(|about| about.id.as_str());
            self.0.share.hit(Limit::Log);
            tracing::warn!(
                handler,
                version,
                request_id,
                reason = Limit::Log.name(),
                "{}, {} bytes; the rest is left out",
                Limit::Log.sentence(),
                self.0.bytes_max
            );
        }
        false
    }

    /// How much of a line has to be there for [`Self::line_of`], in bytes; what is behind it is not looked at.
    pub(super) fn line_bytes_max(&self) -> usize {
        LOG_BYTES_MAX + self.0.masks.bytes_max()
    }

    /// Writes one line; text beyond 8 KiB is cut, control characters are escaped.
    pub(super) fn line(&self, level: Level, text: &[u8]) {
        self.line_of(level, text, text.len());
    }

    /// Writes one line, of whose bytes the first ones are there.
    pub(super) fn line_of(&self, level: Level, text: &[u8], bytes: usize) {
        if !is_enabled(level) {
            return;
        }
        let text = printable(text, bytes, &self.0.masks);
        if !self.is_within_budget(text.len()) {
            return;
        }
        let request = self.request();
        let (handler, version) = (&**self.0.share.name(), self.version());
        let request_id = request.as_ref().map(|about| about.id.as_str());
        let trace_id = request.as_ref().and_then(|about| Some(about.trace?.to_string()));
        match level {
            Level::ERROR => tracing::error!(target: TARGET, handler, version, request_id, trace_id, "{text}"),
            Level::WARN => tracing::warn!(target: TARGET, handler, version, request_id, trace_id, "{text}"),
            Level::INFO => tracing::info!(target: TARGET, handler, version, request_id, trace_id, "{text}"),
            Level::DEBUG => tracing::debug!(target: TARGET, handler, version, request_id, trace_id, "{text}"),
            Level::TRACE => tracing::trace!(target: TARGET, handler, version, request_id, trace_id, "{text}"),
        }
    }

    /// None where it has come from no file.
    fn version(&self) -> Option<&str> {
        Some(&*self.0.version).filter(|version| !version.is_empty())
    }
}

/// Whether a guest's line of this level would be written.
pub(super) fn is_enabled(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: TARGET, Level::ERROR),
        Level::WARN => tracing::enabled!(target: TARGET, Level::WARN),
        Level::INFO => tracing::enabled!(target: TARGET, Level::INFO),
        Level::DEBUG => tracing::enabled!(target: TARGET, Level::DEBUG),
        Level::TRACE => tracing::enabled!(target: TARGET, Level::TRACE),
    }
}

/// Secrets go first: neither a cut nor an escape may hide one from the masks.
fn printable(text: &[u8], bytes: usize, masks: &Masks) -> String {
    let cut = masks.cut(text, LOG_BYTES_MAX);
    let mut out = String::with_capacity(cut.len());
    for c in String::from_utf8_lossy(&cut).chars() {
        match c {
            '\t' => out.push(c),
            c => printable::push(&mut out, c),
        }
    }
    if bytes > LOG_BYTES_MAX {
        let _ = write!(out, "… ({} bytes cut)", bytes - LOG_BYTES_MAX);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cannot_be_forged() {
        let printable = |text: &[u8]| printable(text, text.len(), &Masks::default());
        assert_eq!(printable(b"a\nb\x1b[31mc\td"), "a\\nb\\u{1b}[31mc\td");
        assert_eq!(printable("\u{9b}31m\u{202e}".as_bytes()), "\\u{9b}31m\\u{202e}");
        assert_eq!(printable(b"bad \xff utf-8"), "bad \u{fffd} utf-8");
        assert!(printable(&[b'x'; LOG_BYTES_MAX + 3]).ends_with("… (3 bytes cut)"));
    }

    #[test]
    fn secrets_go_before_anything_is_escaped_or_cut() {
        let masks = Masks::new(["one\ntwo-and-three", "0123456789"].into_iter());
        assert_eq!(printable(b"a one\ntwo-and-three b", 21, &masks), "a [secret] b");
        let long = [&[b'x'; LOG_BYTES_MAX - 3][..], b"0123456789"].concat();
        let shown = printable(&long, long.len(), &masks);
        assert!(shown.ends_with("x[secret]… (7 bytes cut)"), "{}", &shown[LOG_BYTES_MAX - 10..]);
    }
}
