//! Requests of guests: to other servers by way of the host's client, and to other handlers without a socket.
//!
//! Whatever the ABI, they come through [`Outgoing::send`], which asks `allow`, keeps the handler's caps, and says in the log
//! what was refused.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use tokio::time::timeout;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use self::caps::{Caps, Permit};
use super::limits::Limits;
use super::next::detached;
use super::share::Share;
use crate::hop_by_hop::HOP_BY_HOP;
use crate::limit::Limit;
use crate::outbound::{
    Call, Client, InBody, Outbound, OutboundError, OutboundErrorKind, Policy, TransportSettings,
};
use crate::stats::Outcome;

mod allow;
mod caps;
mod inside;

pub use allow::{ALLOWED_MAX, Allow};
pub(super) use inside::Cause;
pub use inside::{Directory, Via};

/// `User-Agent` of calls that have none.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("wasmux/", env!("CARGO_PKG_VERSION")));

/// What a handler may call, and how.
#[derive(Clone, Debug)]
pub struct Outgoing {
    client: Client,
    allow: Arc<Allow>,
    directory: Arc<Directory>,
    caps: Arc<Caps>,
}

/// Why a call has no response, or no more of one.
#[derive(Debug)]
pub(super) enum OutgoingError {
    /// It was not granted.
    Denied(String),
    /// The handler calls too much.
    Limit(Limit),
    /// A GET or HEAD with a body of which nobody knows how long it is.
    Length,
    /// Handlers call one another in a circle.
    Loop(String),
    /// The handler that was called is gone, or its response broke off.
    Inside,
    Outside(OutboundError),
}

impl fmt::Display for OutgoingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "the call was refused: {why}"),
            Self::Limit(limit) => f.write_str(limit.sentence()),
            Self::Length => f.write_str("a GET or HEAD with a body needs a Content-Length"),
            Self::Loop(names) => {
                write!(f, "handlers call one another more than {} deep: {names}", inside::DEPTH_MAX)
            }
            Self::Inside => f.write_str("the handler that was called has broken its response off"),
            Self::Outside(error) => write!(f, "{}", crate::error::chain(error)),
        }
    }
}

impl std::error::Error for OutgoingError {}

/// The response to a call.
pub(super) type Answered = Response<AnswerBody>;

impl Outgoing {
    /// For one handler, within its `outbound_concurrency` and `outbound_rate`; its connections are its own.
    #[must_use]
    pub fn new(
        outbound: &Outbound,
        settings: TransportSettings,
        allow: Allow,
        directory: Arc<Directory>,
        limits: &Limits,
    ) -> Self {
        let allow = Arc::new(allow);
        let policy: Arc<dyn Policy> = Arc::<Allow>::clone(&allow);
        let client = outbound.client(settings, policy);
        Self {
            client,
            allow,
            directory,
            caps: Arc::new(Caps::new(limits.outbound_concurrency, limits.outbound_rate)),
        }
    }

    /// Sends a request of the handler that `share` is of, and waits for the head of the response. To drop the future, or the
    /// response's body, ends the call.
    pub(super) async fn send(
        &self,
        mut request: Request<WasiBody>,
        call: Call,
        cause: &Cause,
        share: &Share,
    ) -> Result<Answered, OutgoingError> {
        let (counted, span) = (share.outbound.begin(), cause.scope.as_ref().map(|at| at.call(&mut request)));
        let answered = self.send_granted(request, call, cause, share).await;
        counted.ended(answered.as_ref().map_or_else(OutgoingError::outcome, |_| Outcome::Ok));
        if let Some(span) = span {
            span.answered(answered.as_ref().map(Response::status).map_err(|error| error.outcome().name()));
        }
        answered
    }

    async fn send_granted(
        &self,
        mut request: Request<WasiBody>,
        mut call: Call,
        cause: &Cause,
        share: &Share,
    ) -> Result<Answered, OutgoingError> {
        let limited = |limit| {
            share.hit(limit);
            OutgoingError::Limit(limit)
        };
        let permit = self.caps.take().map_err(limited)?;
        HOP_BY_HOP.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        let body = match allow::handler_of(request.uri()) {
            Some(name) => self.send_inside(&name, request, cause, share).await?.map(Inner::Inside),
            None => {
                self.check_host(&mut request)?;
                // Go's Transport says its name, too, unless the caller does.
                request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
                let request = with_known_body(request).await?;
                let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                let caps = Arc::clone(&self.caps);
                call.may_go_on = Some(Arc::new(move || caps.charge()));
                let answered = self.client.send(request, call).await.map_err(OutgoingError::outside);
                let answered = answered.map_err(|error| match error {
                    OutgoingError::Limit(limit) => limited(limit),
                    other => other,
                });
                answered?.map(|body| Inner::Outside(Box::new(body)))
            }
        };
        Ok(body.map(|inner| AnswerBody { inner, _permit: permit }))
    }

    async fn send_inside(
        &self,
        name: &str,
        request: Request<WasiBody>,
        cause: &Cause,
        share: &Share,
    ) -> Result<Response<WasiBody>, OutgoingError> {
        if request.uri().scheme_str() != Some("http")
            || !self.allow.handlers().iter().any(|known| known == name)
        {
            return Err(OutgoingError::Denied("it is not in `outbound`".to_owned()));
        }
        if Via::is_loop(cause.via.as_ref()) {
            let names = cause.via.as_ref().map(|via| via.names()).unwrap_or_default();
            return Err(OutgoingError::Loop(format!("{names} → {} → {name}", share.name())));
        }
        let callee = self.directory.find(name).ok_or(OutgoingError::Inside)?;
        let answer = inside::call(&self.directory, &*callee, share.name(), cause, request);
        detached(answer).await.ok_or(OutgoingError::Inside)
    }

