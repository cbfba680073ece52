//! The admin listener: probes, metrics, and the admin API, on an address of its own and with limits of its own.
//!
//! It answers to the very end of a drain, and is never a reason to wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, mpsc};
use wasmux_mux::{Found, InsertError, Mux};

use self::access::Access;
use self::api::Operation;
use self::visits::{Impatient, Visit, Visits};
use crate::body::Body;
use crate::deployer::Deployer;
use crate::drain::Begun;
use crate::listener::{Listener, Stream};
use crate::metrics::{self, Metrics};
use crate::profile::Profiler;
use crate::request_id::{RequestId, RequestIds};
use crate::rescue;
use crate::telemetry::Logs;

pub mod access;
mod api;
mod dashboard;
mod diff;
mod logs;
mod profiles;
mod query;
mod status;
mod upload;
mod visits;

pub use api::{API_VERSION, OPENAPI};
pub use diff::diff_of;

/// Connections at one time; beyond it the oldest goes whose client has shown no right to be here, and if there is none new ones wait.
const CONNECTIONS_MAX: usize = 64;

/// The head of a request, and the TLS handshake before it, take at most this long; beyond it the connection is cut.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// One request and its response take at most this long when anybody could have sent it. Beyond it the connection is cut.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// One request and its response of a client that may operate take at most this long: a deployment may have to build crates and
/// compile large modules. Beyond it the connection is cut; but who follows the log, of whom there are few, may do so for ever.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Of a response that goes on for as long as its client wants.
#[derive(Clone, Copy, Debug)]
struct Endless;

#[derive(Clone, Copy, Debug)]
enum Page {
    /// 200 while the process serves at all.
    Live,
    /// 200 while new requests are welcome: until a drain begins.
    Ready,
    /// What is counted, for Prometheus.
    Metrics,
    /// What the process is at, for `go tool pprof`.
    Profiles,
    /// Part of the admin API.
    Api(Operation),
    /// What all of this looks like, for people.
    Dashboard,
    /// `/`, which leads there.
    Home,
}

/// An extension of the response behind which the process is to drain.
#[derive(Clone, Copy, Debug)]
struct Drains;

/// What the admin listener answers with.
#[derive(Debug)]
pub struct Admin {
    mux: Mux<Page>,
    access: Access,
    draining: Begun,
    metrics: Metrics,
    profiler: Profiler,
    deployer: Deployer,
    logs: Logs,
    /// Asks the process to drain.
    drain: mpsc::Sender<()>,
    followers: Arc<Semaphore>,
    uploads: Semaphore,
    ids: RequestIds,
}

/// What the pages are about.
#[derive(Debug)]
pub struct About {
    /// Whether the process drains.
    pub draining: Begun,
    /// What is counted.
    pub metrics: Metrics,
    /// What looks into the process.
    pub profiler: Profiler,
    /// What is deployed, and how it is changed.
    pub deployer: Deployer,
    /// The latest lines of the log.
    pub logs: Logs,
    /// Where the process is asked to drain.
    pub drain: mpsc::Sender<()>,
}

impl Admin {
    /// Pages for those that `access` lets in.
    ///
    /// # Errors
    /// When two of its own patterns are in conflict.
    pub fn new(access: Access, about: About) -> Result<Self, InsertError> {
        let mut mux = Mux::new();
        mux.insert("GET /live", Page::Live)?;
        mux.insert("GET /ready", Page::Ready)?;
        mux.insert("GET /metrics", Page::Metrics)?;
        mux.insert("GET /debug/pprof/{name...}", Page::Profiles)?;
        mux.insert("GET /dashboard", Page::Dashboard)?;
        mux.insert("GET /{$}", Page::Home)?;
        for (pattern, operation) in Operation::ALL {
            mux.insert(pattern, Page::Api(operation))?;
        }
        let About { draining, metrics, profiler, deployer, logs, drain } = about;
        let followers = Arc::new(Semaphore::new(logs::FOLLOWERS_MAX));
        let (uploads, ids) = (Semaphore::new(upload::UPLOADS_MAX), RequestIds::new());
        Ok(Self { mux, access, draining, metrics, profiler, deployer, logs, drain, followers, uploads, ids })
    }

