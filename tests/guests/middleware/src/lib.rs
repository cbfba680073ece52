//! A wasi:http 0.3 middleware: calls the handler behind it, for tests of the server.
