//! The end of a response: in one piece where that is possible, with trailers, or with an error.

use std::io;

use super::{ResponseWriter, head::may_be_trailer};
use crate::{
    BodyError, Error,
    exchange::{Exchange, Link},
    fields::{self, FieldBlock},
};

/// Ending the response.
impl ResponseWriter {
    /// Finishes the response after a handler that returned `Ok`.
    pub(crate) fn finish(&mut self) {
        let ended = if let Some(error) = self.broken {
            Err(error)
        } else if !self.is_started && self.fits_in_one_piece() {
            self.respond()
        } else {
            self.end_stream()
        };
        match ended {
            Ok(()) => {}
            Err(BodyError::ClientGone) => log::debug!("the client has gone away"),
            Err(error) => self.fail(io::Error::from(error).into()),
        }
    }

    /// Starts a stream whose body comes from elsewhere, and says from where to send it; `None` if it has to pass here.
    pub(crate) fn begin_forwarding(&mut self) -> Result<Option<Link>, BodyError> {
        if self.held.is_some() || !self.buffer.as_slice().is_empty() || !self.trailers.is_empty() {
            return Ok(None);
        }
        let started = self.start(None);
        self.keep(started)?;
        // What is declared, the host holds the other handler to.
        self.written = self.fixed_head().declared_length().unwrap_or(self.written);
        Ok(Some(self.link.clone()))
    }

    /// Ends the response of a handler that returned an error: with that error's status if nothing was sent.
    pub(crate) fn fail(&mut self, error: Error) {
        if error.is_client_gone() {
            return log::debug!("the client has gone away");
        }
        // Only a 5xx is this program's fault; clients must not be able to fill the log with errors.
        let level = if error.status().is_server_error() { log::Level::Error } else { log::Level::Info };
        log::log!(level, "handler returned an error ({}): {error}", error.status().as_u16());
        if self.is_started {
            return self.link.break_off();
        }
        let mut text = String::from(error.message());
        text.push('\n');
        let mut block = FieldBlock::new();
        block.push(b"content-type", b"text/plain; charset=utf-8");
        block.push(b"x-content-type-options", b"nosniff");
        if self.is_last {
            block.push(b"connection", b"close");
        }
        let answered = self.link.respond(error.status().as_u16(), block.finish(), text.as_bytes());
        if answered.is_err() {
            self.link.break_off();
        }
    }

    /// Whether the whole response can be given to the host in one call, which then sets the `Content-Length`.
    fn fits_in_one_piece(&mut self) -> bool {
        let head = self.fixed_head();
        match head.declared_length() {
            // A body that is too short goes out as a stream, so that the host notices and breaks it off.
            Some(length) => length == self.written || self.is_head_request,
            None => head.allows_automatic_length(),
        }
    }

    fn respond(&mut self) -> Result<(), BodyError> {
        let head = self.fixed_head();
        let body = self.buffer.as_slice();
        if !self.trailers.is_empty() {
            log::warn!(
                "the trailers are left out: the body left in one piece; flush it, or add them before it"
            );
        }
        let content_type = self.guess_type(body);
        // HEAD promises the length that GET would have, if the handler wrote anything.
        let needs_length = self.is_head_request && head.declared_length().is_none() && !body.is_empty();
        let length = needs_length.then_some(body.len() as u64);
        let mut block = self.head_block(head, content_type, length);
        let given = self.link.respond(head.status.as_u16(), block.finish(), body);
        self.keep(given)
    }

    fn end_stream(&mut self) -> Result<(), BodyError> {
        self.send_buffer()?;
        let started = self.start(None);
        self.keep(started)?;
        let mut trailers = self.trailer_block();
        if trailers.is_empty() {
            return Ok(());
        }
        let ended = self.link.response_trailers(trailers.finish());
        self.keep(ended)
    }

    /// The headers that the `Trailer` header names, as they are now, and the trailers that were added.
    fn trailer_block(&self) -> FieldBlock {
        let mut block = FieldBlock::new();
        fields::visit(&self.headers, &mut |name, value| {
            if self.announces(name) && may_be_trailer(name) {
                block.push(name, value);
            }
        });
        fields::visit(&self.trailers, &mut |name, value| {
            if may_be_trailer(name) {
                block.push(name, value);
            }
        });
        block
    }

    /// Whether the `Trailer` header that was sent names this field.
    fn announces(&self, field: &[u8]) -> bool {
        let mut is_named = false;
        if self.head.is_some_and(|head| head.announces_trailers()) {
            fields::visit(self.snapshot.as_ref().unwrap_or(&self.headers), &mut |name, list| {
                let mut names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                is_named |= name == b"trailer" && names.any(|each| each.eq_ignore_ascii_case(field));
            });
        }
        is_named
    }
}
