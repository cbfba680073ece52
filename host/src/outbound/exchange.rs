//! One request and its response on one connection, and on another where sending it again is safe.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderName, RANGE,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, sleep, timeout};

use super::body::{InBody, Limits, Occupied, UPLOAD_GRACE, nothing};
use super::dial::Dial;
use super::error::OutboundErrorKind as Kind;
use super::pool::{Bounds, Lease};
use super::progress::{End, Progress, Upload};
use super::route::{Route, display};
use super::wire::{Wired, has_token};
use super::{Call, OutBody, OutboundError, Shared};

/// Clients set these to say that a request may be sent twice (Go: Request.isReplayable).
const IDEMPOTENCY_KEYS: [HeaderName; 2] =
    [HeaderName::from_static("idempotency-key"), HeaderName::from_static("x-idempotency-key")];

/// How often a request is sent again that servers refuse unseen.
const REFUSALS_MAX: u32 = 3;

/// What a request is sent with.
pub(super) struct Exchange<'c> {
    pub(super) shared: &'c Shared,
    pub(super) call: &'c Call,
    pub(super) deadline: Option<Instant>,
}

/// What became of one try.
struct Failed {
    error: OutboundError,
    /// Nothing of the request has left.
    unsent: Option<(request::Parts, OutBody)>,
    /// The server has refused the request, and nothing of this was asked for.
    untouched: Option<OutBody>,
}

impl Failed {
    /// Some of the request may have left.
    fn with(error: OutboundError) -> Self {
        Self { error, unsent: None, untouched: None }
    }
}

/// The clocks of one try, and what they hang on.
struct Watch {
    progress: Option<Arc<Progress>>,
    expect_continue: Option<Duration>,
    /// For the server to take more of the body.
    upload: Option<Duration>,
    header: Option<Duration>,
}

