//! A raw wasi:http 0.3 component that does what the query tells it (`?do=WORD&n=NUMBER`), misuse included: for tests of the
//! server.
#![cfg(target_family = "wasm")] // natively there is nothing to export to

mod hostile;

use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Trailers};
use wasip3::wit_bindgen::StreamResult;
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(Trouble);

struct Trouble;

type End = Result<Option<Trailers>, ErrorCode>;

/// Requests that this instance has begun with.
static COUNT: AtomicU32 = AtomicU32::new(0);

impl wasip3::exports::http::handler::Guest for Trouble {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.get_path_with_query().unwrap_or_default();
        let value = |key: &str| {
            let pairs = path.split_once('?').map_or("", |(_, query)| query).split('&');
            pairs
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value)
        };
        let n: u64 = value("n").and_then(|n| n.parse().ok()).unwrap_or(0);
        match value("do").unwrap_or("hello") {
            "hello" => Ok(text("Hello, 0.3!\n")),
            "count" => Ok(text(&format!("{count}\n"))),
            "info" => Ok(text(&info(&request))),
            "error" => Err(ErrorCode::ConfigurationError),
            "panic" => panic!("as asked"),
            "spin" => loop {
                std::hint::black_box(());
            },
            "wait" => {
                wait_for(n * 1_000_000).await;
                Ok(text("waited\n"))
            }
            "print" => {
                println!("printed {n}");
                Ok(text("printed\n"))
            }
            "grow" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&kept);
                }
            }
            "status" => Ok(with_status(n as u16)),
            "declare" => Ok(declared(value("length").unwrap_or("3"), n)),
            "echo" => Ok(echo(request)),
            "copy" => Ok(copy(request)),
            "drain" => Ok(drain(request).await),
            "trailers" => Ok(trailers(n)),
            "flood" => Ok(flood(n)),
            "leak" => Ok(leak(n)),
            "after" => Ok(after(n, value("then").unwrap_or("return").to_owned())),
            "mid" => Ok(mid()),
            other => Ok(hostile::misbehave(other).await),
        }
    }
}

/// A response, and the two ends to fill it from.
fn streamed(fields: &[(&str, &str)]) -> (Response, StreamWriter<u8>, wasip3::wit_bindgen::FutureWriter<End>) {
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).expect("a field");
    }
    let (writer, contents) = wit_stream::new();
    let (end, rest) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(headers, Some(contents), rest);
    (response, writer, end)
}

fn text(text: &str) -> Response {
    let (response, mut writer, _) = streamed(&[("content-type", "text/plain")]);
    let text = text.as_bytes().to_vec();
    spawn_local(async move { drop(writer.write_all(text).await) });
    response
}

fn info(request: &Request) -> String {
    let host =
        request.get_headers().get("host").into_iter().map(|host| String::from_utf8_lossy(&host).into_owned());
    let (scheme, authority) = (request.get_scheme(), request.get_authority());
    let path = request.get_path_with_query();
    format!(
        "{:?} {scheme:?} {authority:?} {path:?} host={:?}\n",
        request.get_method(),
        host.collect::<Vec<_>>()
    )
}

fn with_status(status: u16) -> Response {
    let (response, mut writer, _) = streamed(&[]);
    if response.set_status_code(status).is_err() {
        return text("no such status\n");
    }
    spawn_local(async move { drop(writer.write_all(b"body\n".to_vec()).await) });
    response
}

/// Declares one length and writes another.
fn declared(length: &str, written: u64) -> Response {
    let (response, mut writer, _) = streamed(&[("content-length", length)]);
    spawn_local(async move { drop(writer.write_all(vec![b'x'; written as usize]).await) });
    response
}

fn body_of(request: Request) -> (StreamReader<u8>, FutureReader<End>) {
    let (_, processed) = wit_future::new(|| Ok(()));
    Request::consume_body(request, processed)
}

/// Hands the body back without looking at it.
fn echo(request: Request) -> Response {
    let (contents, end) = body_of(request);
    Response::new(Fields::new(), Some(contents), end).0
}

/// Hands it back piece by piece.
fn copy(request: Request) -> Response {
    let (mut contents, rest) = body_of(request);
    let (response, mut writer, end) = streamed(&[]);
    spawn_local(async move {
        loop {
            let (result, piece) = contents.read(Vec::with_capacity(16 << 10)).await;
            if !writer.write_all(piece).await.is_empty() || matches!(result, StreamResult::Dropped) {
                break;
            }
        }
        drop(writer);
        let _ = end.write(rest.await).await;
    });
    response
}

/// Reads all of it, and says how much there was and how it ended.
async fn drain(request: Request) -> Response {
    let (mut contents, rest) = body_of(request);
    let mut count = 0;
    loop {
        let (result, piece) = contents.read(Vec::with_capacity(64 << 10)).await;
        count += piece.len();
        if matches!(result, StreamResult::Dropped) {
            break;
        }
    }
    drop(contents);
    let end = match rest.await {
        Ok(Some(trailers)) => format!("{} trailers", trailers.copy_all().len()),
        Ok(None) => "no trailers".to_owned(),
        Err(code) => format!("{code:?}"),
    };
    println!("drained {count} bytes, {end}");
    text(&format!("{count} bytes, {end}\n"))
}

/// So many bytes, then trailers.
fn trailers(bytes: u64) -> Response {
    let (response, mut writer, end) = streamed(&[("trailer", "x-sum")]);
    spawn_local(async move {
        writer.write_all(vec![b'x'; bytes as usize]).await;
        drop(writer);
        let trailers = Fields::new();
        trailers.append("x-sum", b"42").expect("a field");
        trailers.append("content-length", b"7").expect("a field");
        let _ = end.write(Ok(Some(trailers))).await;
    });
    response
}

/// Writes for as long as somebody reads, at most so many MiB.
fn flood(mib: u64) -> Response {
    let (response, mut writer, _) = streamed(&[]);
    spawn_local(async move {
        for written in 0..mib {
            if !writer.write_all(vec![b'x'; 1 << 20]).await.is_empty() {
                println!("nobody reads beyond {written} MiB");
                return;
            }
        }
    });
    response
}

/// Never ends its body.
fn leak(bytes: u64) -> Response {
    let (response, mut writer, end) = streamed(&[]);
    spawn_local(async move {
        if bytes > 0 {
            writer.write_all(vec![b'x'; bytes as usize]).await;
        }
        std::mem::forget((writer, end));
    });
    response
}

/// Goes on after a complete response.
fn after(ms: u64, then: String) -> Response {
    let (response, mut writer, end) = streamed(&[]);
    spawn_local(async move {
        writer.write_all(b"before\n".to_vec()).await;
        drop((writer, end));
        wait_for(ms * 1_000_000).await;
        match &*then {
            "panic" => panic!("as asked"),
            word => println!("after: {word}"),
        }
    });
    response
}

/// Traps in the middle of its response.
fn mid() -> Response {
    let (response, mut writer, _) = streamed(&[]);
    spawn_local(async move {
        writer.write_all(b"first\n".to_vec()).await;
        wait_for(20_000_000).await;
        panic!("as asked");
    });
    response
}
