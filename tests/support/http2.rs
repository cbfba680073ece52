//! An HTTP/2 client with prior knowledge.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};

use super::DEADLINE;

/// Runs a conversation; fails when it takes too long.
pub(crate) fn run<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, conversation).await.expect("an answer in time") })
}

/// Opens a connection; the second value ends with it.
pub(crate) async fn connect(
    address: SocketAddr,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    (client, tokio::spawn(connection))
}

/// A request for the authority `localhost`.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://localhost{path}")).body(()).unwrap()
}

/// Reads a body and its trailers; an error when the stream was reset.
pub(crate) async fn whole(
    response: Response<h2::RecvStream>,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok((body, stream.trailers().await?))
}

/// Sends a request without a body and reads its response: status and body.
pub(crate) async fn get(client: &SendRequest<Bytes>, path: &str) -> (u16, String) {
    let mut client = client.clone().ready().await.unwrap();
    let (response, _) = client.send_request(request("GET", path), true).unwrap();
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    let (body, _) = whole(response).await.unwrap();
    (status, String::from_utf8(body).unwrap())
}
