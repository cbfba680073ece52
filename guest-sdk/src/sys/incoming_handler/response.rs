//! The response: in one piece, or as a stream.

use wasip2::{
    http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse, ResponseOutparam},
    io::streams::{OutputStream, StreamError},
};
use wasmux_abi::Errno;

use super::{errno_of, fields};

/// How far the response has come. Its head is set at most once.
pub(super) enum Outgoing {
    /// Nothing was said yet.
    Waiting(ResponseOutparam),
    Streaming(Streaming),
    /// The head was set, and there is no body: what is written is dropped, or refused where the status forbids it.
    Bodiless {
        refuses: bool,
    },
    Ended,
    /// There is nobody left to answer.
    Gone,
}

/// A body on its way.
pub(super) struct Streaming {
    stream: OutputStream, // before the body, whose child it is
    body: OutgoingBody,
    declared: Option<u64>,
    written: u64,
    failed: Option<Errno>,
}

impl Outgoing {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Gives a whole response, with its length.
    pub(super) fn respond(
        &mut self,
        status: u16,
        block: &[u8],
        body: &[u8],
        is_head: bool,
    ) -> Result<(), Errno> {
        let fields = fields::from_block(block)?;
        if !allows_body(status) && !body.is_empty() {
            return Err(Errno::NoBody);
        }
        if allows_body(status) && !is_head {
            // The standard has nobody else who would do it.
            let length = body.len().to_string().into_bytes();
            fields.set("content-length", &[length]).map_err(|_| Errno::Invalid)?;
        }
        self.set_head(status, fields, !is_head && !body.is_empty())?;
        if let Self::Streaming(streaming) = self {
            // A client that is gone is not told so here (ABI.md, `respond`).
            let _ = streaming.write(body);
        }
        self.finish();
        Ok(())
    }

    /// Sets the head of a streamed response.
    pub(super) fn start(&mut self, status: u16, block: &[u8], is_head: bool) -> Result<(), Errno> {
        self.set_head(status, fields::from_block(block)?, !is_head && allows_body(status))?;
        if let Self::Streaming(streaming) = self {
            streaming.declared = fields::content_length(block);
        }
        Ok(())
    }

    /// A response without a body never asks the host for one: a body that is shorter than the Content-Length, as that of
    /// an answer to HEAD is, would be taken for an error.
    fn set_head(&mut self, status: u16, fields: Fields, has_body: bool) -> Result<(), Errno> {
        let Self::Waiting(_) = self else {
            return Err(if let Self::Gone = self { Errno::Gone } else { Errno::State });
        };
        let response = OutgoingResponse::new(fields);
        response.set_status_code(status).map_err(|()| Errno::Invalid)?;
        let next = if has_body {
            let body = response.body().map_err(|()| Errno::State)?;
            let stream = body.write().map_err(|()| Errno::State)?;
            Self::Streaming(Streaming { stream, body, declared: None, written: 0, failed: None })
        } else {
            Self::Bodiless { refuses: !allows_body(status) }
        };
        if let Self::Waiting(out) = std::mem::replace(self, next) {
            ResponseOutparam::set(out, Ok(response));
        }
        Ok(())
    }

    /// Sends body bytes, all of them, waiting for the client where it is slower.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Streaming(streaming) => streaming.write(data),
            Self::Bodiless { refuses: true } => Err(Errno::NoBody),
            Self::Bodiless { refuses: false } => Ok(()),
            Self::Gone => Err(Errno::Gone),
            Self::Waiting(_) | Self::Ended => Err(Errno::State),
        }
    }

    /// Waits until the host has sent what was written.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        match self {
            Self::Streaming(streaming) => streaming.flush(),
            Self::Bodiless { .. } => Ok(()),
            Self::Gone => Err(Errno::Gone),
            Self::Waiting(_) | Self::Ended => Err(Errno::State),
        }
    }

    /// Ends the body with trailers.
    pub(super) fn trailers(&mut self, block: &[u8]) -> Result<(), Errno> {
        let trailers = fields::from_block(block)?;
        match std::mem::replace(self, Self::Ended) {
            Self::Streaming(streaming) => streaming.end(Some(trailers)),
            Self::Bodiless { .. } => {}
            other => {
                *self = other;
                return Err(Errno::State);
            }
        }
        Ok(())
    }

    /// Whether the client is known to have gone: nothing tells but the stream to it.
    pub(super) fn client_gone(&mut self) -> bool {
        match self {
            Self::Streaming(streaming) => streaming.room().is_err(),
            Self::Gone => true,
            _ => false,
        }
    }

    /// Ends the response; that of a handler which gave none is an error of the host's making.
    pub(super) fn finish(&mut self) {
        match std::mem::replace(self, Self::Ended) {
            Self::Streaming(streaming) => streaming.end(None),
            Self::Waiting(out) => refuse(out),
            _ => {}
        }
    }

    /// Breaks the response off. A body that is dropped before its end is no whole one, says the standard.
    pub(super) fn break_off(&mut self) {
        if let Self::Waiting(out) = std::mem::replace(self, Self::Ended) {
            refuse(out);
        }
    }
}

impl Streaming {
    fn write(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            let room = self.room()?;
            if room == 0 {
                self.stream.subscribe().block();
                continue;
            }
            let (now, later) = data.split_at(data.len().min(room));
            let sent = self.stream.write(now);
            self.keep(sent)?;
            self.written += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.failed.map_or(Ok(()), Err)?;
        let flushed = self.stream.blocking_flush();
        self.keep(flushed)
    }

    /// Bytes that the host takes now.
    fn room(&mut self) -> Result<usize, Errno> {
        self.failed.map_or(Ok(()), Err)?;
        let room = self.stream.check_write();
        Ok(usize::try_from(self.keep(room)?).unwrap_or(usize::MAX))
    }

    fn keep<T>(&mut self, result: Result<T, StreamError>) -> Result<T, Errno> {
        result.map_err(|error| *self.failed.insert(errno_of(&error, Errno::Gone)))
    }

    fn end(self, trailers: Option<Fields>) {
        let Self { stream, body, declared, written, failed } = self;
        drop(stream); // the body cannot end before its stream
        if failed.is_some() {
            return;
        }
        if let Some(declared) = declared.filter(|declared| *declared != written) {
            log::error!("the body has {written} bytes, and its Content-Length says {declared}: broken off");
            return;
        }
        if let Err(error) = OutgoingBody::finish(body, trailers) {
            log::debug!("the response did not end well: {error:?}");
        }
    }
}

/// Tells the host that there is no response.
fn refuse(out: ResponseOutparam) {
    let reason = "the handler gave no response".to_owned();
    ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some(reason))));
}

/// Whether responses with this status have a body (RFC 9110 section 6.4.1).
fn allows_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}
