//! Says hello on the raw bindings of wasi:http 0.2, in the bytes that every server of the benchmark sends.
#![cfg(target_arch = "wasm32")]

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, response_out: ResponseOutparam) {
        let fields = [
            ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec()),
            ("content-length".to_owned(), b"14".to_vec()),
        ];
        let fields = Fields::from_list(&fields).expect("these fields are allowed");
        let response = OutgoingResponse::new(fields);
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(response_out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        stream.blocking_write_and_flush(b"Hello, World!\n").expect("the body is written");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body has the length that was said");
    }
}
