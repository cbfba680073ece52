//! Looks into a binary without running it: what it is, what it wants, and what is in the way of running it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use wasmparser::{Encoding, ExternalKind, Instance, MemoryType, Parser, Payload, TypeRef};

use self::weight::Weight;
use super::components::{self, Standard};
use super::engine::GuestEngine;
use super::imports::advice::{self, printable};
use super::imports::{Import as Surveyed, NAMED_MAX, Standing};
use super::restorable;

mod weight;

/// What a binary is, as far as wasmux is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A core module with the export `serve_http`.
    ServeHttp,
    /// A WASI command: a core module with `_start`.
    Command,
    /// Any other core module.
    Module,
    /// A component that exports `wasi:http/incoming-handler` 0.2.
    WasiHttpP2,
    /// A component that exports `wasi:http/handler` 0.3.
    WasiHttpP3,
    /// Any other component.
    Component,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServeHttp => "core module, serve_http handler",
            Self::Command => "core module, WASI command",
            Self::Module => "core module",
            Self::WasiHttpP2 => "component, wasi:http 0.2 handler",
            Self::WasiHttpP3 => "component, wasi:http 0.3 handler",
            Self::Component => "component",
        })
    }
}

/// One import and who provides it.
#[derive(Clone, Debug, Serialize)]
pub struct Import {
    /// Module part of the name; of a component import, the whole name.
    pub module: String,
    /// Function part of the name; empty for component imports.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who provides it; none when nobody does.
    pub provider: Option<&'static str>,
}

/// What is known about a binary.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: usize,
    /// Everything it imports, in order.
    pub imports: Vec<Import>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// Initial and maximal linear memory, in bytes; of a component, what all memories that are defined in it start with.
    pub memory: Option<MemorySize>,
    /// What a component is made of; none for modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Parts>,
    /// How an instance of a module is made as new after a request, where requests share nothing; none for components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// What must change before it can be run; empty when it can.
    pub problems: Vec<String>,
}

/// How an instance is made as new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reset {
    /// It is put back into the state that it was made in; if not, another one is made.
    pub in_place: bool,
    /// Why it cannot be put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is defined in a component, and in the components inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Core modules.
    pub modules: u32,
    /// Instances of core modules that one instance of it is made of.
    pub instances: u32,
    /// Linear memories.
    pub memories: u32,
}

/// Sizes of a linear memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemorySize {
    /// Size at the start.
    pub initial: u64,
    /// Size it declares never to exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<u64>,
}

impl MemorySize {
    fn of(memory: MemoryType) -> Self {
        // 2^16 unless it says otherwise; what is not valid is found later.
        let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
        let bytes = |pages: u64| pages.saturating_mul(page);
        Self { initial: bytes(memory.initial), maximum: memory.maximum.map(bytes) }
    }
}

/// Inspects a binary module or component.
///
/// # Errors
/// A sentence, when it is neither.
pub fn inspect(bytes: &[u8], engine: &GuestEngine) -> Result<Inspection, String> {
    let mut found = Inspection {
        kind: Kind::Module,
        size: bytes.len(),
        imports: Vec::new(),
        exports: Vec::new(),
        memory: None,
        parts: None,
        reset: None,
        problems: Vec::new(),
    };
    let mut depth = 0_u32;
    let mut weight = Weight::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        weight.add(&payload).map_err(invalid)??;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } if depth == 0 => {
                (found.kind, found.parts) = (Kind::Component, Some(Parts::default()))
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth == 0 => found.record(&payload, engine).map_err(invalid)?,
            _ => {}
        }
        found.count(&payload).map_err(invalid)?;
    }
    found.classify();
    found.judge();
    if !found.is_component()
        && found.problems.is_empty()
        && let Err(error) = wasmtime::Module::validate(&engine.plain().engine, bytes)
    {
        found.problems.push(format!("not valid WebAssembly for this host: {error:#}"));
    }
    Ok(found)
}

fn invalid(error: impl fmt::Display) -> String {
    format!("not valid WebAssembly: {error}")
}

impl Inspection {
    pub(super) fn is_component(&self) -> bool {
        matches!(self.kind, Kind::WasiHttpP2 | Kind::WasiHttpP3 | Kind::Component)
    }

    /// Whether it is written for concurrency inside an instance: anything of WASI 0.3 is.
    pub(super) fn needs_concurrency(&self) -> bool {
        let imports = self.imports.iter().map(|import| &import.module);
        self.is_component() && imports.chain(&self.exports).any(|name| name.contains("@0.3."))
    }

