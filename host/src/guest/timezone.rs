//! `wasi:clocks/timezone`, which is unstable and not in wasmtime: every guest is in UTC, wherever the machine is.

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::clocks as p2;
use wasmtime_wasi::p3::bindings::clocks as p3;

use super::state::ComponentState;

/// Defines it in 0.2, and for components that may be concurrent in 0.3.
pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>, concurrent: bool) -> Result<()> {
    let mut options = p2::timezone::LinkOptions::default();
    p2::timezone::add_to_linker::<_, HasSelf<_>>(linker, options.clocks_timezone(true), |state| state)?;
    if concurrent {
        let mut options = p3::timezone::LinkOptions::default();
        p3::timezone::add_to_linker::<_, HasSelf<_>>(linker, options.clocks_timezone(true), |state| state)?;
    }
    Ok(())
}

impl p2::timezone::Host for ComponentState {
    fn display(&mut self, _: p2::wall_clock::Datetime) -> Result<p2::timezone::TimezoneDisplay> {
        Ok(p2::timezone::TimezoneDisplay {
            utc_offset: 0,
            name: "UTC".to_owned(),
            in_daylight_saving_time: false,
        })
    }

    fn utc_offset(&mut self, _: p2::wall_clock::Datetime) -> Result<i32> {
        Ok(0)
    }
}

impl p3::timezone::Host for ComponentState {
    fn iana_id(&mut self) -> Result<Option<String>> {
        Ok(Some("Etc/UTC".to_owned()))
    }

    fn utc_offset(&mut self, _: p3::system_clock::Instant) -> Result<Option<i64>> {
        Ok(Some(0))
    }

    fn to_debug_string(&mut self) -> Result<String> {
        Ok("Etc/UTC".to_owned())
    }
}
