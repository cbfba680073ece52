;; Answers `initialized: N`, where N is how often `_initialize` has run before: a global and a byte of memory say it both.
(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "initialized: 0")
  (global $count (mut i32) (i32.const 0))

  (func (export "_initialize")
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store8 (i32.const 29) (i32.add (i32.load8_u (i32.const 29)) (i32.const 1))))

  (func (export "serve_http")
    (if (i32.ne (i32.load8_u (i32.const 29)) (i32.add (i32.const 48) (global.get $count))) (then unreachable))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 14)))))
