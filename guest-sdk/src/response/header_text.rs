//! Response headers given as text, forgiving as net/http is: for values that come from elsewhere.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

use crate::ResponseWriter;

/// Headers from text.
impl ResponseWriter {
    /// Sets a header to one value; `w.Header().Set(name, value)`.
    ///
    /// Nothing here fails, so that text from elsewhere can be passed on: a name that is no token is left out, and
    /// what no value may hold (a line break could begin a header of its own) becomes a space. A name behind
    /// `Trailer:` is a trailer, as with net/http's `TrailerPrefix`: see [`add_trailer`](Self::add_trailer).
    ///
    /// ```
    /// # use wasmux_sdk::{Recorder, Request, ResponseWriter};
    /// let response = Recorder::serve(
    ///     |w: &mut ResponseWriter, _: &mut Request| {
    ///         w.set_header("X-Title", "one\r\nSet-Cookie: two");
    ///         w.set_header("not a name", "dropped");
    ///         Ok(())
    ///     },
    ///     Request::get("/"),
    /// );
    /// assert_eq!(response.header("x-title"), "one  Set-Cookie: two");
    /// assert_eq!(response.headers().len(), 2); // the other one is Content-Length
    /// ```
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.put_header(name, value.as_ref(), true);
    }

    /// Adds a value to a header; `w.Header().Add(name, value)`. Otherwise as [`set_header`](Self::set_header).
    pub fn add_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.put_header(name, value.as_ref(), false);
    }

    fn put_header(&mut self, name: &str, value: &[u8], replace: bool) {
        let (name, is_trailer) = match name.split_at_checked(TRAILER_PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(TRAILER_PREFIX) => (rest, true),
            _ => (name, false),
        };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return };
        let Ok(value) = HeaderValue::from_bytes(&clean(value)) else { return };
        match (is_trailer, replace) {
            (true, true) => self.set_trailer(name, value),
            (true, false) => self.add_trailer(name, value),
            (false, true) => {
                self.headers_mut().insert(name, value);
            }
            (false, false) => {
                self.headers_mut().append(name, value);
            }
        }
    }
}

/// net/http's `TrailerPrefix`.
const TRAILER_PREFIX: &str = "Trailer:";

/// The value with spaces for what no value may hold (RFC 9110 section 5.5), and none at its ends.
fn clean(value: &[u8]) -> Cow<'_, [u8]> {
    let is_allowed = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
    if value.iter().all(|&byte| is_allowed(byte)) {
        return Cow::Borrowed(value.trim_ascii());
    }
    let spaced: Vec<u8> = value.iter().map(|&byte| if is_allowed(byte) { byte } else { b' ' }).collect();
    Cow::Owned(spaced.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_no_control_bytes() {
        let table: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b" a\tb ", b"a\tb"),
            (b"a\r\nb", b"a  b"),
            (b"\0a\x7f", b"a"),
            (b"\r\n", b""),
            (b"\xff\xe9", b"\xff\xe9"),
            (b"a\x1fb", b"a b"),
        ];
        for (value, want) in table {
            assert_eq!(&*clean(value), want, "{value:?}");
        }
    }
}
