;; Counts its calls in a global, in memory, in a page that it grows, and in a table; answers the sum as a digit. In an
;; instance of its own, every request is the first: `4`.
(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))
  (table $table 2 funcref)
  (elem declare func $marker)
  (func $marker)

  (func (export "serve_http") (local $sum i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
    ;; The new page must be the second one, and empty.
    (local.set $sum (memory.grow (i32.const 1)))
    (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 0x1fff0))))
    (i32.store (i32.const 0x1fff0) (i32.const 100))
    ;; The table's slot must be empty.
    (local.set $sum (i32.add (local.get $sum) (ref.is_null (table.get $table (i32.const 1)))))
    (table.set $table (i32.const 1) (ref.func $marker))
    (local.set $sum (i32.add (local.get $sum) (i32.add (global.get $calls) (i32.load (i32.const 64)))))
    (i32.store8 (i32.const 32) (i32.add (i32.const 48) (local.get $sum)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const 1)))))
