//! [`Buffer`]: bytes that stay inline until there are too many of them.

use crate::sys::Bytes;

/// Up to `N` bytes in place, more on the heap.
///
/// A small request and its response need no allocation at all, which keeps the pages of a fresh instance clean.
pub(crate) struct Buffer<const N: usize> {
    inline: Bytes<N>,
    heap: Vec<u8>,
}

impl<const N: usize> Buffer<N> {
    pub(crate) const fn new() -> Self {
        Self { inline: Bytes::new(), heap: Vec::new() }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.heap.is_empty() { self.inline.as_slice() } else { &self.heap }
    }

    /// Appends `data`, moving to the heap when there is no more room.
    pub(crate) fn extend(&mut self, data: &[u8]) {
        if !self.heap.is_empty() {
            return self.heap.extend_from_slice(data);
        }
        let taken = self.inline.push(data);
        if taken < data.len() {
            self.heap.reserve(2 * (N + data.len()));
            self.heap.extend_from_slice(self.inline.as_slice());
            self.heap.extend_from_slice(&data[taken..]);
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.heap.is_empty() { self.inline.as_mut_slice() } else { &mut self.heap }
    }

    /// The inline part, to be filled from its start.
    #[cfg(all(target_family = "wasm", not(target_env = "p2")))] // wasmux writes here itself
    pub(crate) fn inline(&mut self) -> &mut Bytes<N> {
        self.inline.clear();
        self.heap.clear();
        &mut self.inline
    }

    /// The part on the heap, for what is too long. When it holds anything, that counts and the inline part does not.
    #[cfg(target_family = "wasm")]
    pub(crate) fn spill(&mut self) -> &mut Vec<u8> {
        &mut self.heap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_to_the_heap() {
        for piece in [1, 3, 7, 8, 9, 100] {
            let mut buffer = Buffer::<8>::new();
            let mut want = Vec::new();
            for byte in 0..10 {
                buffer.extend(&vec![byte; piece]);
                want.extend(vec![byte; piece]);
                assert_eq!(buffer.as_slice(), want);
            }
        }
    }
}
