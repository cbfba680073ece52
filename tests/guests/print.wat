;; Prints to standard output and standard error, in pieces that are not lines, and answers its environment as it is
;; stored: `NAME=VALUE` with a NUL behind each.
(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "first line\nsecond ")  ;; 18 bytes
  (data (i32.const 288) "line\n\1b[31mforged\n")  ;; 17 bytes
  (data (i32.const 320) "to stderr, no newline")  ;; 21 bytes

  (func (export "serve_http")
    (call $print (i32.const 1) (i32.const 256) (i32.const 18))
    (call $print (i32.const 1) (i32.const 288) (i32.const 17))
    (call $print (i32.const 2) (i32.const 320) (i32.const 21))
    (drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
    (drop (call $environ_get (i32.const 1024) (i32.const 4096)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 4096) (i32.load (i32.const 4)))))

  (func $print (param $fd i32) (param $text i32) (param $len i32)
    (i32.store (i32.const 16) (local.get $text))
    (i32.store (i32.const 20) (local.get $len))
    (if (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable))))
