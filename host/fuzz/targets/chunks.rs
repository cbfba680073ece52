//! libFuzzer's way into `wasmux_fuzz::chunks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::chunks(data));
