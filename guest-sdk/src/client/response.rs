//! [`Response`]: what a call was answered with.

use std::{fmt, io::Read as _};

use http::{HeaderMap, StatusCode};

use super::{CallError, CallErrorKind, host};
use crate::fields;

/// A response to a call; `http.Response`. Its body is read with [`std::io::Read`], or as a whole; dropping it ends the call.
pub struct Response {
    call: host::Call,
    /// Method and URL, for errors.
    name: String,
    status: StatusCode,
    headers: HeaderMap,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("headers", &self.headers).finish()
    }
}

impl Response {
    pub(super) fn new(mut call: host::Call, name: String) -> Result<Self, CallError> {
        let head = call.head().map_err(|errno| CallError::of(errno).with(call.error()).about(&name))?;
        let (status, block) = head.split_at_checked(4).unwrap_or_default();
        let status = <[u8; 4]>::try_from(status).map_or(0, u32::from_le_bytes);
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        Ok(Self { call, name, status: status.unwrap_or_default(), headers: fields::parse(block) })
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header; `""` when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        fields::first(&self.headers, name)
    }

    pub(super) fn read_piece(&mut self, into: &mut [u8]) -> Result<usize, CallError> {
        let read = self.call.read(into);
        read.map_err(|errno| CallError::of(errno).with(self.call.error()).about(&self.name))
    }

    /// All of the body; `io.ReadAll`. What of it fits into the handler's `memory` is the limit: read it piece by piece where it may be
    /// large.
    ///
    /// # Errors
    /// When it breaks off.
    pub fn bytes(mut self) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        let read = self.read_to_end(&mut body);
        let broken = |error: std::io::Error| match error.downcast::<CallError>() {
            Ok(error) => error,
            Err(error) => CallError::new(CallErrorKind::Broken, error.to_string()).about(&self.name),
        };
        read.map_err(broken)?;
        Ok(body)
    }

    /// All of the body as text; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// When it breaks off.
    pub fn text(self) -> Result<String, CallError> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// All of the body, read as JSON.
    ///
    /// # Errors
    /// When it breaks off, or is not a `T`: then the response is [`CallErrorKind::Broken`].
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(mut self) -> Result<T, CallError> {
        let name = std::mem::take(&mut self.name);
        let body = self.bytes().map_err(|error| error.about(&name))?;
        serde_json::from_slice(&body).map_err(|error| {
            CallError::new(
                CallErrorKind::Broken,
                format!("the response is not the JSON that was expected: {error}"),
            )
            .about(&name)
        })
    }

    /// The trailer fields, once the body was read to its end; empty before.
    #[must_use]
    pub fn trailers(&mut self) -> HeaderMap {
        self.call.trailers().map(|block| fields::parse(&block)).unwrap_or_default()
    }
}
