//! Puts an instance back into the state that it was made in, for the next request: its memory, of which the kernel says what
//! was written to, and its globals. That there is nothing else, `restorable` has proved before the module was compiled.

use std::ops::Range;
use std::sync::OnceLock;

use wasmtime::{Extern, Global, Memory, Module, ModuleExport, Store, Val};

use super::super::super::engine::KEEP_RESIDENT_BYTES;
use super::super::super::state::ModuleState;
use super::super::super::{pages, restorable};

/// Memory that is compared and copied in one piece, in bytes. Pages of any kernel are as large, or a multiple.
const GRAIN: usize = 4096;

/// What all instances of a module start with, and how to get at what changes.
pub(super) struct Restorer {
    memory: ModuleExport,
    /// Outside it, a memory is all zeros.
    data: Range<usize>,
    globals: Vec<ModuleExport>,
    image: OnceLock<Image>,
}

/// What one instance has to get back.
pub(super) struct Baseline {
    memory: Memory,
    memory_bytes: usize,
    globals: Vec<(Global, Val)>,
}

impl Restorer {
    /// None for a module whose instances cannot be put back.
    pub(super) fn new(module: &Module) -> Option<Self> {
        let memory = module.get_export_index(restorable::MEMORY)?;
        let data = module.exports().find_map(|export| restorable::data_in(export.name()))?;
        let numbers = 0..restorable::GLOBALS_MAX;
        let globals = numbers.map_while(|number| module.get_export_index(&restorable::global(number)));
        Some(Self { memory, data, globals: globals.collect(), image: OnceLock::new() })
    }

    /// Remembers the state of an instance in which nothing has run yet. None if it is not what was proved, which never
    /// happens.
    pub(super) fn remember(
        &self,
        instance: &wasmtime::Instance,
        store: &mut Store<ModuleState>,
    ) -> Option<Baseline> {
        let memory = instance.get_module_export(&mut *store, &self.memory).and_then(Extern::into_memory)?;
        let mut globals = Vec::with_capacity(self.globals.len());
        for export in &self.globals {
            let global = instance.get_module_export(&mut *store, export).and_then(Extern::into_global)?;
            globals.push((global, global.get(&mut *store)));
        }
        let data = memory.data(&*store);
        self.image.get_or_init(|| Image::of(data, &self.data));
        Some(Baseline { memory, memory_bytes: data.len(), globals })
    }

    /// Puts an instance back; says whether it is as it was. If not, it is of no further use.
    pub(super) fn put_back(&self, baseline: &Baseline, store: &mut Store<ModuleState>) -> bool {
        let Some(image) = self.image.get() else { return false };
        for (global, value) in &baseline.globals {
            if global.set(&mut *store, *value).is_err() {
                return false;
            }
        }
        let data = baseline.memory.data_mut(&mut *store);
        if data.len() != baseline.memory_bytes {
            tracing::trace!("an instance is not put back: its memory has grown");
            return false;
        }
        image.put_back(data)
    }
}

/// A memory as it was in the beginning. Pages of zeros, most of them, take no room.
struct Image {
    /// For each grain, the number of its copy in `bytes`, or [`ZEROS`].
    index: Vec<u32>,
    bytes: Vec<u8>,
}

const ZEROS: u32 = u32::MAX;

impl Image {
    /// Reads no more than `data`, and the rest of the grains that it begins and ends in: to look at a page is to have one.
    fn of(memory: &[u8], data: &Range<usize>) -> Self {
        let mut image = Self { index: Vec::with_capacity(memory.len() / GRAIN), bytes: Vec::new() };
        for (grain, at) in memory.chunks(GRAIN).zip((0..).step_by(GRAIN)) {
            let is_outside = at >= data.end || at + GRAIN <= data.start;
            if is_outside || grain.iter().all(|&byte| byte == 0) {
                image.index.push(ZEROS);
            } else {
                image.index.push((image.bytes.len() / GRAIN) as u32);
                image.bytes.extend_from_slice(grain);
            }
        }
        image.bytes.shrink_to_fit();
        image
    }

    /// Makes a memory of the same size what it was; says whether that was possible.
    fn put_back(&self, memory: &mut [u8]) -> bool {
        let mut parts: Vec<Range<usize>> = Vec::with_capacity(8);
        let found = pages::written(memory, KEEP_RESIDENT_BYTES, |part| parts.push(part));
        if let Err(error) = found {
            tracing::trace!("an instance is not put back: {error}");
            return false;
        }
        parts.into_iter().for_each(|part| self.put_back_part(memory, part));
        true
    }

    fn put_back_part(&self, memory: &mut [u8], part: Range<usize>) {
        let first = part.start / GRAIN;
        for (grain, at) in memory[part].chunks_mut(GRAIN).zip(first..) {
            match self.index.get(at) {
                Some(&number) if number != ZEROS => {
                    let copy = &self.bytes[number as usize * GRAIN..][..grain.len()];
                    grain.copy_from_slice(copy);
                }
                _ => grain.fill(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_all_that_is_not_zero() {
        let mut memory = vec![0; 16 * GRAIN];
        memory[0] = 1;
        memory[5 * GRAIN - 1] = 2;
        memory[5 * GRAIN] = 3;
        memory[16 * GRAIN - 1] = 4;
        let image = Image::of(&memory, &(0..memory.len()));
        assert_eq!(image.bytes.len(), 4 * GRAIN);
        let narrow = |data: Range<usize>| Image::of(&memory, &data).bytes.len() / GRAIN;
        assert_eq!(narrow(5 * GRAIN - 1..5 * GRAIN + 1), 2);
        assert_eq!((narrow(5 * GRAIN..16 * GRAIN), narrow(GRAIN..4 * GRAIN), narrow(0..0)), (2, 0, 0));
        let pristine = memory.clone();
        memory.fill(9);
        // In pieces of one grain, and of several.
        for part in [0..GRAIN, GRAIN..2 * GRAIN, 2 * GRAIN..16 * GRAIN] {
            image.put_back_part(&mut memory, part);
        }
        assert!(memory == pristine);
        image.put_back_part(&mut memory, 0..16 * GRAIN);
        assert!(memory == pristine);
        memory[7 * GRAIN] = 1;
        image.put_back_part(&mut memory, 6 * GRAIN..7 * GRAIN);
        assert!(memory != pristine, "what is not asked for stays");
    }
}
