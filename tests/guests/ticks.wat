;; Streams `tick` lines for ever, one in 20 ms, each flushed.
(module
  (import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_flush" (func $response_flush (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "tick\n")

  (func (export "serve_http")
    (i32.store (i32.const 80) (i32.const 1)) ;; a subscription at 64: clock 1 (monotonic), relative
    (i64.store (i32.const 88) (i64.const 20000000))
    (drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 0)))
    (loop $again
      (drop (call $response_write (i32.const 16) (i32.const 5)))
      (drop (call $response_flush))
      (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))
      (br $again))))
