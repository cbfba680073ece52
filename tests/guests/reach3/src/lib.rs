//! A wasi:http 0.3 component that reaches for what it was not granted, and responds with what came of it.
//!
//! The path says what for; each is tried twice.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

use std::fmt::Debug;
use std::net::TcpStream;

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::sockets::ip_name_lookup;
use wasip3::sockets::types::{IpAddressFamily, TcpSocket, UdpSocket};

wasip3::http::service::export!(Reach);

struct Reach;

impl wasip3::exports::http::handler::Guest for Reach {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let told = format!("{}\n{}\n", reach(&path).await, reach(&path).await);
        let (mut writer, contents) = wasip3::wit_stream::new();
        let (trailers, rest) = wasip3::wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(contents), rest);
        wasip3::spawn_local(async move {
            writer.write_all(told.into_bytes()).await;
            drop(writer);
            let _ = trailers.write(Ok(None)).await;
        });
        Ok(response)
    }
}

async fn reach(path: &str) -> String {
    match path {
        "/tcp" => told(&TcpSocket::create(IpAddressFamily::Ipv4)),
        "/udp" => told(&UdpSocket::create(IpAddressFamily::Ipv6)),
        "/connect" => told(&TcpStream::connect("127.0.0.1:1").map_err(|error| error.kind())),
        "/name" => told(&ip_name_lookup::resolve_addresses("example.test".to_owned()).await),
        "/folders" => format!("{}", wasip3::filesystem::preopens::get_directories().len()),
        "/http" => send().await,
        _ => "nothing".to_owned(),
    }
}

/// An error, or the word that there was none.
fn told<T, E: Debug>(result: &Result<T, E>) -> String {
    result.as_ref().map_or_else(|error| format!("{error:?}"), |_| "granted".to_owned())
}

async fn send() -> String {
    let (_, rest) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, rest, None);
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some("example.test")).expect("an authority");
    request.set_path_with_query(Some("/there")).expect("a path");
    told(&client::send(request).await)
}
