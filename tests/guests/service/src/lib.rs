//! A raw wasi:http 0.3 component that does what the query tells it, misuse included: for tests of the server.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

mod stage;

use wasip3::http::types::{ErrorCode, Request, Response};

wasip3::http::service::export!(Service);

struct Service;

impl wasip3::exports::http::handler::Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let ops = script::parse(query.as_bytes()).unwrap_or_default();
        Ok(stage::answer(ops, request).await)
    }
}
