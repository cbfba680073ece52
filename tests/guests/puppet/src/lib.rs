//! The puppet: a handler that does what the query of the request tells it, so that a test of the server writes the
//! handler's part into its request.
//!
//! `GET /puppet?ops=status:201,hdr:X-One:1,write:3000,flush,text:end%0A` answers `201` with a header `X-One`, a body
//! of 3000 bytes, a flush, and `end`. [`script::Op`] lists the operations; without any, the body is `ok`.

mod run;
mod see;

use std::io::Write;

use wasmux_sdk::{Request, ResponseWriter, Result, StatusCode};

/// Runs the operations in the query, in order.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let path = r.path_bytes();
    let first = path.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
    w.set_header("X-Puppet", [b"/", first].concat());
    let Some(list) = script::parse(r.raw_query_bytes()) else {
        w.write_header(StatusCode::INTERNAL_SERVER_ERROR);
        w.write_all(b"bad ops\n")?;
        return Ok(());
    };
    run::run(&list, w, r);
    Ok(())
}

#[cfg(test)]
mod tests;
