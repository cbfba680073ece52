//! The yardsticks: handlers on hyper, without wasm.

use std::convert::Infallible;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody;

/// What a row is compared with: a native handler that does the same work, as far as there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Yardstick {
    /// A short text.
    Hello,
    /// The request's body.
    Echo,
    /// A file of the example `hello`, by tower-http.
    Files,
}

/// Serves until it is killed: hyper as its documentation shows it, on one thread.
pub(crate) fn serve(yardstick: Yardstick) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match yardstick {
            Yardstick::Hello => accept(service_fn(async |_| Ok(hello()))).await,
            Yardstick::Echo => {
                accept(service_fn(async |request: Request<Incoming>| Ok(Response::new(request.into_body()))))
                    .await;
            }
            Yardstick::Files => accept(service_fn(async |request| Ok(file(request).await))).await,
        }
    });
}

async fn accept<S, B>(service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("listening on http://{}", listener.local_addr().expect("an address"));
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let connection = hyper::server::conn::http1::Builder::new();
        let connection = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service.clone());
        tokio::task::spawn_local(connection);
    }
}

fn hello() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!\n")));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

async fn file(request: Request<Incoming>) -> Response<ServeFileSystemResponseBody> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello/src");
    ServeDir::new(folder).try_call(request).await.expect("the file can be read")
}
