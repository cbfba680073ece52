//! The admin listener over TLS, and the commands that speak it.

use std::net::SocketAddr;
use std::process::Output;

use super::{site_with, text_of};

use crate::support::server::{finish, wasmux};
use crate::support::tls::{Authority, Client, Identity};
use crate::support::{Server, Site};

const TOKEN: &str = "0123456789abcdef";

/// A server whose admin listener has this certificate and further keys.
fn secured(identity: &Identity, keys: &str) -> Site {
    let tls = "certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]";
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[server.admin]\nlisten = \"127.0.0.1:0\"\n{keys}\n[server.admin.tls]\n{tls}\n"
    );
    let site = site_with(&settings).file("cert.pem", &identity.cert).file("key.pem", &identity.key);
    site.file("token", TOKEN)
}

fn address(server: &Server) -> SocketAddr {
    let line = server.out.wait_for(&["admin on https://"]);
    line["admin on https://".len()..].parse().unwrap()
}

/// Runs a command in this folder, with a token in its environment or none.
fn run(site: &Site, token: Option<&str>, args: &[&str]) -> Output {
    let mut command = wasmux(&site.path(""));
    finish(command.args(args).env("WASMUX_ADMIN_TOKEN", token.unwrap_or_default()))
}

#[track_caller]
fn fails(output: &Output, sentence: &str) {
    let text = text_of(output);
    assert!(!output.status.success() && text.contains(sentence), "{text}");
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", text_of(output));
}

#[test]
fn with_a_token() {
    let authority = Authority::new("root");
    let server = secured(&authority.sign(&["127.0.0.1"]), "token = { file = \"token\" }").serve();
    let address = address(&server);
    // Browsers would choose HTTP/2, which this listener does not have.
    let browser = Client::with(&authority, None, &["h2", "http/1.1"], rustls::ALL_VERSIONS);
    let (session, _) = browser.handshake(address, "127.0.0.1").unwrap();
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    let ask = |target: &str, fields: &[&str]| {
        let mut conn = Client::new(&authority).connect(address, "127.0.0.1");
        conn.request("GET", target, fields, b"");
        conn.response().status
    };
    assert_eq!((ask("/live", &[]), ask("/metrics", &[]), ask("/v1/status", &[])), (200, 401, 401));
    assert_eq!(ask("/v1/status", &[&format!("Authorization: Bearer {TOKEN}")]), 200);

    // The file beside has the certificate.
    let url = format!("https://{address}");
    succeeds(&run(&server.site, Some(TOKEN), &["status", "--admin", &url]));
    fails(
        &run(&server.site, Some("fedcba9876543210"), &["status", "--admin", &url]),
        "the token is missing or wrong",
    );
    let plain = address.to_string();
    fails(
        &run(&server.site, Some(TOKEN), &["status", "--admin", &plain]),
        "if it speaks TLS, write https://",
    );
    // Elsewhere there is none.
    let elsewhere = Site::new("[routes]\n").file("ca.pem", authority.pem());
    let elsewhere = elsewhere.file("other.pem", Authority::new("root").pem()).file("empty.pem", "");
    let from = |more: &[&str]| run(&elsewhere, Some(TOKEN), &[&["status", "--admin", &url], more].concat());
    fails(&from(&[]), "name the authority with --admin-ca");
    fails(&from(&["--admin-ca", "gone.pem"]), "gone.pem cannot be read");
    fails(&from(&["--admin-ca", "empty.pem"]), "empty.pem holds no certificate");
    succeeds(&from(&["--admin-ca", "ca.pem"]));
    assert!(!from(&["--admin-ca", "other.pem"]).status.success(), "the same name does not help");
    let named = format!("https://localhost:{}", address.port());
    let output = run(&elsewhere, Some(TOKEN), &["status", "--admin", &named, "--admin-ca", "ca.pem"]);
    assert!(!output.status.success(), "it is for another name: {}", text_of(&output));
}

#[test]
fn with_client_certificates() {
    let [authority, clients, strangers] = ["root", "clients", "strangers"].map(Authority::new);
    let site = secured(&authority.sign(&["127.0.0.1"]), "").file("ca.pem", clients.pem());
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let routes = routes.replace("[server.admin.tls]", "[server.admin.tls]\nclient_ca = \"ca.pem\"");
    let (alice, mallory) = (clients.sign(&["Alice"]), strangers.sign(&["Mallory"]));
    let site = site.file("routes.toml", routes);
    let site = site.file("alice.pem", &alice.cert).file("alice.key", &alice.key);
    let server = site.file("mallory.pem", &mallory.cert).file("mallory.key", &mallory.key).serve();
    let address = address(&server);
    for (identity, is_let_in) in [(None, false), (Some(&mallory), false), (Some(&alice), true)] {
        let client = Client::with(&authority, identity, &["http/1.1"], rustls::ALL_VERSIONS);
        assert_eq!(client.is_let_in(address, "127.0.0.1"), is_let_in);
    }

    let url = format!("https://{address}");
    let as_one = |name: &str, args: &[&str]| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let identity = ["--admin", &url, "--admin-cert", &cert, "--admin-key", &key];
        run(&server.site, None, &[args, &identity].concat())
    };
    succeeds(&as_one("alice", &["deploy", "hello", "two.wat"]));
    assert_eq!(server.get("/").text(), "two", "whoever has a certificate may operate, without a token");
    fails(&as_one("mallory", &["deploy", "hello", "three.wat"]), "may not accept mallory.pem");
    let nobody = run(&server.site, None, &["deploy", "hello", "three.wat", "--admin", &url]);
    fails(&nobody, "name yours with --admin-cert and --admin-key");
    assert_eq!(server.get("/").text(), "two");
    fails(
        &run(&server.site, None, &["status", "--admin", &url, "--admin-cert", "alice.pem"]),
        "needs --admin-key",
    );
    let mixed = ["status", "--admin", &url, "--admin-cert", "alice.pem", "--admin-key", "mallory.key"];
    fails(&run(&server.site, None, &mixed), "mallory.key does not belong to alice.pem");
}

#[test]
fn without_tls_https_is_no_way() {
    let keys = "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    let server = site_with(keys).serve();
    let line = server.out.wait_for(&["admin on http://"]);
    let url = line["admin on ".len()..].replace("http:", "https:");
    fails(
        &run(&server.site, None, &["status", "--admin", &url]),
        "it does not speak TLS: leave out https://",
    );
}
