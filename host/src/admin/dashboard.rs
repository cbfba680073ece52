//! The page for people: complete in itself, and without anything that only those who may see it should know.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use sha2::{Digest as _, Sha256};

use super::typed;
use crate::body::Body;

const PAGE: &str = include_str!("dashboard.html");

/// It runs its own script and no other, talks to this listener only, and stands in no other page.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        digest_of("script"),
        digest_of("style")
    )
});

/// Of what stands between these tags, as browsers want it.
fn digest_of(tag: &str) -> String {
    let inner =
        PAGE.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
    BASE64_STANDARD.encode(Sha256::digest(inner.map_or("", |(inner, _)| inner)))
}

pub(super) fn response() -> Response<Body> {
    let mut response = typed("text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The next version of the program has another page.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
