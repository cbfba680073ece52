//! Guests: from bytes on disk to an answered request.
//!
//! Knows nothing of listeners, connections, routes or files of configuration. In: an artifact, limits and a request
//! with a deadline. Out: a response, or an error that says who is at fault.

pub mod artifact;
pub mod cache;
pub mod compile;
pub mod engine;
pub mod inspect;
pub mod limits;

mod abi;
mod admission;
mod breaker;
mod budget;
mod call;
mod calls;
mod capability;
mod components;
mod compute;
mod databases;
mod drafts;
mod exchange;
mod failure;
mod fair;
mod field_limits;
mod grants;
mod held;
mod imports;
mod instance;
mod isolation;
mod keyvalue;
mod label;
mod log;
mod memory;
mod next;
mod origin;
mod outbox;
mod outgoing;
mod pace;
mod pages;
mod places;
mod pulse;
mod queue;
mod request_body;
mod resident;
mod restorable;
mod seats;
mod share;
mod snapshot;
mod sockets;
mod sql;
mod state;
mod stdio;
mod take;
mod timezone;
mod trial;
mod verdict;
mod wasi;

pub use artifact::Artifact;
pub use call::{GuestBody, OnDisconnect};
pub use compile::CompileIn;
pub use databases::DatabaseGrant;
pub use engine::{EngineSettings, GuestEngine};
pub use exchange::{ClientLink, Incoming, Peer, PeerTls, RawTarget, RouteInfo};
pub use grants::{Folder, Grants, Settings};
pub use instance::{Guest, GuestSettings};
pub use isolation::{Concurrency, Isolation, Reuse};
pub use limits::{Breaker, Limits};
pub use next::{Answer, Next};
pub use outgoing::{ALLOWED_MAX, Allow, Directory, Outgoing, Via};
pub(crate) use request_body::Leftover;
pub use request_body::{BodyError, NetworkBody, RequestBody};
pub use share::{Ledger, Share};
pub use snapshot::{Snapshot, Start};
pub(crate) use take::Take;
pub use take::TakeLimit;
