//! Client certificates: who is let in, and that the server knows who it is.

use super::https;
use crate::support::tls::{Authority, Client};

#[test]
fn required() {
    let [authority, clients, strangers] = ["root", "clients", "strangers"].map(Authority::new);
    let site = https(&authority.sign(&["a.test"]), "").file("ca.pem", clients.pem());
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let routes = routes.replace("[server.tls]", "[server.tls]\nclient_ca = \"ca.pem\"");
    let server = site.file("routes.toml", routes).serve();
    let address = server.address();

    for version in rustls::ALL_VERSIONS {
        let alpn = ["http/1.1"];
        let anonymous = Client::with(&authority, None, &alpn, &[version]);
        assert!(!anonymous.is_let_in(address, "a.test"), "{version:?}");
        server.log.wait_for(&["TLS handshake: ", "peer sent no certificates"]);
        let stranger = Client::with(&authority, Some(&strangers.sign(&["Mallory"])), &alpn, &[version]);
        assert!(!stranger.is_let_in(address, "a.test"), "{version:?}");
        server.log.wait_for(&["TLS handshake: ", "invalid peer certificate"]);
        // The same name does not help without the right signature.
        let impostor =
            Client::with(&authority, Some(&Authority::new("clients").sign(&["Alice"])), &alpn, &[version]);
        assert!(!impostor.is_let_in(address, "a.test"), "{version:?}");
    }

    let alice = Client::with_identity(&authority, &clients.sign(&["Alice"]));
    // The second connection is a resumed one, and has the same identity.
    for path in ["/?1", "/?2"] {
        let mut conn = alice.connect(address, "a.test");
        conn.request("GET", path, &[], b"");
        assert_eq!(conn.response().status, 200);
        let line = server.out.wait_for(&[path]);
        assert!(line.contains(r#""client_subject":"CN=Alice,O=Example\\, Inc.""#), "{line}");
    }
}

#[test]
fn optional() {
    let [authority, clients, strangers] = ["root", "clients", "strangers"].map(Authority::new);
    let site = https(&authority.sign(&["a.test"]), "").file("ca.pem", clients.pem());
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let keys = "[server.tls]\nclient_ca = \"ca.pem\"\nclient_auth = \"optional\"";
    let server = site.file("routes.toml", routes.replace("[server.tls]", keys)).serve();
    let address = server.address();

    let mut conn = Client::new(&authority).connect(address, "a.test");
    conn.request("GET", "/?nobody", &[], b"");
    assert_eq!(conn.response().status, 200);
    let line = server.out.wait_for(&["/?nobody"]);
    assert!(!line.contains("client_subject"), "{line}");

    let stranger = Client::with_identity(&authority, &strangers.sign(&["Mallory"]));
    assert!(!stranger.is_let_in(address, "a.test"), "a wrong one is worse than none");

    let mut conn = Client::with_identity(&authority, &clients.sign(&["Bob"])).connect(address, "a.test");
    conn.request("GET", "/?bob", &[], b"");
    assert_eq!(conn.response().status, 200);
    let line = server.out.wait_for(&["/?bob"]);
    assert!(line.contains("\"client_subject\":\"CN=Bob,O="), "{line}");
}
