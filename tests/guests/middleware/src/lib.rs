//! A wasi:http 0.3 middleware: calls the handler behind it, for tests of the server.
#![cfg(target_family = "wasm")] // natively there is nothing to export to
#![expect(unsafe_code, reason = "an import by hand")]

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

mod bindings;

wasip3::http::service::export!(Middleware);

struct Middleware;

impl wasip3::exports::http::handler::Guest for Middleware {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let has = |word: &str| path.contains(word);
        if has("outer=answer") {
            return Ok(answer("the outer one\n"));
        }
        let request = if has("outer=anew") { anew(&path) } else { changed(request, &path) };
        let response = bindings::handle(request).await?;
        let headers = response.get_headers().clone();
        headers.append("x-outer", b"response").expect("a field");
        let status = response.get_status_code();
        let (_, processed) = wit_future::new(|| Ok(()));
        let (contents, end) = Response::consume_body(response, processed);
        let (response, _) = Response::new(headers, Some(contents), end);
        response.set_status_code(status).expect("it was one");
        Ok(response)
    }
}

/// The same request with a field more, and perhaps another path.
fn changed(request: Request, path: &str) -> Request {
    let headers = request.get_headers().clone();
    headers.append("x-outer", b"request").expect("a field");
    let (method, scheme, authority) = (request.get_method(), request.get_scheme(), request.get_authority());
    let (_, processed) = wit_future::new(|| Ok(()));
    let (contents, end) = Request::consume_body(request, processed);
    let (request, _) = Request::new(headers, Some(contents), end, None);
    request.set_method(&method).expect("it was one");
    request.set_scheme(scheme.as_ref()).expect("it was one");
    request.set_authority(authority.as_deref()).expect("it was one");
    let path = path.replace("/before", "/after");
    request.set_path_with_query(Some(&path)).expect("it was one");
    request
}

/// A request of its own, which says as little as it may.
fn anew(path: &str) -> Request {
    let (_, end) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, end, None);
    if path.contains("authority=") {
        request.set_authority(Some("inner.test")).expect("a name");
    }
    request.set_path_with_query(Some("/anew?do=info")).expect("a path");
    request
}

fn answer(text: &str) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (_, end) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), end);
    let text = text.as_bytes().to_vec();
    spawn_local(async move { drop(writer.write_all(text).await) });
    response
}
