//! Run with: cargo run --release -- serve
//! Then: curl http://localhost:8080/hello/World
//!
//! The smallest handler: a name from the path, a greeting from the environment.

use std::{env, io::Write};

use wasmux_sdk::{Request, ResponseWriter, Result};

/// `GET /hello/{name}`: greets. `GREETING`, set in routes.toml, says how.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let greeting = env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned());
    writeln!(w, "{greeting}, {}!", r.path_value("name"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::Recorder;

    #[test]
    fn greets_by_name() {
        for (path, want) in [("/hello/World", "Hello, World!\n"), ("/hello/J%C3%BCrgen", "Hello, Jürgen!\n")]
        {
            let response = Recorder::serve(serve_http, Request::get(path).pattern("GET /hello/{name}"));
            assert_eq!(response.status(), 200);
            assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(response.text(), want);
        }
    }
}
