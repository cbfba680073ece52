//! The script's stage on wasi:http 0.2.

use script::{Fields, Stage, Told};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    self, ErrorCode, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// A request and its response.
pub(crate) struct OnInterface {
    request: IncomingRequest,
    out: Option<ResponseOutparam>,
    incoming: Option<(InputStream, IncomingBody)>,
    outgoing: Option<(OutputStream, OutgoingBody)>,
}

impl OnInterface {
    pub(crate) fn new(request: IncomingRequest, out: ResponseOutparam) -> Self {
        Self { request, out: Some(out), incoming: None, outgoing: None }
    }
}

/// Fields of the interface; those that it does not take are left out.
pub(crate) fn fields(list: Fields) -> types::Fields {
    let fields = types::Fields::new();
    for (name, value) in list {
        if let Err(error) = fields.append(&name, &value) {
            eprintln!("the host refuses the field {name}: {error:?}");
        }
    }
    fields
}

/// Writes all of it; stops where the host does not take it.
pub(crate) fn write_all(stream: &OutputStream, mut data: &[u8]) -> Result<(), StreamError> {
    while !data.is_empty() {
        let room = stream.check_write()?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (now, rest) = data.split_at(data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        stream.write(now)?;
        data = rest;
    }
    Ok(())
}

impl Stage for OnInterface {
    fn told(&self) -> Told {
        let method = match self.request.method() {
            types::Method::Other(name) => name,
            method => format!("{method:?}").split("::").last().unwrap_or_default().to_ascii_uppercase(),
        };
        let scheme = match self.request.scheme() {
            Some(Scheme::Http) => "http".to_owned(),
            Some(Scheme::Https) => "https".to_owned(),
            Some(Scheme::Other(name)) => name,
            None => String::new(),
        };
        Told {
            method,
            scheme,
            authority: self.request.authority().unwrap_or_default(),
            target: self.request.path_with_query().unwrap_or_default().into_bytes(),
            fields: self.request.headers().entries(),
        }
    }

    /// The bindings have no interim responses, which are unstable in 0.2.
    async fn interim(&mut self, _: u16, _: Fields) {}

    async fn open(&mut self, status: u16, list: Fields) {
        let Some(out) = self.out.take() else { return };
        let response = OutgoingResponse::new(fields(list));
        if response.set_status_code(status).is_err() {
            eprintln!("the host refuses the status {status}");
        }
        let body = response.body().expect("the first call");
        let stream = body.write().expect("the first call");
        ResponseOutparam::set(out, Ok(response));
        self.outgoing = Some((stream, body));
    }

    async fn write(&mut self, data: &[u8]) {
        let Some((stream, _)) = &self.outgoing else { return };
        if let Err(error) = write_all(stream, data) {
            println!("write: {}", shown(&error));
        }
    }

    async fn flush(&mut self) {
        let Some((stream, _)) = &self.outgoing else { return };
        if let Err(error) = stream.blocking_flush() {
            println!("flush: {}", shown(&error));
        }
    }

    async fn read(&mut self, len_max: usize) -> Result<Vec<u8>, String> {
        if self.incoming.is_none() {
            let Ok(body) = self.request.consume() else { return Ok(Vec::new()) };
            self.incoming = Some((body.stream().expect("the first call"), body));
        }
        let Some((stream, _)) = &self.incoming else { return Ok(Vec::new()) };
        loop {
            match stream.blocking_read(len_max as u64) {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(data),
                Err(StreamError::Closed) => return Ok(Vec::new()),
                Err(error) => return Err(shown(&error)),
            }
        }
    }

    async fn request_trailers(&mut self) -> Fields {
        let Some((stream, body)) = self.incoming.take() else { return Fields::new() };
        drop(stream);
        let trailers = IncomingBody::finish(body);
        trailers.subscribe().block();
        match trailers.get() {
            Some(Ok(Ok(Some(fields)))) => fields.entries(),
            Some(Ok(Ok(None))) => Fields::new(),
            other => vec![("error".to_owned(), format!("{other:?}").into_bytes())],
        }
    }

    async fn fetch(&mut self, authority: &str) -> String {
        let outcome = fetch(authority);
        outcome.map_or_else(
            |error| match error {
                ErrorCode::HttpRequestDenied => "denied".to_owned(),
                other => format!("{other:?}"),
            },
            |status| status.to_string(),
        )
    }

    async fn finish(&mut self, trailers: Fields) {
        let Some((stream, body)) = self.outgoing.take() else { return };
        drop(stream);
        let trailers = (!trailers.is_empty()).then(|| fields(trailers));
        if let Err(error) = OutgoingBody::finish(body, trailers) {
            println!("finish: {error:?}");
        }
    }
}

fn fetch(authority: &str) -> Result<u16, ErrorCode> {
    let request = OutgoingRequest::new(types::Fields::new());
    request.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_path_with_query(Some("/")).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let sent = outgoing_handler::handle(request, None)?;
    sent.subscribe().block();
    match sent.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(error))) => Err(error),
        _ => Err(ErrorCode::InternalError(None)),
    }
}

/// An error of a stream, with the code behind it if there is one.
pub(crate) fn shown(error: &StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => match types::http_error_code(error) {
            Some(code) => format!("failed: {code:?}"),
            None => format!("failed: {}", error.to_debug_string()),
        },
    }
}
