//! `[server]`, `[servers.NAME]` and their `tls`.

use super::check;

const ROUTES: &str = "\n[routes]\n\"/\" = { respond = \"ok\" }\n";

#[test]
fn every_key_has_its_place() {
    check(
        r#"
        [server]
        listen = ":0"
        threads = 1
        max_connections_per_peer = 5
        admin = "127.0.0.1:9090"
        upgrade_timeout = "1m"
        read_header_timeout = "1s"
        read_timeout = "off"
        write_timeout = "1h"
        idle_timeout = "off"
        tls_handshake_timeout = "off"
        stall_timeout = "1s"
        max_header_bytes = "1KiB"
        [servers.other]
        listen = [":0", "unix:other.sock"]
        read_header_timeout = "off"
        read_timeout = "1m"
        write_timeout = "off"
        idle_timeout = "1s"
        tls_handshake_timeout = "1s"
        stall_timeout = "2s"
        max_header_bytes = "4096B"
        [servers.other.routes]
        "/" = { respond = "other" }
        [routes]
        "/" = { respond = "ok" }
        "#,
        &[],
    );
    // Without shared routes, when all have their own.
    check("[servers.a]\nlisten = \":0\"\n[servers.a.routes]\n\"/\" = { respond = \"a\" }\n", &[]);
    check("[servers]\n[routes]\n", &[]);
    for admin in ["[::1]:9090", "unix:admin.sock", "10.1.2.3:1", "localhost:1"] {
        check(&format!("[server]\nadmin = \"{admin}\"{ROUTES}"), &[]);
    }
}

#[test]
fn clocks_and_addresses() {
    for (line, part) in [
        ("idle_timeout = \"of\"", "`idle_timeout`: `of` is not a duration"),
        ("read_timeout = \"0s\"", "`read_timeout` must be longer than nothing"),
        ("write_timeout = false", "must be a duration such as \"30s\""),
        ("tls_handshake_timeout = 10", "must be a duration such as \"30s\""),
        ("stall_timeout = \"off\"", "`stall_timeout`: `off` is not a duration"),
        (
            "max_connections_per_peer = 0",
            "`max_connections_per_peer` must be a whole number from 1 to 1000000",
        ),
        (
            "admin = \":9090\"",
            "`admin`: \":9090\" is every interface, which lets the public in; name a loopback",
        ),
        ("admin = \"0.0.0.0:9090\"", "is every interface"),
        ("admin = \"[::]:9090\"", "is every interface"),
        ("admin = \"[::ffff:0.0.0.0]:9090\"", "is every interface"),
        ("admin = \"9090\"", "`admin`: `9090` is not an address"),
        ("admin = [\"127.0.0.1:1\"]", "must be a string"),
    ] {
        check(&format!("[server]\n{line}{ROUTES}"), &[(2, "bad-value", part)]);
    }
}

#[test]
fn servers_that_cannot_be() {
    check(
        r#"[server]
tls = { certificates = [{ cert = "a", key = "b" }] }
[servers.lost]
[servers.wrong]
listen = "nowhere"
threads = 3
idle_timeot = "1s"
[servers.server]
listen = ":1"
[servers.twice]
listen = ["127.0.0.1:80", "127.0.0.1:0"]
[servers.again]
listen = ["127.0.0.1:0", "127.0.0.1:80"]
[servers]
flat = 1
[routes]
"#,
        &[
            (2, "bad-value", "`tls` of [server] is for its own addresses; add `listen`, or move"),
            (3, "missing-key", "[servers.lost] needs `listen`"),
            (5, "bad-value", "`listen`: `nowhere` is not an address"),
            (
                6,
                "unknown-key",
                "`threads` is a setting of the whole process; move it from [servers.wrong] to [server]",
            ),
            (7, "unknown-key", "unknown key `idle_timeot` in [servers.wrong] (did you mean `idle_timeout`?)"),
            (8, "bad-value", "`server` is the name of [server] itself"),
            (12, "bad-value", "127.0.0.1:80 is an address of [servers.twice] already"),
            (15, "bad-value", "`servers.flat` must be a table"),
        ],
    );
    check("servers = 1\n[routes]\n", &[(1, "bad-value", "must be a table")]);
}

#[test]
fn routes_of_servers() {
    check(
        r#"[servers.a]
listen = ":0"
[servers.b]
listen = ":0"
[servers.b.routes]
"/{a}/x" = { respond = "" }
"/x/{b}" = { respond = "" }
"/n" = "nobody"
"#,
        &[
            (
                1,
                "missing-key",
                "[servers.a] has nothing to serve: add [servers.a.routes], or [routes] for all",
            ),
            (7, "pattern-conflict", "conflicts with pattern \"/{a}/x\" on line 6"),
            (8, "unknown-handler", "names the handler `nobody`"),
        ],
    );
    // One pattern in two tables is no conflict; twice in one is.
    let two = "[routes]\n\"/\" = { respond = \"\" }\n[servers.a]\nlisten = \":0\"\n[servers.a.routes]\n\"/\" = { respond = \"\" }\n";
    check(two, &[]);
    check(
        "[servers.a]\nlisten = \":0\"\n[servers.a.routes]\n\"/a\" = { respond = \"\" }\n\"/a\" = { respond = \"\" }\n",
        &[(5, "pattern-conflict", "pattern \"/a\" is registered twice")],
    );
}

#[test]
fn tls_values() {
    for (line, kind, part) in [
        ("tls = true", "bad-value", "`tls` in [server] must be a table"),
        ("tls = {}", "missing-key", "`tls` needs `certificates`"),
        ("tls = { certificates = [] }", "bad-value", "`certificates` is empty"),
        ("tls = { certificates = \"a.pem\" }", "bad-value", "must be a list of tables"),
        ("tls = { certificates = [\"a.pem\"] }", "bad-value", "must be a list of tables"),
        (
            "tls = { certificates = [{ cert = \"a.pem\" }] }",
            "missing-key",
            "a certificate needs `key`: a PEM file",
        ),
        (
            "tls = { certificates = [{ key = \"a.pem\" }] }",
            "missing-key",
            "a certificate needs `cert`: a PEM file",
        ),
    ] {
        check(&format!("[server]\n{line}{ROUTES}"), &[(2, kind, part)]);
    }
    check(
        r#"[server.tls]
client_auth = "sometimes"
cient_ca = "ca.pem"
[[server.tls.certificates]]
cert = "a.pem"
key = "a.key"
ky = 1
[routes]
"#,
        &[
            (2, "bad-value", "`client_auth` is \"sometimes\", but must be \"required\" or \"optional\""),
            (
                2,
                "missing-key",
                "`client_auth` needs `client_ca`: a PEM file with the authorities that sign clients",
            ),
            (3, "unknown-key", "unknown key `cient_ca` in `tls` (did you mean `client_ca`?)"),
            (5, "file-missing", "`tls`: the certificate a.pem cannot be read"),
            (7, "unknown-key", "unknown key `ky` in `certificates` (did you mean `key`?)"),
        ],
    );
}
