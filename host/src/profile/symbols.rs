//! What addresses belong to: guests' code, or the host's own.

use std::collections::HashMap;
use std::ffi::c_void;

use super::guest_symbols::GuestSymbols;
use super::maps::Mapped;
use super::{Line, Mapping, Origin, Place};
use crate::guest::Image;

/// Knows all code that was in memory.
pub(super) struct Symbols {
    guests: Vec<GuestSymbols>,
    mappings: Vec<Mapping>,
    places: Vec<Place>,
    known: HashMap<u64, usize>,
}

impl Symbols {
    pub(super) fn new(images: impl IntoIterator<Item = Image>, host: &[Mapped]) -> Self {
        let guests: Vec<_> = images.into_iter().filter_map(GuestSymbols::new).collect();
        let guest = guests.iter().map(|guest| Mapping {
            addresses: guest.image().addresses(),
            file: format!("handler {}", guest.image().handler()),
            origin: Origin::Guest,
        });
        let mut mappings: Vec<_> = guest.collect();
        // Guests' code is mapped from files of the cache, which are among the others.
        let is_guest =
            |mapped: &Mapped| mappings.iter().any(|guest| guest.addresses.contains(&mapped.addresses.start));
        let host: Vec<_> = host.iter().filter(|mapped| !is_guest(mapped)).collect();
        mappings.extend(host.into_iter().map(|mapped| Mapping {
            addresses: mapped.addresses.clone(),
            file: mapped.path.display().to_string(),
            origin: Origin::Host,
        }));
        Self { guests, mappings, places: Vec::new(), known: HashMap::new() }
    }

    /// The number of the place with this address.
    pub(super) fn place(&mut self, address: u64) -> usize {
        if let Some(&known) = self.known.get(&address) {
            return known;
        }
        let mapping = self.mappings.iter().position(|mapping| mapping.addresses.contains(&address));
        let lines = match mapping.and_then(|mapping| self.guests.get(mapping)) {
            Some(guest) => guest.lines(address),
            None => host_lines(address),
        };
        self.places.push(Place { address, mapping, lines });
        self.known.insert(address, self.places.len() - 1);
        self.places.len() - 1
    }

    /// All places that were asked for, and where they are.
    pub(super) fn into_places(self) -> (Vec<Place>, Vec<Mapping>) {
        (self.places, self.mappings)
    }
}

/// What the program's own symbols say; the innermost of inlined functions first. Never empty.
pub(super) fn host_lines(address: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    // It takes what it gets for a return address, and looks one byte before it.
    backtrace::resolve(address.wrapping_add(1) as *mut c_void, |symbol| {
        let function = symbol.name().map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}"));
        let file = symbol.filename().map(|file| file.display().to_string()).unwrap_or_default();
        lines.push(Line { function, file, line: symbol.lineno().unwrap_or_default() });
    });
    if lines.is_empty() {
        lines.push(Line::named(format!("{address:#x}")));
    }
    lines
}
