//! Names, numbers and encodings of the `serve_http` ABI, version 1.
//!
//! `ABI.md` beside this crate is the specification; this is the same in code, used by the host and by the Rust
//! SDK so that the two cannot drift apart. Nothing here allocates, panics on foreign bytes, or needs `std`.
#![no_std]

mod fields;
mod head;
mod sql;

pub use fields::{FieldIter, FieldsWriter, Malformed, fields, fields_size};
pub use head::{HEAD_FIXED_SIZE, Head, HeadView, QUERY_PRESENT};
pub use sql::{SQL_EXECUTED_SIZE, SqlError, SqlValue, SqlValues, write_sql_value};

/// Import module of the HTTP functions (ABI.md section 4). The version is part of the name.
pub const HTTP_MODULE: &str = "wasmux:http/1";
/// Import module of the logging functions (ABI.md section 5).
pub const LOG_MODULE: &str = "wasmux:log/1";
/// Import module of the handler behind this one (ABI.md section 6).
pub const NEXT_MODULE: &str = "wasmux:next/1";
/// Import module of the handler's configuration (ABI.md section 9).
pub const CONFIG_MODULE: &str = "wasmux:config/1";
/// Import module of key-value stores (ABI.md section 10).
pub const KEYVALUE_MODULE: &str = "wasmux:keyvalue/1";
/// Import module of SQL databases (ABI.md section 12).
pub const SQL_MODULE: &str = "wasmux:sql/1";
/// Import module of calls to others (ABI.md section 11).
pub const CLIENT_MODULE: &str = "wasmux:client/1";
/// Import module of WASI preview 1.
pub const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// The export that handles one request: `() -> ()`.
pub const SERVE_HTTP: &str = "serve_http";
/// The export that prepares an instance, if there is one: `() -> ()`.
pub const INITIALIZE: &str = "_initialize";
/// The export that prepares a snapshot, if there is one: `() -> ()`.
pub const WARM_UP: &str = "wasmux_warm_up";
/// The exported linear memory.
pub const MEMORY: &str = "memory";

/// Largest field block from a guest, in bytes; above it the call returns [`Errno::Limit`].
pub const FIELD_BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Most fields in a block from a guest; above it the call returns [`Errno::Limit`].
pub const FIELD_COUNT_MAX: usize = 500;
/// Largest body that `respond` takes, in bytes; larger ones are streamed, so that slow clients do not pile them up.
pub const RESPOND_BYTES_MAX: usize = 64 * 1024;
/// Largest body that the `send` of a call takes, in bytes; larger ones are streamed.
pub const CALL_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Flag of a call: more of its body follows by `write`, up to `finish`.
pub const CALL_STREAMED: u32 = 1;
/// Flag of a call: the host does not ask for gzip, and leaves the body as it is.
pub const CALL_NO_DECOMPRESSION: u32 = 2;
/// Longest log text, in bytes; more is cut.
pub const LOG_BYTES_MAX: usize = 8 * 1024;

/// Why a host call failed (ABI.md section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Errno {
    /// The client has gone away.
    Gone = -1,
    /// The call is not allowed at this point.
    State = -2,
    /// A status or field that HTTP does not allow.
    Invalid = -3,
    /// A limit of this handler was reached.
    Limit = -4,
    /// The request body is incomplete or malformed.
    Broken = -5,
    /// This response has no body by definition.
    NoBody = -6,
    /// More body bytes than the declared Content-Length.
    Length = -7,
    /// There is nothing of this name.
    Absent = -8,
    /// It was not granted.
    Denied = -9,
    /// It took too long.
    Timeout = -10,
    /// Whoever was asked has failed, or cannot be reached.
    Failed = -11,
    /// It is not as the call presumes, or somebody else was first.
    Conflict = -12,
    /// There is no room for it.
    Full = -13,
}

impl Errno {
    /// The value that crosses the boundary.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The errno with this value, if there is one.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            -1 => Self::Gone,
            -2 => Self::State,
            -3 => Self::Invalid,
            -4 => Self::Limit,
            -5 => Self::Broken,
            -6 => Self::NoBody,
            -7 => Self::Length,
            -8 => Self::Absent,
            -9 => Self::Denied,
            -10 => Self::Timeout,
            -11 => Self::Failed,
            -12 => Self::Conflict,
            -13 => Self::Full,
            _ => return None,
        })
    }
}
