//! Every response that no handler made: the one table from errors to statuses.
//!
//! A client gets a short sentence and the request id, never internals; the log has the rest.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Response, StatusCode};

use crate::body::Body;
use crate::error::{Error, Kind, Origin, chain};
use crate::limit::Limit;
use crate::request_id::{self, RequestId};

/// net/http's Error and NotFound say this too: browsers shall not guess at error texts.
const NOSNIFF: (HeaderName, HeaderValue) =
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// Seconds after which a client that was turned away may try again, at least.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The response to a request whose handler failed before its first byte.
pub(crate) fn respond(error: &Error, id: &RequestId) -> Response<Body> {
    let (status, sentence) = match error.kind() {
        Kind::Limit(limit) => at(limit),
        Kind::Trapped | Kind::Aborted | Kind::BadResponse => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the handler failed")
        }
        Kind::NoResponse | Kind::GuestError => (StatusCode::BAD_GATEWAY, "the handler gave no response"),
        Kind::Upstream => (StatusCode::BAD_GATEWAY, "the upstream failed"),
        Kind::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "the upstream took too long"),
        Kind::RequestBroken => (StatusCode::BAD_REQUEST, "the request body is broken off or malformed"),
        Kind::NotFound => return not_found(id),
        Kind::Broken => return broken(error, id),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    };
    let mut response = text(
        status,
        format!(
            "{sentence} (request {id})
"
        ),
        id,
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Whole seconds (RFC 9110 section 10.2.3), and not too few.
        let seconds = error.retries_after().map(|after| after.as_millis().div_ceil(1_000));
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(RETRY_AFTER_SECONDS);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(RETRY_AFTER_SECONDS)));
    }
    // What follows on this connection is the rest of a body that nobody will read.
    if matches!(
        error.kind(),
        Kind::Limit(Limit::RequestBody | Limit::RequestBodyIdle | Limit::RequestBodyRate)
            | Kind::RequestBroken
    ) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a client gets when its request has hit a limit.
const fn at(limit: Limit) -> (StatusCode, &'static str) {
    match limit {
        Limit::Timeout => (StatusCode::GATEWAY_TIMEOUT, "the handler took too long"),
        Limit::Cpu => (StatusCode::GATEWAY_TIMEOUT, "the handler computed for too long"),
        Limit::Memory => (StatusCode::INTERNAL_SERVER_ERROR, "the handler ran out of memory"),
        Limit::Stack => (StatusCode::INTERNAL_SERVER_ERROR, "the handler ran out of stack"),
        Limit::Handles => (StatusCode::INTERNAL_SERVER_ERROR, "the handler holds too many resources"),
        Limit::ResponseBody => (StatusCode::INTERNAL_SERVER_ERROR, "the handler's response is too large"),
        Limit::ResponseHeaders | Limit::ResponseHeaderBytes => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the handler's response has too large a header")
        }
        Limit::Log => (StatusCode::INTERNAL_SERVER_ERROR, "the handler logged too much"),
        Limit::Sql => (StatusCode::INTERNAL_SERVER_ERROR, "the handler asked too much of a database"),
        Limit::OutboundConcurrency | Limit::OutboundRate => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the handler calls others too often")
        }
        Limit::Queue | Limit::QueueTimeout | Limit::Overload | Limit::Instances | Limit::GuestMemory => {
            (StatusCode::SERVICE_UNAVAILABLE, "too busy, try again later")
        }
        Limit::Breaker => {
            (StatusCode::SERVICE_UNAVAILABLE, "the handler rests after failures, try again later")
        }
        Limit::RequestBody => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
        Limit::RequestHeaders | Limit::RequestHeaderBytes => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too large a header")
        }
        Limit::RequestBodyIdle | Limit::RequestBodyRate => {
            (StatusCode::REQUEST_TIMEOUT, "the request body came too slowly")
        }
        // There is a response under way already.
        Limit::ResponseBodyIdle | Limit::ResponseBodyRate => {
            (StatusCode::REQUEST_TIMEOUT, "the response was taken too slowly")
        }
    }
}

/// The one response that tells internals: in watch mode, to whoever is about to mend them.
fn broken(error: &Error, id: &RequestId) -> Response<Body> {
    let mut content = match error.broken() {
        Some(broken) => format!("{broken} (request {id})\n"),
        None => format!("{error} (request {id})\n"),
    };
    if let Some(broken) = error.broken().filter(|broken| !broken.details.is_empty()) {
        content += &format!("\n{}", broken.details);
    }
    text(StatusCode::INTERNAL_SERVER_ERROR, content, id)
}

/// Writes the error to the log: loud when a guest or we failed, quiet when a client did.
pub(crate) fn report(error: &Error, handler: &str, id: &RequestId) {
    let (reason, request_id, chain) = (error.kind().name(), id.as_str(), chain(error));
    match error.kind().origin() {
        _ if error.is_old_news() => tracing::debug!(handler, request_id, reason, "{chain}"),
        // The guest meant it, and has said why if it wanted to.
        Origin::Guest if error.kind() == Kind::Aborted => {
            tracing::debug!(handler, request_id, reason, "{chain}")
        }
        Origin::Client => tracing::debug!(handler, request_id, reason, "{chain}"),
        Origin::Guest => tracing::error!(handler, request_id, reason, "{chain}"),
        Origin::Upstream | Origin::Host => tracing::error!(handler, request_id, reason, "{chain}"),
    }
}

/// No pattern matches.
pub(crate) fn not_found(id: &RequestId) -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned(), id)
}

/// Patterns match, but for other methods.
pub(crate) fn method_not_allowed(allow: &str, id: &RequestId) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned(), id);
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// A target or Host field that cannot be used; the connection is not to be trusted any further.
pub(crate) fn bad_request(id: &RequestId) -> Response<Body> {
    let mut response = text(StatusCode::BAD_REQUEST, "400 Bad Request\n".to_owned(), id);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// More header fields than a request may have.
pub(crate) fn too_many_fields(id: &RequestId) -> Response<Body> {
    text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "431 Request Header Fields Too Large\n".to_owned(), id)
}

/// The mux's redirect to the clean path or the one with a slash (Go: net/http.Redirect).
pub(crate) fn redirect(location: &str, method: &Method, id: &RequestId) -> Response<Body> {
    let Ok(value) = HeaderValue::from_str(location) else { return not_found(id) };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, value);
    if *method == Method::GET || *method == Method::HEAD {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    if *method == Method::GET {
        let link = format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", escape_html(location));
        *response.body_mut() = Body::full(link);
    }
    response
}

/// `OPTIONS *` asks about the server as a whole (RFC 9110 section 9.3.7).
/// For probes while the program stops or another process has taken over.
pub(crate) fn draining(id: &RequestId) -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned(), id)
}

/// For probes that found what they hoped for.
pub(crate) fn well(word: &str, id: &RequestId) -> Response<Body> {
    text(StatusCode::OK, format!("{word}\n"), id)
}

pub(crate) fn options_server() -> Response<Body> {
    Response::new(Body::empty())
}

fn text(status: StatusCode, body: String, id: &RequestId) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.extend([NOSNIFF]);
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(request_id::HEADER, id);
    }
    response
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
