//! [`Cookie`]: reading `Cookie` headers, writing and reading `Set-Cookie` ones.

use std::{fmt, net::Ipv4Addr, time::SystemTime};

use crate::{
    Error, Request, Result,
    dates::{http_date, parse_http_date},
};

/// Most cookies in one request; of more, none is returned, as by net/http.
const COOKIES_MAX: usize = 3000;

/// A cookie, as sent in `Cookie` (name and value) or `Set-Cookie` (everything); net/http's `Cookie`.
///
/// `to_string` writes a `Set-Cookie` value, or nothing at all when the name is not valid. Bytes that a value or path
/// may not hold are left out, a value with spaces or commas is quoted, a domain that is none is left out: each with
/// a line in the log.
///
/// ```
/// use std::time::Duration;
/// use wasmux_sdk::{Cookie, SameSite};
///
/// let cookie = Cookie {
///     path: "/".into(),
///     max_age: Some(3600),
///     http_only: true,
///     same_site: Some(SameSite::Lax),
///     ..Cookie::new("session", "a1b2")
/// };
/// assert_eq!(cookie.to_string(), "session=a1b2; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// The name, a token.
    pub name: String,
    /// The value, without the quotes it may have had.
    pub value: String,
    /// Whether the value was, or is to be, in quotes.
    pub quoted: bool,
    /// `Path`; empty for none.
    pub path: String,
    /// `Domain`, with or without a leading dot, which is not sent; empty for none.
    pub domain: String,
    /// `Expires`. Sent with the year 1970 at least, which browsers take as "delete" like any past date.
    pub expires: Option<SystemTime>,
    /// `Max-Age` in seconds; 0 and below delete the cookie and are sent as 0. `None` is Go's 0, "not given".
    pub max_age: Option<i64>,
    /// `Secure`: only over https.
    pub secure: bool,
    /// `HttpOnly`: not for scripts.
    pub http_only: bool,
    /// `SameSite`; `None` leaves it to the browser.
    pub same_site: Option<SameSite>,
    /// `Partitioned`: one for each top-level site.
    pub partitioned: bool,
}

/// When a browser sends a cookie with requests that come from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only when the user follows a link.
    Lax,
    /// Never.
    Strict,
    /// Always; browsers want `Secure` with it.
    None,
}

