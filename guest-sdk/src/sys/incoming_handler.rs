//! The host as `wasi:http/incoming-handler` 0.2 has it: what ABI.md section 4 offers, made of the standard's calls.
//!
//! The guest has one thread, and each call that waits blocks it; the host suspends it there. Owns the resources of the
//! request and its response, and drops them in the order that the standard asks for: children first.

use std::{
    cell::{Cell, RefCell},
    io::Write as _,
    panic,
    rc::Rc,
    sync::Once,
};

use wasip2::{
    cli::environment::get_environment,
    clocks::monotonic_clock::{self, Instant},
    http::types::{ErrorCode, IncomingRequest, ResponseOutparam, http_error_code},
    io::streams::StreamError,
};
use wasmux_abi::Errno;

use crate::{
    Request, ResponseWriter, Result,
    buffer::Buffer,
    exchange::{self, Exchange, HEAD_INLINE_BYTES},
    fields::FieldBlock,
    logger, routes,
};

pub(crate) mod client;
pub(crate) mod config;
mod error_code;
mod fields;
mod incoming;
pub(crate) mod kv;
mod request;
mod response;
pub(crate) mod sql;

use request::Incoming;
use response::Outgoing;

/// Environment variable with the routes of this component, one a line. It replaces those that it was built with.
const ROUTES: &str = "WASMUX_ROUTES";

/// Handles the request that the host has called for. `built_in_routes` are used where the host gives none.
pub fn serve(
    handler: fn(&mut ResponseWriter, &mut Request) -> Result<()>,
    built_in_routes: Option<&str>,
    request: IncomingRequest,
    response: ResponseOutparam,
) {
    logger::install();
    // Not `std::env`: that remembers what it has seen first, and an instance may serve several requests.
    let environment = get_environment();
    let given_routes = environment.iter().find(|(name, _)| name == ROUTES).map(|(_, value)| value.as_str());
    let host = Host(Rc::new(State {
        outgoing: RefCell::new(Outgoing::Waiting(response)),
        incoming: RefCell::new(Incoming::new(request)),
        is_head: Cell::new(false),
        prepared: RefCell::new(None),
    }));
    CURRENT.set(Some(host.clone()));
    break_off_on_panic();
    let patterns = given_routes.or(built_in_routes).unwrap_or_default();
    match routes::mux(patterns, handler) {
        Some(mux) => exchange::run(&mux, &host),
        None => exchange::run(&handler, &host),
    }
    CURRENT.set(None);
    host.0.outgoing.borrow_mut().finish();
}

thread_local! {
    /// The exchange in progress.
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// A panic is a trap, and some hosts (`wasmtime serve` 48) take what was sent before a trap for a whole response. So it is
/// broken off before; one that has not begun is left to the host, which answers with a 500.
fn break_off_on_panic() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            report(info);
            CURRENT.with_borrow(|host| {
                let outgoing = host.as_ref().and_then(|host| host.0.outgoing.try_borrow_mut().ok());
                if let Some(mut outgoing) = outgoing.filter(|outgoing| !outgoing.is_waiting()) {
                    outgoing.break_off();
                }
            });
        }));
    });
}

/// A handle on one request and its response; [`Request`] and [`ResponseWriter`] have one each.
#[derive(Clone)]
pub(crate) struct Host(Rc<State>);

struct State {
    outgoing: RefCell<Outgoing>,
    incoming: RefCell<Incoming>,
    is_head: Cell<bool>,
    prepared: RefCell<Option<Prepared>>,
}

/// The answer for the case that time runs out.
struct Prepared {
    at: Instant,
    status: u16,
    fields: Vec<u8>,
    body: Vec<u8>,
}

impl Host {
    /// Waits for the request body as long as the prepared answer allows; gives that answer when it does not.
    ///
    /// Nobody interrupts a component. But a wait for the body is where most of them are late, and that is seen here.
    fn wait_in_time(&self) -> Result<(), Errno> {
        let prepared = self.0.prepared.borrow();
        let outgoing = &mut *self.0.outgoing.borrow_mut();
        let Some(prepared) = prepared.as_ref().filter(|_| outgoing.is_waiting()) else { return Ok(()) };
        if self.0.incoming.borrow_mut().wait_until(prepared.at) {
            return Ok(());
        }
        let _ = outgoing.respond(prepared.status, &prepared.fields, &prepared.body, self.0.is_head.get());
        *outgoing = Outgoing::Gone; // for the handler, there is nobody left to answer
        Err(Errno::Gone)
    }
}

