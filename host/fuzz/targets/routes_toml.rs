//! libFuzzer's way into `wasmux_fuzz::routes_toml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmux_fuzz::routes_toml(data));
