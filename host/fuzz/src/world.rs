//! What guests are run in: an engine with few places, threads, requests, and what any response must be.
//!
//! Invariant: nothing in here waits for ever. What has not ended after [`ENDS_WITHIN`] is taken for a finding.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode, response};
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};
use wasmux::activity::Activity;
use wasmux::error::{Error, Kind, chain};
use wasmux::guest::artifact::LoadError;
use wasmux::guest::cache::CodeCache;
use wasmux::guest::{
    Artifact, EngineSettings, Guest, GuestEngine, GuestSettings, Incoming, Limits, Peer, RequestBody,
    RouteInfo,
};
use wasmux::request_id::RequestIds;

/// Far more than anything takes, on the slowest machine.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What guests have: enough to get somewhere, and no more time than the many that loop for ever are worth.
const GUEST_TIMEOUT: Duration = Duration::from_millis(30);

/// What those have that end by themselves: enough on the slowest machine.
pub(crate) const PATIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Memory of one guest, in bytes.
const GUEST_MEMORY_BYTES: u64 = 4 << 20;

/// The body of one response, in bytes.
const RESPONSE_BYTES_MAX: u64 = 4 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread plays inputs: its panics are its own business.
    static PLAYS: Cell<bool> = const { Cell::new(false) };
}

/// Counts the panics of all threads from the first call on, but not of those that ask; says how many there were. A panic
/// in a task of the host is no panic of the thread that waits for it.
pub(crate) fn panics() -> usize {
    static WATCH: Once = Once::new();
    PLAYS.set(true);
    WATCH.call_once(|| {
        let inner = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !PLAYS.get() {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            inner(panic);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

/// The threads that serve.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started")
});

/// Runs a future on the threads that serve.
///
/// # Panics
/// When it or anything else there does, or when it has not ended in time: then a thread hangs, or something waits for
/// what never happens.
pub(crate) fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let panics_before = panics();
    let (sender, receiver) = channel();
    RUNTIME.spawn(async move { sender.send(future.await) });
    let value = match receiver.recv_timeout(ENDS_WITHIN) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("not over after {ENDS_WITHIN:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("it panicked"),
    };
    assert_eq!(panics(), panics_before, "something in the host panicked");
    value
}

/// An engine with room for so many memories at a time.
pub(crate) fn engine(instances: u32) -> GuestEngine {
    GuestEngine::new(EngineSettings::with_instances(instances)).expect("there is address space")
}

/// Loads a module or component, binary or text, as the server does, but for the cache.
pub(crate) fn load(engine: &GuestEngine, wasm: &[u8]) -> Result<Artifact, LoadError> {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(wasm).expect("there is room in it");
    Artifact::load(engine, file.path(), &CodeCache::off())
}

/// What a handler has by default here. Without the breaker: these guests fail all the time.
pub(crate) fn settings(name: &str) -> GuestSettings {
    let limits = Limits {
        timeout: GUEST_TIMEOUT,
        memory_bytes_max: GUEST_MEMORY_BYTES,
        response_body_bytes_max: RESPONSE_BYTES_MAX,
        breaker: None,
        ..Limits::default()
    };
    GuestSettings { name: name.to_owned(), limits, ..GuestSettings::default() }
}

/// A guest whose code is known to be good.
pub(crate) fn sound_guest(engine: &GuestEngine, wasm: &[u8], settings: GuestSettings) -> Arc<Guest> {
    let guest = load(engine, wasm).and_then(|artifact| Guest::new(engine, &artifact, settings));
    match guest {
        Ok(guest) => Arc::new(guest),
        Err(error) => panic!("{error}\n{}", String::from_utf8_lossy(wasm)),
    }
}

/// A request as the server would hand it over.
pub(crate) fn incoming(request: Request<Bytes>) -> Incoming {
    let (parts, body) = request.into_parts();
    let id = RequestIds::new().assign(&parts.headers);
    let peer = Peer {
        remote: "192.0.2.1:1".to_owned(),
        local: "192.0.2.2:80".to_owned(),
        scheme: "http",
        tls: None,
        guard: None,
        stall: None,
        link: None,
        activity: Activity::new(),
    };
    let route = RouteInfo { pattern: "/{name}".to_owned(), names: vec!["name".to_owned()], number: 0 };
    Incoming {
        parts: Box::new(parts),
        authority: "example.com".to_owned(),
        body: RequestBody::full(body),
        route: Arc::new(route),
        values: vec![b"value".to_vec()],
        id,
        peer: Arc::new(peer),
        via: None,
        notes: None,
    }
}

/// How a client takes its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// To its end.
    Reads,
    /// It goes away when it has had so many frames of the body.
    LeavesAfter(usize),
}

/// A response as its client has got it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    pub(crate) body: Vec<u8>,
    /// How the body ended; `Ok` also if the client did not wait for that.
    pub(crate) end: Result<(), Error>,
}

/// One exchange. Whatever the guest does, the response is one that may be sent.
///
/// # Panics
/// When it is not, or when the error is the host's own.
pub(crate) fn exchange(guest: &Arc<Guest>, request: Request<Bytes>, client: Client) -> Result<Answer, Error> {
    let guest = Arc::clone(guest);
    let method = request.method().clone();
    let answer = run(async move {
        let (head, mut body) = guest.serve(incoming(request)).await?.into_parts();
        let (mut bytes, mut frames) = (Vec::new(), 0);
        let end = loop {
            if client == Client::LeavesAfter(frames) {
                break Ok(());
            }
            frames += 1;
            match body.frame().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            }
        };
        Ok(Answer { head, body: bytes, end })
    });
    match &answer {
        Ok(answer) => check_answer(&method, answer, client),
        Err(error) => check_error(error),
    }
    answer
}

fn check_error(error: &Error) {
    assert_ne!(error.kind(), Kind::Internal, "the host is at fault: {}", chain(error));
    assert!(!chain(error).is_empty());
}

fn check_answer(method: &Method, answer: &Answer, client: Client) {
    let Answer { head, body, end } = answer;
    assert!((200..1000).contains(&head.status.as_u16()), "{}", head.status);
    if let Err(error) = end {
        check_error(error);
    }
    for (name, value) in &head.headers {
        let connection = ["transfer-encoding", "te", "keep-alive", "proxy-connection", "upgrade"];
        assert!(!connection.contains(&name.as_str()), "{name} is the connection's");
        assert!(
            value.as_bytes().iter().all(|&byte| byte == b'\t' || (byte >= 32 && byte != 127)),
            "{value:?}"
        );
    }
    assert!(body.len() as u64 <= RESPONSE_BYTES_MAX, "{} bytes", body.len());
    let has_none =
        method == Method::HEAD || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    if has_none {
        assert!(body.is_empty() || method == Method::HEAD, "a body that must not be there");
        return;
    }
    let lengths: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
    assert!(lengths.len() <= 1, "{lengths:?}");
    if let Some(length) = lengths.first() {
        let text = length.to_str().expect("digits");
        let length: usize = text.parse().expect("a number");
        assert!(body.len() <= length, "{} of {length} bytes", body.len());
        if end.is_ok() && client == Client::Reads {
            assert_eq!(body.len(), length, "whole, and not as long as declared");
        }
    }
}
