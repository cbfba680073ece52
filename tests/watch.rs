//! `serve --watch`: what is saved is built and served, what is broken says so, and everything else goes on.

mod crates;
mod modules;

use std::time::{Duration, Instant};

use crate::support::{DEADLINE, Response, Server, Site};

/// Serves a site in watch mode. Its crates are built before, which may take longer than a server may take to listen.
fn watch(site: Site) -> Server {
    drop(site.run(&["build"]));
    let server = site.serve_with(&["--watch"]);
    server.log.wait_for(&["watching routes.toml"]);
    server
}

/// Asks until the response is as it should be.
fn until(server: &Server, target: &str, is_wanted: impl Fn(&Response) -> bool) -> Response {
    let until = Instant::now() + DEADLINE;
    loop {
        let response = server.get(target);
        if is_wanted(&response) {
            return response;
        }
        assert!(Instant::now() < until, "{target} still says: {response:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`until`], for a text.
fn until_says(server: &Server, target: &str, text: &str) {
    until(server, target, |response| response.status == 200 && response.text() == text);
}

/// Saves as most editors do: aside, then in its place.
fn save(server: &Server, name: &str, contents: impl AsRef<[u8]>) {
    let (aside, file) = (server.site.path(&format!("{name}.tmp~")), server.site.path(name));
    std::fs::write(&aside, contents).unwrap();
    std::fs::rename(aside, file).unwrap();
}

/// A module that answers with this text.
fn says(text: &str) -> String {
    format!(
        "(module (import \"wasmux:http/1\" \"respond\" (func $respond (param i32 i32 i32 i32 i32) (result i32)))\n\
         (memory (export \"memory\") 1) (data (i32.const 32) \"{text}\")\n(func (export \"serve_http\")\
         (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const {})))))",
        text.len()
    )
}
