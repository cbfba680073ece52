//! The admin listener: answers probes and tells what is counted, on an address of its own and with limits of its own.
//!
//! It answers to the very end of a drain, and is never a reason to wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use wasmux_mux::{Found, InsertError, Mux};

use crate::body::Body;
use crate::drain::Begun;
use crate::listener::Listener;
use crate::metrics::{self, Metrics};
use crate::request_id::RequestIds;
use crate::rescue;

/// Connections at one time; beyond it new ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;

/// One request and its response take at most this long; beyond it the connection is cut.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Page {
    /// 200 while the process serves at all.
    Live,
    /// 200 while new requests are welcome: until a drain begins.
    Ready,
    /// What is counted, for Prometheus.
    Metrics,
}

/// What the admin listener answers with.
#[derive(Debug)]
pub struct Admin {
    mux: Mux<Page>,
    draining: Begun,
    metrics: Metrics,
    ids: RequestIds,
}

impl Admin {
    /// Pages about a process that drains when `draining` says so and counts what is in `metrics`.
    ///
    /// # Errors
    /// When two of its own patterns are in conflict.
    pub fn new(draining: Begun, metrics: Metrics) -> Result<Self, InsertError> {
        let mut mux = Mux::new();
        mux.insert("GET /live", Page::Live)?;
        mux.insert("GET /ready", Page::Ready)?;
        mux.insert("GET /metrics", Page::Metrics)?;
        Ok(Self { mux, draining, metrics, ids: RequestIds::new() })
    }

    /// Accepts and answers until it is dropped; connections that were accepted end by themselves.
    pub async fn serve(self: Arc<Self>, listener: Arc<Listener>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed.
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let (stream, _) = listener.accept().await;
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = this.answer(&request);
                    async { Ok::<_, Infallible>(response) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(EXCHANGE_TIMEOUT);
                // A probe that kept its connection would go on asking a process that has handed over.
                builder.keep_alive(false);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, connection).await;
                drop(permit); // the listener may accept one more
            });
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let id = self.ids.assign(request.headers());
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let wanted = wasmux_mux::Request {
            method: request.method().as_str(),
            host: host.unwrap_or_default(),
            path: request.uri().path(),
            query: request.uri().query(),
        };
        match self.mux.find(&wanted) {
            Found::Match(found) => match found.value() {
                Page::Live => rescue::well("ok", &id),
                Page::Ready if self.draining.get() => rescue::draining(&id),
                Page::Ready => rescue::well("ready", &id),
                Page::Metrics => {
                    let mut response = Response::new(Body::full(self.metrics.text()));
                    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
                    response.headers_mut().insert(CONTENT_TYPE, content_type);
                    response
                }
            },
            Found::Redirect(redirect) => rescue::redirect(redirect.location(), request.method(), &id),
            Found::MethodNotAllowed(allow) => rescue::method_not_allowed(&allow.to_string(), &id),
            Found::NotFound => rescue::not_found(&id),
            Found::BadRequest => rescue::bad_request(&id),
        }
    }
}
