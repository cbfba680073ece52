//! Example crates, built once for all tests by the real `wasmux build`.
