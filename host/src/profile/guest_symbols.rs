//! What an address in a guest's machine code is: the function, and the line of its source where the module says that.
//!
//! The compiled file names functions (of core modules wasmtime knows the whole names, of components 96 bytes) and says which
//! byte of the WebAssembly each instruction comes from. What is at that byte, the DWARF in the WebAssembly tells, which is
//! read for the first address that asks.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use addr2line::Context;
use gimli::{Dwarf, EndianRcSlice, LittleEndian, SectionId};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use wasmparser::{Encoding, ExternalKind, KnownCustom, Name, Parser, Payload};

use super::{Line, harmless, readable};
use crate::guest::Image;

type Bytes = EndianRcSlice<LittleEndian>;

/// The section that says where instructions come from (`wasmtime_environ::obj::ELF_WASMTIME_ADDRMAP`).
const ADDRESS_MAP: &str = ".wasmtime.addrmap";

/// How far it is looked for an instruction that comes from the WebAssembly.
const BETWEEN_BYTES_MAX: u64 = 128;

/// The symbols of one image.
pub(super) struct GuestSymbols {
    image: Image,
    /// Where its machine code begins.
    text: u64,
    /// By offset in the machine code.
    functions: BTreeMap<u64, Function>,
    address_map: Vec<u8>,
    /// The core modules of its WebAssembly.
    modules: OnceCell<Vec<Module>>,
}

#[derive(Debug)]
struct Function {
    range: Range<u64>,
    name: String,
    /// Numbers of the core module and of the function in it; none of what wasmtime has added.
    place: Option<(usize, u32)>,
}

/// A core module in the WebAssembly.
#[derive(Default)]
struct Module {
    /// The contents of its code section; DWARF counts from their beginning.
    code: Range<u64>,
    /// Names of functions: those that it gives them, else those that they are exported by.
    names: BTreeMap<u32, String>,
    lines: Option<Context<Bytes>>,
}

impl GuestSymbols {
    /// None when the image is not one that wasmtime makes.
    pub(super) fn new(image: Image) -> Option<Self> {
        let object = object::File::parse(image.bytes()).ok()?;
        let text = object.section_by_name(".text")?;
        let start = image.addresses().start + text.file_range()?.0;
        let mut functions = BTreeMap::new();
        for symbol in object.symbols().filter(|symbol| symbol.section_index() == Some(text.index())) {
            let Ok(name) = symbol.name() else { continue };
            let (place, name) = parse(name);
            functions.insert(
                symbol.address(),
                Function {
                    range: symbol.address()..symbol.address() + symbol.size(),
                    name: name.to_owned(),
                    place,
                },
            );
        }
        for named in image.functions() {
            if let Some(function) = functions.get_mut(&(named.place.start as u64)) {
                function.name = named.name;
            }
        }
        let address_map = object.section_by_name(ADDRESS_MAP).and_then(|section| section.data().ok());
        let address_map = address_map.unwrap_or_default().to_vec();
        Some(Self { text: start, functions, address_map, modules: OnceCell::new(), image })
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// What is at this address: the innermost of inlined functions first. Never empty.
    pub(super) fn lines(&self, address: u64) -> Vec<Line> {
        let offset = address.wrapping_sub(self.text);
        let function = self.functions.range(..=offset).next_back().map(|(_, function)| function);
        let Some(function) = function.filter(|function| function.range.contains(&offset)) else {
            return vec![Line::named("[wasm]".to_owned())];
        };
        let Some((module, index)) = function.place else { return vec![Line::named(function.name.clone())] };
        let module = self.modules().get(module);
        // What was cut off is there whole.
        let whole = module.and_then(|module| module.names.get(&index));
        let name = whole.filter(|name| name.starts_with(&function.name)).unwrap_or(&function.name);
        let raw = name.as_str();
        let name = if name.is_empty() { format!("wasm function {index}") } else { readable(name) };
        let lines = module
            .and_then(|module| self.source(module, (raw, &function.range), offset))
            .filter(|lines| !lines.is_empty());
        let Some(mut lines) = lines else { return vec![Line::named(name)] };
        // The name section is what backtraces go by too.
        if let Some(outermost) = lines.last_mut() {
            outermost.function = name;
        }
        lines
    }

    fn source(
        &self,
        module: &Module,
        (raw, function): (&str, &Range<u64>),
        offset: u64,
    ) -> Option<Vec<Line>> {
        let context = module.lines.as_ref()?;
        let position = self.position(function, offset)?;
        let probe = u64::from(position).checked_sub(module.code.start)?;
        let mut frames = context.find_frames(probe).skip_all_loads().ok()?;
        let (mut lines, mut outermost) = (Vec::new(), None);
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
            let (file, line) = frame.location.map_or(("", 0), |location| {
                (location.file.unwrap_or_default(), location.line.unwrap_or_default())
            });
            outermost = name.as_deref().map(str::to_owned);
            lines.push(Line { function: readable(&name.unwrap_or_default()), file: harmless(file), line });
        }
        // What stands before the first instruction may be taken for the end of the function before.
        (outermost.as_deref() == Some(raw)).then_some(lines)
    }

