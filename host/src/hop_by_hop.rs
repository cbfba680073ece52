//! Header fields that speak of a connection, not of a message.

use http::header::{CONNECTION, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};

/// Fields that end at a connection (RFC 9110 section 7.6.1): no handler gets or sets them.
pub(crate) const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Whether a field may stand in trailers (RFC 9110 section 6.5.1): none does that says how a message is framed, where it goes,
/// who sends it or what its content is.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    let is_bad = matches!(
        name.as_str(),
        "authorization"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "host"
            | "set-cookie"
            | "trailer"
    );
    !is_bad && !name.as_str().starts_with("proxy-") && !HOP_BY_HOP.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_about_what_came_before_them() {
        for (name, may) in [
            ("x-sum", true),
            ("etag", true),
            ("digest", true),
            ("content-length", false),
            ("transfer-encoding", false),
            ("connection", false),
            ("proxy-authorization", false),
            ("set-cookie", false),
            ("host", false),
        ] {
            assert_eq!(may_trail(&HeaderName::from_static(name)), may, "{name}");
        }
    }
}
