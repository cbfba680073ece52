//! The program's own log, on standard error.
//!
//! Guests write here too, so lines go through a bounded queue to a thread of their own: a reader that is slow to take
//! them costs lines and never holds up a request.

use std::io::IsTerminal as _;
use std::time::Duration;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

mod lines;
mod recent;

pub(crate) use lines::{DROPPED, LineWriter, Which};
pub use recent::{Follow, Line, Logs};

/// Where the level comes from: `WASMUX_LOG=debug`, `WASMUX_LOG=warn,guest=debug` (syntax of tracing's EnvFilter).
pub const LEVEL_VARIABLE: &str = "WASMUX_LOG";

/// How lines are written: `WASMUX_LOG_FORMAT=json`, one object a line, else text. A variable like the level, because the log
/// begins before routes.toml is read.
pub const FORMAT_VARIABLE: &str = "WASMUX_LOG_FORMAT";

/// How long an ending program waits for its last lines to be taken.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// The thread that writes lines; its drop waits, for a second at most, until the last ones are out.
#[derive(Debug)]
pub struct Flush(Option<WorkerGuard>);

impl Drop for Flush {
    fn drop(&mut self) {
        // On a thread of its own: where nobody reads, the guard's own drop can block for ever.
        let (Some(guard), (done, wait)) = (self.0.take(), std::sync::mpsc::channel::<()>()) else { return };
        let flushing = std::thread::Builder::new().spawn(move || {
            drop(guard);
            drop(done);
        });
        if flushing.is_ok() {
            let _ = wait.recv_timeout(FLUSH_WAIT);
        }
    }
}

/// Starts logging; colour only on a terminal.
///
/// # Errors
/// When `WASMUX_LOG` or `WASMUX_LOG_FORMAT` is malformed, or logging was started before.
pub fn start() -> Result<(Flush, Logs), String> {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var(LEVEL_VARIABLE)
        .from_env()
        .map_err(|error| {
            format!("{LEVEL_VARIABLE}: {error}; write a level such as `info` or `warn,guest=debug`")
        })?;
    // wasmtime-wasi opens a span for each call of a guest, which would stand in every line that the guest prints.
    let no_wasi_spans = "wasmtime_wasi=warn".parse().map_err(|error| format!("{LEVEL_VARIABLE}: {error}"))?;
    let filter = filter.add_directive(no_wasi_spans);
    let is_json = match std::env::var(FORMAT_VARIABLE).as_deref() {
        Err(_) | Ok("" | "text") => false,
        Ok("json") => true,
        Ok(other) => return Err(format!("{FORMAT_VARIABLE}: {other:?} is neither `text` nor `json`")),
    };
    let (writer, guard) = LineWriter::new(std::io::stderr(), Which::Own);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match is_json {
        true => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        false => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let logs = Logs::default();
    let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(logs.clone());
    subscriber.try_init().map_err(|error| error.to_string())?;
    Ok((guard, logs))
}
