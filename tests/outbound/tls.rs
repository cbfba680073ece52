//! Calls to servers with certificates, straight and through a proxy of the environment.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use super::{FORMS, ask_as, serve, site};
use crate::support::dns::Dns;
use crate::support::server::PROGRAM;
use crate::support::tls::Authority;
use crate::support::upstream::{Upstream, read_head};
use crate::support::{Server, Site};

/// A server with a certificate for 127.0.0.1 and secure.test that says "secure".
fn secure(authority: &Authority) -> Server {
    let identity = authority.sign(&["127.0.0.1", "secure.test"]);
    let routes = "[server]\nlisten = \"127.0.0.1:0\"\naccess_log = \"json\"\n\
                  [server.tls]\n[[server.tls.certificates]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
                  [routes]\n\"/\" = { respond = \"secure\" }\n";
    Site::new(routes).file("cert.pem", &identity.cert).file("key.pem", &identity.key).serve()
}

#[test]
fn authorities_are_trusted_when_they_are_named() {
    let authority = Authority::new("inside");
    let upstream = secure(&authority);
    let (url, granted) = (&upstream.urls()[0], format!("[{:?}]", upstream.urls()[0]));
    let strangers = serve(&granted, "", "");
    let told = ask_as(&strangers, FORMS[0], &format!("do=get&url={url}/"), &[], b"");
    assert!(told.starts_with("Failed: "), "{told}");
    strangers.log.wait_for(&["certificate"]);
    let friends = site(&granted, "", "[outbound]\nroots = \"ca.pem\"\n").file("ca.pem", authority.pem());
    let friends = friends.serve();
    for host in FORMS {
        assert_eq!(ask_as(&friends, host, &format!("do=get&url={url}/"), &[], b""), "200 secure");
        upstream.out.wait_for(&["HTTP/2.0", "\"status\":200"]);
    }
}

/// A proxy that connects to this server, whatever it is asked for, and counts.
fn tunnels(to: SocketAddr) -> Upstream {
    Upstream::start(move |_, mut client| {
        let head = read_head(&mut client).unwrap();
        assert!(head.starts_with("CONNECT secure.test:"), "{head}");
        let mut server = TcpStream::connect(to).unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut into));
        let _ = std::io::copy(&mut server, &mut client);
    })
}

#[test]
fn proxies_of_the_environment_are_used_when_that_is_allowed() {
    let authority = Authority::new("inside");
    let upstream = secure(&authority);
    let (tunnel, dns) = (tunnels(upstream.address()), Dns::answering(|_| Ipv4Addr::LOCALHOST));
    let url = format!("https://secure.test:{}", upstream.address().port());
    for (allowed, connections) in [(false, 0), (true, 1)] {
        let keys = format!(
            "[outbound]\nroots = [\"ca.pem\"]\nresolver = \"{}\"\nproxy_from_environment = {allowed}\n",
            dns.address
        );
        let site = site(&format!("[{url:?}, \"127.0.0.1/32\"]"), "", &keys).file("ca.pem", authority.pem());
        let mut command = site.serve_command(Path::new(PROGRAM), &[]);
        command.env("HTTPS_PROXY", tunnel.url()).env_remove("NO_PROXY").env_remove("no_proxy");
        let server = Server::start(command, site);
        assert_eq!(ask_as(&server, FORMS[0], &format!("do=get&url={url}/"), &[], b""), "200 secure");
        assert_eq!(tunnel.connections(), connections);
    }
}

#[test]
fn authorities_that_cannot_be_read_are_told() {
    let routes = "[outbound]\nroots = [\"gone.pem\", \"empty.pem\", \"bad.pem\"]\n[routes]\n\"/\" = { respond = \"\" }\n";
    let bad = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let site = Site::new(routes).file("empty.pem", "").file("bad.pem", bad);
    let errors = String::from_utf8(site.run(&["check"]).stderr).unwrap();
    for said in ["gone.pem: No such file", "empty.pem: has no certificate in it", "bad.pem: "] {
        assert!(errors.contains(&format!("routes.toml:2: `roots`: {said}")), "{said}\n{errors}");
    }
}
