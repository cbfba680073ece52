//! The yardstick: a handler on hyper, without wasm.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

/// Serves until it is killed: hyper as its documentation shows it, on one thread.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("listening on http://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            let service = hyper::service::service_fn(async |_| {
                let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!\n")));
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                Ok::<_, Infallible>(response)
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let connection = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            tokio::task::spawn_local(connection);
        }
    });
}
