//! Binaries that mean harm: refused with a sentence, in bounded time, without a panic.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::guest::EngineSettings;

/// Far more than any refusal takes, on the slowest machine.
const AT_MOST: Duration = Duration::from_secs(60);

static ENGINE: LazyLock<GuestEngine> =
    LazyLock::new(|| GuestEngine::new(EngineSettings::with_instances(4)).unwrap());

/// A component with imports, types, modules and a handler.
static SOUND: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("../../../../tests/guests/ask.wat")).unwrap());

/// All that is done at load, and also what would not be after a refusal.
fn load(bytes: &[u8]) -> Result<(), LoadError> {
    let wasm = binary(bytes)?;
    let mut inspection = inspect(&wasm, &ENGINE).map_err(LoadError::one)?;
    let problems = std::mem::take(&mut inspection.problems);
    let inspected = if problems.is_empty() { Ok(()) } else { Err(LoadError::all(problems)) };
    LoadError::of_both(inspected, Artifact::try_out(&ENGINE, &wasm, &mut inspection, &CodeCache::off()))
}

fn refusal(bytes: &[u8]) -> String {
    let started = Instant::now();
    let error = load(bytes).unwrap_err();
    assert!(started.elapsed() < AT_MOST, "{:?}", started.elapsed());
    let text = error.to_string();
    assert!(text.len() < 20_000, "{} bytes", text.len());
    text
}

const MODULE_SECTION: u8 = 1;
const COMPONENT_SECTION: u8 = 4;
const TYPE_SECTION: u8 = 7;

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A component of these sections.
fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = b"\0asm\x0d\0\x01\0".to_vec();
    for (id, contents) in sections {
        out.push(*id);
        out.extend(leb(contents.len()));
        out.extend_from_slice(contents);
    }
    out
}

#[test]
fn what_is_sound_loads() {
    load(&SOUND).unwrap();
}

#[test]
fn truncated_components() {
    for length in (0..SOUND.len()).step_by(7) {
        let refusal = refusal(&SOUND[..length]);
        // Between two sections it is sound as far as it goes, but no handler.
        let is_known = ["not valid WebAssembly", "exports neither", "cannot be compiled", "does not export"];
        assert!(is_known.iter().any(|text| refusal.contains(text)), "{length}: {refusal}");
    }
}

#[test]
fn components_within_components() {
    let mut nested = component(&[]);
    for _ in 0..2_000 {
        nested = component(&[(COMPONENT_SECTION, &nested)]);
    }
    refusal(&nested);
    let module = b"\0asm\x01\0\0\0".as_slice();
    refusal(&component(&vec![(MODULE_SECTION, module); 5_000]));
}

#[test]
fn types_without_end() {
    // (list (list (list …))), each in terms of the one before, from (list u8) on.
    let mut lists = leb(5_000);
    lists.extend([0x70, 0x7d]);
    for index in 0..4_999 {
        lists.push(0x70);
        lists.extend(leb(index));
    }
    refusal(&component(&[(TYPE_SECTION, &lists)]));
    // Each is a tuple of two of the one before: 2^40 values.
    let mut tuples = leb(41);
    tuples.extend([0x70, 0x7d]);
    for index in 0..40 {
        tuples.extend([0x6f, 2, index, index]);
    }
    refusal(&component(&[(TYPE_SECTION, &tuples)]));
    // Very many small ones, and a count that is a lie.
    let mut many = leb(200_000);
    many.extend([0x70, 0x7d].repeat(200_000));
    refusal(&component(&[(TYPE_SECTION, &many)]));
    refusal(&component(&[(TYPE_SECTION, &leb(u32::MAX as usize))]));
}

#[test]
fn text_without_end() {
    for text in [
        "(component ".repeat(100_000),
        "(".repeat(1 << 20),
        "(module (func ".to_owned() + &"(block ".repeat(100_000),
    ] {
        assert!(refusal(text.as_bytes()).starts_with("not valid WebAssembly: "));
    }
}

/// A module of these sections, with a handler and one page of memory.
fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut all: Vec<(u8, Vec<u8>)> = vec![
        (1, b"\x01\x60\0\0".to_vec()),
        (3, b"\x01\0".to_vec()),
        (5, b"\x01\0\x01".to_vec()),
        (7, b"\x02\x06memory\x02\0\x0aserve_http\0\0".to_vec()),
        (10, b"\x01\x02\0\x0b".to_vec()),
    ];
    for (id, contents) in sections {
        all.retain(|(known, _)| known != id);
        all.push((*id, contents.clone()));
    }
    all.sort_by_key(|(id, _)| if *id == 0 { u8::MAX } else { *id });
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for (id, contents) in all {
        out.push(id);
        out.extend(leb(contents.len()));
        out.extend(contents);
    }
    out
}

