//! Certificates on disk: replaced while the server runs, and refused when something is wrong with them.

use std::path::Path;

use serde_json::Value;

use super::https;
use crate::support::tls::{Authority, Client, Identity};
use crate::support::{Server, Site};

/// Puts both files in place as tools do: written beside, then renamed.
fn replace(site: &Site, cert: &str, key: &str) {
    for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
        let beside = site.path("beside");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, site.path(name)).unwrap();
    }
}

fn answers(server: &Server, authority: &Authority) -> bool {
    Client::new(authority).is_let_in(server.address(), "a.test")
}

#[test]
fn new_files_are_taken_up_and_no_connection_is_dropped() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let server = https(&old.sign(&["a.test"]), "").serve();
    let mut conn = Client::new(&old).connect(server.address(), "a.test");
    let mut ask = || {
        conn.request("GET", "/", &[], b"");
        conn.response().status
    };
    assert_eq!(ask(), 200);
    let Identity { cert, key, .. } = new.sign(&["a.test"]);
    replace(&server.site, &cert, &key);
    server.log.wait_for(&["certificates were reloaded: ", "cert.pem"]);
    assert!(answers(&server, &new) && !answers(&server, &old));
    assert_eq!(ask(), 200, "on the old connection");
}

#[test]
fn broken_files_change_nothing() {
    let authority = Authority::new("root");
    let server = https(&authority.sign(&["a.test"]), "").serve();
    let [one, two] = [(); 2].map(|()| authority.sign(&["a.test"]));
    let mut failures = 0;
    for (cert, key, part) in [
        (one.cert.as_str(), two.key.as_str(), "does not belong to the certificate"),
        ("", two.key.as_str(), "holds no certificate"),
        (one.cert.as_str(), "nonsense", "holds no private key"),
    ] {
        replace(&server.site, cert, key);
        server.log.wait_for(&["certificates were not reloaded, the old ones stay", part]);
        failures += 1;
        assert!(answers(&server, &authority), "{part}");
    }
    std::fs::remove_file(server.site.path("key.pem")).unwrap();
    server.log.wait_for(&["certificates were not reloaded", "cannot be read: No such file"]);
    assert!(answers(&server, &authority));
    // And back to good ones.
    replace(&server.site, &two.cert, &two.key);
    server.log.wait_for(&["certificates were reloaded"]);
    assert!(answers(&server, &authority));
    let said = server.log.all().iter().filter(|line| line.contains("were not reloaded")).count();
    assert!(said <= 2 * failures + 2, "each failure is said once, not at every look: {said}");
}

/// `wasmux check` of a certificate's files, which are always named on line 4.
fn problems(cert: &str, key: &str, ca: Option<&str>) -> Vec<Value> {
    let ca_key = if ca.is_some() { ", client_ca = \"ca.pem\"" } else { "" };
    let routes = format!(
        "[routes]\n\"/\" = {{ respond = \"ok\" }}\n[server]\ntls = {{ certificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}]{ca_key} }}\n"
    );
    let site = Site::new(&routes).file("cert.pem", cert).file("key.pem", key);
    let site = site.file("ca.pem", ca.unwrap_or_default());
    serde_json::from_slice(&site.run(&["check", "--json"]).stdout).unwrap()
}

fn assert_problem(found: &[Value], kind: &str, part: &str) {
    assert_eq!(found.len(), 1, "{part}: {found:#?}");
    assert_eq!((&found[0]["kind"], &found[0]["line"]), (&kind.into(), &4.into()), "{found:#?}");
    assert!(found[0]["message"].as_str().unwrap().contains(part), "{part}: {found:#?}");
}

#[test]
fn what_is_wrong_is_found_before_anything_listens() {
    let authority = Authority::new("root");
    let [good, other] = [(); 2].map(|()| authority.sign(&["a.test"]));
    assert_eq!(problems(&good.cert, &good.key, None), Vec::<Value>::new());
    assert_eq!(problems(&good.cert, &good.key, Some(&authority.pem())), Vec::<Value>::new());
    for (cert, key, ca, part) in [
        ("", &*good.key, None, "cert.pem holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", &good.key, None, "is not valid PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &good.key,
            None,
            "cannot be read: ",
        ),
        (&good.cert, &good.cert, None, "key.pem holds no private key that can be used"),
        (&good.cert, &other.key, None, "key.pem does not belong to the certificate"),
        (&good.cert, &good.key, Some(""), "ca.pem holds no certificate"),
        (
            &good.cert,
            &good.key,
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "ca.pem cannot be used",
        ),
    ] {
        assert_problem(&problems(cert, key, ca), "certificate-invalid", part);
    }
    let routes = "[routes]\n\"/\" = { respond = \"ok\" }\n[server]\ntls = { certificates = [{ cert = \"no.pem\", key = \"no.key\" }] }\n";
    let site = Site::new(routes);
    let found: Vec<Value> = serde_json::from_slice(&site.run(&["check", "--json"]).stdout).unwrap();
    assert_problem(&found, "file-missing", "no.pem cannot be read: No such file");
    let output = site.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[file-missing]"));
    // What only concerns the mux needs no keys.
    assert!(site.run(&["routes"]).status.success());
    assert!(!Path::new("no.pem").exists());
}

#[test]
fn expired_certificates_are_warned_about() {
    let authority = Authority::new("root");
    for (from, to, part) in [(2000, 2001, "has expired on "), (2990, 2991, "is not valid before ")] {
        let identity = authority.sign_with(&["a.test"], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        });
        let server = https(&identity, "").serve();
        server.log.wait_for(&["WARN", part]);
    }
}
