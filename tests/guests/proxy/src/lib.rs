//! A raw wasi:http 0.2 component that does what the query tells it: `ops=` is a script, `fault=` a misuse of the
//! interface or worse. For tests of the server.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

mod fault;
mod hostile;
mod stage;

use std::pin::pin;
use std::task::{Context, Waker};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use self::stage::OnInterface;

wasip2::http::proxy::export!(Proxy);

struct Proxy;

impl wasip2::exports::http::incoming_handler::Guest for Proxy {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        if let Some(fault) = query.strip_prefix("fault=") {
            return match hostile::misbehave(fault, out) {
                Some(out) => fault::commit(fault, out),
                None => {}
            };
        }
        let ops = script::parse(query.as_bytes()).unwrap_or_default();
        let mut stage = OnInterface::new(request, out);
        // Everything in here blocks, so one poll is all it takes.
        let done = pin!(script::play(&ops, &mut stage)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(done.is_ready(), "a blocking function has waited");
    }
}
