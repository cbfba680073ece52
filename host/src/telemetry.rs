//! The program's own log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Where the level comes from: `WASMUX_LOG=debug`, `WASMUX_LOG=warn,guest=debug` (syntax of tracing's EnvFilter).
pub const LEVEL_VARIABLE: &str = "WASMUX_LOG";

/// Starts logging; colour only on a terminal.
///
/// # Errors
/// When `WASMUX_LOG` is malformed, or logging was started before.
pub fn start() -> Result<(), String> {
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| error.to_string())
}
