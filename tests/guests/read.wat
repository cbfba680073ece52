;; Reads the request body to its end, then answers `read`.
(module
  (import "wasmux:http/1" "request_read" (func $request_read (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "read\n")

  (func (export "serve_http")
    (loop $next (br_if $next (i32.gt_s (call $request_read (i32.const 0x10000) (i32.const 0x10000)) (i32.const 0))))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 5)))))
