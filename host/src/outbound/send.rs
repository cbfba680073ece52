//! One call: a request, and those that its redirects lead to, in the time that the call has.

use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{InBody, nothing};
use super::error::OutboundErrorKind as Kind;
use super::exchange::Exchange;
use super::redirect::Trail;
use super::route::display;
use super::{Call, OutBody, OutboundError, Shared};

/// What is read of a redirect's own body, so that its connection can be used again (Go: net/http.maxBodySlurpSize), and for
/// how long.
const SLURP_BYTES_MAX: u64 = 2 * 1024;
const SLURP_TIMEOUT: Duration = Duration::from_millis(50);

/// Sends a request; see [`super::Client::send`].
pub(super) async fn send(
    shared: &Shared,
    request: Request<OutBody>,
    call: Call,
) -> Result<Response<InBody>, OutboundError> {
    let own = shared.settings.timeout.map(|limit| Instant::now() + limit);
    let deadline = [own, call.deadline].into_iter().flatten().min();
    let Some(deadline) = deadline else { return follow(shared, request, &call, None).await };
    let authority = display(request.uri());
    match timeout_at(deadline, follow(shared, request, &call, Some(deadline))).await {
        Ok(done) => done,
        Err(_) => Err(OutboundError::new(Kind::Deadline, &authority)),
    }
}

async fn follow(
    shared: &Shared,
    mut request: Request<OutBody>,
    call: &Call,
    deadline: Option<Instant>,
) -> Result<Response<InBody>, OutboundError> {
    let exchange = Exchange { shared, call, deadline };
    if call.redirects == 0 {
        return exchange.run(request).await;
    }
    let trail = Trail::new(request.method(), request.uri(), request.headers());
    let Some(mut trail) = trail else { return exchange.run(request).await };
    let can_rewind = call.rewind.is_some() || request.body().is_end_stream();
    let mut left = call.redirects;
    loop {
        let authority = display(request.uri());
        let response = exchange.run(request).await?;
        let step = trail.next(response.status(), response.headers(), can_rewind);
        let failed = |kind| OutboundError::new(kind, &authority);
        let Some(step) = step.map_err(|why| failed(Kind::Protocol).because(why))? else {
            return Ok(response);
        };
        if left == 0 {
            let after = format!("stopped after {}", call.redirects);
            return Err(failed(Kind::TooManyRedirects).because(after));
        }
        left -= 1;
        if call.may_go_on.as_ref().is_some_and(|may_go_on| !may_go_on()) {
            return Err(failed(Kind::TooFast));
        }
        slurp(response.into_body()).await;
        let body = match &call.rewind {
            Some(rewind) if step.has_body => rewind(),
            _ => nothing(),
        };
        request = Request::new(body);
        *request.method_mut() = step.method;
        *request.uri_mut() = step.uri;
        *request.headers_mut() = step.fields;
    }
}

/// Reads what little there is of a body.
async fn slurp(body: InBody) {
    if body.size_hint().lower() > SLURP_BYTES_MAX {
        return;
    }
    let mut body = pin!(body);
    let read = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, |data| data.len() as u64);
            if seen > SLURP_BYTES_MAX {
                return;
            }
        }
    };
    let _ = timeout(SLURP_TIMEOUT, read).await;
}
