//! A raw wasi:http 0.2 component that does what the query tells it, misuse included: for tests of the server.
