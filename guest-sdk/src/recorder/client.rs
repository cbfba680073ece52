//! Calls under test: a function of the test answers instead of the network.

use std::{rc::Rc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use wasmux_abi::{CALL_STREAMED, Errno};

use super::world::WORLD;
use crate::{client::Options, fields};

/// Who answers calls.
#[derive(Clone)]
pub(crate) struct Upstream(pub(crate) Rc<dyn Fn(&Called) -> Reply>);

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upstream")
    }
}

/// A request that the handler under test has sent.
#[derive(Debug)]
pub struct Called {
    method: String,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Called {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The whole URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The header fields that the handler has set.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header; `""` when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// The response of a test to a call.
#[derive(Clone, Debug)]
pub struct Reply {
    head: Result<(StatusCode, HeaderMap), Errno>,
    body: Vec<u8>,
    breaks_off: bool,
}

impl Reply {
    /// A response with this status and no body.
    ///
    /// # Panics
    /// When it is no status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status is from 100 to 999");
        Self { head: Ok((status, HeaderMap::new())), body: Vec::new(), breaks_off: false }
    }

    /// 200 with this text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::status(200).header("content-type", "text/plain; charset=utf-8").body(text)
    }

    /// 200 with this as JSON.
    ///
    /// # Panics
    /// When it cannot be represented.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Self {
        let text = serde_json::to_vec(value).expect("the value can be represented as JSON");
        Self::status(200).header("content-type", "application/json").body(text)
    }

    /// No response: the call took too long.
    #[must_use]
    pub fn timeout() -> Self {
        Self { head: Err(Errno::Timeout), body: Vec::new(), breaks_off: false }
    }

    /// No response: the server cannot be reached.
    #[must_use]
    pub fn failure() -> Self {
        Self { head: Err(Errno::Failed), body: Vec::new(), breaks_off: false }
    }

    /// No response: the call was not granted.
    #[must_use]
    pub fn denied() -> Self {
        Self { head: Err(Errno::Denied), body: Vec::new(), breaks_off: false }
    }

    /// Adds a header field.
    ///
    /// # Panics
    /// When HTTP does not allow it.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok((_, headers)) = &mut self.head {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name that HTTP allows");
            headers.append(name, HeaderValue::from_str(value).expect("a header value that HTTP allows"));
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body breaks off at its end.
    #[must_use]
    pub fn broken_off(mut self) -> Self {
        self.breaks_off = true;
        self
    }
}

/// A call, answered when its request is complete.
pub(crate) struct Call {
    called: Called,
    reply: Option<Reply>,
    read: usize,
}

impl Call {
    pub(crate) fn send(
        method: &str,
        url: &str,
        block: &[u8],
        body: &[u8],
        options: &Options,
    ) -> Result<Self, Errno> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Errno::Invalid);
        }
        let called = Called {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: fields::parse(block),
            body: body.to_vec(),
        };
        let mut call = Self { called, reply: None, read: 0 };
        if options.flags & CALL_STREAMED == 0 {
            call.answer();
        }
        Ok(call)
    }

    fn answer(&mut self) {
        let upstream = WORLD.with_borrow(|world| world.upstream.clone());
        self.reply = Some(upstream.map_or_else(Reply::denied, |upstream| (upstream.0)(&self.called)));
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        if self.reply.is_some() {
            return Err(Errno::State);
        }
        self.called.body.extend_from_slice(data);
        Ok(())
    }

    pub(crate) fn finish(&mut self, _: &[u8]) -> Result<(), Errno> {
        if self.reply.is_some() {
            return Err(Errno::State);
        }
        self.answer();
        Ok(())
    }

    pub(crate) fn head(&mut self) -> Result<Vec<u8>, Errno> {
        let (status, headers) =
            self.reply.as_ref().ok_or(Errno::State)?.head.as_ref().map_err(|errno| *errno)?;
        let mut head = u32::from(status.as_u16()).to_le_bytes().to_vec();
        head.extend(fields::to_block(headers));
        Ok(head)
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let reply = self.reply.as_ref().ok_or(Errno::State)?;
        let rest = &reply.body[self.read..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        if count == 0 && !into.is_empty() && reply.breaks_off { Err(Errno::Broken) } else { Ok(count) }
    }

    pub(crate) fn trailers(&mut self) -> Result<Vec<u8>, Errno> {
        Ok(Vec::new())
    }

    pub(crate) fn error(&mut self) -> String {
        String::new()
    }
}

/// In a test all calls are answered at once.
pub(crate) fn wait(calls: &[&Call], timeout: Option<Duration>) -> Result<usize, Errno> {
    let ready = calls.iter().position(|call| call.reply.is_some());
    ready.ok_or(if timeout.is_some() { Errno::Timeout } else { Errno::State })
}
