//! Names that change their mind.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use super::{FORMS, ask_as, serve};
use crate::support::dns::Dns;
use crate::support::upstream::Upstream;

/// DNS rebinding: whoever runs a name that was granted has it point inside, at once or between check and connection.
#[test]
fn a_name_that_was_granted_does_not_lead_inside() {
    let inside = Upstream::named("inside");
    let port = inside.address.port();
    let addresses = [
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(10, 0, 0, 1),
        Ipv4Addr::new(127, 8, 8, 8),
    ];
    let current = Arc::new(Mutex::new(addresses[0]));
    let points_to = Arc::clone(&current);
    let dns = Dns::answering(move |_| *points_to.lock().unwrap());
    let settings = format!("[outbound]\nresolver = \"{}\"\n", dns.address);
    let server = serve(&format!("[\"http://rebind.test:{port}\"]"), "", &settings);
    for address in addresses {
        *current.lock().unwrap() = address;
        for host in FORMS {
            let told = ask_as(&server, host, &format!("do=get&url=http://rebind.test:{port}/"), &[], b"");
            assert!(told.starts_with("Denied"), "{address}, {host}: {told}");
        }
        server.log.wait_for(&["WARN", "rebind.test", &format!("{address}, which is not a public address")]);
    }
    assert_eq!(inside.connections(), 0);
}

/// What was judged is what is connected to: the second answer, which nobody asks for, would be refused.
#[test]
fn a_name_is_resolved_once_for_each_connection() {
    let upstream = Upstream::named("granted");
    let port = upstream.address.port();
    let dns = Dns::answering(|asked| match asked {
        0 => Ipv4Addr::LOCALHOST,
        _ => Ipv4Addr::new(169, 254, 169, 254),
    });
    let settings = format!("[outbound]\nresolver = \"{}\"\n", dns.address);
    let server = serve(&format!("[\"http://rebind.test:{port}\", \"127.0.0.1/32\"]"), "", &settings);
    let get = || ask_as(&server, FORMS[0], &format!("do=get&url=http://rebind.test:{port}/"), &[], b"");
    assert_eq!(get(), "200 granted");
    assert_eq!(get(), "200 granted", "by the connection that is there");
    assert_eq!(upstream.connections(), 1);
}
