//! Compiled code that is in memory, for those who want to know what an address in it belongs to.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::Module;
use wasmtime::component::Component;

use super::artifact::{binary, read};
use super::engine::GuestEngine;

/// The file that code was compiled from, and its SHA-256. None when it was not compiled from what is in a file: a snapshot,
/// or compiled code.
pub(super) type WasmFile = Option<(PathBuf, [u8; 32])>;

/// The code of one module or component. As long as this is held it stays in memory.
#[derive(Clone)]
pub struct Image {
    pub(super) code: Held,
    pub(super) file: WasmFile,
    /// A handler that has it.
    pub(super) handler: Arc<str>,
}

#[derive(Clone)]
pub(super) enum Held {
    Module(Module),
    Component(Component),
}

/// A function of a core module: where it is in the machine code, in bytes, and what it is called.
#[derive(Clone, Debug)]
pub struct Function {
    /// From the beginning of the section `.text`.
    pub place: Range<usize>,
    /// Its name in the module's name section, as it stands there.
    pub name: String,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("handler", &self.handler).finish_non_exhaustive()
    }
}

impl GuestEngine {
    /// All code that is in memory.
    #[must_use]
    pub fn images(&self) -> Vec<Image> {
        self.residents().images()
    }
}

impl Image {
    /// The name of a handler that has it; others may too.
    #[must_use]
    pub fn handler(&self) -> &Arc<str> {
        &self.handler
    }

    /// Where it is.
    #[must_use]
    pub fn addresses(&self) -> Range<u64> {
        let range = match &self.code {
            Held::Module(module) => module.image_range(),
            Held::Component(component) => component.image_range(),
        };
        range.start as u64..range.end as u64
    }

    /// What is there: an ELF file, with symbols and wasmtime's own sections.
    #[must_use]
    #[expect(unsafe_code, reason = "wasmtime tells where its image is, not what is in it")]
    pub fn bytes(&self) -> &[u8] {
        let range = match &self.code {
            Held::Module(module) => module.image_range(),
            Held::Component(component) => component.image_range(),
        };
        // SAFETY: wasmtime's `image_range` is the compiled file as it lies in memory, mapped for reading in one piece. It
        // never changes, and stays as long as the code is held, which is longer than the borrow.
        unsafe { std::slice::from_raw_parts(range.start, range.end.addr() - range.start.addr()) }
    }

    /// The functions of a core module that have names. Of a component the symbols tell, which are cut off at 96 bytes.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        let Held::Module(module) = &self.code else { return Vec::new() };
        let named = module.functions().filter_map(|function| {
            let place = function.offset..function.offset + function.len;
            Some(Function { place, name: function.name? })
        });
        named.collect()
    }

    /// The WebAssembly that it was compiled from, if that is still there.
    #[must_use]
    pub fn wasm(&self) -> Option<Vec<u8>> {
        let (path, digest) = self.file.as_ref()?;
        let bytes = read(path).ok()?;
        let is_same = Sha256::digest(&bytes)[..] == digest[..];
        is_same.then(|| binary(&bytes).ok().map(std::borrow::Cow::into_owned)).flatten()
    }
}
