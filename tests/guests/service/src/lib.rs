//! A raw wasi:http 0.3 component that does what the query tells it, misuse included: for tests of the server.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

use wasip3::http::types::{ErrorCode, Fields, Request, Response};

wasip3::http::service::export!(Service);

struct Service;

impl wasip3::exports::http::handler::Guest for Service {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let (mut writer, contents) = wasip3::wit_stream::new();
        let (trailers, rest) = wasip3::wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(contents), rest);
        wasip3::spawn_local(async move {
            writer.write_all(b"Hello, 0.3!\n".to_vec()).await;
            drop(writer);
            let _ = trailers.write(Ok(None)).await;
        });
        Ok(response)
    }
}
