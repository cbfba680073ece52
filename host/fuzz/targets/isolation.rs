//! libFuzzer's way into `wasmux_fuzz::isolation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::isolation(data));