    /// Accepts and answers until it is dropped; connections that were accepted end by themselves.
    pub async fn serve(self: Arc<Self>, listener: Arc<Listener>) {
        let (permits, visits) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::<Visits>::default());
        loop {
            let (stream, _) = listener.accept().await;
            if permits.available_permits() == 0 {
                visits.make_room();
            }
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (this, visits, visit) = (Arc::clone(&self), Arc::clone(&visits), visits.begin());
            tokio::spawn(async move {
                tokio::select! {
                    () = this.converse(stream, &visit) => {}
                    () = visit.is_over(HEAD_TIMEOUT + PAGE_TIMEOUT, EXCHANGE_TIMEOUT) => {}
                }
                visits.end(&visit);
                drop(permit); // the listener may accept one more
            });
        }
    }

    async fn converse(self: Arc<Self>, stream: Stream, visit: &Visit) {
        let admitted = tokio::time::timeout(HEAD_TIMEOUT, self.access.admit(stream)).await;
        let Ok(Some((stream, known))) = admitted else { return };
        let drains = AtomicBool::new(false);
        let service = service_fn(|request| {
            let (this, drains) = (Arc::clone(&self), &drains);
            async move {
                let mut response = this.answer(request, known, visit).await;
                if response.extensions().get::<Endless>().is_some() {
                    visit.is_endless();
                }
                if response.extensions_mut().remove::<Drains>().is_some() {
                    drains.store(true, Ordering::Relaxed);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        // A probe that kept its connection would go on asking a process that has handed over.
        builder.keep_alive(false);
        let _ = builder.serve_connection(TokioIo::new(Impatient::new(stream)), service).await;
        // Not before: the process may end at once, and the answer with it.
        if drains.load(Ordering::Relaxed) {
            let _ = self.drain.try_send(()); // one is enough
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        known: access::Known,
        visit: &Visit,
    ) -> Response<Body> {
        let id = self.ids.assign(request.headers());
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let wanted = wasmux_mux::Request {
            method: request.method().as_str(),
            host: host.unwrap_or_default(),
            path: request.uri().path(),
            query: request.uri().query(),
        };
        let (page, values) = match self.mux.find(&wanted) {
            Found::Match(found) => {
                let text = |value: std::borrow::Cow<'_, [u8]>| String::from_utf8_lossy(&value).into_owned();
                (*found.value(), found.values().map(|(_, value)| text(value)).collect::<Vec<_>>())
            }
            Found::Redirect(redirect) => return rescue::redirect(redirect.location(), request.method(), &id),
            Found::MethodNotAllowed(allow) => return rescue::method_not_allowed(&allow.to_string(), &id),
            Found::NotFound => return rescue::not_found(&id),
            Found::BadRequest => return rescue::bad_request(&id),
        };
        let needs = match page {
            Page::Live | Page::Ready | Page::Dashboard | Page::Home => None,
            Page::Metrics | Page::Profiles => Some(access::Right::Read),
            Page::Api(operation) => Some(operation.needs()),
        };
        if let Some(needs) = needs
            && let Err(refusal) = self.access.check(needs, known, request.headers())
        {
            // Who is still sending may never see an answer.
            upload::discard(request.into_body()).await;
            return api::refusal(refusal.status, &refusal.message);
        }
        if needs == Some(access::Right::Operate) {
            visit.has_right();
        }
        if let Page::Profiles = page {
            // They cost something, also when nobody looks at them.
            if access::is_of_another_site(request.headers()) {
                return api::refusal(StatusCode::FORBIDDEN, "another site's page has asked for this");
            }
            visit.takes_long();
        }
        self.page(page, values, request, &id).await
    }

    async fn page(
        &self,
        page: Page,
        values: Vec<String>,
        request: Request<Incoming>,
        id: &RequestId,
    ) -> Response<Body> {
        match page {
            Page::Live => rescue::well("ok", id),
            Page::Ready if self.draining.get() => rescue::draining(id),
            Page::Ready => rescue::well("ready", id),
            Page::Metrics => typed(metrics::CONTENT_TYPE, self.metrics.text()),
            Page::Profiles => self.profile(values.first().map_or("", String::as_str), &request).await,
            Page::Home => rescue::redirect("/dashboard", request.method(), id),
            Page::Dashboard => dashboard::response(),
            Page::Api(operation) => self.operate(operation, values, request).await,
        }
    }
}

fn typed(content_type: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(content));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
