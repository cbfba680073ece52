//! libFuzzer's way into `wasmux_fuzz::host_calls`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::host_calls(data));
