//! Why a call has failed, in the standard's codes: what they are to the SDK, and in words.

use wasip2::http::types::{ErrorCode, FieldSizePayload};
use wasmux_abi::Errno;

/// The kind of failure.
pub(super) fn errno(code: &ErrorCode) -> Errno {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Errno::Denied,
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Errno::Timeout,
        ErrorCode::ConnectionLimitReached => Errno::Limit,
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => Errno::Invalid,
        _ => Errno::Failed,
    }
}

/// A sentence about it, with what the host has told besides.
pub(super) fn words(code: &ErrorCode) -> String {
    let (sentence, detail) = match code {
        ErrorCode::DnsTimeout => ("the name was not resolved in time", None),
        ErrorCode::DnsError(told) => ("the name does not resolve", told.rcode.clone()),
        ErrorCode::DestinationNotFound => ("the server was not found", None),
        ErrorCode::DestinationUnavailable => ("the server is not available", None),
        ErrorCode::DestinationIpProhibited => ("calls to its address are not allowed", None),
        ErrorCode::DestinationIpUnroutable => ("there is no way to its address", None),
        ErrorCode::ConnectionRefused => ("the connection was refused", None),
        ErrorCode::ConnectionTerminated => ("the connection broke off", None),
        ErrorCode::ConnectionTimeout => ("no connection in time", None),
        ErrorCode::ConnectionReadTimeout => ("the server sent nothing for too long", None),
        ErrorCode::ConnectionWriteTimeout => ("the server took nothing for too long", None),
        ErrorCode::ConnectionLimitReached => ("there are too many connections", None),
        ErrorCode::TlsProtocolError => ("the TLS handshake failed", None),
        ErrorCode::TlsCertificateError => ("the server's certificate is not trusted", None),
        ErrorCode::TlsAlertReceived(told) => {
            ("the server ended the TLS handshake", told.alert_message.clone())
        }
        ErrorCode::HttpRequestDenied => ("calling it is not allowed", None),
        ErrorCode::HttpRequestLengthRequired => ("the server wants a Content-Length", None),
        ErrorCode::HttpRequestBodySize(_) => ("the request's body has another length, or is too large", None),
        ErrorCode::HttpRequestMethodInvalid => ("it is not a method", None),
        ErrorCode::HttpRequestUriInvalid => ("it is not a URL", None),
        ErrorCode::HttpRequestUriTooLong => ("the URL is too long", None),
        ErrorCode::HttpRequestHeaderSectionSize(_) => ("the request's header is too large", None),
        ErrorCode::HttpRequestHeaderSize(field) => {
            ("a header field of the request is too large", field.as_ref().and_then(name))
        }
        ErrorCode::HttpRequestTrailerSectionSize(_) => ("the request's trailers are too large", None),
        ErrorCode::HttpRequestTrailerSize(field) => ("a trailer of the request is too large", name(field)),
        ErrorCode::HttpResponseIncomplete => ("the response broke off", None),
        ErrorCode::HttpResponseHeaderSectionSize(_) => ("the response's header is too large", None),
        ErrorCode::HttpResponseHeaderSize(field) => {
            ("a header field of the response is too large", name(field))
        }
        ErrorCode::HttpResponseBodySize(_) => ("the response's body is too large", None),
        ErrorCode::HttpResponseTrailerSectionSize(_) => ("the response's trailers are too large", None),
        ErrorCode::HttpResponseTrailerSize(field) => ("a trailer of the response is too large", name(field)),
        ErrorCode::HttpResponseTransferCoding(coding) => {
            ("the response's transfer coding is not known", coding.clone())
        }
        ErrorCode::HttpResponseContentCoding(coding) => {
            ("the response's content coding is not known", coding.clone())
        }
        ErrorCode::HttpResponseTimeout => ("no response in time", None),
        ErrorCode::HttpUpgradeFailed => ("the change of protocols failed", None),
        ErrorCode::HttpProtocolError => ("the response is not HTTP", None),
        ErrorCode::LoopDetected => ("the call leads back to where it came from", None),
        ErrorCode::ConfigurationError => ("the host is not set up for it", None),
        ErrorCode::InternalError(told) => ("the host has failed", told.clone()),
    };
    match detail {
        Some(detail) => format!("{sentence}: {detail}"),
        None => sentence.to_owned(),
    }
}

fn name(field: &FieldSizePayload) -> Option<String> {
    field.field_name.clone()
}
