//! libFuzzer's way into `wasmux_fuzz::loader`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::loader(data));
