//! Black-box tests: the real `wasmux` program, over real sockets and files. One binary, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod abi; // every import of `wasmux:http/1` and `wasmux:log/1`, used well and badly

mod server; // listeners, connections, what the server answers by itself, the access log
mod streaming; // bodies in motion, both ways; slow clients and clients that go away
mod support; // the program under test, clients, guests
