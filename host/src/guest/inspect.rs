//! Looks into a binary without running it: what it is, what it wants, and what is in the way of running it.

use std::fmt;

use serde::Serialize;
use wasmparser::{Encoding, ExternalKind, Parser, Payload, TypeRef};

use super::components::{self, Standard};
use super::engine::GuestEngine;

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
    /// Initial and maximal linear memory, in bytes.
    pub memory: Option<MemorySize>,
    /// What must change before it can be run; empty when it can.
    pub problems: Vec<String>,
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
        problems: Vec::new(),
    };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| format!("not valid WebAssembly: {error}"))?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } if depth == 0 => {
                found.kind = Kind::Component
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth == 0 => {
                found.record(&payload, engine).map_err(|error| format!("not valid WebAssembly: {error}"))?
            }
            _ => {}
        }
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

impl Inspection {
    fn is_component(&self) -> bool {
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
                    let memory = memory?;
                    let page = 1 << memory.page_size_log2.unwrap_or(16);
                    let bytes = |pages: u64| pages.saturating_mul(page);
                    self.memory = Some(MemorySize {
                        initial: bytes(memory.initial),
                        maximum: memory.maximum.map(bytes),
                    });
                }
            }
            _ => {}
        }
        Ok(())
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
        for import in &self.imports {
            if import.provider.is_none() {
                let hint = hint(&import.module);
                let (module, name) = (import.module.escape_debug(), import.name.escape_debug());
                self.problems.push(format!("it imports `{module}` `{name}`, which nobody provides{hint}"));
            }
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
