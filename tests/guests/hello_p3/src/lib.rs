//! Says hello on the raw bindings of wasi:http 0.3, in the bytes that every server of the benchmark sends.
#![cfg(target_arch = "wasm32")]

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(Hello);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let fields = [
            ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec()),
            ("content-length".to_owned(), b"14".to_vec()),
        ];
        let fields = Fields::from_list(&fields).expect("these fields are allowed");
        let (mut writer, reader) = wit_stream::new();
        // Dropped at once, it gives what the closure says: no trailers.
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(fields, Some(reader), trailers);
        spawn_local(async move {
            writer.write_all(b"Hello, World!\n".to_vec()).await;
        });
        Ok(response)
    }
}
