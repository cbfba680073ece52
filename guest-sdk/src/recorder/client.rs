//! Calls under test: a function of the test answers instead of the network, and is asked again where redirects lead.

use std::{rc::Rc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use wasmux_abi::{CALL_STREAMED, Errno};

use super::world::WORLD;
use crate::{
    client::{
        Options,
        redirect::{Next, Trail},
        url::Url,
    },
    fields,
};

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

    /// The whole URL; behind a redirect, the one that it leads to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The header fields that the handler has set, and those that the user in a URL and redirects make.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header; `""` when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        fields::first(&self.headers, name)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn authorize(&mut self, url: &Url) {
        let credentials = url.credentials().and_then(|credentials| HeaderValue::try_from(credentials).ok());
        if let Some(credentials) = credentials {
            self.headers.entry(header::AUTHORIZATION).or_insert(credentials);
        }
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
    /// A response with this status and no body. One that redirects is followed, as the host does it.
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
        Self::none(Errno::Timeout)
    }

    /// No response: the server cannot be reached.
    #[must_use]
    pub fn failure() -> Self {
        Self::none(Errno::Failed)
    }

    /// No response: the call was not granted.
    #[must_use]
    pub fn denied() -> Self {
        Self::none(Errno::Denied)
    }

    /// No response: the handler calls too much, `outbound_concurrency` or `outbound_rate`.
    #[must_use]
    pub fn limit() -> Self {
        Self::none(Errno::Limit)
    }

    /// No response: the request cannot be sent as it is.
    #[must_use]
    pub fn invalid() -> Self {
        Self::none(Errno::Invalid)
    }

    fn none(errno: Errno) -> Self {
        Self { head: Err(errno), body: Vec::new(), breaks_off: false }
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
    options: Options,
    /// What redirects need; nothing where they are not followed.
    trail: Option<Trail>,
    reply: Option<Reply>,
    /// Why it has failed, where its kind does not say it.
    failure: String,
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
        let target = Url::parse(url).ok_or(Errno::Invalid)?;
        let mut called = Called {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: fields::parse(block),
            body: body.to_vec(),
        };
        // Credentials of a URL are for that one alone.
        let follows = options.redirects > 0;
        let trail = if follows { Trail::new(method, url, called.headers.clone()) } else { None };
        called.authorize(&target);
        let mut call =
            Self { called, options: *options, trail, reply: None, failure: String::new(), read: 0 };
        if options.flags & CALL_STREAMED == 0 {
            call.answer();
        }
        Ok(call)
    }

    fn answer(&mut self) {
        let reply = self.follow().unwrap_or_else(|failure| {
            self.failure = failure;
            Reply::failure()
        });
        self.reply = Some(reply);
    }

    /// The answer, of whoever the redirects lead to.
    fn follow(&mut self) -> Result<Reply, String> {
        let ask = |called: &Called| {
            let upstream = WORLD.with_borrow(|world| world.upstream.clone());
            upstream.map_or_else(Reply::denied, |upstream| (upstream.0)(called))
        };
        let mut reply = ask(&self.called);
        let Some(mut trail) = self.trail.take() else { return Ok(reply) };
        let mut left = self.options.redirects;
        while let Ok((status, headers)) = &reply.head {
            let location = headers.get("location").map(HeaderValue::as_bytes);
            let can_replay = self.options.flags & CALL_STREAMED == 0;
            let Next::Follow { has_body } = trail.next(status.as_u16(), location, can_replay)? else { break };
            if left == 0 {
                return Err(format!("stopped after {} redirects", self.options.redirects));
            }
            left -= 1;
            trail.method().clone_into(&mut self.called.method);
            self.called.url = trail.url().to_string();
            self.called.headers = trail.fields().clone();
            self.called.authorize(trail.url());
            if !has_body {
                self.called.body.clear();
            }
            reply = ask(&self.called);
        }
        Ok(reply)
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
        self.failure.clone()
    }
}

/// In a test all calls are answered at once.
pub(crate) fn wait(calls: &[&Call], timeout: Option<Duration>) -> Result<usize, Errno> {
    let ready = calls.iter().position(|call| call.reply.is_some());
    ready.ok_or(if timeout.is_some() { Errno::Timeout } else { Errno::State })
}
