//! Who may use the admin API, and whether it is what its description says.

use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;

use super::{says, site, site_with};
use crate::support::{Conn, Response, Server};

/// A connection to the socket in the state folder.
pub(super) fn admin(server: &Server) -> Conn {
    Conn::unix(&server.site.path(".wasmux/admin.sock"))
}

fn ask(mut conn: Conn, method: &str, target: &str, fields: &[&str], body: &[u8]) -> Response {
    conn.request(method, target, fields, body);
    conn.response()
}

#[test]
fn the_socket_is_for_its_user_alone() {
    let server = site().serve();
    let folder = std::fs::metadata(server.site.path(".wasmux/deployments")).unwrap();
    assert_eq!(folder.mode() & 0o777, 0o700);
    assert_eq!(ask(admin(&server), "GET", "/v1/health", &[], b"").status, 200);
}

#[test]
fn over_tcp_a_token_is_needed() {
    let keys = "[server]\nlisten = \"127.0.0.1:0\"\nadmin = { listen = \"127.0.0.1:0\", token = { file = \"token\" } }\n";
    let server = site_with(keys).file("token", "0123456789abcdef\n").serve();
    let line = server.out.wait_for(&["admin on http://"]);
    let address = line["admin on http://".len()..].parse().unwrap();
    let get = |target: &str, fields: &[&str]| ask(Conn::tcp(address), "GET", target, fields, b"");
    assert_eq!(get("/live", &[]).status, 200);
    for target in ["/metrics", "/v1/status", "/v1/health"] {
        let refused = get(target, &[]);
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, Some("Bearer realm=\"wasmux\""))
        );
        assert_eq!(get(target, &["Authorization: Bearer 0123456789abcdeF"]).status, 401);
        assert_eq!(get(target, &["Authorization: Bearer 0123456789abcdef"]).status, 200, "{target}");
    }
    let log = server.log.all().join("\n");
    assert!(!log.contains("0123456789abcdef"), "{log}");
}

/// The reason is heard, however much there was to be sent.
#[test]
fn large_uploads_are_refused_with_words() {
    let keys = "[server]\nlisten = \"127.0.0.1:0\"\nadmin = { listen = \"127.0.0.1:0\", token = { file = \"token\" } }\n";
    let site = site_with(keys).file("token", "0123456789abcdef\n").file("large.wasm", vec![0; 30 << 20]);
    let server = site.serve();
    let line = server.out.wait_for(&["admin on http://"]);
    let address = &line["admin on http://".len()..];
    let mut command = crate::support::server::wasmux(&server.site.path(""));
    command
        .args(["deploy", "hello", "large.wasm", "--admin", address])
        .env("WASMUX_ADMIN_TOKEN", "wrong-wrong-wrong");
    let output = crate::support::server::finish(&mut command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("the token is missing or wrong"), "{errors}");
    let conn = Conn::tcp(address.parse().unwrap());
    assert_eq!(ask(conn, "PUT", "/v1/handlers/hello/module", &[], &vec![0; 2 << 20]).status, 401);
}

#[test]
fn without_a_token_there_are_probes_and_metrics() {
    let server = site_with("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n").serve();
    let line = server.out.wait_for(&["admin on http://"]);
    let address = line["admin on http://".len()..].parse().unwrap();
    let get = |target: &str| ask(Conn::tcp(address), "GET", target, &[], b"");
    assert_eq!((get("/metrics").status, get("/live").status), (200, 200));
    let refused = get("/v1/status");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("give `admin` in [server] a `token`"));
    assert_eq!(ask(Conn::tcp(address), "POST", "/v1/reload", &[], b"").status, 403);
}

