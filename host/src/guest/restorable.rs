//! Whether an instance of a module can be put back into the state that it was made in, and the module that allows it.
//!
//! That state is one memory and some numbers in globals, if nothing else of an instance can change: this is what is proved
//! here, of every instruction. The globals then get exports, through which the host reaches them; no guest sees its own
//! exports. It is done before a module is compiled, so that compiled code with these exports has its proof behind it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use wasmparser::{
    BinaryReaderError, Data, DataKind, ExternalKind, Global, MemoryType, Operator, Parser, Payload, RefType,
    TypeRef, ValType,
};

/// What the names of the host's own exports begin with. No module may have such a name.
const RESERVED: &str = "wasmux:restore/";

/// The export that says that an instance can be put back: its memory.
pub(super) const MEMORY: &str = "wasmux:restore/memory";

/// What the name of another export of the memory begins with, which says where in it there is data at the start.
const DATA: &str = "wasmux:restore/data/";

/// Memory at the start, in bytes, up to which a handler's is remembered: its data is copied once, and all of it looked
/// through after each request.
pub(super) const MEMORY_BYTES_MAX: u64 = 16 << 20;

/// Mutable globals of a module, all of which are set for each request. Linkers make one, the stack pointer, or a few.
pub(super) const GLOBALS_MAX: usize = 64;

/// To be changed with what [`prepare`] makes of a module, so that nothing is used that was compiled from something else.
pub(super) const REVISION: &[u8] = b"restore 2";

/// The export of the host's own for the mutable global of this number, from 0 on.
pub(super) fn global(number: usize) -> String {
    format!("{RESERVED}global/{number}")
}

/// The part of the memory, in bytes, outside which it is all zeros at the start, if that is what this export's name says.
pub(super) fn data_in(name: &str) -> Option<Range<usize>> {
    let (start, end) = name.strip_prefix(DATA)?.split_once('-')?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

/// All of an instance that can change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changeable {
    /// The indices of its mutable globals.
    globals: Vec<u32>,
    /// The part of its one memory, in bytes, outside which that is all zeros at the start.
    data: Range<u64>,
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
    match changeable(wasm).and_then(|changeable| Ok(with_exports(wasm, &changeable)?)) {
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

/// All that can change of an instance of a valid module.
///
/// # Errors
/// When that is more than one memory and globals that are numbers, or too much.
pub(super) fn changeable(wasm: &[u8]) -> Result<Changeable, Obstacle> {
    let mut found = Changeable::default();
    let mut memories = Vec::new();
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
                    memories.push(memory_bytes(&memory?)?);
                }
            }
            Payload::GlobalSection(globals) => {
                // There are no imported ones, so this is how they are counted.
                for (index, global) in (0..).zip(globals) {
                    found.globals.extend(check_global(&global?)?.then_some(index));
                }
            }
            Payload::StartSection { .. } => return obstacle("it has a start function"),
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    check_operator(&operator?)?;
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    found.data = around(found.data, segment_range(&segment?, memories.first()));
                }
            }
            // Nothing of these changes: without the instructions that drop them, segments are always there.
            Payload::Version { .. }
            | Payload::FunctionSection(_)
            | Payload::ExportSection(_)
            | Payload::ElementSection(_)
            | Payload::DataCountSection { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return obstacle("it has a section that is not known here"),
        }
    }
    if memories.len() != 1 {
        return obstacle(format!("it has {} memories of its own", memories.len()));
    }
    let globals = found.globals.len();
    if globals > GLOBALS_MAX {
        return obstacle(format!("it has {globals} mutable globals, more than {GLOBALS_MAX}"));
    }
    Ok(found)
}

/// Where a segment is put when an instance is made.
fn segment_range(segment: &Data<'_>, memory_bytes: Option<&u64>) -> Range<u64> {
    let DataKind::Active { offset_expr, .. } = &segment.kind else { return 0..0 };
    let mut operators = offset_expr.get_operators_reader().into_iter();
    match (operators.next(), operators.next()) {
        (Some(Ok(Operator::I32Const { value })), Some(Ok(Operator::End))) => {
            let start = u64::from(value.cast_unsigned());
            start..start + segment.data.len() as u64
        }
        // Wherever that is.
        _ => 0..memory_bytes.copied().unwrap_or(u64::MAX),
    }
}

/// A range around both.
fn around(a: Range<u64>, b: Range<u64>) -> Range<u64> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.start.min(b.start)..a.end.max(b.end),
    }
}

fn memory_bytes(memory: &MemoryType) -> Result<u64, Obstacle> {
    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
        return obstacle("its memory is shared, has 64-bit addresses or pages of an unusual size");
    }
    let (bytes, unit) = (memory.initial.saturating_mul(1 << 16), 1 << 20);
    if bytes > MEMORY_BYTES_MAX {
        let (bytes, most) = (bytes / unit, MEMORY_BYTES_MAX / unit);
        return obstacle(format!("it starts with {bytes} MiB of memory, more than {most} MiB"));
    }
    Ok(bytes)
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

/// The module with its memory and mutable globals exported under the host's own names.
fn with_exports(wasm: &[u8], changeable: &Changeable) -> wasmparser::Result<Vec<u8>> {
    let Range { start, end } = changeable.data;
    let memory = [MEMORY.to_owned(), format!("{DATA}{start}-{end}")];
    let own = memory.into_iter().map(|name| (name, ExternalKind::Memory, 0));
    let globals =
        (0..).zip(&changeable.globals).map(|(number, index)| (global(number), ExternalKind::Global, *index));
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
