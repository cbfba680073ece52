//! Calls others, as the query tells it, and says how that went.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use wasmux_sdk::{
    Request, ResponseWriter, Result,
    client::{self, CallBuilder, CallError, Pending, Response},
};

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let query = r.query();
    let urls: Vec<String> = query.get_all("url").map(str::to_owned).collect();
    let first = urls.first().map(String::as_str).unwrap_or_default();
    let number = |name| query.get(name).and_then(|text| text.parse().ok());
    match query.get("do").unwrap_or_default() {
        "get" => report(w, call(first, r, number).send()),
        "post" => {
            let mut body = Vec::new();
            r.read_to_end(&mut body)?;
            report(w, client::post(first, "text/plain", body))
        }
        "stream" => {
            let mut upload = client::request("POST", first).stream()?;
            let mut piece = [0; 10_000];
            loop {
                let count = r.read(&mut piece)?;
                if count == 0 {
                    break;
                }
                upload.write_all(&piece[..count])?;
            }
            report(w, upload.finish()?.wait())
        }
        "abandon" => abandon(w, r, first),
        "join" => {
            let pending: Result<Vec<Pending>, CallError> =
                urls.iter().map(|url| client::request("GET", url).start()).collect();
            client::join(pending?).into_iter().try_for_each(|response| report(w, response))
        }
        "select" => {
            let pending: Result<Vec<Pending>, CallError> =
                urls.iter().map(|url| client::request("GET", url).start()).collect();
            let pending = pending?;
            let all: Vec<_> = pending.iter().collect();
            let first = client::select(&all, number("ms").map(Duration::from_millis))?;
            Ok(writeln!(w, "{first:?}")?)
        }
        "gateway" => {
            let text = client::get(first)?.text()?;
            Ok(w.write_all(text.as_bytes())?)
        }
        "many" => {
            let calls: Vec<_> = (0..65).map(|_| client::request("GET", first).start()).collect();
            let failed = calls.into_iter().filter_map(Result::err).map(|error| error.kind());
            Ok(writeln!(w, "{:?}", failed.collect::<Vec<_>>())?)
        }
        // Leaves calls behind.
        "leave" => {
            let pending = client::request("GET", first).start()?;
            r.read_to_end(&mut Vec::new())?;
            std::mem::forget(pending);
            Ok(writeln!(w, "left")?)
        }
        "trap" => {
            let _pending = client::request("GET", first).start()?;
            r.read_to_end(&mut Vec::new())?;
            panic!("amidst a call")
        }
        _ => wasmux_sdk::not_found(w, r),
    }
}

/// Gives up on a body that it has begun to send, in one of several ways.
fn abandon(w: &mut ResponseWriter, r: &mut Request, url: &str) -> Result<()> {
    let mut upload = client::request("POST", url).stream()?;
    upload.write_all(b"half")?;
    r.read_to_end(&mut Vec::new())?;
    match r.query().get("how") {
        Some("drop") => drop(upload),
        Some("leave") => std::mem::forget(upload),
        _ => panic!("amidst a body"),
    }
    Ok(writeln!(w, "given up")?)
}

fn call(url: &str, r: &Request, number: impl Fn(&'static str) -> Option<u64>) -> CallBuilder {
    let mut call = client::request("GET", url);
    for name in ["host", "authorization", "user-agent", "x-own", "accept-encoding", "connection"] {
        if let Some(value) = r.headers().get(format!("x-send-{name}")) {
            call = call.header(name, value.as_bytes());
        }
    }
    let duration = |name| number(name).map(Duration::from_millis);
    if let Some(timeout) = duration("timeout") {
        call = call.timeout(timeout);
    }
    if let Some(timeout) = duration("connect") {
        call = call.connect_timeout(timeout);
    }
    if let Some(timeout) = duration("first") {
        call = call.first_byte_timeout(timeout);
    }
    if let Some(timeout) = duration("between") {
        call = call.between_bytes_timeout(timeout);
    }
    match number("redirects") {
        Some(most) => call.redirects(most as u32),
        None => call,
    }
}

fn report(w: &mut ResponseWriter, response: Result<Response, CallError>) -> Result<()> {
    match response {
        Ok(response) => {
            write!(w, "{} ", response.status().as_u16())?;
            match response.text() {
                Ok(text) => writeln!(w, "{text}")?,
                Err(error) => writeln!(w, "{:?}: {error}", error.kind())?,
            }
        }
        Err(error) => writeln!(w, "{:?}: {error}", error.kind())?,
    }
    Ok(())
}
