//! What a core module imports from `wasmux:config/1`: ABI.md section 9.

use wasmtime::{Caller, Linker, Result};
use wasmux_abi::{CONFIG_MODULE, Errno, FieldsWriter, fields_size};

use super::super::super::grants::Settings;
use super::super::super::memory::{self, Region};
use super::super::super::state::ModuleState;

pub(super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker.func_wrap(CONFIG_MODULE, "get", get)?.func_wrap(CONFIG_MODULE, "all", all)?;
    Ok(())
}

/// A module that imports any of this was granted some, possibly empty.
fn settings(state: &ModuleState) -> Option<&Settings> {
    state.core.common.grants.settings.as_deref()
}

fn get(mut caller: Caller<'_, ModuleState>, name: u32, name_len: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let name = Region::new("get", name, name_len).within(data)?;
    let value = str::from_utf8(name).ok().and_then(|name| settings(state)?.get(name));
    let buffer = Region::new("get", ptr, len);
    let Some(value) = value else {
        buffer.within(data)?;
        return Ok(Errno::Absent.code());
    };
    let buffer = buffer.within_mut(data)?;
    if let Some(room) = buffer.get_mut(..value.len()) {
        room.copy_from_slice(value.as_bytes());
    }
    Ok(value.len() as i32)
}

fn all(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("all", ptr, len).within_mut(data)?;
    let pairs = || {
        let settings = settings(state).into_iter().flat_map(Settings::iter);
        settings.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    };
    let size = fields_size(pairs());
    if size <= buffer.len() {
        let mut writer = FieldsWriter::new(buffer);
        pairs().for_each(|(name, value)| writer.push(name, value));
    }
    Ok(size as i32)
}
