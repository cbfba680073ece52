//! The clocks of a call, each of which fires and is named.

use std::io::{Read as _, Write as _};

use super::{FORMS, ask_as, serve, serve_for};
use crate::support::upstream::{Upstream, read_head};

#[test]
fn every_clock_fires_and_is_named() {
    let silent = Upstream::start(|_, mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let halting = Upstream::start(|_, mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let server = serve(&format!("[{:?}, {:?}]", silent.url(), halting.url()), "", "");
    for (host, name) in FORMS.into_iter().zip(["module", "component"]) {
        let get =
            |url: String, limit: &str| ask_as(&server, host, &format!("do=get&url={url}/&{limit}"), &[], b"");
        for (limit, sentence) in
            [("timeout=100", "the call took too long"), ("first=100", "no response in time")]
        {
            let told = get(silent.url(), limit);
            assert!(told.starts_with("Timeout: "), "{host} {limit}: {told}");
            // A component keeps the time itself, and lets go of the call.
            if name == "module" {
                server.log.wait_for(&["DEBUG", "handler=\"module\"", "has failed", sentence]);
            }
        }
        let name = format!("GET {}/: ", halting.url());
        let told = get(halting.url(), "timeout=200");
        assert!(told.starts_with(&format!("200 Timeout: {name}")), "{host}: {told}");
        let told = get(halting.url(), "between=100");
        let kinds = ["Timeout", "Broken"].map(|kind| told.starts_with(&format!("200 {kind}: {name}")));
        assert!(kinds.contains(&true), "{host}: {told}");
        assert!(host != FORMS[0] || told.ends_with("the response's body paused for too long"), "{told}");
    }
    let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = format!("[outbound]\nresolver = \"{}\"\n", mute.local_addr().unwrap());
    let server = serve("[\"http://slow.test\"]", "", &resolver);
    for (host, name) in FORMS.into_iter().zip(["module", "component"]) {
        let told = ask_as(&server, host, "do=get&url=http://slow.test/&connect=100", &[], b"");
        assert!(told.starts_with("Timeout: "), "{host}: {told}");
        let sentence = "slow.test: the name was not resolved in time";
        server.log.wait_for(&["DEBUG", &format!("handler=\"{name}\""), "has failed", sentence]);
    }
    let own =
        format!("{{ to = [{:?}, {:?}], response_header_timeout = \"100ms\" }}", silent.url(), halting.url());
    let server = serve(&own, "", "[outbound]\nbody_idle_timeout = \"100ms\"\n");
    for host in FORMS {
        let get = |url: String| ask_as(&server, host, &format!("do=get&url={url}/"), &[], b"");
        assert!(get(silent.url()).starts_with("Timeout: "), "the handler's own clock");
        let told = get(halting.url());
        assert!(told.starts_with("200 Timeout: ") || told.starts_with("200 Broken: "), "{host}: {told}");
    }
    let server = serve_for(&silent, "limits = { timeout = \"300ms\" }");
    for host in FORMS {
        let response = server.request("GET", &format!("/?do=gateway&url={}/", silent.url()), &[host], b"");
        assert_eq!(response.status, 504, "the request's own time ends its calls, too");
    }
}
