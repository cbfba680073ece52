//! Forwards the `log` crate to the host (ABI.md section 5). Installed before every request, in guests only.
//!
//! Natively nothing is installed: a test that wants to see log lines brings its own logger.

use std::fmt::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::sys;

struct HostLog;

/// Makes the host the place where log lines go. A logger that the guest installed itself stays.
pub(crate) fn install() {
    if log::set_logger(&HostLog).is_ok() {
        // The host knows the level; asking it for each line is cheaper than asking for five levels at every request.
        log::set_max_level(LevelFilter::Trace);
    }
}

impl Log for HostLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        sys::log_enabled(code(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(text) = record.args().as_str() {
            return sys::log(code(record.level()), text);
        }
        let mut text = String::new();
        let _ = write!(text, "{}", record.args()); // a Display that fails leaves a shorter line
        sys::log(code(record.level()), &text);
    }

    fn flush(&self) {}
}

fn code(level: Level) -> i32 {
    match level {
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}