#[test]
fn mistakes_are_told_with_their_lines() {
    for (admin, said) in [
        ("\"0.0.0.0:9090\"", "is every interface"),
        ("{ listen = \"0.0.0.0:9090\" }", "is every interface"),
        ("{ listen = \"10.0.0.1:9090\", token = { file = \"token\" } }", "a token would travel in the clear"),
        ("{ token = { file = \"short\" } }", "`token` needs 16 visible ASCII characters"),
        ("{ token = \"0123456789abcdef\" }", "the secret `token` must be named, not written here"),
        ("{ lisen = \"127.0.0.1:1\" }", "unknown key `lisen`"),
    ] {
        let site = site_with(&format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin = {admin}\n"));
        let output = site.file("token", "0123456789abcdef").file("short", "abc").run(&["check"]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("routes.toml:3: ") && errors.contains(said), "{admin}: {errors}");
    }
}

/// Every operation of openapi.json is there, answers with one of the statuses that it names, and with its required keys.
#[test]
fn the_description_is_true() {
    let server = site().serve();
    let description: Value =
        serde_json::from_slice(&ask(admin(&server), "GET", "/v1/openapi.json", &[], b"").body).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut seen = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let target = path.replace("{number}", "1").replace("{other}", "1").replace("{name}", "hello");
            let body = match target.as_str() {
                "/v1/handlers/hello/module" => says("new"),
                "/v1/routes" => std::fs::read_to_string(server.site.path("routes.toml")).unwrap(),
                _ => String::new(),
            };
            // This one ends the process, and is asked for elsewhere.
            if target == "/v1/drain" {
                continue;
            }
            let target = if target.ends_with("/module") { format!("{target}?form=wat") } else { target };
            let response = ask(admin(&server), &method.to_uppercase(), &target, &[], body.as_bytes());
            let known = &operation["responses"][response.status.to_string()];
            assert!(known.is_object(), "{method} {path} answers {}: {}", response.status, response.text());
            let schema = &known["content"]["application/json"]["schema"];
            let schema = match schema["$ref"].as_str() {
                Some(name) => &description["components"]["schemas"][name.rsplit('/').next().unwrap()],
                None => schema,
            };
            let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            for key in schema["required"].as_array().into_iter().flatten() {
                assert!(answer.get(key.as_str().unwrap()).is_some(), "{method} {path} lacks {key}: {answer}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 14);
    let response = ask(admin(&server), "GET", "/v1/nothing", &[], b"");
    assert_eq!(response.status, 404);
    for (target, status) in
        [("/v1/deployments/x", 400), ("/v1/deployments/99", 404), ("/v1/logs?level=loud", 400)]
    {
        let response = ask(admin(&server), "GET", target, &[], b"");
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(response.status, status);
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    let bad = ask(admin(&server), "PUT", "/v1/routes", &[], b"[routes]\n\"/\" = \"gone\"\n");
    let answer: Value = serde_json::from_slice(&bad.body).unwrap();
    assert_eq!((bad.status, &answer["error"]["problems"][0]["line"]), (422, &2.into()), "{answer}");
}

#[test]
fn whoever_may_do_nothing_keeps_no_probe_out() {
    let server = site_with("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n").serve();
    let line = server.out.wait_for(&["admin on http://"]);
    let address = line["admin on http://".len()..].parse().unwrap();
    let idle: Vec<_> = (0..80).map(|_| Conn::tcp(address)).collect();
    assert_eq!(ask(Conn::tcp(address), "GET", "/live", &[], b"").status, 200);
    drop(idle);
}

#[test]
fn a_name_for_every_interface_is_refused_too() {
    let site = site_with("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"0:0\"\n");
    let output = site.run(&["serve"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && errors.contains("`admin`: 0:0 is every interface"), "{errors}");
}

#[test]
fn those_that_follow_the_log_keep_nobody_from_reading_it() {
    let server = site().serve();
    server.log.wait_for(&["ready: process"]);
    let follow = || {
        let mut conn = admin(&server);
        conn.request("GET", "/v1/logs?follow=1", &[], b"");
        (conn.head().status, conn)
    };
    let followers: Vec<_> = (0..16).map(|_| follow()).collect();
    assert!(followers.iter().all(|(status, _)| *status == 200));
    assert_eq!(follow().0, 503);
    let read = ask(admin(&server), "GET", "/v1/logs", &[], b"");
    assert!(read.status == 200 && read.text().contains("ready: process"));
}
