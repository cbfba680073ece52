;; Sends the request body back piece by piece while it arrives, then the request's trailers as its own.
(module
  (import "wasmux:http/1" "request_read" (func $request_read (param i32 i32) (result i32)))
  (import "wasmux:http/1" "request_trailers" (func $request_trailers (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_flush" (func $response_flush (result i32)))
  (import "wasmux:http/1" "response_trailers" (func $response_trailers (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "\01\00\00\00" "\07\00\00\00" "\05\00\00\00" "trailer" "x-sum") ;; a field block of 24 bytes

  (func (export "serve_http") (local $count i32)
    (call $check (call $response_start (i32.const 200) (i32.const 16) (i32.const 24)))
    (call $check (call $response_flush))
    (block $end
      (loop $next
        (local.set $count (call $request_read (i32.const 0x10000) (i32.const 0x4000)))
        (br_if $end (i32.eqz (local.get $count)))
        (if (i32.lt_s (local.get $count) (i32.const 0)) (then unreachable))
        (call $check (call $response_write (i32.const 0x10000) (local.get $count)))
        (call $check (call $response_flush))
        (br $next)))
    (call $check (call $response_trailers (i32.const 0x10000)
      (call $request_trailers (i32.const 0x10000) (i32.const 0x4000)))))

  (func $check (param $errno i32) (if (local.get $errno) (then unreachable))))
