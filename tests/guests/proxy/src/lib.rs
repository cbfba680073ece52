//! A raw wasi:http 0.2 component that does what the query tells it, misuse included: for tests of the server.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Proxy);

struct Proxy;

impl wasip2::exports::http::incoming_handler::Guest for Proxy {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first call");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first call");
        stream.blocking_write_and_flush(b"Hello, 0.2!\n").expect("room");
        drop(stream);
        OutgoingBody::finish(body, None).expect("complete");
    }
}
