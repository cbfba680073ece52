//! `wasi:http/handler` for those who import it: the handler behind this one (`next` in routes.toml).

use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http_body::Body as _;
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request, Response};

use super::super::super::next::{Answer, Origin, detached};
use super::super::super::request_body::RequestBody;
use super::super::super::state::ComponentState;

/// The interface, at the version that wasmtime-wasi-http has; imports of other 0.3 versions find it too.
const HANDLER: &str = "wasi:http/handler@0.3.0";

type Answered<T> = wasmtime::Result<Result<T, ErrorCode>>;

pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    linker.instance(HANDLER)?.func_wrap_concurrent("handle", |accessor, (request,): (Resource<Request>,)| {
        Box::pin(async move { Ok((handle(accessor, request).await?,)) })
    })
}

async fn handle(
    accessor: &Accessor<ComponentState>,
    request: Resource<Request>,
) -> Answered<Resource<Response>> {
    let (taken, processed) = oneshot::channel::<()>();
    let begun = accessor
        .with(|mut store| begin(wasmtime::AsContextMut::as_context_mut(&mut store), request, processed))?;
    let answer = match begun {
        Ok(answer) => answer,
        Err(code) => return Ok(Err(code)),
    };
    let Some(response) = detached(answer).await else {
        return Ok(Err(internal("the handler behind this one gave no response")));
    };
    drop(taken);
    accessor.with(|mut store| {
        let state = store.data_mut();
        let (response, _) = Response::from_http(&mut state.hooks, response);
        Ok(Ok(state.table.push(response)?))
    })
}

/// Takes the guest's request, as one of ours, to the next handler. `processed` ends when that one has answered.
fn begin(
    mut store: StoreContextMut<'_, ComponentState>,
    request: Resource<Request>,
    processed: oneshot::Receiver<()>,
) -> Answered<Answer> {
    let origin = origin(&mut store)?;
    let state = store.data_mut();
    let mut request = state.table.delete(request)?;
    let (Some(next), Some(origin)) = (state.core.common.next.clone(), origin) else {
        return Ok(Err(internal(
            "it is not known whose request this is: call `handle` from the task that handles it",
        )));
    };
    complete_target(&mut request, &origin);
    let processed = async {
        let _ = processed.await;
        Ok(())
    };
    let (mut request, _) = match request.into_http(&mut store, processed) {
        Ok(request) => request,
        Err(error) => return error.downcast().map(Err),
    };
    // The fields may have had one before this was set.
    let authority = request.uri().authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    request.headers_mut().remove(HOST);
    request.headers_mut().extend(authority.map(|authority| (HOST, authority)));
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    let declared = if request.body().is_end_stream() { Some(0) } else { declared };
    let request = origin.request(request.map(|body| RequestBody::guest(body, declared)));
    Ok(Ok(next.serve(request)))
}

/// Which request the call belongs to: the only one there is, or that of the task that makes the call.
fn origin(store: &mut StoreContextMut<'_, ComponentState>) -> wasmtime::Result<Option<Origin>> {
    if let Some(origin) = &store.data().core.origin {
        return Ok(Some(origin.clone()));
    }
    let tasks: Vec<_> = store.async_call_stack()?.collect();
    let origins = &store.data().origins;
    let found = tasks.iter().find_map(|task| origins.iter().find(|(known, _)| known == task));
    Ok(found.map(|(_, origin)| origin.clone()))
}

/// A request that the guest has made itself may say less than ours do.
fn complete_target(request: &mut Request, origin: &Origin) {
    let from_field = request.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = request.authority.take().or(from_field);
    request.authority = authority.or_else(|| Authority::try_from(origin.authority()).ok());
    let scheme = if origin.scheme() == "https" { Scheme::HTTPS } else { Scheme::HTTP };
    request.scheme.get_or_insert(scheme);
    request.path_with_query.get_or_insert(PathAndQuery::from_static("/"));
}

fn internal(text: &str) -> ErrorCode {
    ErrorCode::InternalError(Some(text.to_owned()))
}
