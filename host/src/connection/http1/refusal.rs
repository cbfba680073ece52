//! Answers to requests that are refused before they are one: written raw, and the connection ends behind them.

/// Why a request head, or a connection, is given up. `Display`ed in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not HTTP/1, or framed in a way that cannot be trusted.
    Malformed,
    /// HTTP/1.1 without a Host field.
    HostMissing,
    /// A Host field with a byte that no host has.
    HostMalformed,
    /// HTTP/1.1 under another version's name.
    Version,
    /// Request line and header fields are larger than `max_header_bytes`, or more than 500 lines.
    HeadTooLarge,
    /// A transfer coding other than one `chunked`.
    Coding,
    /// An expectation other than `100-continue`.
    Expectation,
}

impl Refusal {
    /// The status that it is sent with.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::HostMissing | Self::HostMalformed => 400,
            Self::Version => 505,
            Self::HeadTooLarge => 431,
            Self::Coding => 501,
            Self::Expectation => 417,
        }
    }

    /// What is sent, in the form net/http gives it: no Date, and the end of the connection is the end of the body.
    pub(super) fn response(self) -> String {
        let (status, text) = match self {
            Self::Malformed => ("400 Bad Request", "400 Bad Request"),
            Self::HostMissing => ("400 Bad Request", "400 Bad Request: missing required Host header"),
            Self::HostMalformed => ("400 Bad Request", "400 Bad Request: malformed Host header"),
            Self::Version => (
                "505 HTTP Version Not Supported",
                "505 HTTP Version Not Supported: unsupported protocol version",
            ),
            Self::HeadTooLarge => {
                ("431 Request Header Fields Too Large", "431 Request Header Fields Too Large")
            }
            Self::Coding => ("501 Not Implemented", "Unsupported transfer encoding"),
            Self::Expectation => {
                return "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    .to_owned();
            }
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}"
        )
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed request head",
            Self::HostMissing => "no Host field",
            Self::HostMalformed => "malformed Host field",
            Self::Version => "unsupported protocol version",
            Self::HeadTooLarge => "request head beyond `max_header_bytes`, or beyond 500 lines",
            Self::Coding => "unsupported transfer coding",
            Self::Expectation => "unknown expectation",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_is_sent() {
        use Refusal::{Coding, Expectation, HeadTooLarge, HostMalformed, HostMissing, Malformed, Version};
        for refusal in [Malformed, HostMissing, HostMalformed, Version, HeadTooLarge, Coding, Expectation] {
            let start = format!("HTTP/1.1 {} ", refusal.status());
            assert!(refusal.response().starts_with(&start), "{refusal:?}");
        }
    }
}
