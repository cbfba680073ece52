;; Streams 256 MiB of zeros with a Content-Length, then logs `flooded`.
(module
  (import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
  (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 3)
  (data (i32.const 16) "\01\00\00\00" "\0e\00\00\00" "\09\00\00\00" "content-length" "268435456") ;; a field block of 35 bytes
  (data (i32.const 64) "flooded")

  (func (export "serve_http") (local $left i32)
    (if (call $response_start (i32.const 200) (i32.const 16) (i32.const 35)) (then unreachable))
    (local.set $left (i32.const 2048))
    (loop $again
      (if (call $response_write (i32.const 0x10000) (i32.const 0x20000)) (then unreachable))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (call $log (i32.const 3) (i32.const 64) (i32.const 7))))
