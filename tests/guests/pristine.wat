;; Traps unless every byte of its memory and every global is what the module says; else answers `pristine`. Then it leaves marks
;; as the first byte of the request says: in all of the memory (`a`), here and there (`s`), in one byte (`b`), in pages that it
;; grows (`g`), or everywhere, and traps (`t`).
(module
  (import "wasmux:http/1" "request_read" (func $read (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 1024) "pristine")
  (data (i32.const 200000) "far")
  (table 2 funcref)
  (elem (i32.const 1) func $nothing)
  (func $nothing)
  (global $i (mut i32) (i32.const 7))
  (global $l (mut i64) (i64.const 8))
  (global $f (mut f32) (f32.const 1.5))
  (global $d (mut f64) (f64.const 2.5))
  (global $v (mut v128) (v128.const i64x2 9 10))

  (func (export "_initialize") (global.set $i (i32.add (global.get $i) (i32.const 1))))

  (func $demand (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))

  (func $check (local $at i32) (local $want i64)
    (loop $next
      (local.set $want (i64.const 0))
      (if (i32.eq (local.get $at) (i32.const 1024)) (then (local.set $want (i64.const 0x656e697473697270))))
      (if (i32.eq (local.get $at) (i32.const 200000)) (then (local.set $want (i64.const 0x726166))))
      (call $demand (i64.eq (i64.load (local.get $at)) (local.get $want)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 0x40000))))
    (call $demand (i32.eq (memory.size) (i32.const 4)))
    (call $demand (i32.eq (global.get $i) (i32.const 8)))
    (call $demand (i64.eq (global.get $l) (i64.const 8)))
    (call $demand (f32.eq (global.get $f) (f32.const 1.5)))
    (call $demand (f64.eq (global.get $d) (f64.const 2.5)))
    (call $demand (i64x2.all_true (i64x2.eq (global.get $v) (v128.const i64x2 9 10)))))

  (func $leave_marks (param $how i32) (local $at i32)
    (global.set $i (i32.const 1000))
    (global.set $l (i64.const 1000))
    (global.set $f (f32.const 1000))
    (global.set $d (f64.const 1000))
    (global.set $v (v128.const i64x2 1000 1000))
    (if (i32.eq (local.get $how) (i32.const 0x62)) (then (i32.store8 (i32.const 150000) (i32.const 1)) return))
    (if (i32.eq (local.get $how) (i32.const 0x67)) (then (drop (memory.grow (i32.const 2)))))
    (if (i32.eq (local.get $how) (i32.const 0x73))
      (then
        (loop $next
          (i32.store8 (local.get $at) (i32.const 0xff))
          (local.set $at (i32.add (local.get $at) (i32.const 9001)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const 0x40000)))))
      (else (memory.fill (i32.const 0) (i32.const 0xff) (i32.mul (memory.size) (i32.const 0x10000)))))
    (if (i32.eq (local.get $how) (i32.const 0x74)) (then unreachable)))

  (func (export "serve_http") (local $how i32)
    (call $check)
    (call_indirect (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 1)))
    (local.set $how (i32.load8_u (i32.const 0)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 8)))
    (call $leave_marks (local.get $how))))
