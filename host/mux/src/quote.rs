//! Text in double quotes, the way Go's `%q` shows it, for messages.
//! Invariant: the output is one line of valid UTF-8, whatever the input. Knows nothing about which Unicode
//! characters are printable (the tables would be the largest part of this crate), so it leaves them as they
//! are.

use core::fmt::{self, Write as _};

/// Displays bytes in double quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '"' | '\\' => write!(f, "\\{char}")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    '\0'..=' ' | '\x7f' if char != ' ' => write!(f, "\\x{:02x}", u32::from(char))?,
                    _ => f.write_char(char)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}
