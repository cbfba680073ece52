//! Fewer data segments. The tool that takes a snapshot leaves every segment that there was, empty, and adds one for each run of
//! memory that is not zero. For each of them an instance has two words, which are written for every request: Go's linker
//! makes 36,000, and that took longer than the request itself.

use wasmparser::{DataKind, Operator, Parser, Payload};

/// Ids of sections that are made anew.
const DATA: u8 = 11;

/// Zeros between two segments that are put into one with them, in bytes. A page of the host: all of it would be kept anyway.
const GAP_BYTES_MAX: usize = 4096;

/// A run of memory.
struct Run {
    at: usize,
    bytes: Vec<u8>,
}

/// The same module with fewer segments; or with the same, where code names them by number.
///
/// # Errors
/// When it is no module.
pub(super) fn compact(wasm: Vec<u8>) -> wasmparser::Result<Vec<u8>> {
    let Some(runs) = runs(&wasm)? else { return Ok(wasm) };
    let mut compact = wasm.get(..8).unwrap_or_default().to_vec();
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload? {
            // It is for code that names segments.
            Payload::DataCountSection { .. } => {}
            Payload::DataSection(_) => section(&mut compact, DATA, &data(&runs)),
            other => {
                if let Some((id, range)) = other.as_section() {
                    section(&mut compact, id, &wasm[range]);
                }
            }
        }
    }
    Ok(compact)
}

/// What the segments put into memory; none where they cannot be others.
fn runs(wasm: &[u8]) -> wasmparser::Result<Option<Vec<Run>>> {
    let mut runs: Vec<Run> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::CodeSectionEntry(code) => {
                for operator in code.get_operators_reader()? {
                    if let Operator::MemoryInit { .. } | Operator::DataDrop { .. } = operator? {
                        return Ok(None);
                    }
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else { continue };
                    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                        return Ok(None);
                    };
                    let at = value.cast_unsigned() as usize;
                    match runs.last_mut() {
                        Some(last) if at < last.end() => return Ok(None), // they would write over each other
                        Some(last) if at - last.end() <= GAP_BYTES_MAX => {
                            last.bytes.resize(at - last.at, 0);
                            last.bytes.extend_from_slice(segment.data);
                        }
                        _ => runs.push(Run { at, bytes: segment.data.to_vec() }),
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Some(runs))
}

impl Run {
    fn end(&self) -> usize {
        self.at + self.bytes.len()
    }
}

/// The contents of a data section.
fn data(runs: &[Run]) -> Vec<u8> {
    const ACTIVE: u8 = 0;
    const I32_CONST: u8 = 0x41;
    const END: u8 = 0x0b;
    let mut data = Vec::new();
    unsigned(&mut data, runs.len());
    for run in runs {
        data.extend([ACTIVE, I32_CONST]);
        signed(&mut data, (run.at as u32).cast_signed());
        data.push(END);
        unsigned(&mut data, run.bytes.len());
        data.extend_from_slice(&run.bytes);
    }
    data
}

fn section(module: &mut Vec<u8>, id: u8, contents: &[u8]) {
    module.push(id);
    unsigned(module, contents.len());
    module.extend_from_slice(contents);
}

/// LEB128, as the binary format has its numbers.
fn unsigned(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(out: &mut Vec<u8>, mut value: i32) {
    // Done when all that is left is the sign of what was written.
    while !(-0x40..0x40).contains(&value) {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wat: &str) -> Vec<Run> {
        let compact = compact(wat::parse_str(wat).unwrap()).unwrap();
        wasmparser::Validator::new().validate_all(&compact).unwrap();
        runs(&compact).unwrap().unwrap_or_default()
    }

    #[test]
    fn segments_that_are_near_become_one() {
        let found = check(
            r#"(module (memory 40000) (func (export "f")) (data "") (data (i32.const 3) "ab") (data "")
            (data (i32.const 7) "c") (data (i32.const 9000) "far") (data (i32.const 2147483648) "away"))"#,
        );
        let found: Vec<_> = found.iter().map(|run| (run.at, &*run.bytes)).collect();
        assert_eq!(found, [(3, &b"ab\0\0c"[..]), (9000, b"far"), (1 << 31, b"away")]);
    }

    #[test]
    fn the_rest_of_a_module_stays() {
        for wat in [
            "(module)",
            "(module (memory 1) (data (i32.const 64) \"\\01\") (func $name nop))",
            // With a count of segments, and code that names one.
            "(module (memory 1) (data \"ab\") (data (i32.const 0) \"a\") (data (i32.const 1) \"b\") \
             (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1))))",
            "(module (memory 1) (data (i32.const 1) \"a\") (data (i32.const 0) \"bc\"))",
        ] {
            let wasm = wat::parse_str(wat).unwrap();
            assert_eq!(compact(wasm.clone()).unwrap(), wasm, "{wat}");
        }
    }
}
