//! Whether an instance of a module can be put back into the state that it was made in, and the module that allows it.
//!
//! That state is one memory and some numbers in globals, if nothing else of an instance can change: this is what is proved
//! here, of every instruction. The globals then get exports, through which the host reaches them; no guest sees its own
//! exports. It is done before a module is compiled, so that compiled code with these exports has its proof behind it.

use std::borrow::Cow;
use std::fmt;

use wasmparser::{
    BinaryReaderError, ExternalKind, Global, MemoryType, Operator, Parser, Payload, RefType, TypeRef, ValType,
};

/// What the names of the host's own exports begin with. No module may have such a name.
const RESERVED: &str = "wasmux:restore/";

/// The export that says that an instance can be put back: its memory.
pub(super) const MEMORY: &str = "wasmux:restore/memory";

/// Memory at the start, in bytes, up to which a handler's is remembered: all of it is read once.
pub(super) const MEMORY_BYTES_MAX: u64 = 16 << 20;

/// Mutable globals of a module, all of which are set for each request. Linkers make one, the stack pointer, or a few.
pub(super) const GLOBALS_MAX: usize = 64;

/// To be changed with what [`prepare`] makes of a module, so that nothing is used that was compiled from something else.
pub(super) const REVISION: &[u8] = b"restore 1";

/// The export of the host's own for the mutable global of this number, from 0 on.
pub(super) fn global(number: usize) -> String {
    format!("{RESERVED}global/{number}")
}

/// Why instances cannot be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle(String);

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<BinaryReaderError> for Obstacle {
    fn from(error: BinaryReaderError) -> Self {
        Self(format!("it is not valid WebAssembly: {error}"))
    }
}

fn obstacle<T>(why: impl Into<String>) -> Result<T, Obstacle> {
    Err(Obstacle(why.into()))
}

/// The module that is compiled in place of a valid one: the same, with exports of the host's own if its instances can be put
/// back.
///
/// # Errors
/// A sentence, when it has such exports already.
pub(super) fn prepare(wasm: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if Parser::is_component(wasm) {
        return Ok(wasm.into());
    }
    if let Some(name) = reserved_export(wasm).map_err(|error| error.to_string())? {
        return Err(format!(
            "it exports `{}`, but names that begin with `{RESERVED}` are the host's own",
            name.escape_debug()
        ));
    }
    match mutable_globals(wasm).and_then(|globals| Ok(with_exports(wasm, &globals)?)) {
        Ok(module) => Ok(module.into()),
        Err(reason) => {
            tracing::debug!("every request gets a new instance, as none can be put back: {reason}");
            Ok(wasm.into())
        }
    }
}

fn reserved_export(wasm: &[u8]) -> wasmparser::Result<Option<&str>> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(exports) = payload? {
            for export in exports {
                let name = export?.name;
                if name.starts_with(RESERVED) {
                    return Ok(Some(name));
                }
            }
        }
    }
    Ok(None)
}

/// The indices of all globals that instructions can change, of a valid module of whose instances nothing else can change
/// but the one memory.
///
/// # Errors
/// What else can, or what the host cannot put back.
pub(super) fn mutable_globals(wasm: &[u8]) -> Result<Vec<u32>, Obstacle> {
    let mut found = Vec::new();
    let mut memories = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(types) => {
                for ty in types.into_iter_err_on_gc_types() {
                    ty.or_else(|_| obstacle("it has types other than functions"))?;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if !matches!(import?.ty, TypeRef::Func(_)) {
                        return obstacle("it imports something other than functions");
                    }
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    check_reference(table?.ty.element_type)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    memories += 1;
                    check_memory(&memory?)?;
                }
            }
            Payload::GlobalSection(globals) => {
                // There are no imported ones, so this is how they are counted.
                for (index, global) in (0..).zip(globals) {
                    found.extend(check_global(&global?)?.then_some(index));
                }
            }
            Payload::StartSection { .. } => return obstacle("it has a start function"),
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    check_operator(&operator?)?;
                }
            }
            // Nothing of these changes: without the instructions that drop them, segments are always there.
            Payload::Version { .. }
            | Payload::FunctionSection(_)
            | Payload::ExportSection(_)
            | Payload::ElementSection(_)
            | Payload::DataCountSection { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::DataSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return obstacle("it has a section that is not known here"),
        }
    }
    if memories != 1 {
        return obstacle(format!("it has {memories} memories of its own"));
    }
    if found.len() > GLOBALS_MAX {
        return obstacle(format!("it has {} mutable globals, more than {GLOBALS_MAX}", found.len()));
    }
    Ok(found)
}

