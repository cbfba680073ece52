//! How many header fields a request and a response may have, and how large they may be, on every ABI.

use crate::support::guests::{component, puppet_folder};
use crate::support::{Server, Site, http2};

/// Handlers that play a script (`?ops=`), one for each ABI.
const SCRIPTS: [&str; 3] = ["puppet", "p2", "p3"];

fn serve(limits: &str) -> Server {
    let (puppet, p2, p3) = (puppet_folder(), component("proxy"), component("service"));
    let routes = format!(
        r#"
        [defaults]
        {limits}
        [handlers]
        puppet = {{ wasm = {puppet:?} }}
        p2 = {{ wasm = {p2:?} }}
        p3 = {{ wasm = {p3:?} }}
        [routes]
        "/puppet" = "puppet"
        "/p2" = "p2"
        "/p3" = "p3"
        "/fixed" = {{ respond = "fixed" }}
        "#
    );
    Site::new(&routes).log_level("debug").serve()
}

/// `hdr:NAME:VALUE` so many times.
fn header_ops(count: usize, value: &str) -> String {
    (0..count).map(|index| format!("hdr:x-{index}:{value},")).collect()
}

#[test]
fn requests_beyond_them_get_431() {
    let server = serve("request_headers = 10\nrequest_header_bytes = \"1KiB\"");
    let many: Vec<String> = (0..11).map(|index| format!("X-{index}: v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let large = format!("X-Large: {}", "v".repeat(1024));
    let mut conn = server.connect();
    for handler in SCRIPTS {
        for (reason, fields) in [("request_headers", &many[..]), ("request_header_bytes", &[&*large])] {
            let target = format!("/{handler}?ops=text:x");
            let count = server.log.count(&format!("reason=\"{reason}\""));
            conn.request("GET", &target, fields, b"");
            let response = conn.response();
            assert_eq!(response.status, 431, "{handler}");
            assert!(
                response.text().starts_with("the request has too large a header (request "),
                "{response:?}"
            );
            server.log.wait_for_many(&format!("reason=\"{reason}\""), count + 1);
            http2::run(async {
                let (client, _connection) = http2::connect(server.address()).await;
                let mut request = http2::request("GET", &target);
                for field in fields {
                    let (name, value) = field.split_once(": ").unwrap();
                    let name: http::HeaderName = name.to_lowercase().parse().unwrap();
                    request.headers_mut().insert(name, value.parse().unwrap());
                }
                let (response, _) =
                    client.clone().ready().await.unwrap().send_request(request, true).unwrap();
                assert_eq!(response.await.unwrap().status().as_u16(), 431, "{handler}");
                assert_eq!(http2::get(&client, &target).await, (200, "x".to_owned()), "{handler}");
            });
        }
        // Ten are not too many, and the connection goes on; what has no guest has no such limit.
        conn.request("GET", &format!("/{handler}?ops=text:x"), &many[..9], b"");
        assert_eq!(conn.response().text(), "x", "{handler}");
        conn.request("GET", "/fixed", &many, b"");
        assert_eq!(conn.response().text(), "fixed");
    }
}

#[test]
fn responses_beyond_them_are_500s() {
    let server = serve("response_headers = 20\nresponse_header_bytes = \"2KiB\"");
    let large = "v".repeat(3000);
    for handler in SCRIPTS {
        for (reason, ops) in
            [("response_headers", header_ops(30, "v")), ("response_header_bytes", header_ops(1, &large))]
        {
            let count = server.log.count(&format!("reason=\"{reason}\""));
            // In one piece, and streamed.
            for (round, end) in ["text:x", "text:x,flush,text:y"].into_iter().enumerate() {
                let response = server.get(&format!("/{handler}?ops={ops}{end}"));
                assert_eq!(response.status, 500, "{handler} {reason} {end}: {response:?}");
                // The SDK has a response of its own for what the host does not take.
                let text = response.text();
                let is_ours = text.starts_with("the handler's response has too large a header (request ");
                assert!(is_ours || handler == "puppet", "{text}");
                server.log.wait_for_many(&format!("reason=\"{reason}\""), count + round + 1);
            }
        }
        let few = header_ops(15, "v");
        assert_eq!(server.get(&format!("/{handler}?ops={few}text:x")).text(), "x", "{handler}");
    }
}

#[test]
fn trailers_beyond_them_break_the_response_off() {
    let server = serve("response_header_bytes = \"2KiB\"");
    let large = "v".repeat(3000);
    for (count, handler) in SCRIPTS.into_iter().enumerate() {
        let response =
            server.get(&format!("/{handler}?ops=text:a,flush,sleep:50,text:b,utrailer:x-t:{large}"));
        assert_eq!((response.status, response.complete), (200, false), "{handler}");
        server.log.wait_for_many("reason=\"response_header_bytes\"", count + 1);
    }
}
