//! The handler behind this one: `next` in routes.toml, what net/http's middleware gets as `next http.Handler`.

use std::io::{self, Read, Write as _};

use http::{HeaderMap, Method, StatusCode, header};
use wasmux_abi::Errno;

use crate::{
    BodyError, Error, Request, ResponseWriter, Result,
    exchange::{Exchange, Link},
    fields,
};

/// Calls the handler behind this one and answers as it does; a middleware's `next.ServeHTTP(w, r)`.
///
/// routes.toml names that handler: `next = "api"` in `[handlers.NAME]`. Headers that `w` has stay, unless the next
/// handler sets them too. The request goes on with what is left of its body, which cannot be read here any more. If
/// the next handler fails, its response is the error that a client would have got.
///
/// It has the shape of a handler, so what takes handlers takes it: `strip_prefix("/api", next)`.
///
/// ```
/// use wasmux_sdk::{HeaderValue, Recorder, Request, ResponseWriter, Result, StatusCode, error, next};
///
/// #[wasmux_sdk::handler]
/// fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     if r.header("x-api-key") != "secret" {
///         return error(w, "no key", StatusCode::UNAUTHORIZED);
///     }
///     w.headers_mut().insert("x-checked", HeaderValue::from_static("yes"));
///     next(w, r)
/// }
///
/// # use std::io::Write;
/// let api = |w: &mut ResponseWriter, _: &mut Request| Ok(w.write_all(b"data")?);
/// let response = Recorder::serve(serve_http, Request::get("/").header("x-api-key", "secret").next(api));
/// assert_eq!((response.text(), response.header("x-checked")), ("data", "yes"));
/// assert_eq!(Recorder::serve(serve_http, Request::get("/").next(api)).status(), 401);
/// ```
///
/// # Errors
/// `500` when there is no next handler (other hosts than wasmux have none), or it was called before; else what writing
/// the response fails with.
pub fn next(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    NextRequest::new(r).send()?.send_to(w)
}

/// A request for the handler behind this one, to be changed before it is sent.
pub struct NextRequest<'r> {
    request: &'r mut Request,
    method: Option<Method>,
    target: Option<String>,
    headers: Option<HeaderMap>,
}

impl<'r> NextRequest<'r> {
    /// The request as it was received, or as [`strip_prefix`](crate::strip_prefix) shows it.
    #[must_use]
    pub fn new(request: &'r mut Request) -> Self {
        let target = request.rewritten_target();
        Self { request, method: None, target, headers: None }
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Another target: an escaped path, with a query or without. The path values stay those of the matched pattern.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// The header fields, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers.get_or_insert_with(|| self.request.headers().clone())
    }

    /// Sends the request, with what is left of the body, and waits for the head of the response.
    ///
    /// # Errors
    /// `500` when there is no next handler, it was called before, the response was begun, or the target or a field is
    /// one that HTTP does not allow.
    pub fn send(self) -> Result<NextResponse> {
        let link = self.request.link.clone();
        let block = self.headers.as_ref().map(fields::to_block).unwrap_or_default();
        let method = self.method.as_ref().map_or("", Method::as_str);
        let target = self.target.as_deref().unwrap_or_default();
        link.next_send(method.as_bytes(), target.as_bytes(), &block).map_err(refused)?;
        let head = link.next_head().map_err(refused)?;
        let (status, block) = head.split_at_checked(4).unwrap_or_default();
        let status = <[u8; 4]>::try_from(status).map_or(0, u32::from_le_bytes);
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        Ok(NextResponse { link, status: status.unwrap_or_default(), headers: fields::parse(block) })
    }
}

fn refused(errno: Errno) -> Error {
    let text = match errno {
        Errno::State => {
            "the next handler cannot be called: there is none, it was called before, or the response was begun"
        }
        _ => "the next handler was not called: HTTP does not allow this target, or one of these fields",
    };
    Error::from(io::Error::other(text))
}

/// The response of the handler behind this one. Its body is read with [`std::io::Read`].
pub struct NextResponse {
    link: Link,
    status: StatusCode,
    headers: HeaderMap,
}

impl NextResponse {
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

    /// The header fields, to be changed before [`send_to`](Self::send_to).
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The trailer fields, once the body was read to its end; empty before.
    #[must_use]
    pub fn trailers(&self) -> HeaderMap {
        self.link.next_trailers().map(|block| fields::parse(&block)).unwrap_or_default()
    }

    /// Answers with this response, or what is left of it. Fields of it replace those of the same name in `w`, except for
    /// `Set-Cookie`, which adds up.
    ///
    /// # Errors
    /// What writing the response fails with; [`BodyError::Incomplete`] when this one breaks off.
    pub fn send_to(self, w: &mut ResponseWriter) -> Result<()> {
        let headers = w.headers_mut();
        for name in self.headers.keys().filter(|name| *name != header::SET_COOKIE) {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        w.write_header(self.status);
        w.forward(self)
    }
}

impl Read for NextResponse {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.link.next_read(into).map_err(|errno| BodyError::reading(errno).into())
    }
}

impl ResponseWriter {
    /// Sends the body and the trailers of `response`, without a detour through this module where that is possible.
    fn forward(&mut self, mut response: NextResponse) -> Result<()> {
        if let Some(link) = self.begin_forwarding()? {
            return match link.next_forward() {
                Ok(()) | Err(Errno::NoBody) => Ok(()),
                Err(Errno::Broken) => Err(BodyError::reading(Errno::Broken).into()),
                Err(errno) => Err(BodyError::writing(errno).into()),
            };
        }
        let mut chunk = [0; 4096];
        loop {
            let count = response.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            self.write_all(&chunk[..count])?;
        }
        for (name, value) in &response.trailers() {
            self.add_trailer(name.clone(), value.clone());
        }
        Ok(())
    }
}
