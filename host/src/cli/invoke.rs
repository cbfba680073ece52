//! `wasmux invoke`: one request to one module, without a listener.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::BodyExt as _;
use wasmux_mux::{Found, Mux};

use super::{InvokeArgs, OK, PROBLEMS, engine, eprint, fail};
use crate::activity::Activity;
use crate::builder;
use crate::config::ProcessConfig;
use crate::connection::HEADERS_MAX;
use crate::error::chain;
use crate::guest::cache::CodeCache;
use crate::guest::{Artifact, Guest, GuestSettings, Incoming, Peer, RequestBody, RouteInfo};
use crate::request_id::RequestIds;

pub(super) fn run(args: &InvokeArgs) -> ExitCode {
    let prepared = load(args).and_then(|guest| Ok((guest, incoming(args)?)));
    let (guest, request) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => return fail(message),
    };
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime.block_on(exchange(guest, request)),
        Err(error) => fail(error),
    }
}

fn load(args: &InvokeArgs) -> Result<Arc<Guest>, String> {
    let mut file = args.file.clone();
    if file.is_dir() {
        let built = builder::build(std::slice::from_ref(&file)).pop().map(|(_, built)| built);
        file = built.ok_or("nothing was built")?.map_err(|error| error.to_string())?;
    }
    let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    // As much room as a server has that does not say how much: a component may take several places.
    let process = ProcessConfig::default();
    let engine = engine(&process)?;
    let cache = process.cache.map_or_else(CodeCache::off, CodeCache::at);
    let artifact = Artifact::load(&engine, &file, &cache);
    let settings = GuestSettings { name, env: args.env.clone(), ..GuestSettings::default() };
    let guest = artifact.and_then(|artifact| Guest::new(&engine, &artifact, settings));
    guest.map(Arc::new).map_err(|error| format!("{}: {error}", file.display()))
}

pub(super) fn parse_header(field: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = field.split_once(':').ok_or("write `Name: value`")?;
    match (HeaderName::from_bytes(name.trim().as_bytes()), HeaderValue::from_str(value.trim())) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err("HTTP does not allow this name or value".to_owned()),
    }
}

pub(super) fn parse_env(pair: &str) -> Result<(String, String), String> {
    let (name, value) = pair.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The request as the server would hand it over.
fn incoming(args: &InvokeArgs) -> Result<Incoming, String> {
    let uri: Uri = args.url.parse().map_err(|error| format!("{}: {error}", args.url))?;
    let authority = uri.authority().map_or("localhost", |authority| authority.as_str()).to_owned();
    let origin: Uri =
        uri.path_and_query().map_or("/", |text| text.as_str()).parse().map_err(|error| format!("{error}"))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = args.method.clone();
    parts.uri = origin;
    if args.headers.len() > HEADERS_MAX {
        return Err(format!("--header: at most {HEADERS_MAX} fields, as in the server"));
    }
    parts.headers.extend(args.headers.iter().cloned());
    if !parts.headers.contains_key(HOST) {
        parts.headers.extend(HeaderValue::from_str(&authority).map(|host| (HOST, host)));
    }
    let (route, values) = matched(args, parts.uri.path(), &authority)?;
    let id = RequestIds::new().assign(&parts.headers);
    let peer = Arc::new(Peer {
        remote: "127.0.0.1:0".to_owned(),
        local: "127.0.0.1:0".to_owned(),
        scheme: "http",
        tls: None,
        guard: None,
        stall: None,
        link: None,
        activity: Activity::new(),
    });
    Ok(Incoming {
        parts: Box::new(parts),
        authority,
        body: RequestBody::full(body(args)?),
        route: Arc::new(route),
        values,
        id,
        peer,
        via: None,
        notes: None,
    })
}

fn matched(args: &InvokeArgs, path: &str, host: &str) -> Result<(RouteInfo, Vec<Vec<u8>>), String> {
    let mut mux = Mux::new();
    mux.insert(args.pattern.as_str(), ()).map_err(|error| format!("--pattern: {error}"))?;
    let request = wasmux_mux::Request { method: args.method.as_str(), host, path, query: None };
    match mux.find(&request) {
        Found::Match(found) => {
            let (names, values) =
                found.values().map(|(name, value)| (name.to_owned(), value.into_owned())).unzip();
            Ok((RouteInfo { pattern: args.pattern.to_string(), names, number: 0 }, values))
        }
        _ => Err(format!("--pattern {}: it does not match {} {path}", args.pattern, args.method)),
    }
}

fn body(args: &InvokeArgs) -> Result<Bytes, String> {
    let Some(data) = &args.data else { return Ok(Bytes::new()) };
    let read = match data.strip_prefix('@') {
        None => return Ok(data.clone().into()),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        Some(file) => std::fs::read(Path::new(file)),
    };
    read.map(Bytes::from).map_err(|error| format!("--data {data}: {error}"))
}

async fn exchange(guest: Arc<Guest>, request: Incoming) -> ExitCode {
    let response = match guest.serve(request).await {
        Ok(response) => response,
        Err(error) => return fail(chain(&error)),
    };
    let (parts, mut body) = response.into_parts();
    let mut head = format!("{}\n", parts.status);
    for (name, value) in &parts.headers {
        head.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    eprint(head);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => {
                if std::io::stdout().lock().write_all(&data).is_err() {
                    return ExitCode::from(PROBLEMS);
                }
            }
            Ok(Err(frame)) => {
                for (name, value) in frame.trailers_ref().into_iter().flatten() {
                    eprint(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
                }
            }
            Err(error) => return fail(chain(&error)),
        }
    }
    OK
}