    /// The byte of the WebAssembly that the instruction at this offset comes from. What wasmtime has put in between (checks
    /// whether it is time to yield) comes from none; it belongs to what is next to it in the same function.
    fn position(&self, function: &Range<u64>, offset: u64) -> Option<u32> {
        let position = |offset: u64| {
            wasmtime_environ::lookup_file_pos(&self.address_map, usize::try_from(offset).ok()?)?.file_offset()
        };
        let first = function.start.max(offset.saturating_sub(BETWEEN_BYTES_MAX));
        let last = function.end.min(offset + BETWEEN_BYTES_MAX);
        (first..=offset).rev().find_map(position).or_else(|| (offset..last).find_map(position))
    }

    fn modules(&self) -> &[Module] {
        self.modules.get_or_init(|| self.image.wasm().map(|wasm| modules(&wasm)).unwrap_or_default())
    }
}

/// Takes a symbol of wasmtime's apart: `wasm[0]::function[12]::name`.
fn parse(symbol: &str) -> (Option<(usize, u32)>, &str) {
    let place = || {
        let (module, rest) = symbol.strip_prefix("wasm[")?.split_once("]::function[")?;
        let (function, name) = rest.split_once(']')?;
        Some(((module.parse().ok()?, function.parse().ok()?), name.strip_prefix("::").unwrap_or_default()))
    };
    match place() {
        Some((place, name)) => (Some(place), name),
        None => (None, symbol),
    }
}

/// The core modules of a module or component, in the order that wasmtime numbers them in.
fn modules(wasm: &[u8]) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut sections: Vec<BTreeMap<String, Rc<[u8]>>> = Vec::new();
    // What the payload at hand is part of: a core module, or a component.
    let mut inside: Vec<Option<usize>> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { break };
        let current = inside.last().copied().flatten();
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                inside.push(Some(modules.len()));
                modules.push(Module::default());
                sections.push(BTreeMap::new());
            }
            Payload::Version { encoding: Encoding::Component, .. } => inside.push(None),
            Payload::End(_) => {
                inside.pop();
            }
            Payload::CodeSectionStart { range, .. } => {
                if let Some(module) = current {
                    modules[module].code = range.start as u64..range.end as u64;
                }
            }
            Payload::ExportSection(exports) => {
                let Some(module) = current else { continue };
                let functions =
                    exports.into_iter().flatten().filter(|export| export.kind == ExternalKind::Func);
                let names = functions.map(|export| (export.index, export.name.to_owned()));
                modules[module].names.extend(names);
            }
            Payload::CustomSection(section) => {
                let Some(module) = current else { continue };
                if let KnownCustom::Name(names) = section.as_known() {
                    modules[module].names.extend(function_names(names));
                } else if section.name().starts_with(".debug_") {
                    sections[module].insert(section.name().to_owned(), section.data().into());
                }
            }
            _ => {}
        }
    }
    for (module, sections) in modules.iter_mut().zip(sections) {
        if sections.contains_key(SectionId::DebugInfo.name()) {
            module.lines = lines(&sections);
        }
    }
    modules
}

fn function_names(names: wasmparser::NameSectionReader<'_>) -> BTreeMap<u32, String> {
    let functions = names.into_iter().filter_map(|name| match name {
        Ok(Name::Function(map)) => Some(map),
        _ => None,
    });
    let namings = functions.flat_map(|map| map.into_iter().flatten());
    namings.map(|naming| (naming.index, naming.name.to_owned())).collect()
}

fn lines(sections: &BTreeMap<String, Rc<[u8]>>) -> Option<Context<Bytes>> {
    let load = |id: SectionId| {
        let bytes = sections.get(id.name()).cloned().unwrap_or_default();
        Ok::<_, gimli::Error>(EndianRcSlice::new(bytes, LittleEndian))
    };
    Context::from_dwarf(Dwarf::load(load).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_taken_apart() {
        assert_eq!(parse("wasm[1]::function[12]::a::b"), (Some((1, 12)), "a::b"));
        assert_eq!(parse("wasm[0]::function[7]"), (Some((0, 7)), ""));
        let trampoline = "wasm[0]::array_to_wasm_trampoline[3]";
        assert_eq!(parse(trampoline), (None, trampoline));
    }

    #[test]
    fn modules_are_numbered_through_nested_components() {
        let wat = "(component
            (core module (func $first))
            (component (core module (func $second) (func $third)))
            (core module (func $fourth)))";
        let modules = modules(&wat::parse_str(wat).unwrap());
        let names: Vec<Vec<_>> = modules.iter().map(|module| module.names.values().collect()).collect();
        assert_eq!(names, [vec!["first"], vec!["second", "third"], vec!["fourth"]]);
        assert!(modules.iter().all(|module| module.code.start > 0 && module.lines.is_none()));
    }
}
