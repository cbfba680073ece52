//! net/http's `ServeMux` (Go 1.22 and later, with the 307 redirects of Go 1.26): which pattern a request
//! belongs to.
//!
//! ```
//! use wasmux_mux::{Found, Mux, Request};
//!
//! let mut mux = Mux::new();
//! mux.insert("GET /users/{id}", "user")?;
//! mux.insert("GET /files/{path...}", "files")?;
//! mux.insert("/", "home")?;
//!
//! let request = Request { method: "GET", host: "example.com", path: "/users/a%2Fb", query: None };
//! let Found::Match(found) = mux.find(&request) else { panic!("no match") };
//! assert_eq!(*found.value(), "user");
//! assert_eq!(found.pattern().as_str(), "GET /users/{id}");
//! assert_eq!(found.value_of("id").as_deref(), Some(&b"a/b"[..]));
//!
//! // Two patterns that match the same request equally well are refused, with an example of what is wrong.
//! let error = mux.insert("GET /{kind}/latest", "latest").unwrap_err();
//! assert!(error.to_string().contains(r#"both match some paths, like "/users/latest"."#));
//! # Ok::<(), wasmux_mux::InsertError>(())
//! ```
//!
//! # The map
//! | file | owns |
//! |---|---|
//! | `pattern` | the text form of a route, parsed: [`Pattern`], [`Segment`], [`PatternError`] |
//! | `relation` | how the requests of two patterns relate: same, part of, disjoint, overlapping |
//! | `conflict` | the refusal of a pattern, in words and with example paths: [`Conflict`] |
//! | `index` | only makes looking for a conflict quick |
//! | `tree` | the lookup: host, then method, then segment by segment |
//! | `path` | cleaning, splitting and decoding of request paths |
//! | `target` | the target of a request line: [`Target`] |
//! | `mux` | puts it together: [`Mux`], [`Request`], [`Found`] |
//! | `explain` | why a pattern won and the others did not: [`Explanation`] |
//! | `quote` | text in double quotes, for messages |
//!
//! Pure: no I/O, no clock, no `unsafe`, no dependencies. A lookup whose path is clean and has no `%` does not
//! allocate, however many wildcards it passes: captured values are cut out of the path when they are asked
//! for.
//!
//! # Where it differs from Go, on purpose
//! - Nothing panics. In Go, registering an invalid or conflicting pattern does, and so does reading a path
//!   value after some `CONNECT` requests.
//! - An empty segment of a pattern acts as a wildcard, as in Go: `//foo` matches `/x/foo`. That Go then panics
//!   when `/{x}/foo` is registered too is a conflict here.
//! - The authority of a target may hold only the bytes that a `Host` field may, undecoded.
//! - Of several conflicts, the one with the earliest pattern is reported. Go reports any.
//! - A conflict's example paths are percent-encoded where a raw byte would change their meaning. That both
//!   `/{a}/{b}` and `/c/` match is shown by `/c/b`; Go says `/c/`, which the first does not match.
//! - The offset of a parse error counts every space between method and host. Go counts one.
//! - A wildcard name may hold any alphanumeric character of Unicode; Go leaves out a few scripts' vowel
//!   signs.
//! - A pattern has at most [`SEGMENTS_MAX`] segments.
//! - A target like `mailto:x` is bad ([`BadTarget`]); Go serves it as `/`.
#![no_std]

extern crate alloc;

mod conflict;
mod explain;
mod index;
mod mux;
mod path;
mod pattern;
mod quote;
mod relation;
mod target;
mod tree;

pub use conflict::{Conflict, InsertError};
pub use explain::{Explanation, RunnerUp};
pub use mux::{Allow, Found, Match, Mux, Redirect, Request, Values};
pub use path::{clean_path, percent_decode, strip_port};
pub use pattern::{Pattern, PatternError, Reason, SEGMENTS_MAX, Segment};
pub use target::{BadTarget, Target};
