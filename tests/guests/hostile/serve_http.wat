;; The frame around a hostile guest as a core module. What stands for HERE has a memory `$memory`, and a function
;; `$misbehave`, which is called for each request; `$host` is a host call that never waits.
(module
  (import "wasmux:http/1" "client_gone" (func $client_gone (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_flush" (func $response_flush (result i32)))
  (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (func $host (drop (call $client_gone)))
  (export "memory" (memory $memory))
  (func (export "serve_http") (call $misbehave))
  HERE)