impl Cookie {
    /// A cookie with a name and a value and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), ..Self::default() }
    }

    /// Reads one `Cookie` header, and lets nothing pass that is not valid; `ParseCookie`. [`Request::cookies`] passes
    /// such things over.
    ///
    /// ```
    /// # use wasmux_sdk::Cookie;
    /// let cookies = Cookie::parse("session=a1b2; theme=\"dark\"")?;
    /// assert_eq!((cookies[0].value.as_str(), cookies[1].value.as_str()), ("a1b2", "dark"));
    /// assert!(Cookie::parse("session=a1b2; theme").is_err());
    /// # Ok::<(), wasmux_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// `400` when it is blank, when a pair has no `=`, an invalid name or an invalid value, and for more than 3000.
    pub fn parse(line: &str) -> Result<Vec<Self>> {
        let line = trim(line);
        if line.is_empty() {
            return Err(Error::bad_request("blank cookie"));
        }
        if line.split(';').count() > COOKIES_MAX {
            return Err(Error::bad_request("too many cookies"));
        }
        line.split(';').map(|pair| Self::parse_pair(trim(pair), |name| name)).collect()
    }

    /// Reads a name and a value.
    fn parse_pair(pair: &str, name_of: fn(&str) -> &str) -> Result<Self> {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Error::bad_request("'=' not found in cookie"))?;
        let name = name_of(name);
        if !is_token(name) {
            return Err(Error::bad_request("invalid cookie name"));
        }
        Self::with_raw_value(name, value).ok_or_else(|| Error::bad_request("invalid cookie value"))
    }

    /// Reads a `Set-Cookie` value; `ParseSetCookie`. Attributes that are unknown or not valid are passed over.
    ///
    /// # Errors
    /// `400` when there is no `name=value` or it is not valid.
    pub fn parse_set_cookie(line: &str) -> Result<Self> {
        let mut parts = line.split(';').map(trim);
        let pair = parts.next().unwrap_or_default();
        if pair.is_empty() && !line.contains(';') {
            return Err(Error::bad_request("blank cookie"));
        }
        let mut cookie = Self::parse_pair(pair, trim)?;
        for (attribute, value) in parts.map(|part| part.split_once('=').unwrap_or((part, ""))) {
            if value.bytes().all(is_value_byte) {
                cookie.set_attribute(attribute, value);
            }
        }
        Ok(cookie)
    }

    fn set_attribute(&mut self, attribute: &str, value: &str) {
        match attribute.to_ascii_lowercase().as_str() {
            "path" => value.clone_into(&mut self.path),
            "domain" => value.clone_into(&mut self.domain),
            "expires" => {
                // Two layouts are in use: `02 Jan 2006` and `02-Jan-2006`.
                self.expires = parse_http_date(&value.replace('-', " "));
            }
            "max-age" => {
                let seconds = value.parse::<i64>().ok();
                if let Some(seconds) = seconds.filter(|seconds| *seconds == 0 || !value.starts_with('0')) {
                    self.max_age = Some(seconds.max(0));
                }
            }
            "secure" => self.secure = true,
            "httponly" => self.http_only = true,
            "partitioned" => self.partitioned = true,
            "samesite" => {
                self.same_site = match value.to_ascii_lowercase().as_str() {
                    "lax" => Some(SameSite::Lax),
                    "strict" => Some(SameSite::Strict),
                    "none" => Some(SameSite::None),
                    _ => None,
                };
            }
            _ => {}
        }
    }

    /// A cookie with this value as it is in a header, possibly quoted, if it is valid.
    fn with_raw_value(name: &str, raw: &str) -> Option<Self> {
        let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        let value = inner.unwrap_or(raw);
        value.bytes().all(is_value_byte).then(|| Self { quoted: inner.is_some(), ..Self::new(name, value) })
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !is_token(&self.name) {
            return Ok(());
        }
        let value = sanitize("value", &self.value, is_value_byte);
        let quote = if self.quoted && !value.is_empty() || value.contains([' ', ',']) { "\"" } else { "" };
        write!(f, "{}={quote}{value}{quote}", self.name)?;
        if !self.path.is_empty() {
            write!(f, "; Path={}", sanitize("path", &self.path, is_path_byte))?;
        }
        if is_domain(&self.domain) {
            write!(f, "; Domain={}", self.domain.strip_prefix('.').unwrap_or(&self.domain))?;
        } else if !self.domain.is_empty() {
            log::warn!("invalid cookie domain {:?}: left out", self.domain);
        }
        if let Some(date) = self.expires.and_then(http_date) {
            write!(f, "; Expires={date}")?;
        }
        if let Some(seconds) = self.max_age {
            write!(f, "; Max-Age={}", seconds.max(0))?;
        }
        for (flag, text) in [(self.http_only, "; HttpOnly"), (self.secure, "; Secure")] {
            f.write_str(if flag { text } else { "" })?;
        }
        f.write_str(match self.same_site {
            None => "",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::None) => "; SameSite=None",
        })?;
        f.write_str(if self.partitioned { "; Partitioned" } else { "" })
    }
}

/// The cookies of a request.
impl Request {
    /// The cookies the client sent, in order and with repetitions; `Cookies`. What is not valid is left out; of more
    /// than 3000 cookies none is returned.
    #[must_use]
    pub fn cookies(&self) -> Vec<Cookie> {
        let count: usize = self.header_lines("cookie").map(|line| line.matches(';').count() + 1).sum();
        if count > COOKIES_MAX {
            return Vec::new();
        }
        let parts = self.header_lines("cookie").flat_map(|line| line.split(';')).map(trim);
        parts.filter_map(read_pair).collect()
    }

    /// The first cookie of this name; `Cookie`.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<Cookie> {
        self.cookies().into_iter().find(|cookie| cookie.name == name)
    }
}

fn read_pair(part: &str) -> Option<Cookie> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    let name = trim(name);
    is_token(name).then(|| Cookie::with_raw_value(name, value)).flatten()
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

fn is_value_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b';' | b'\\')
}

fn is_path_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b';'
}

/// `text` without the bytes that are not allowed.
fn sanitize(what: &str, text: &str, is_allowed: fn(u8) -> bool) -> String {
    let kept: String = text.bytes().filter(|byte| is_allowed(*byte)).map(char::from).collect();
    if kept.len() != text.len() {
        log::warn!("invalid byte in cookie {what}: left out");
    }
    kept
}

/// Whether this is a host name (letters, digits and dashes between dots, one letter at least) or an IPv4 address.
fn is_domain(text: &str) -> bool {
    let name = text.strip_prefix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = name.strip_suffix('.').unwrap_or(name).split('.').all(is_label);
    let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    text.len() <= 255 && (is_name && has_letter || text.parse::<Ipv4Addr>().is_ok())
}
