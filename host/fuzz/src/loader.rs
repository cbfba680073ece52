//! Any bytes as a handler: loading them always ends, with code or with sentences, and code that loads can be run.

use std::sync::LazyLock;

use arbitrary::{Arbitrary as _, Result, Unstructured};
use bytes::Bytes;
use http::Request;
use wasmux::guest::{Guest, GuestEngine};

use crate::world::{Client, engine, exchange, load, settings};

/// Room for components, which take several places.
static ENGINE: LazyLock<GuestEngine> = LazyLock::new(|| engine(8));

/// What every generated module exports, so that it is taken for a handler; and what it may import.
static EXPORTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    binary(
        r#"(module (memory (export "memory") 1) (func (export "serve_http")) (func (export "_initialize")))"#,
    )
});
static IMPORTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    binary(
        r#"(module
        (import "wasmux:http/1" "respond" (func (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasmux:http/1" "request_head" (func (param i32 i32) (result i32)))
        (import "wasmux:http/1" "response_start" (func (param i32 i32 i32) (result i32)))
        (import "wasmux:http/1" "response_write" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32))))"#,
    )
});

/// Handlers that are sound, of every kind that there is as text.
static SOUND: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let texts = [
        include_str!("../../../tests/guests/count.wat"),
        include_str!("../../../tests/guests/echo.wat"),
        include_str!("../../../tests/guests/wasi.wat"),
        include_str!("../../../tests/guests/ask.wat"),
        include_str!("../../../tests/guests/interim.wat"),
    ];
    texts.into_iter().map(binary).collect()
});

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("it is sound")
}

/// Input: what kind of handler, then what it is made of.
pub fn loader(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let mut u = Unstructured::new(rest);
    let wasm = match kind % 5 {
        0 => generated(&mut u),
        1 => altered(&mut u),
        2 => Ok([b"\0asm\x01\0\0\0", rest].concat()),
        3 => Ok([b"\0asm\x0d\0\x01\0", rest].concat()),
        _ => Ok(rest.to_vec()),
    };
    if let Ok(wasm) = wasm {
        check(&wasm);
    }
}

/// A module that is valid, whatever else it is.
fn generated(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let is_handler = u.ratio(3, 4)?;
    let mut config = wasm_smith::Config::arbitrary(u)?;
    config.allow_start_export = true;
    config.max_memory32_bytes = 2 << 20;
    config.max_instructions = 500;
    config.max_table_elements = 10_000;
    config.available_imports = Some(IMPORTS.clone());
    if is_handler {
        // What the host's engine knows, and the one memory that is exported.
        config.exports = Some(EXPORTS.clone());
        (config.min_memories, config.max_memories) = (0, 0);
        (config.min_tables, config.max_tables) = (0, 1);
        config.acquire_release_atomics_enabled = false;
        config.compact_imports_enabled = false;
        config.custom_descriptors_enabled = false;
        config.custom_page_sizes_enabled = false;
        config.exceptions_enabled = false;
        config.gc_enabled = false;
        config.memory64_enabled = false;
        config.multibyte_array_access_enabled = false;
        config.shared_everything_threads_enabled = false;
        config.threads_enabled = false;
        config.wide_arithmetic_enabled = false;
    }
    Ok(wasm_smith::Module::new(config, u)?.to_bytes())
}

/// A sound handler with some bytes replaced, put in or taken out.
fn altered(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut wasm = u.choose(&SOUND)?.clone();
    for _ in 0..u.int_in_range(1..=8)? {
        if wasm.is_empty() {
            break;
        }
        let at = u.choose_index(wasm.len())?;
        match u.int_in_range(0..=5)? {
            0 => wasm.truncate(at),
            1 => drop(wasm.remove(at)),
            2 => wasm.insert(at, u.arbitrary()?),
            _ => wasm[at] = u.arbitrary()?,
        }
    }
    Ok(wasm)
}

fn check(wasm: &[u8]) {
    // Compiled code is trusted like the program itself, and not to be made of any bytes.
    if wasm.starts_with(b"\x7fELF") {
        return;
    }
    let guest = load(&ENGINE, wasm).and_then(|artifact| Guest::new(&ENGINE, &artifact, settings("loaded")));
    match guest {
        Ok(guest) => drop(exchange(&guest.into(), Request::new(Bytes::new()), Client::Reads)),
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(!problem.is_empty() && problem.len() < 20_000, "{} bytes", problem.len());
                assert!(!problem.chars().any(|c| c.is_control() && c != '\n'), "{problem:?}");
            }
        }
    }
}
