//! Uses what it was granted, as the query tells it.

use std::io::Write as _;

use wasmux_sdk::{Request, ResponseWriter, Result, config, log};

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let query = r.query();
    let value = |name| query.get(name).unwrap_or_default();
    let (name, text) = (value("name"), value("text"));
    match value("do") {
        "get" => writeln!(w, "{:?}", config::get(name))?,
        "all" => writeln!(w, "{:?}", config::all())?,
        "log" => log::info!("it is {}", config::get(name).unwrap_or_default()),
        "read" => writeln!(w, "{:?}", std::fs::read_to_string(name).map_err(|error| error.kind()))?,
        "write" => writeln!(w, "{:?}", std::fs::write(name, text).map_err(|error| error.kind()))?,
        "remove" => writeln!(w, "{:?}", std::fs::remove_file(name).map_err(|error| error.kind()))?,
        _ => w.write_header(wasmux_sdk::StatusCode::NOT_FOUND),
    }
    Ok(())
}