impl Exchange<'_> {
    /// Sends a request and waits for the head of its response.
    pub(super) async fn run(&self, request: Request<OutBody>) -> Result<Response<InBody>, OutboundError> {
        let Shared { id, dialer, pool, settings, policy } = self.shared;
        let (mut parts, mut body) = request.into_parts();
        let authority = display(&parts.uri);
        let route = Route::new(&parts.uri, self.call, *id, settings.proxies.as_ref())?;
        policy.target(&parts.uri).map_err(|refused| OutboundError::denied(&authority, refused))?;
        if parts.method == Method::CONNECT {
            let error = OutboundError::new(Kind::BadRequest, &authority).unsent();
            return Err(error.because("CONNECT is not for this client"));
        }
        let wants_gzip = self.ask_for_gzip(&mut parts);
        let wired = Wired::of(&parts);
        let dial = |seat| {
            let dial = Dial {
                dialer: Arc::clone(dialer),
                settings: Arc::clone(settings),
                policy: Arc::clone(policy),
                route: route.clone(),
                uri: wired.uri.clone(),
                authority: Arc::clone(&authority),
                connect_timeout: self.call.connect_timeout,
            };
            dial.run(seat)
        };
        let bounds = Bounds::of(settings, self.call.connect_timeout);
        let (has_body, mut refusals_left) = (!body.is_end_stream(), REFUSALS_MAX);
        loop {
            let lease = pool.get(&route.key, bounds, &authority, dial).await?;
            let is_retried = lease.is_reused && !self.call.no_retry;
            let may_repeat = is_retried && self.may_repeat(&parts, &body);
            let may_be_refused = lease.is_http2() && !self.call.no_retry;
            let copy = (may_repeat || may_be_refused).then(|| parts.clone());
            wired.apply(&mut parts, &body, lease.is_http2(), &route);
            let failed = match self.attempt(lease, parts, body, &authority).await {
                Ok((response, connection)) => {
                    return Ok(self.received(response, connection, wants_gzip, authority));
                }
                Err(failed) => failed,
            };
            let once_more = match (failed.unsent, copy) {
                (Some((mut parts, body)), _) if is_retried => {
                    wired.undo(&mut parts);
                    Some((parts, body))
                }
                (None, Some(copy)) if failed.error.kind == Kind::Refused && refusals_left > 0 => {
                    refusals_left -= 1;
                    failed.untouched.or_else(|| self.body_again(has_body)).map(|body| (copy, body))
                }
                (None, Some(copy)) if failed.error.kind == Kind::Closed && may_repeat => {
                    self.body_again(has_body).map(|body| (copy, body))
                }
                _ => None,
            };
            (parts, body) = once_more.ok_or(failed.error)?;
        }
    }

    /// The body of a request from its beginning, if it can be had.
    fn body_again(&self, has_body: bool) -> Option<OutBody> {
        let rewind = self.call.rewind.as_ref().filter(|_| has_body).map(|rewind| rewind());
        rewind.or_else(|| (!has_body).then(nothing))
    }

    /// Whether a request that the server may have seen can be sent again (Go: Request.isReplayable).
    fn may_repeat(&self, parts: &request::Parts, body: &OutBody) -> bool {
        let is_idempotent =
            matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        (is_idempotent || IDEMPOTENCY_KEYS.iter().any(|name| parts.headers.contains_key(name)))
            && (body.is_end_stream() || self.call.rewind.is_some())
    }

    /// Asks for gzip where the caller does not care (Go: Transport.DisableCompression); says whether it did.
    fn ask_for_gzip(&self, parts: &mut request::Parts) -> bool {
        let asks = self.call.decompress
            && parts.method != Method::HEAD
            && !parts.headers.contains_key(ACCEPT_ENCODING)
            && !parts.headers.contains_key(RANGE);
        if asks {
            parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        asks
    }

    /// Sends the request on one connection.
    async fn attempt(
        &self,
        mut lease: Lease,
        parts: request::Parts,
        body: OutBody,
        authority: &Arc<str>,
    ) -> Result<(Response<Incoming>, Option<Occupied>), Failed> {
        let settings = &self.shared.settings;
        let asks_for_continue =
            parts.headers.get(EXPECT).is_some_and(|value| has_token(value, "100-continue"));
        let says_last = says_close(&parts.headers);
        let has_body = !body.is_end_stream();
        // HTTP/2 has no way to show the 100 here.
        let is_held = has_body && asks_for_continue && !lease.is_http2();
        let expect_continue = settings.expect_continue_timeout.filter(|_| is_held);
        let progress = has_body.then(|| Progress::new(expect_continue.is_some()));
        let upload = match &progress {
            None => Upload::none(body),
            Some(progress) => {
                let own = self.call.request_body_bytes.unwrap_or(u64::MAX);
                let declared =
                    parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
                Upload::new(body, settings.request_body_bytes.min(own), declared, progress)
            }
        };
        let mut request = Request::from_parts(parts, upload);
        self.listen_for_interim(&mut request, progress.as_ref().filter(|_| is_held));
        let header =
            [settings.response_header_timeout, self.call.first_byte_timeout].into_iter().flatten().min();
        let upload = settings.body_idle_timeout;
        let watch = Watch { progress: progress.clone(), expect_continue, upload, header };
        let sent = tokio::select! {
            biased;
            sent = lease.send(request) => sent,
            kind = watch.run() => return Err(Failed::with(OutboundError::new(kind, authority))),
        };
        match sent {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                if !self.call.upgrade {
                    let error = OutboundError::new(Kind::Protocol, authority);
                    let error = error.because("it switches protocols, and was not asked to");
                    return Err(Failed::with(error));
                }
                lease.leave_to_stream();
                Ok((response, None))
            }
            Ok(mut response) => {
                let is_clear = lease.is_http2() || is_unambiguous(response.headers_mut());
                let is_reusable = !says_last && is_clear && (lease.is_http2() || keeps_alive(&response));
                Ok((response, Some(Occupied { lease, upload: progress, is_reusable })))
            }
            Err(failed) => Err(failure(failed, progress.as_deref(), authority).await),
        }
    }

    /// Has interim responses told to whoever wants them, and the body released by a 100.
    fn listen_for_interim(&self, request: &mut Request<Upload>, held: Option<&Arc<Progress>>) {
        let (on_interim, held) = (self.call.on_interim.clone(), held.cloned());
        if on_interim.is_none() && held.is_none() {
            return;
        }
        hyper::ext::on_informational(request, move |interim| {
            if interim.status() == StatusCode::CONTINUE
                && let Some(held) = &held
            {
                held.release();
            }
            if let Some(on_interim) = &on_interim {
                on_interim(interim.status(), interim.headers());
            }
        });
    }

    /// The response as the caller gets it.
    fn received(
        &self,
        response: Response<Incoming>,
        connection: Option<Occupied>,
        wants_gzip: bool,
        authority: Arc<str>,
    ) -> Response<InBody> {
        let settings = &self.shared.settings;
        let (mut parts, body) = response.into_parts();
        let is_gzip = wants_gzip
            && !body.is_end_stream()
            && parts
                .headers
                .get(CONTENT_ENCODING)
                .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        if is_gzip {
            parts.headers.remove(CONTENT_ENCODING);
            parts.headers.remove(CONTENT_LENGTH);
        }
        let limits = Limits {
            deadline: self.deadline,
            idle: [settings.body_idle_timeout, self.call.between_bytes_timeout].into_iter().flatten().min(),
            bytes: settings.response_body_bytes.min(self.call.response_body_bytes.unwrap_or(u64::MAX)),
        };
        Response::from_parts(parts, InBody::new(body, is_gzip, authority, limits, connection))
    }
}

