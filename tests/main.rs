//! Black-box tests: the real `wasmux` program, over real sockets and files. One binary, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod abi; // every import of `wasmux:http/1` and `wasmux:log/1`, used well and badly
mod admission; // queues, fair instances and memory, the breaker, metrics
mod cache; // compiled code on disk
mod cli; // commands, exit codes, new projects, crates that do not build
mod clocks; // slow clients: each clock ends what it is for, not sooner, and says so
mod compile; // modules that are hard to compile: limits, and who is disturbed
mod config; // routes.toml: every mistake, and the cases that real Go made
mod conformance; // one table of exchanges, on every ABI
mod deploy;
mod disconnect; // clients that go away: their guests end, whatever they do
mod drain; // signals: what finishes, what is closed, what is cut
mod examples; // every example over the wire
mod fields; // how many header fields there may be, and how large
mod files; // the `files` handler
mod floods; // clients that want more than their share: neighbours do not notice
mod grants; // configuration, secrets and folders: granted, refused, changed while it runs
mod hostile; // clients, guests and surroundings that mean harm: what they hold is taken back
mod http2; // its limits, against clients that mean harm
mod imports; // what components import: refused when nobody has it, denied when nothing is granted
mod kv; // key-value stores: both kinds of guests, limits, crashes, upgrades, operators
mod life; // reload, upgrade, handed-over sockets, service managers, probes
mod limits; // isolation, time, memory, instances; traps and output in the log
mod next; // a handler in front of another one
mod observe; // metrics, access log, lines of guests, traces to a collector
mod outbound; // calls of guests to other servers and handlers: granted, refused, limited, cancelled
mod p2; // wasi:http 0.2: every way a guest can fail; disconnects, reuse
mod p3; // wasi:http 0.3: every way to answer and to fail, several requests in an instance, middleware
mod profile; // samples of host and guests, for `go tool pprof` and people
mod proxy; // the `proxy` handler, in front of servers that the tests are themselves
mod resident; // whose code is in memory: loaded when needed, once; evicted; made again when the cache has lost it
mod server; // listeners, connections, what the server answers by itself, the access log
mod slow; // bodies that come or go too slowly
mod snapshot; // guests that are started when they are loaded: what stays, what is refused
mod sql; // SQL databases: both kinds of guest, limits, grants, migrations, crashes
mod streaming; // bodies in motion, both ways; slow clients and clients that go away
mod support; // the program under test, clients, guests
mod tidy; // house rules: directions of imports, sizes, words
mod tls; // HTTPS: certificates by name, clients with certificates, files that change; several servers
mod watch; // `serve --watch`: what is saved is served, what is broken says so
mod wedge; // guests that compute for ever: threads of their own, limits, drains
mod wire; // cases that real net/http was asked, byte for byte
