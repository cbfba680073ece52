//! Calls from one handler to another one of the same deployment: `http://NAME.handler/path`, without a socket.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use http_body::Body as _;
use wasmtime_wasi_http::WasiBody;

use super::super::exchange::{Incoming, Peer, RouteInfo};
use super::super::next::{Answer, Next};
use super::super::request_body::RequestBody;
use crate::activity::Activity;
use crate::drain::Guard;
use crate::notes::Notes;
use crate::request_id::{RequestId, RequestIds};
use crate::trace::Scope;

/// How deep calls between handlers may be nested: more is a loop.
pub(super) const DEPTH_MAX: u32 = 8;

/// The handlers of one deployment, for those among them that call others. It does not keep them: they may call one another.
#[derive(Debug, Default)]
pub struct Directory {
    handlers: OnceLock<BTreeMap<String, Weak<dyn Next>>>,
    /// For calls of which nobody knows for which request they are made.
    ids: RequestIds,
}

impl Directory {
    /// Makes the handlers known, once, when all of them are there.
    pub fn fill(&self, handlers: impl IntoIterator<Item = (String, Weak<dyn Next>)>) {
        let by_host = handlers.into_iter().map(|(name, handler)| (name.to_ascii_lowercase(), handler));
        let _ = self.handlers.set(by_host.collect());
    }

    /// The handler of this name, which is in lower case; none when there is none, or its deployment is gone.
    pub(super) fn find(&self, name: &str) -> Option<Arc<dyn Next>> {
        self.handlers.get()?.get(name)?.upgrade()
    }
}

/// Who has called whom on the way to a request; nothing when it has come from a client.
#[derive(Debug)]
pub struct Via {
    caller: Arc<str>,
    depth: u32,
    before: Option<Arc<Via>>,
}

impl Via {
    fn behind(before: Option<&Arc<Self>>, caller: &Arc<str>) -> Self {
        let depth = before.map_or(0, |before| before.depth) + 1;
        Self { caller: Arc::clone(caller), depth, before: before.cloned() }
    }

    /// Whether a request that has come this way was sent around in a circle.
    pub(super) fn is_loop(this: Option<&Arc<Self>>) -> bool {
        this.is_some_and(|via| via.depth >= DEPTH_MAX)
    }

    /// The callers, first one first.
    pub(super) fn names(&self) -> String {
        let all = std::iter::successors(Some(self), |via| via.before.as_deref());
        let mut names: Vec<_> = all.map(|via| &*via.caller).collect();
        names.reverse();
        names.join(" → ")
    }
}

/// What a call keeps of the request that it is made for.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Cause {
    pub(in super::super) via: Option<Arc<Via>>,
    pub(in super::super) id: Option<RequestId>,
    pub(in super::super) guard: Option<Guard>,
    /// What is noted of it, and where calls are in its trace.
    notes: Option<Arc<Notes>>,
    pub(super) scope: Option<Scope>,
}

impl Cause {
    /// One of several requests that an instance has at the same time: whose call it is nobody knows, so the longest way
    /// counts for all.
    pub(in super::super) fn with(&self, request: &Incoming) -> Self {
        let depth = |via: &Option<Arc<Via>>| via.as_ref().map_or(0, |via| via.depth);
        let is_longer = depth(&request.via) > depth(&self.via);
        let via = if is_longer { request.via.clone() } else { self.via.clone() };
        Self { via, id: None, guard: request.peer.guard.clone(), notes: None, scope: None }
    }

    pub(in super::super) fn of(request: &Incoming) -> Self {
        let notes = request.notes.clone();
        let scope = notes.as_ref().and_then(|notes| Some(notes.trace()?.scope(&request.parts.headers)));
        let (via, guard) = (request.via.clone(), request.peer.guard.clone());
        Self { via, id: Some(request.id.clone()), guard, notes, scope }
    }
}

/// Has another handler answer.
pub(super) fn call(
    directory: &Directory,
    callee: &dyn Next,
    caller: &Arc<str>,
    cause: &Cause,
    request: Request<WasiBody>,
) -> Answer {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
    let target = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    parts.uri = Uri::from(target);
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    let declared = if body.is_end_stream() { Some(0) } else { declared };
    let id = cause.id.clone().unwrap_or_else(|| directory.ids.assign(&HeaderMap::new()));
    let peer = Peer {
        remote: format!("handler:{caller}"),
        local: authority.clone(),
        scheme: "http",
        tls: None,
        guard: cause.guard.clone(),
        stall: None,
        link: None,
        activity: Activity::new(),
    };
    callee.serve(Incoming {
        parts: Box::new(parts),
        authority,
        body: RequestBody::guest(body, declared),
        route: Arc::<RouteInfo>::default(),
        values: Vec::new(),
        id,
        peer: Arc::new(peer),
        via: Some(Arc::new(Via::behind(cause.via.as_ref(), caller))),
        notes: cause.notes.clone(),
    })
}
