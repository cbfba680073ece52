//! A wasi:http 0.3 handler on the SDK of Spin.

use futures::SinkExt as _;
use http_body_util::{BodyExt as _, Full};
use spin_sdk::http::body::stream;
use spin_sdk::http::{HeaderMap, IntoResponse, Request, Response, StatusCode};
use spin_sdk::{http_service, wasip3};

type Failure = spin_sdk::http::Error;

#[http_service]
async fn handle(request: Request) -> Result<impl IntoResponse, Failure> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/see" => see(&request),
        "/echo" => Ok(Response::builder().header("x-guest", "spin").body(request.into_body())?.into_response()?),
        "/stream" => lines(),
        "/trailers" => trailers(),
        "/fail" => Err(Failure::other("this handler fails")),
        "/trap" => panic!("this handler panics"),
        _ => Ok((StatusCode::NOT_FOUND, "not here\n".to_owned()).into_response()?),
    }
}

type Answer = wasip3::http::types::Response;

fn see(request: &Request) -> Result<Answer, Failure> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("none");
    let name = request.uri().query().unwrap_or("none").trim_start_matches("name=").replace("%20", " ");
    let text = format!(
        "{} {}\nname {name}\nhost {}\nx-probe {}\n",
        request.method(),
        request.uri(),
        header("host"),
        header("x-probe"),
    );
    let response = Response::builder().header("x-guest", "spin").body(text)?;
    Ok(response.into_response()?)
}

/// Three lines, the later ones with time between them.
fn lines() -> Result<Answer, Failure> {
    let (mut sender, body) = stream::<&'static str>();
    wasip3::spawn(async move {
        for line in ["one\n", "two\n", "three\n"] {
            if sender.send(line).await.is_err() {
                return;
            }
            wasip3::clocks::monotonic_clock::wait_for(50_000_000).await;
        }
    });
    Ok(Response::new(body).into_response()?)
}

fn trailers() -> Result<Answer, Failure> {
    let mut fields = HeaderMap::new();
    fields.insert("x-end", "reached".parse().expect("a field value"));
    let body = Full::new(bytes::Bytes::from_static(b"with trailers\n"));
    Ok(Response::new(body.with_trailers(async move { Some(Ok(fields)) })).into_response()?)
}
