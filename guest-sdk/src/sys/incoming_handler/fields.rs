//! Field blocks of the ABI as the standard's `fields`.

use wasip2::http::types::{Fields, HeaderError};
use wasmux_abi::{Errno, fields};

use crate::sys::incoming_head::Field;

/// The fields of a block, less those of the connection, which belong to the host.
///
/// # Errors
/// [`Errno::Invalid`] for a field that HTTP does not allow, [`Errno::Limit`] for more than the host takes.
pub(super) fn from_block(block: &[u8]) -> Result<Fields, Errno> {
    let list = fields(block).map_err(|_| Errno::Invalid)?;
    let list: Vec<Field> = list
        .filter(|(name, _)| !is_of_connection(name))
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
        .collect();
    Fields::from_list(&list).or_else(|_| one_by_one(&list))
}

/// Hosts differ in what else they keep for themselves. What this one does not want is left out.
fn one_by_one(list: &[Field]) -> Result<Fields, Errno> {
    let fields = Fields::new();
    for (name, value) in list {
        match fields.append(name, value) {
            Ok(()) => {}
            Err(HeaderError::Forbidden) => log::debug!("the host keeps the field {name} for itself"),
            Err(HeaderError::InvalidSyntax) => return Err(Errno::Invalid),
            Err(_) => return Err(Errno::Limit),
        }
    }
    Ok(fields)
}

/// The fields that ABI.md section 4 gives to the host, and `Connection`, which the standard has no word for.
fn is_of_connection(name: &[u8]) -> bool {
    let names = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The declared length among these, in bytes.
pub(super) fn content_length(block: &[u8]) -> Option<u64> {
    let mut list = fields(block).ok()?;
    let (_, value) = list.find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"))?;
    str::from_utf8(value).ok()?.parse().ok()
}
