;; Tries what WASI preview 1 could offer, and answers a u32 for each try.
(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $sock_shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 512) "etc/passwd")
  (global $at (mut i32) (i32.const 1024))

  (func $note (param $number i32)
    (i32.store (global.get $at) (local.get $number))
    (global.set $at (i32.add (global.get $at) (i32.const 4))))

  (func (export "serve_http")
    (call $note (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (call $note (i32.load (i32.const 0))) ;; how many arguments
    (call $note (call $environ_sizes_get (i32.const 0) (i32.const 4)))
    (call $note (i32.load (i32.const 0))) ;; how many variables
    (call $note (call $fd_prestat_get (i32.const 3) (i32.const 0)))
    (call $note (call $path_open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 10) (i32.const 0)
      (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
    (call $note (call $sock_shutdown (i32.const 3) (i32.const 0)))
    (i32.store (i32.const 16) (i32.const 64)) ;; a buffer of 64 bytes at 64
    (i32.store (i32.const 20) (i32.const 64))
    (i32.store (i32.const 24) (i32.const 99))
    (call $note (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
    (call $note (i32.load (i32.const 24))) ;; bytes read from standard input
    (call $note (call $random_get (i32.const 128) (i32.const 8)))
    (call $note (i32.load (i32.const 128)))
    (call $note (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 128)))
    (call $note (i32.wrap_i64 (i64.div_u (i64.load (i32.const 128)) (i64.const 1000000000)))) ;; Unix seconds
    (call $note (call $random_get (i32.const 0x10000) (i32.const 0x10000)))
    (call $note (call $random_get (i32.const 0x10000) (i32.const 0x10001)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0)
      (i32.const 1024) (i32.sub (global.get $at) (i32.const 1024))))))
