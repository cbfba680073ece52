//! libFuzzer's way into `wasmux_fuzz::front_end`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::front_end(data));