    fn record(&mut self, payload: &Payload<'_>, engine: &GuestEngine) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import?;
                    let is_function = matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    let offered = is_function && engine.offers(import.module, import.name);
                    self.imports.push(Import {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        provider: offered.then(|| provider(import.module)),
                    });
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let name = import?.name.name.to_owned();
                    self.imports.push(Import { module: name, name: String::new(), provider: None });
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    let suffix = if export.kind == ExternalKind::Func { "" } else { kind_name(export.kind) };
                    self.exports.push(format!("{}{suffix}", export.name));
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.memory = Some(MemorySize::of(memory?));
                }
                // The engine allows more than one for what joins the components inside a component.
                if memories.count() > 1 {
                    let count = memories.count();
                    self.problems.push(format!(
                        "not valid WebAssembly for this host: it has {count} linear memories, and a handler has one"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts what is in a component, at any depth.
    fn count(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        match payload {
            Payload::ModuleSection { .. } => parts.modules += 1,
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    parts.instances += u32::from(matches!(instance?, Instance::Instantiate { .. }));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let so_far = self.memory.map_or(0, |memory| memory.initial);
                    let initial = so_far.saturating_add(MemorySize::of(memory?).initial);
                    self.memory = Some(MemorySize { initial, maximum: None });
                    parts.memories += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Enters who provides each import of a component.
    pub(super) fn set_providers(&mut self, surveyed: &[Surveyed]) {
        let standings: BTreeMap<_, _> =
            surveyed.iter().map(|import| (import.name.as_str(), import.standing)).collect();
        for import in &mut self.imports {
            import.provider = match standings.get(import.module.as_str()) {
                Some(Standing::Provided) => Some(advice::provider(&import.module)),
                Some(Standing::Types) => Some("nobody needs to: only types"),
                Some(Standing::Missing) | None => None,
            };
        }
    }

    /// Enters how instances of a module are made as new.
    pub(super) fn set_reset(&mut self, wasm: &[u8]) {
        let reason = restorable::changeable(wasm).err().map(|reason| reason.to_string());
        self.reset = Some(Reset { in_place: reason.is_none(), reason });
    }

    fn classify(&mut self) {
        let exports = |name: &str| self.exports.iter().any(|export| export == name);
        let is_handler = |standard: Standard| self.exports.iter().any(|name| standard.is_exported_as(name));
        if self.kind == Kind::Component {
            if is_handler(Standard::P3) {
                self.kind = Kind::WasiHttpP3;
            } else if is_handler(Standard::P2) {
                self.kind = Kind::WasiHttpP2;
            }
        } else if exports("_start") {
            self.kind = Kind::Command; // also when it exports `serve_http`: ABI.md section 1
        } else if exports(wasmux_abi::SERVE_HTTP) {
            self.kind = Kind::ServeHttp;
        }
    }

    fn judge(&mut self) {
        match self.kind {
            Kind::ServeHttp | Kind::WasiHttpP2 | Kind::WasiHttpP3 => {}
            Kind::Command => self.problems.push(
                "it is a program (it exports `_start`), not a handler: make it a `cdylib` and put #[wasmux_sdk::handler] \
                 on the function that answers requests"
                    .to_owned(),
            ),
            Kind::Module => self.problems.push(
                "it does not export `serve_http`: put #[wasmux_sdk::handler] on the function that answers requests"
                    .to_owned(),
            ),
            Kind::Component => self.problems.push(components::no_handler(&self.exports)),
        }
        if self.is_component() {
            return;
        }
        if self.memory.is_none() || !self.exports.iter().any(|export| export == "memory (memory)") {
            self.problems.push("it does not export its linear memory as `memory`".to_owned());
        }
        let missing = || self.imports.iter().filter(|import| import.provider.is_none());
        for import in missing().take(NAMED_MAX) {
            let hint = hint(&import.module);
            let (module, name) = (printable(&import.module), printable(&import.name));
            self.problems.push(format!("it imports `{module}` `{name}`, which nobody provides{hint}"));
        }
        let unnamed = missing().count().saturating_sub(NAMED_MAX);
        if unnamed > 0 {
            self.problems.push(format!("it imports {unnamed} others that nobody provides"));
        }
    }
}

fn kind_name(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Memory => " (memory)",
        ExternalKind::Table => " (table)",
        ExternalKind::Global => " (global)",
        _ => " (other)",
    }
}

fn provider(module: &str) -> &'static str {
    match module {
        wasmux_abi::HTTP_MODULE => "wasmux: the request and its response",
        wasmux_abi::LOG_MODULE => "wasmux: the log",
        wasmux_abi::CLIENT_MODULE => "wasmux: calls to others (`outbound` in routes.toml)",
        wasmux_abi::CONFIG_MODULE => "wasmux: its configuration (`config` and `secrets` in routes.toml)",
        wasmux_abi::KEYVALUE_MODULE => "wasmux: key-value stores (`kv` in routes.toml)",
        wasmux_abi::SQL_MODULE => "wasmux: its databases (`sql` in routes.toml)",
        wasmux_abi::NEXT_MODULE => "wasmux: the handler behind it (`next` in routes.toml)",
        wasmux_abi::WASI_MODULE => "wasmux: WASI preview 1 (clocks, random, env, output)",
        _ => "wasmux",
    }
}

/// What a foreign import module says about where the binary comes from.
fn hint(module: &str) -> &'static str {
    match module {
        "wasi_unstable" => {
            ": it was built for a preview of WASI from before 2020; build it for wasm32-wasip1"
        }
        "__wbindgen_placeholder__" | "wbg" => {
            ": it was built for browsers with wasm-bindgen; build it for wasm32-wasip1"
        }
        "gojs" | "go" => ": it was built for browsers; build it with GOOS=wasip1 GOARCH=wasm",
        "http_handler" => ": it is an http-wasm guest, another ABI",
        "extism:host/env" => ": it is an Extism plug-in, another ABI",
        "env" => ": it was linked with undefined symbols allowed, or for another host",
        _ if module.starts_with("wasmux:") => ": this host is too old for it, or the name is misspelt",
        _ if module.starts_with("fastly") => ": it was built for Fastly Compute, another ABI",
        _ => "",
    }
}