fn check_memory(memory: &MemoryType) -> Result<(), Obstacle> {
    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
        return obstacle("its memory is shared, has 64-bit addresses or pages of an unusual size");
    }
    let (bytes, unit) = (memory.initial.saturating_mul(1 << 16), 1 << 20);
    if bytes > MEMORY_BYTES_MAX {
        let (bytes, most) = (bytes / unit, MEMORY_BYTES_MAX / unit);
        return obstacle(format!("it starts with {bytes} MiB of memory, more than {most} MiB"));
    }
    Ok(())
}

/// Whether it can be changed.
fn check_global(global: &Global<'_>) -> Result<bool, Obstacle> {
    match global.ty.content_type {
        _ if global.ty.shared => obstacle("it has a shared global"),
        ValType::Ref(_) if global.ty.mutable => obstacle("it has a mutable global that is a reference"),
        ValType::Ref(ty) => check_reference(ty).map(|()| false),
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => Ok(global.ty.mutable),
    }
}

/// What functions are referred to cannot change; anything else might be an object that can.
fn check_reference(ty: RefType) -> Result<(), Obstacle> {
    if ty.is_func_ref() { Ok(()) } else { obstacle("it has references to something other than functions") }
}

/// Lets all instructions pass that change nothing, or the memory or a global, and no others.
fn check_operator(operator: &Operator<'_>) -> Result<(), Obstacle> {
    let name = match operator {
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        Operator::ElemDrop { .. } => "elem.drop",
        Operator::DataDrop { .. } => "data.drop",
        operator if is_known(operator) => return Ok(()),
        _ => return obstacle("it has instructions of a kind that is not known here"),
    };
    obstacle(format!("it has the instruction `{name}`"))
}

/// Whether an instruction belongs to a part of the standard of which each was looked at.
fn is_known(operator: &Operator<'_>) -> bool {
    macro_rules! looked_at {
        (mvp) => {
            true
        };
        (sign_extension) => {
            true
        };
        (saturating_float_to_int) => {
            true
        };
        (bulk_memory) => {
            true
        };
        (reference_types) => {
            true
        };
        (simd) => {
            true
        };
        (relaxed_simd) => {
            true
        };
        (tail_call) => {
            true
        };
        (wide_arithmetic) => {
            true
        };
        ($other:ident) => {
            false
        };
    }
    macro_rules! of_all {
        ($( @$part:ident $name:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($rest:tt)*) )*) => {
            match operator {
                $( Operator::$name { .. } => looked_at!($part), )*
                _ => false,
            }
        };
    }
    wasmparser::for_each_operator!(of_all)
}

/// The module with its memory and these globals exported under the host's own names.
fn with_exports(wasm: &[u8], globals: &[u32]) -> wasmparser::Result<Vec<u8>> {
    let own = [(MEMORY.to_owned(), ExternalKind::Memory, 0)].into_iter();
    let globals = (0..).zip(globals).map(|(number, index)| (global(number), ExternalKind::Global, *index));
    let mut own: Vec<(String, ExternalKind, u32)> = own.chain(globals).collect();
    let mut module = Vec::with_capacity(wasm.len() + own.len() * (MEMORY.len() + 8));
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            if let Payload::Version { range, .. } = payload {
                module.extend_from_slice(&wasm[range]);
            }
            continue;
        };
        module.push(id);
        if let Payload::ExportSection(exports) = &payload {
            let content = extended(exports, &wasm[range], std::mem::take(&mut own))?;
            push_number(&mut module, content.len());
            module.extend_from_slice(&content);
        } else {
            push_number(&mut module, range.len());
            module.extend_from_slice(&wasm[range]);
        }
    }
    Ok(module)
}

/// The content of an export section, and further exports behind it.
fn extended(
    exports: &wasmparser::ExportSectionReader<'_>,
    content: &[u8],
    own: Vec<(String, ExternalKind, u32)>,
) -> wasmparser::Result<Vec<u8>> {
    let mut extended = Vec::with_capacity(content.len() + own.len() * (MEMORY.len() + 8));
    push_number(&mut extended, exports.count() as usize + own.len());
    // What follows the count stays as it is.
    let count_bytes = exports.original_position() - exports.range().start;
    extended.extend_from_slice(&content[count_bytes..]);
    for (name, kind, index) in own {
        push_number(&mut extended, name.len());
        extended.extend_from_slice(name.as_bytes());
        extended.push(if kind == ExternalKind::Memory { 2 } else { 3 });
        push_number(&mut extended, index as usize);
    }
    Ok(extended)
}

/// Unsigned LEB128 (WebAssembly core specification, section 5.2.2).
fn push_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests;
