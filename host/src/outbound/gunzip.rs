//! Undoes gzip piece by piece, whatever the pieces expand to.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;

/// Bytes that are expanded at a time, to at most about a thousand times as much.
const STEP_BYTES: usize = 256;

/// With so much expanded, it is handed on first.
const OUTPUT_BYTES: usize = 16 * 1024;

/// A body that is being decompressed.
#[derive(Debug)]
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Received, not yet expanded.
    rest: Bytes,
    is_begun: bool,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), rest: Bytes::new(), is_begun: false }
    }

    /// Takes what was received, once [`Gunzip::next`] has nothing more to give.
    pub(super) fn push(&mut self, received: Bytes) {
        self.is_begun |= !received.is_empty();
        self.rest = received;
    }

    /// The next piece of what was received, expanded; `None` when there is no more of it.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.rest.is_empty() && self.decoder.get_ref().len() < OUTPUT_BYTES {
            let step = self.rest.len().min(STEP_BYTES);
            let taken = self.decoder.write(&self.rest[..step])?;
            if taken == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "there is something behind its end"));
            }
            self.rest.advance(taken);
        }
        Ok(self.take())
    }

    /// What is left when nothing more comes.
    pub(super) fn finish(&mut self) -> io::Result<Option<Bytes>> {
        // A response without content is none, however it is encoded.
        if self.is_begun {
            self.decoder.try_finish()?;
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Option<Bytes> {
        let expanded = std::mem::take(self.decoder.get_mut());
        (!expanded.is_empty()).then(|| expanded.into())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Expands a body that comes in pieces of this size; answers with the largest piece that came out.
    fn gunzip(compressed: &[u8], size: usize) -> io::Result<(Vec<u8>, usize)> {
        let (mut gunzip, mut all, mut largest) = (Gunzip::new(), Vec::new(), 0);
        for piece in compressed.chunks(size) {
            gunzip.push(Bytes::copy_from_slice(piece));
            while let Some(expanded) = gunzip.next()? {
                largest = largest.max(expanded.len());
                all.extend_from_slice(&expanded);
            }
        }
        all.extend(gunzip.finish()?.into_iter().flatten());
        Ok((all, largest))
    }

    #[test]
    fn expands_whatever_the_pieces() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let compressed = gzip(&content);
        for size in [1, 7, 4096, usize::MAX] {
            assert!(gunzip(&compressed, size).unwrap().0 == content, "{size}");
        }
        let twice = [gzip(b"one, "), gzip(b"two")].concat();
        assert_eq!(gunzip(&twice, 5).unwrap().0, b"one, two", "members follow each other");
        assert_eq!(gunzip(&[], 1).unwrap().0, b"");
    }

    #[test]
    fn broken_ones_are_errors_and_bombs_come_in_small_pieces() {
        let compressed = gzip(&vec![0; 50 << 20]);
        let (all, largest) = gunzip(&compressed, usize::MAX).unwrap();
        assert_eq!(all.len(), 50 << 20);
        assert!(largest <= 512 << 10, "{largest}");
        assert!(gunzip(&compressed[..compressed.len() - 5], 1000).is_err(), "cut short");
        assert!(gunzip(b"no gzip at all", 1000).is_err());
    }
}