/// So many of the same.
fn times(count: usize, entry: &[u8]) -> Vec<u8> {
    [leb(count), entry.repeat(count)].concat()
}

#[test]
fn very_many_of_anything() {
    assert_eq!(load(&module(&[])), Ok(()));
    let wrong = [
        // A million functions without code, and as many globals as no instance has room for.
        (module(&[(3, times(1_000_000, &[0]))]), "inconsistent lengths"),
        (module(&[(6, times(1_000_000, b"\x7f\x01\x41\0\x0b"))]), "global"),
        (module(&[(4, times(101, b"\x70\0\0"))]), "tables"),
        (module(&[(4, b"\x01\x70\0\xff\xff\xff\xff\x0f".to_vec())]), "table"),
        (
            module(&[(2, times(200_000, b"\x01a\x01b\0\0"))]),
            "200000 imports and exports, and 100000 is the most",
        ),
        (module(&[(2, times(5_000, b"\x01a\x01b\0\0"))]), "imports 4980 others"),
        (module(&[(7, times(100_001, b"\x01a\0\0"))]), "100001 imports and exports"),
        (module(&[(4, b"\x01\x70\0\x0a".to_vec()), (9, times(150_000, b"\0\x41\0\x0b\x01\0"))]), "elements"),
        // memory64, and two memories.
        (module(&[(5, b"\x01\x04\x01".to_vec())]), "memory64"),
        (module(&[(5, b"\x02\0\x01\0\x01".to_vec())]), "2 linear memories"),
        // 4 GiB at the start.
        (module(&[(5, b"\x01\0\x80\x80\x04".to_vec())]), "its `memory` limit is 65536 KiB"),
    ];
    for (bytes, part) in wrong {
        let text = refusal(&bytes);
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn data_without_end() {
    // Within the memory, twice as much as there is memory, and a hundred thousand pieces.
    let piece = |length: usize| [b"\0\x41\0\x0b".as_slice(), &leb(length), &vec![1; length]].concat();
    assert_eq!(load(&module(&[(11, times(1, &piece(60_000)))])), Ok(()));
    assert_eq!(load(&module(&[(11, times(90_000, &piece(1)))])), Ok(()));
    // A place that is computed: 0 + 0.
    let computed =
        |length: usize| [b"\0\x41\0\x41\0\x6a\x0b".as_slice(), &leb(length), &vec![1; length]].concat();
    let text = refusal(&module(&[(11, times(2_000, &computed(60_000)))]));
    assert!(text.contains("bytes of data whose place is computed"), "{text}");
    // Sections that nobody reads.
    let mut flooded = module(&[]);
    flooded.extend(b"\0\x03\x01xy".repeat(500_000));
    assert_eq!(load(&flooded), Ok(()));
}

/// The right name and number of parameters, but not what a request can be given to.
#[test]
fn handlers_of_another_type() {
    let numbers = r#"(component
      (core module $m (func (export "handle") (param i32 i32)))
      (core instance $i (instantiate $m))
      (func $handle (param "a" u32) (param "b" u32) (canon lift (core func $i "handle")))
      (instance $handler (export "handle" (func $handle)))
      (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    // The request in the place of the response.
    let swapped = r#"(component
      (import "wasi:http/types@0.2.0" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
      (alias export $types "incoming-request" (type $request))
      (alias export $types "response-outparam" (type $out))
      (core module $m (func (export "handle") (param i32 i32)))
      (core instance $i (instantiate $m))
      (func $handle (param "a" (own $out)) (param "b" (own $request)) (canon lift (core func $i "handle")))
      (instance $handler (export "handle" (func $handle)))
      (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    for text in [numbers, swapped] {
        let sentence = "`wasi:http/incoming-handler` has no function `handle` of the standard's type";
        assert_eq!(refusal(text.as_bytes()), sentence);
    }
    let sound = swapped.replace(
        "(param \"a\" (own $out)) (param \"b\" (own $request))",
        "(param \"a\" (own $request)) (param \"b\" (own $out))",
    );
    assert_eq!(load(sound.as_bytes()), Ok(()));
}

/// What is quoted of a file does not reach a terminal as it is.
#[test]
fn quoted_text_is_harmless() {
    let name = br#"(component (import "a" (instance $a)) (alias export $a "\1b[31mred" (func)))"#;
    for text in [&b"(module \x1b[31mred\x07 \0)"[..], name] {
        let text = refusal(text);
        assert!(text.contains("red"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_refused(bytes: Vec<u8>) {
        refusal(&bytes);
        refusal(&[b"\0asm\x0d\0\x01\0", bytes.as_slice()].concat());
        refusal(&[b"\0asm\x01\0\0\0", bytes.as_slice()].concat());
    }

    /// Some of these are sound; none may do harm.
    #[test]
    fn altered_components(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = SOUND.clone();
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        let _ = load(&bytes);
    }
}
