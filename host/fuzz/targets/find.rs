//! libFuzzer's way into `wasmux_fuzz::find`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::find(data));
