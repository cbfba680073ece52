//! What is fuzzed: each target is a function that takes any bytes and panics when something is not as it must be.
//!
//! The programs of libFuzzer (`targets/`, nightly) and the smoke run (`tests/smoke.rs`, stable) call the same functions.
//! `README.md` beside this crate says which promise each of them is about.

mod chunks;
mod find;
mod front_end;
mod guests;
mod host_calls;
mod isolation;
mod loader;
mod pattern;
mod routes_toml;
mod world;

pub use chunks::chunks;
pub use find::find;
pub use front_end::front_end;
pub use host_calls::host_calls;
pub use isolation::isolation;
pub use loader::loader;
pub use pattern::pattern;
pub use routes_toml::routes_toml;

/// A target: it returns when all is well, in bounded time.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a folder of this name in `seeds/`, and a program in `targets/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("chunks", chunks),
    ("find", find),
    ("front_end", front_end),
    ("host_calls", host_calls),
    ("isolation", isolation),
    ("loader", loader),
    ("pattern", pattern),
    ("routes_toml", routes_toml),
];
