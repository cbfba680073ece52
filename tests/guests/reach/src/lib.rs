//! A wasi:http 0.2 component that reaches for what it was not granted, and responds with what came of it.
//!
//! The path says what for; each is tried twice.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

use std::fmt::Debug;
use std::net::{TcpListener, TcpStream, UdpSocket};

use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

wasip2::http::proxy::export!(Reach);

struct Reach;

impl wasip2::exports::http::incoming_handler::Guest for Reach {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let told = format!("{}\n{}\n", reach(&path), reach(&path));
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first call");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first call");
        stream.blocking_write_and_flush(told.as_bytes()).expect("room");
        drop(stream);
        OutgoingBody::finish(body, None).expect("complete");
    }
}

fn reach(path: &str) -> String {
    match path {
        "/tcp" => told(&tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)),
        "/udp" => told(&udp_create_socket::create_udp_socket(IpAddressFamily::Ipv6)),
        "/connect" => told(&TcpStream::connect("127.0.0.1:1").map_err(|error| error.kind())),
        "/listen" => told(&TcpListener::bind("127.0.0.1:0").map_err(|error| error.kind())),
        "/datagram" => told(&UdpSocket::bind("127.0.0.1:0").map_err(|error| error.kind())),
        "/name" => {
            let network = instance_network::instance_network();
            told(&ip_name_lookup::resolve_addresses(&network, "example.test"))
        }
        "/folders" => format!("{}", preopens::get_directories().len()),
        "/file" => told(&std::fs::read("/etc/passwd").map_err(|error| error.kind())),
        "/env" => format!("{:?}", std::env::vars().collect::<Vec<_>>()),
        "/args" => format!("{}", std::env::args().count()),
        "/http" => send(),
        _ => "nothing".to_owned(),
    }
}

/// An error, or the word that there was none.
fn told<T, E: Debug>(result: &Result<T, E>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "granted".to_owned())
}

fn send() -> String {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some("example.test")).expect("an authority");
    request.set_path_with_query(Some("/there")).expect("a path");
    match outgoing_handler::handle(request, None) {
        Err(code) => format!("{code:?}"),
        Ok(future) => {
            future.subscribe().block();
            told(&future.get().expect("it is ready").expect("the first call"))
        }
    }
}
