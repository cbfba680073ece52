//! What made a guest fail, in words for the log.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::masks::Masks;
use super::pulse::Spent;
use crate::error::{Error, Kind};
use crate::limit::Limit;

/// What wasmtime says, in words alone, of a component that has more handles than it may have.
const TOO_MANY_HANDLES: &str = "store handle limit exceeded";

/// And of one that hands the host more in one call than it may.
const TOO_MUCH_IN_A_CALL: &str = "fuel allocated for hostcalls has been exhausted";

/// And of one whose fields take more than a set of them may: the header of a response, as a rule.
const TOO_LARGE_FIELDS: &str = "total size of fields exceeds limit";

/// The error that a guest has answered with, without its secrets.
pub(super) fn answered(code: &impl std::fmt::Debug, masks: &Masks) -> Error {
    Error::new(Kind::GuestError, masks.apply(&format!("{code:?}")))
}

/// Sorts out what made a guest fail. Whatever of it is the guest's own text is without its secrets.
pub(super) fn failure(
    error: wasmtime::Error,
    masks: &Masks,
    memory_refused: bool,
    memory_bytes_max: u64,
) -> Error {
    if error.is::<PoolConcurrencyLimitError>() {
        return Error::new(Kind::Limit(Limit::Instances), error);
    }
    let text = masks.apply(&describe(&error));
    if error.is::<Spent>() {
        return Error::new(Kind::Limit(Limit::Cpu), text);
    }
    let limit = if memory_refused { Some(Limit::Memory) } else { limit(&error) };
    match limit {
        Some(Limit::Memory) => {
            let limit = memory_bytes_max >> 10;
            Error::new(Kind::Limit(Limit::Memory), format!("{text}\nnote: limit `memory` is {limit} KiB"))
        }
        Some(limit) => Error::new(Kind::Limit(limit), text),
        None => Error::new(Kind::Trapped, text),
    }
}

/// The limit that an error is about, if it is.
fn limit(error: &wasmtime::Error) -> Option<Limit> {
    if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
        return Some(Limit::Stack);
    }
    error.chain().find_map(|cause| {
        if matches!(cause.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
            return Some(Limit::Handles);
        }
        let text = cause.to_string();
        if text.contains(TOO_MANY_HANDLES) {
            Some(Limit::Handles)
        } else if text.contains(TOO_LARGE_FIELDS) {
            Some(Limit::ResponseHeaderBytes)
        } else {
            text.contains(TOO_MUCH_IN_A_CALL).then_some(Limit::Memory)
        }
    })
}

/// The trap and the guest's backtrace with function names, innermost first.
pub(super) fn describe(error: &wasmtime::Error) -> String {
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