impl Watch {
    /// Ends when the server takes no more of the body, or its response's head is overdue. Meanwhile it lets a body go that
    /// waits for the server's word.
    async fn run(self) -> Kind {
        if let Some(progress) = &self.progress {
            if let Some(limit) = self.expect_continue {
                tokio::select! {
                    _ = progress.wait() => {}
                    () = sleep(limit) => progress.release(),
                }
            }
            let stalled = async {
                match self.upload {
                    Some(limit) => progress.stalled(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                end = progress.wait() => match end {
                    // What the connection has let go of is not sent any more: the server may have answered already.
                    End::Written | End::Dropped => {}
                    // The connection says what became of it.
                    End::Failed(_) => return std::future::pending().await,
                },
                () = stalled => return Kind::RequestTimeout,
            }
        }
        match self.header {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
        Kind::HeaderTimeout
    }
}

/// What an error of hyper's means here.
async fn failure(
    mut failed: TrySendError<Request<Upload>>,
    progress: Option<&Progress>,
    authority: &Arc<str>,
) -> Failed {
    let unsent = failed.take_message().map(|request| {
        let (parts, upload) = request.into_parts();
        (parts, upload.into_inner())
    });
    let error = failed.into_error();
    let was_refused = was_refused(&error);
    let kind = match progress.and_then(Progress::ended) {
        Some(End::Failed(kind)) => kind,
        _ if was_refused => Kind::Refused,
        _ if error.is_parse_too_large() => Kind::HeaderTooLarge,
        _ if error.is_parse() => Kind::Protocol,
        _ if error.is_user() => Kind::BadRequest,
        _ => Kind::Closed,
    };
    let error = OutboundError::new(kind, authority).because(error);
    let error = if unsent.is_some() || kind == Kind::Refused { error.unsent() } else { error };
    let mut untouched = None;
    if kind == Kind::Refused
        && let Some(progress) = progress
    {
        // The task that would have sent the body lets go of it once it sees the same.
        let _ = timeout(UPLOAD_GRACE, progress.wait()).await;
        untouched = progress.untouched();
    }
    Failed { error, unsent, untouched }
}

/// Whether the server says that it has not looked at a request (RFC 9113 section 8.7): it has reset its stream with
/// REFUSED_STREAM, or has said GOAWAY with the number of an earlier one. For all other streams a GOAWAY is no error.
fn was_refused(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether a head says how long its body is in one way alone. `Content-Length` beside `Transfer-Encoding` means nothing, and
/// is removed; its connection may have been tampered with (RFC 9112 section 6.3).
fn is_unambiguous(fields: &mut HeaderMap) -> bool {
    !fields.contains_key(TRANSFER_ENCODING) || fields.remove(CONTENT_LENGTH).is_none()
}

fn says_close(fields: &HeaderMap) -> bool {
    fields.get_all(CONNECTION).iter().any(|value| has_token(value, "close"))
}

/// Whether a response leaves its HTTP/1 connection open (RFC 9112 section 9.3).
fn keeps_alive(response: &Response<Incoming>) -> bool {
    let says = |token| response.headers().get_all(CONNECTION).iter().any(|value| has_token(value, token));
    !says("close") && (response.version() == Version::HTTP_11 || says("keep-alive"))
}
