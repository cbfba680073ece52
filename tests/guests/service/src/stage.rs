//! The script's stage on wasi:http 0.3.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use script::{Fields, Op, Stage, Told};
use wasip3::http::types::{self, ErrorCode, Request, Response, Scheme};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};
use wasip3::{http::client, wit_future, wit_stream};

type Trailers = Result<Option<types::Fields>, ErrorCode>;

/// Plays a script; the answer is there as soon as the script opens its response, and the rest goes on.
pub(crate) async fn answer(ops: Vec<Op>, request: Request) -> Response {
    let slot = Rc::new(RefCell::new(Slot::default()));
    let mut stage = OnInterface::new(request, Rc::clone(&slot));
    wasip3::spawn_local(async move { script::play(&ops, &mut stage).await });
    poll_fn(|cx| {
        let mut slot = slot.borrow_mut();
        slot.waiting = Some(cx.waker().clone());
        slot.response.take().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Where the response is left for who waits for it.
#[derive(Default)]
struct Slot {
    response: Option<Response>,
    waiting: Option<Waker>,
}

/// A request and its response.
struct OnInterface {
    told: Told,
    request: Option<Request>,
    slot: Rc<RefCell<Slot>>,
    incoming: Option<(StreamReader<u8>, FutureReader<Trailers>)>,
    outgoing: Option<(StreamWriter<u8>, FutureWriter<Trailers>)>,
    /// Of the request, once its body was read.
    trailers: Fields,
}

impl OnInterface {
    fn new(request: Request, slot: Rc<RefCell<Slot>>) -> Self {
        let told = told(&request);
        Self { told, request: Some(request), slot, incoming: None, outgoing: None, trailers: Fields::new() }
    }
}

fn told(request: &Request) -> Told {
    let method = match request.get_method() {
        types::Method::Other(name) => name,
        method => format!("{method:?}").split("::").last().unwrap_or_default().to_ascii_uppercase(),
    };
    let scheme = match request.get_scheme() {
        Some(Scheme::Http) => "http".to_owned(),
        Some(Scheme::Https) => "https".to_owned(),
        Some(Scheme::Other(name)) => name,
        None => String::new(),
    };
    Told {
        method,
        scheme,
        authority: request.get_authority().unwrap_or_default(),
        target: request.get_path_with_query().unwrap_or_default().into_bytes(),
        fields: request.get_headers().copy_all(),
    }
}

/// Fields of the interface; those that it does not take are left out.
fn fields(list: Fields) -> types::Fields {
    let fields = types::Fields::new();
    for (name, value) in list {
        if let Err(error) = fields.append(&name, &value) {
            eprintln!("the host refuses the field {name}: {error:?}");
        }
    }
    fields
}

impl Stage for OnInterface {
    fn told(&self) -> Told {
        self.told.clone()
    }

    /// 0.3 has no interim responses.
    async fn interim(&mut self, _: u16, _: Fields) {}

    async fn open(&mut self, status: u16, list: Fields) {
        let (writer, contents) = wit_stream::new();
        let (trailers, rest) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(fields(list), Some(contents), rest);
        if response.set_status_code(status).is_err() {
            eprintln!("the host refuses the status {status}");
        }
        self.outgoing = Some((writer, trailers));
        let mut slot = self.slot.borrow_mut();
        slot.response = Some(response);
        if let Some(waker) = slot.waiting.take() {
            waker.wake();
        }
    }

    async fn write(&mut self, data: &[u8]) {
        let Some((writer, _)) = &mut self.outgoing else { return };
        if !data.is_empty() && !writer.write_all(data.to_vec()).await.is_empty() {
            println!("write: closed");
        }
    }

    /// What is written is the host's as soon as it has read it.
    async fn flush(&mut self) {}

    async fn read(&mut self, len_max: usize) -> Result<Vec<u8>, String> {
        if let Some(request) = self.request.take() {
            let (_, done) = wit_future::new(|| Ok(()));
            self.incoming = Some(Request::consume_body(request, done));
        }
        let Some((reader, _)) = &mut self.incoming else { return Ok(Vec::new()) };
        loop {
            let (result, data) = reader.read(Vec::with_capacity(len_max)).await;
            match result {
                _ if !data.is_empty() => return Ok(data),
                StreamResult::Complete(_) => {}
                StreamResult::Dropped | StreamResult::Cancelled => break,
            }
        }
        // Whether that was the end or a failure, the trailers say.
        let Some((_, trailers)) = self.incoming.take() else { return Ok(Vec::new()) };
        match trailers.await {
            Ok(trailers) => {
                self.trailers = trailers.map(|fields| fields.copy_all()).unwrap_or_default();
                Ok(Vec::new())
            }
            Err(code) => Err(format!("{code:?}")),
        }
    }

    async fn request_trailers(&mut self) -> Fields {
        self.trailers.clone()
    }

    async fn fetch(&mut self, authority: &str) -> String {
        let (_, rest) = wit_future::new(|| Ok(None));
        let (request, _sent) = Request::new(types::Fields::new(), None, rest, None);
        let _ = request.set_path_with_query(Some("/"));
        let _ = request.set_scheme(Some(&Scheme::Http));
        let _ = request.set_authority(Some(authority));
        match client::send(request).await {
            Ok(response) => response.get_status_code().to_string(),
            Err(ErrorCode::HttpRequestDenied) => "denied".to_owned(),
            Err(other) => format!("{other:?}"),
        }
    }

    async fn finish(&mut self, trailers: Fields) {
        let Some((writer, rest)) = self.outgoing.take() else { return };
        drop(writer);
        let trailers = (!trailers.is_empty()).then(|| fields(trailers));
        let _ = rest.write(Ok(trailers)).await;
    }
}
