;; Misbehaves in the way that the last byte of the pattern names: s spins, t traps three calls deep, r recurses for ever,
;; g grows beyond any limit and uses it, d divides by zero, x calls proc_exit, h spins in a host call that never waits.
(module
  (import "wasmux:http/1" "request_head" (func $request_head (param i32 i32) (result i32)))
  (import "wasmux:http/1" "client_gone" (func $client_gone (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  (func $serve (export "serve_http") (local $way i32)
    (drop (call $request_head (i32.const 1024) (i32.const 0xf000)))
    ;; The span of the pattern stands at offset 104 of the head.
    (local.set $way (i32.load8_u (i32.add (i32.const 1023)
      (i32.add (i32.load (i32.const 1128)) (i32.load (i32.const 1132))))))
    (if (i32.eq (local.get $way) (i32.const 115)) (then (loop $spin (br $spin))))
    (if (i32.eq (local.get $way) (i32.const 116)) (then (call $outer)))
    (if (i32.eq (local.get $way) (i32.const 114)) (then (call $recurse)))
    (if (i32.eq (local.get $way) (i32.const 103))
      (then (i32.store (i32.shl (memory.grow (i32.const 100)) (i32.const 16)) (i32.const 1))))
    (if (i32.eq (local.get $way) (i32.const 100))
      (then (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))))
    (if (i32.eq (local.get $way) (i32.const 120)) (then (call $proc_exit (i32.const 3))))
    (if (i32.eq (local.get $way) (i32.const 104)) (then (loop $ask (drop (call $client_gone)) (br $ask)))))

  (func $outer (call $middle))
  (func $middle (call $inner))
  (func $inner unreachable)
  (func $recurse (call $recurse)))