    /// A server may have several hosts behind one address: who may call one of them must not thereby reach another. Of
    /// several fields the guest's own one counts, which comes last.
    fn check_host(&self, request: &mut Request<WasiBody>) -> Result<(), OutgoingError> {
        let Some(host) = request.headers().get_all(HOST).iter().next_back().cloned() else { return Ok(()) };
        let uri = request.uri();
        let named = host.to_str().ok().and_then(|host| {
            // A user in front of a host is no part of it, and other servers may see it in another way.
            if host.contains('@') {
                return None;
            }
            if uri.authority().is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host)) {
                return Some(uri.clone());
            }
            Uri::builder().scheme(uri.scheme_str()?).authority(host).path_and_query("/").build().ok()
        });
        if named.is_none_or(|named| self.allow.target(&named).is_err()) {
            return Err(OutgoingError::Denied("its `Host` is not in `outbound`".to_owned()));
        }
        request.headers_mut().insert(HOST, host);
        Ok(())
    }
}

/// How long it may take to show that there is no body (Go: net/http.transferWriter.probeRequestBody).
const BODY_PROBE: Duration = Duration::from_millis(200);

/// GET and HEAD mostly have no body, whatever their makers say of its length; and HTTP/1.1 sends none that has no declared one.
async fn with_known_body(request: Request<WasiBody>) -> Result<Request<WasiBody>, OutgoingError> {
    let is_usual = !matches!(*request.method(), Method::GET | Method::HEAD);
    if is_usual || request.body().is_end_stream() || request.headers().contains_key(CONTENT_LENGTH) {
        return Ok(request);
    }
    let (parts, mut body) = request.into_parts();
    if body.size_hint().exact().is_some() {
        return Ok(Request::from_parts(parts, body));
    }
    match timeout(BODY_PROBE, body.frame()).await {
        Ok(None) => {
            let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
            Ok(Request::from_parts(parts, nothing))
        }
        Ok(Some(_)) | Err(_) => Err(OutgoingError::Length),
    }
}

impl OutgoingError {
    fn outside(error: OutboundError) -> Self {
        match error.kind {
            OutboundErrorKind::Denied => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                Self::Denied(why.unwrap_or_default())
            }
            OutboundErrorKind::TooFast => Self::Limit(Limit::OutboundRate),
            _ => Self::Outside(error),
        }
    }

    /// What is counted.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(_) | Self::Limit(_) | Self::Loop(_) => Outcome::Refused,
            Self::Length | Self::Inside => Outcome::Error,
            Self::Outside(error) => error.kind.outcome(),
        }
    }

    /// The same for wasi:http.
    pub(super) fn standard(&self) -> HttpError {
        use OutboundErrorKind as Kind;
        let error = match self {
            Self::Denied(_) => return HttpError::HttpRequestDenied,
            Self::Limit(_) => return HttpError::ConnectionLimitReached,
            Self::Length => return HttpError::HttpRequestLengthRequired,
            Self::Loop(_) => return HttpError::LoopDetected,
            Self::Inside => return HttpError::HttpResponseIncomplete,
            Self::Outside(error) => error,
        };
        match error.kind {
            Kind::Denied => HttpError::HttpRequestDenied,
            Kind::BadRequest => HttpError::HttpRequestUriInvalid,
            Kind::Dns => HttpError::DnsError { rcode: None, info_code: None },
            Kind::DnsTimeout => HttpError::DnsTimeout,
            Kind::Connect => HttpError::ConnectionRefused,
            Kind::ConnectTimeout | Kind::TlsTimeout => HttpError::ConnectionTimeout,
            Kind::Busy | Kind::TooFast => HttpError::ConnectionLimitReached,
            Kind::RequestTimeout => HttpError::ConnectionWriteTimeout,
            Kind::Proxy => HttpError::DestinationUnavailable,
            Kind::TlsHandshake => HttpError::TlsProtocolError,
            Kind::HeaderTimeout => HttpError::ConnectionReadTimeout,
            Kind::BodyTimeout | Kind::Deadline => HttpError::HttpResponseTimeout,
            Kind::RequestBody => HttpError::InternalError(Some("the request's body failed".to_owned())),
            Kind::RequestTooLarge => HttpError::HttpRequestBodySize(None),
            Kind::Closed | Kind::Refused => HttpError::ConnectionTerminated,
            Kind::Incomplete => HttpError::HttpResponseIncomplete,
            Kind::HeaderTooLarge => HttpError::HttpResponseHeaderSectionSize(None),
            Kind::BodyTooLarge => HttpError::HttpResponseBodySize(None),
            Kind::Protocol | Kind::TooManyRedirects => HttpError::HttpProtocolError,
            Kind::Encoding => HttpError::HttpResponseContentCoding(None),
        }
    }
}

/// The body of a response to a call, which counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct AnswerBody {
    inner: Inner,
    _permit: Permit,
}

#[derive(Debug)]
enum Inner {
    Inside(WasiBody),
    Outside(Box<InBody>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let frame = match &mut self.get_mut().inner {
            Inner::Inside(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(|_| OutgoingError::Inside))
            }
            Inner::Outside(body) => ready!(Pin::new(&mut **body).poll_frame(cx))
                .map(|frame| frame.map_err(OutgoingError::outside)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Inside(body) => body.is_end_stream(),
            Inner::Outside(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Inside(body) => body.size_hint(),
            Inner::Outside(body) => body.size_hint(),
        }
    }
}
