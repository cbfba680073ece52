//! What was found when a handler's file was checked. It is kept beside the code: the same bytes need not be looked into again.

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, Code};
use super::engine::TABLES_PER_GUEST;
use super::grants::Grants;
use super::limits::Limits;

/// Which contract a guest keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Contract {
    /// A core module with our own.
    ServeHttp,
    /// wasi:http 0.2.
    P2,
    /// wasi:http 0.3.
    P3,
}

/// What a handler's settings ask of its code, or let it have.
pub(super) struct Wanted<'s> {
    pub(super) limits: &'s Limits,
    pub(super) grants: &'s Grants,
    /// Instances of all handlers.
    pub(super) instances: u32,
    pub(super) has_next: bool,
    pub(super) is_concurrent: bool,
}

/// All that has to be known of code that was checked, as long as nobody runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) contract: Contract,
    /// It runs on the engine with concurrency inside instances.
    pub(super) concurrent: bool,
    /// What it imports to call the handler behind it.
    pub(super) next: Option<String>,
    /// The import modules of wasmux that it uses.
    pub(super) imports: Vec<String>,
    /// What its memories have together at the start, in bytes.
    pub(super) memory_bytes: u64,
    /// Linear memories and tables of one instance.
    pub(super) memories: u32,
    pub(super) tables: u32,
    /// Its instances can be put back into the state that they were made in.
    pub(super) restores: bool,
}

impl Verdict {
    /// Of what was checked and linked.
    pub(super) fn of(artifact: &Artifact, restores: bool) -> Self {
        let (next, imports) = (artifact.import_of_next(), artifact.own_imports());
        match &artifact.code {
            Code::Module(module) => {
                let memory = match module.get_export(wasmux_abi::MEMORY) {
                    Some(wasmtime::ExternType::Memory(memory)) => memory.minimum() * memory.page_size(),
                    _ => 0,
                };
                let contract = Contract::ServeHttp;
                Self {
                    contract,
                    concurrent: false,
                    next,
                    imports,
                    memory_bytes: memory,
                    memories: 1,
                    tables: 0,
                    restores,
                }
            }
            Code::P2(code) | Code::P3(code) => {
                let required = code.component.resources_required();
                let counts = required.map_or((1, 0), |required| (required.num_memories, required.num_tables));
                let contract = if matches!(artifact.code, Code::P2(_)) { Contract::P2 } else { Contract::P3 };
                Self {
                    contract,
                    concurrent: code.lane.compiler.concurrent,
                    next,
                    imports,
                    memory_bytes: code.memory_bytes,
                    memories: counts.0.max(1),
                    tables: counts.1,
                    restores,
                }
            }
        }
    }

    /// Whether it can be run with these settings. If not, loading it says why.
    pub(super) fn fits(&self, wanted: &Wanted<'_>) -> bool {
        let needed = self.memories.max(self.tables.div_ceil(TABLES_PER_GUEST));
        self.memory_bytes <= wanted.limits.memory_bytes_max
            && needed <= wanted.instances
            && self.next.is_some() == wanted.has_next
            && wanted.grants.check(&self.imports, "").is_ok()
            && (!wanted.is_concurrent || self.contract == Contract::P3)
    }
}
