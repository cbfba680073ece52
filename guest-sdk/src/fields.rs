//! Header maps and the field blocks of the ABI (ABI.md section 3.2), both ways.

use http::{HeaderMap, HeaderName, HeaderValue};
use wasmux_abi::fields;

use crate::buffer::Buffer;

/// Field blocks up to this size need no allocation. Most responses have a handful of short fields.
const INLINE_BYTES: usize = 512;

/// A field block in the making.
///
/// Grows as it goes, which `wasmux_abi::FieldsWriter` does not: that one wants to be told the size first.
pub(crate) struct FieldBlock {
    bytes: Buffer<INLINE_BYTES>,
    count: u32,
}

impl FieldBlock {
    pub(crate) fn new() -> Self {
        let mut bytes = Buffer::new();
        bytes.extend(&[0; 4]); // the count, see `finish`
        Self { bytes, count: 0 }
    }

    #[inline(never)] // it is called from many places, and size counts
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        for length in [name.len(), value.len()] {
            self.bytes.extend(&(length as u32).to_le_bytes()); // guests have 32 bits, and so has the block
        }
        self.bytes.extend(name);
        self.bytes.extend(value);
        self.count += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The block as the host wants it.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let bytes = self.bytes.as_mut_slice();
        bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }
}

/// Calls `visit` with each field of a map, as bytes. Names are in lower case.
#[inline(never)] // walking a HeaderMap is much code, and every guest walks several
pub(crate) fn visit(map: &HeaderMap, visit: &mut dyn FnMut(&[u8], &[u8])) {
    for (name, value) in map {
        visit(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// The block of a map.
pub(crate) fn to_block(map: &HeaderMap) -> Vec<u8> {
    let mut block = FieldBlock::new();
    visit(map, &mut |name, value| block.push(name, value));
    block.finish().to_vec()
}

/// A map of these fields. What the `http` crate cannot represent is left out.
pub(crate) fn to_map<'a>(list: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// The first value of a field; `""` when there is none, or none that is visible ASCII.
pub(crate) fn first<'m>(map: &'m HeaderMap, name: &str) -> &'m str {
    map.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A map of the fields in a block; empty for a malformed one.
pub(crate) fn parse(block: &[u8]) -> HeaderMap {
    fields(block).map(to_map).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip_at_every_size() {
        for length in [0, 1, INLINE_BYTES - 14, INLINE_BYTES - 13, INLINE_BYTES - 12, 5000] {
            let mut map = HeaderMap::new();
            map.append("x", "v".repeat(length).parse().expect("valid"));
            map.append("x", "2".parse().expect("valid"));
            let mut block = FieldBlock::new();
            visit(&map, &mut |name, value| block.push(name, value));
            assert_eq!(parse(block.finish()), map, "{length}");
        }
        assert_eq!(FieldBlock::new().finish(), [0; 4]);
        assert_eq!(parse(b"junk"), HeaderMap::new());
    }
}