impl Exchange for Host {
    fn request_head(&self, into: &mut Buffer<HEAD_INLINE_BYTES>) {
        let (head, is_head) = self.0.incoming.borrow_mut().head();
        self.0.is_head.set(is_head);
        *into.spill() = head;
    }

    fn request_read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        self.wait_in_time()?;
        self.0.incoming.borrow_mut().read(into)
    }

    fn request_trailers(&self) -> Result<Vec<u8>, Errno> {
        let list = self.0.incoming.borrow_mut().trailers()?;
        let mut block = FieldBlock::new();
        for (name, value) in list {
            block.push(name.to_ascii_lowercase().as_bytes(), &value);
        }
        Ok(block.finish().to_vec())
    }

    fn respond(&self, status: u16, fields: &[u8], body: &[u8]) -> Result<(), Errno> {
        self.0.outgoing.borrow_mut().respond(status, fields, body, self.0.is_head.get())
    }

    fn response_timeout(&self, ms: u32, status: u16, fields: &[u8], body: &[u8]) -> Result<(), Errno> {
        let prepare = || Prepared {
            at: monotonic_clock::now().saturating_add(u64::from(ms) * 1_000_000),
            status,
            fields: fields.to_vec(),
            body: body.to_vec(),
        };
        *self.0.prepared.borrow_mut() = (ms > 0).then(prepare);
        Ok(())
    }

    fn response_interim(&self, _status: u16, _fields: &[u8]) -> Result<(), Errno> {
        Ok(()) // left out, as any intermediary may: hosts trap where the standard has a call for it
    }

    fn response_start(&self, status: u16, fields: &[u8]) -> Result<(), Errno> {
        self.0.outgoing.borrow_mut().start(status, fields, self.0.is_head.get())
    }

    fn response_write(&self, data: &[u8]) -> Result<(), Errno> {
        self.0.outgoing.borrow_mut().write(data)
    }

    fn response_flush(&self) -> Result<(), Errno> {
        self.0.outgoing.borrow_mut().flush()
    }

    fn response_trailers(&self, fields: &[u8]) -> Result<(), Errno> {
        self.0.outgoing.borrow_mut().trailers(fields)
    }

    // wasi:http 0.2 has no word for a handler behind this one.

    fn next_send(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), Errno> {
        Err(Errno::State)
    }

    fn next_head(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::State)
    }

    fn next_read(&self, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::State)
    }

    fn next_trailers(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::State)
    }

    fn next_forward(&self) -> Result<(), Errno> {
        Err(Errno::State)
    }

    fn client_gone(&self) -> bool {
        self.0.outgoing.borrow_mut().client_gone()
    }

    fn break_off(&self) {
        self.0.outgoing.borrow_mut().break_off();
    }
}

/// What a failed stream means; `otherwise` when the host does not say, or says nothing that matters here.
fn errno_of(error: &StreamError, otherwise: Errno) -> Errno {
    let code = match error {
        StreamError::Closed => None,
        StreamError::LastOperationFailed(error) => http_error_code(error),
    };
    match code {
        Some(ErrorCode::HttpRequestBodySize(_) | ErrorCode::HttpResponseBodySize(_)) => Errno::Limit,
        _ => otherwise,
    }
}

/// The last level of ABI.md section 5 that is written, info: nobody can be asked for more.
const LOG_LEVEL_MAX: i32 = 3;

/// Whether a log line of this level is written.
pub(crate) fn log_enabled(level: i32) -> bool {
    level <= LOG_LEVEL_MAX
}

/// Writes a log line: errors and warnings to standard error, with their level, the others to standard output.
pub(crate) fn log(level: i32, text: &str) {
    let mut line = String::from(match level {
        1 => "error: ",
        2 => "warning: ",
        _ => "",
    });
    for c in text.chars() {
        // One record is one line, whatever a client has put into it.
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.push('\n');
    // There is no place to report that a line could not be written.
    let _ = match level {
        1 | 2 => std::io::stderr().write_all(line.as_bytes()),
        _ => std::io::stdout().write_all(line.as_bytes()),
    };
}
