//! What the two processes say to each other about a snapshot: a text with its length in front, then WebAssembly.

use std::io::{Error, ErrorKind, Result};

use super::super::snapshot::{Start, Started};

/// The order to start a module.
///
/// # Errors
/// As [`Start::to_json`].
pub(super) fn of_start(start: &Start, wasm: &[u8]) -> std::result::Result<Vec<u8>, String> {
    Ok(frame(&start.to_json()?, wasm))
}

pub(super) fn start(input: &[u8]) -> Result<(Start, &[u8])> {
    let (text, wasm) = parts(input)?;
    Ok((serde_json::from_slice(text)?, wasm))
}

/// The outcome.
pub(super) fn of_started(started: &Started) -> Vec<u8> {
    frame(&started.said, &started.wasm)
}

pub(super) fn started(output: &[u8]) -> Result<Started> {
    let (said, wasm) = parts(output)?;
    Ok(Started { said: said.to_vec(), wasm: wasm.to_vec() })
}

fn frame(text: &[u8], wasm: &[u8]) -> Vec<u8> {
    // No text is as long as a u32 can say: settings have a file of configuration, output a limit.
    [&(text.len() as u32).to_le_bytes(), text, wasm].concat()
}

fn parts(frame: &[u8]) -> Result<(&[u8], &[u8])> {
    let parts = frame
        .split_first_chunk()
        .and_then(|(len, rest)| rest.split_at_checked(u32::from_le_bytes(*len) as usize));
    parts.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let started = Started { wasm: b"wasm".to_vec(), said: b"said".to_vec() };
        assert_eq!(super::started(&of_started(&started)).unwrap(), started);
        for broken in [&b""[..], b"\0\0", b"\x05\0\0\0abcd", b"\xff\xff\xff\xff"] {
            assert!(super::started(broken).is_err());
        }
    }
}
