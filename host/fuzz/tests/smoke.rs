//! Each target with its seeds, and with inputs that are made of them: always the same ones, and so many.
//!
//! `WASMUX_FUZZ_INPUTS` makes it more for each target; `WASMUX_FUZZ_SEED` makes it others.

#![allow(clippy::unwrap_used, reason = "a test fails with a panic")]

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use wasmux_fuzz::{TARGETS, Target};

/// Longest input that is made, in bytes.
const BYTES_MAX: usize = 4096;

/// What seeds are put together with.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: h\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"0\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"{$}",
    b"{x...}",
    b"/../",
    b"%2F",
    b"[handlers.x.limits]\n",
    b"[servers.s]\n",
    b"timeout = \"1s\"\n",
    b"{ files = \".\" }",
    b"= \"\"\n",
    b"\"GET /\" = { respond = \"x\" }\n",
    b"'''",
];

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no seed", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Plays the seeds, then so many inputs that nobody has written.
fn play(name: &str, inputs: u64) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| try_input(target, seed));
    let mut rng = StdRng::seed_from_u64(setting("WASMUX_FUZZ_SEED", 1));
    for _ in 0..setting("WASMUX_FUZZ_INPUTS", inputs) {
        try_input(target, &input(&mut rng, &seeds));
    }
}

/// Says which input it was if the target panics.
fn try_input(target: Target, input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| target(input)) {
        eprintln!("the input was b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// Random bytes, or a seed with some changes.
fn input(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if rng.random_ratio(1, 3) {
        let mut bytes = vec![0; rng.random_range(0..600)];
        rng.fill_bytes(&mut bytes);
        return bytes;
    }
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..8) {
        change(rng, &mut bytes, seeds);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(rng: &mut StdRng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.random_range(0..=bytes.len());
    let end = rng.random_range(at..=bytes.len().min(at + 40));
    match rng.random_range(0..6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        4 => {
            let other = &seeds[rng.random_range(0..seeds.len())];
            let from = rng.random_range(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        _ => drop(bytes.splice(at..at, WORDS[rng.random_range(0..WORDS.len())].iter().copied())),
    }
}

/// One test for each target, with the number of inputs that it takes a few seconds for.
macro_rules! targets {
    ($($name:ident: $inputs:literal;)*) => {
        $(#[test] fn $name() { play(stringify!($name), $inputs); })*

        #[test]
        fn all_targets_are_played() {
            let names = TARGETS.map(|(name, _)| name);
            assert_eq!(names.as_slice(), [$(stringify!($name)),*]);
            let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
            for name in names {
                assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} has no program");
            }
        }
    };
}

targets! {
    chunks: 20_000;
    find: 3_000;
    front_end: 500;
    host_calls: 200;
    isolation: 40;
    loader: 200;
    pattern: 10_000;
    routes_toml: 500;
}
