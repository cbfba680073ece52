//! Who may know whom.

/// What stands on the way of a request or a deployment; that which all of it uses knows none of it.
const PATH: &[&str] = &[
    "access_log",
    "builder",
    "cli",
    "config",
    "connection",
    "deployer",
    "deployment",
    "dispatch",
    "handler",
    "listener",
    "recorded",
    "rescue",
    "server",
    "upgrade",
];

/// Modules of `host/src` and what they never import, as `crate::NAME`.
pub(super) const FORBIDDEN: [(&str, &[&[&str]]); 34] = [
    (
        "guest",
        &[&[
            "listener",
            "connection",
            "dispatch",
            "deployment",
            "config",
            "cli",
            "server",
            "handler",
            "access_log",
            "rescue",
            "builder",
        ]],
    ),
    (
        "handler",
        &[&[
            "listener",
            "connection",
            "dispatch",
            "deployment",
            "config",
            "cli",
            "server",
            "drain",
            "access_log",
            "rescue",
            "builder",
        ]],
    ),
    (
        "deployment",
        &[&["listener", "connection", "dispatch", "cli", "server", "drain", "access_log", "rescue"]],
    ),
    ("dispatch", &[&["listener", "connection", "cli", "server", "config", "builder"]]),
    ("connection", &[&["cli", "server", "deployment", "handler", "builder", "rescue"]]),
    (
        "listener",
        &[&[
            "cli",
            "server",
            "connection",
            "dispatch",
            "deployment",
            "handler",
            "builder",
            "drain",
            "rescue",
        ]],
    ),
    ("server", &[&["cli", "deployment", "handler", "builder"]]),
    (
        "config",
        &[&[
            "listener",
            "connection",
            "dispatch",
            "deployment",
            "handler",
            "cli",
            "server",
            "builder",
            "drain",
            "rescue",
        ]],
    ),
    ("builder", &[&["cli", "config", "server", "guest", "deployment"]]),
    ("resources", &[PATH, &["guest", "drain", "tls"]]),
    ("sql", &[PATH, &["guest", "drain", "tls", "resources"]]),
    ("tls", &[PATH, &["guest", "drain"]]),
    (
        "rescue",
        &[&[
            "cli",
            "config",
            "server",
            "guest",
            "deployment",
            "dispatch",
            "handler",
            "connection",
            "listener",
        ]],
    ),
    ("body", &[PATH]),
    ("error", &[PATH, &["guest", "body"]]),
    ("drain", &[PATH, &["guest"]]),
    ("admin", &[&["cli", "server", "connection", "dispatch", "deployment", "handler", "builder", "guest"]]),
    (
        "handover",
        &[&[
            "cli",
            "server",
            "connection",
            "dispatch",
            "deployment",
            "handler",
            "builder",
            "guest",
            "listener",
        ]],
    ),
    ("notify", &[&["cli", "config", "server", "connection", "dispatch", "deployment", "guest", "listener"]]),
    ("deployer", &[&["cli", "server", "connection", "dispatch", "listener", "drain", "rescue", "admin"]]),
    ("history", &[PATH, &["guest", "drain", "tls", "resources", "admin"]]),
    ("upgrade", &[&["cli", "config", "server", "connection", "dispatch", "deployment", "guest", "drain"]]),
    ("activity", &[PATH, &["drain", "guest", "tls"]]),
    ("authority", &[PATH, &["drain", "guest", "tls"]]),
    (
        "chain",
        &[&[
            "listener",
            "connection",
            "dispatch",
            "deployment",
            "config",
            "cli",
            "server",
            "handler",
            "drain",
            "access_log",
            "builder",
        ]],
    ),
    ("kv", &[PATH, &["body", "drain", "guest", "resources", "tls"]]),
    ("resources", &[PATH, &["body", "drain", "guest", "tls"]]),
    ("hop_by_hop", &[PATH, &["body", "drain", "guest", "tls"]]),
    ("outbound", &[PATH, &["body", "chain", "drain", "guest", "tls", "upstream"]]),
    ("profile", &[PATH, &["admin", "drain", "tls"]]),
    ("request_id", &[PATH, &["guest"]]),
    ("tag", &[PATH, &["drain", "guest", "profile", "stats"]]),
    ("upstream", &[PATH, &["body", "chain", "drain", "guest", "tls"]]),
    (
        "watch",
        &[&[
            "admin",
            "cli",
            "config",
            "connection",
            "dispatch",
            "drain",
            "guest",
            "handler",
            "listener",
            "rescue",
            "server",
        ]],
    ),
];

/// The contracts between host and guests: siblings in `guest/abi`, none of which knows another.
pub(super) const ABIS: [&str; 3] = ["serve_http", "p2", "p3"];

/// Modules of `guest` that know the contracts, the instances and the queues in front of them. Others know none of these:
/// they are what those are made of.
pub(super) const ABOVE_GUESTS: [&str; 9] =
    ["abi", "call", "engine", "instance", "isolation", "origin", "resident", "seats", "trial"];

/// Files of `connection/http1`, and which of their siblings each may know: what reads never knows what writes, and they meet
/// in `conn`.
pub(super) const HTTP1: [(&str, &[&str]); 15] = [
    ("arrival", &["clock", "refusal"]),
    ("chunks", &[]),
    ("clock", &[]),
    (
        "conn",
        &["clock", "head", "inbound", "link", "outbound", "response", "sentry", "settle", "switch", "upload"],
    ),
    ("head", &["refusal"]),
    ("inbound", &["arrival", "chunks", "clock", "head", "refusal"]),
    ("link", &[]),
    ("outbound", &["clock", "response"]),
    ("properties", &["chunks", "clock", "head", "inbound"]),
    ("refusal", &[]),
    ("response", &[]),
    ("sentry", &["clock"]),
    ("settle", &["response"]),
    ("switch", &["outbound", "response"]),
    ("upload", &["head"]),
];

/// Files of `host/src` that take bytes and give a verdict: no input, no output, no clock.
pub(super) const PURE: [&str; 3] =
    ["connection/http1/chunks", "connection/http1/head", "connection/http1/refusal"];
