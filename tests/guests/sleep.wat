;; Sleeps as many milliseconds as the first wildcard of the pattern says, then answers `slept`.
(module
  (import "wasmux:http/1" "request_head" (func $request_head (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "slept\n")

  (func (export "serve_http")
    (call $sleep (call $milliseconds))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 6))))

  ;; The digits of the first path value. The head is at 4096, its field block `path_values` where offset 120 says.
  (func $milliseconds (result i64) (local $at i32) (local $end i32) (local $number i64)
    (drop (call $request_head (i32.const 4096) (i32.const 32768)))
    (local.set $at (i32.add (i32.const 4096) (i32.load (i32.const 4216))))
    (local.set $end (i32.load offset=8 (local.get $at)))
    (local.set $at (i32.add (i32.add (local.get $at) (i32.const 12)) (i32.load offset=4 (local.get $at))))
    (local.set $end (i32.add (local.get $at) (local.get $end)))
    (loop $next
      (local.set $number (i64.add
        (i64.mul (local.get $number) (i64.const 10))
        (i64.sub (i64.load8_u (local.get $at)) (i64.const 48))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (local.get $number))

  ;; One subscription at 64: clock 1 (monotonic), relative. The event goes to 128.
  (func $sleep (param $milliseconds i64)
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.mul (local.get $milliseconds) (i64.const 1000000)))
    (if (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)) (then unreachable))))
