//! A module on its way into the history: in a file beside the others, which goes with this unless it is kept.

use std::io::{self, Write as _};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::record::hexadecimal;

/// Bytes at the beginning that can be looked at.
const BEGIN_BYTES: usize = 4;

/// What has come of it so far. What a process leaves behind that is killed is swept up like all that no record names.
#[derive(Debug)]
pub struct Arriving {
    file: NamedTempFile,
    digest: Sha256,
    bytes: u64,
    begin: Vec<u8>,
}

impl Arriving {
    pub(super) fn new(file: NamedTempFile) -> io::Result<Self> {
        Ok(Self { file, digest: Sha256::new(), bytes: 0, begin: Vec::new() })
    }

    /// Writes the next piece.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        let missing = BEGIN_BYTES.saturating_sub(self.begin.len());
        self.begin.extend(piece.iter().take(missing));
        Ok(())
    }

    /// Whether nothing has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether it begins with these bytes, four at most.
    #[must_use]
    pub fn begins_with(&self, bytes: &[u8]) -> bool {
        self.begin.starts_with(bytes)
    }

    /// The file, its digest and its length.
    pub(super) fn into_parts(self) -> (NamedTempFile, String, u64) {
        (self.file, hexadecimal(&self.digest.finalize()), self.bytes)
    }
}
