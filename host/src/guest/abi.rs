//! The contracts between host and guests. Siblings: none imports another, what they share is in `exchange` and `outbox`.

pub(super) mod serve_http;
