//! Calls as `wasi:http/outgoing-handler` 0.2 has them.

use std::time::Duration;

use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, RequestOptions, Scheme,
        },
    },
    io::{
        poll::poll,
        streams::{InputStream, OutputStream, StreamError},
    },
};
use wasmux_abi::{CALL_STREAMED, Errno};

use super::errno_of;
use crate::{client::Options, fields::FieldBlock};

/// What the standard lets one write at a time, in bytes.
const WRITE_BYTES: usize = 4096;

/// A call. What is inside others comes before them: it is dropped first.
pub(crate) struct Call {
    upload: Option<(OutputStream, OutgoingBody)>,
    body: Option<(InputStream, IncomingBody)>,
    response: Option<IncomingResponse>,
    future: FutureIncomingResponse,
    trailers: Vec<u8>,
    failure: Option<ErrorCode>,
}

fn invalid<E>(_: E) -> Errno {
    Errno::Invalid
}

/// Scheme, authority and the rest of an absolute URL.
fn split(url: &str) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    Some((scheme, authority, target.split('#').next().unwrap_or_default()))
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn options_of(options: &Options) -> Option<RequestOptions> {
    let made = RequestOptions::new();
    let nanos = |ms: u32| (ms > 0).then_some(u64::from(ms) * 1_000_000);
    // The standard has no limit for all of it; the head, which is most of the waiting, comes in time at least.
    let first = options.first_byte_timeout_ms;
    let first = if first == 0 { options.timeout_ms } else { first };
    made.set_connect_timeout(nanos(options.connect_timeout_ms)).ok()?;
    made.set_first_byte_timeout(nanos(first)).ok()?;
    made.set_between_bytes_timeout(nanos(options.between_bytes_timeout_ms)).ok()?;
    Some(made)
}

impl Call {
    pub(crate) fn send(
        method: &str,
        url: &str,
        block: &[u8],
        body: &[u8],
        options: &Options,
    ) -> Result<Self, Errno> {
        let (scheme, authority, target) = split(url).ok_or(Errno::Invalid)?;
        let pairs = wasmux_abi::fields(block).map_err(invalid)?;
        let mut entries: Vec<_> =
            pairs.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect();
        if !body.is_empty() && options.flags & CALL_STREAMED == 0 {
            entries.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        }
        let request = OutgoingRequest::new(Fields::from_list(&entries).map_err(invalid)?);
        request.set_method(&method_of(method)).map_err(invalid)?;
        request.set_scheme(Some(&scheme)).map_err(invalid)?;
        request.set_authority(Some(authority)).map_err(invalid)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        request.set_path_with_query(Some(&target)).map_err(invalid)?;
        let outgoing = request.body().map_err(invalid)?;
        let stream = outgoing.write().map_err(invalid)?;
        let future = outgoing_handler::handle(request, options_of(options)).map_err(|code| errno(&code))?;
        let upload = Some((stream, outgoing));
        let mut call =
            Self { upload, body: None, response: None, future, trailers: Vec::new(), failure: None };
        // What it fails with, the response says better.
        let _ = call.write(body);
        if options.flags & CALL_STREAMED == 0 {
            let _ = call.finish(&[]);
        }
        Ok(call)
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        let Some((stream, _)) = &self.upload else { return Err(Errno::State) };
        for piece in data.chunks(WRITE_BYTES) {
            stream.blocking_write_and_flush(piece).map_err(|_| Errno::Gone)?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, block: &[u8]) -> Result<(), Errno> {
        let (stream, body) = self.upload.take().ok_or(Errno::State)?;
        drop(stream);
        let pairs = wasmux_abi::fields(block).map_err(invalid)?;
        let entries: Vec<_> =
            pairs.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect();
        let trailers =
            if entries.is_empty() { None } else { Some(Fields::from_list(&entries).map_err(invalid)?) };
        OutgoingBody::finish(body, trailers).map_err(|_| Errno::Gone)
    }

    /// Takes the response, once the future is ready.
    fn take(&mut self) -> Result<&IncomingResponse, Errno> {
        if let Some(code) = &self.failure {
            return Err(errno(code));
        }
        if self.response.is_none() {
            match self.future.get() {
                None => return Err(Errno::State),
                Some(Ok(Ok(response))) => self.response = Some(response),
                Some(Ok(Err(code))) => return Err(errno(self.failure.insert(code))),
                Some(Err(())) => return Err(Errno::State),
            }
        }
        self.response.as_ref().ok_or(Errno::State)
    }

    pub(crate) fn head(&mut self) -> Result<Vec<u8>, Errno> {
        let response = self.take()?;
        let mut head = u32::from(response.status()).to_le_bytes().to_vec();
        let mut block = FieldBlock::new();
        response.headers().entries().iter().for_each(|(name, value)| block.push(name.as_bytes(), value));
        head.extend_from_slice(block.finish());
        if self.body.is_none() {
            let body = self.take()?.consume().map_err(|()| Errno::State)?;
            let stream = body.stream().map_err(|()| Errno::State)?;
            self.body = Some((stream, body));
        }
        Ok(head)
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let Some((stream, _)) = &self.body else { return Ok(0) };
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match stream.blocking_read(into.len() as u64) {
                Ok(bytes) if bytes.is_empty() => {} // woken too early
                Ok(bytes) => {
                    let count = bytes.len().min(into.len());
                    into[..count].copy_from_slice(&bytes[..count]);
                    return Ok(count);
                }
                Err(StreamError::Closed) => {
                    self.end();
                    return Ok(0);
                }
                Err(error) => return Err(errno_of(&error, Errno::Broken)),
            }
        }
    }

    fn end(&mut self) {
        let Some((stream, body)) = self.body.take() else { return };
        drop(stream); // the body cannot end before its stream
        let future = IncomingBody::finish(body);
        future.subscribe().block();
        if let Some(Ok(Ok(Some(fields)))) = future.get() {
            let mut block = FieldBlock::new();
            fields.entries().iter().for_each(|(name, value)| block.push(name.as_bytes(), value));
            self.trailers = block.finish().to_vec();
        }
    }

    pub(crate) fn trailers(&mut self) -> Result<Vec<u8>, Errno> {
        if self.body.is_some() { Err(Errno::State) } else { Ok(self.trailers.clone()) }
    }

    /// What the host says about its failure.
    pub(crate) fn error(&mut self) -> String {
        self.failure.as_ref().map(|code| format!("{code:?}")).unwrap_or_default()
    }
}

fn errno(code: &ErrorCode) -> Errno {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Errno::Denied,
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Errno::Timeout,
        ErrorCode::ConnectionLimitReached => Errno::Limit,
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => Errno::Invalid,
        _ => Errno::Failed,
    }
}

/// The index of the first that is ready.
pub(crate) fn wait(calls: &[&Call], timeout: Option<Duration>) -> Result<usize, Errno> {
    let mut pollables: Vec<_> = calls.iter().map(|call| call.future.subscribe()).collect();
    if let Some(timeout) = timeout {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        pollables.push(monotonic_clock::subscribe_duration(nanos));
    }
    let ready = poll(&pollables.iter().collect::<Vec<_>>());
    match ready.first() {
        Some(index) if (*index as usize) < calls.len() => Ok(*index as usize),
        _ => Err(Errno::Timeout),
    }
}
