//! What tests tell a guest to do, in the query of the request. The guests differ in the contract that they keep with the
//! host; the language, and what needs no contract, is the same for all and stands here.
//!
//! [`parse`] reads a query. [`play()`] does what it says on a [`Stage`], which is what a guest's contract makes of
//! requests and responses.

mod ops;
mod play;
mod probe;
mod told;

pub use ops::{Op, parse};
pub use play::{Stage, play};
pub use probe::Probe;
pub use told::{Fields, Told, lines};

use sha2::{Digest, Sha256};

/// Byte number `k` of the pattern: letters and digits, shifted by one in each row of 62.
#[must_use]
pub fn pattern(k: usize) -> u8 {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    LETTERS[(k + k / LETTERS.len()) % LETTERS.len()]
}

/// How many bytes these are, and their hash, in one line.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("read={} sha256={hex}\n", bytes.len())
}
