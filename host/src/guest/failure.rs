//! What made a guest fail, in words for the log.

use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::pulse::Spent;
use crate::error::{Error, Kind};
use crate::limit::Limit;

/// Sorts out what made a guest fail.
pub(super) fn failure(error: wasmtime::Error, memory_refused: bool, memory_bytes_max: u64) -> Error {
    if error.is::<PoolConcurrencyLimitError>() {
        return Error::new(Kind::Limit(Limit::Instances), error);
    }
    let text = describe(&error);
    if error.is::<Spent>() {
        return Error::new(Kind::Limit(Limit::Cpu), text);
    }
    if memory_refused {
        let limit = memory_bytes_max >> 10;
        return Error::new(
            Kind::Trapped,
            format!("{text}\nnote: `memory.grow` was refused: limit `memory` is {limit} KiB"),
        );
    }
    Error::new(Kind::Trapped, text)
}

/// The trap and the guest's backtrace with function names, innermost first.
fn describe(error: &wasmtime::Error) -> String {
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    match error.downcast_ref::<wasmtime::WasmBacktrace>() {
        Some(backtrace) if has_plain_names(backtrace) => format!("{cause}\n{backtrace}"),
        Some(backtrace) => format!("{cause}\n{}", backtrace.to_string().escape_debug()),
        None => cause,
    }
}

/// Names come from the module, which may be anybody's: they must not break the log's form.
fn has_plain_names(backtrace: &wasmtime::WasmBacktrace) -> bool {
    let is_plain = |name: Option<&str>| !name.is_some_and(|name| name.contains(char::is_control));
    backtrace.frames().iter().all(|frame| {
        is_plain(frame.func_name())
            && is_plain(frame.module().name())
            && frame.symbols().iter().all(|symbol| is_plain(symbol.name()) && is_plain(symbol.file()))
    })
}
