;; Grows its memory as far as it gets, uses all of it, and then traps.
(memory $memory 1)
(func $misbehave (local $page i32)
  (loop $again
    (local.set $page (memory.grow (i32.const 1)))
    (if (i32.eq (local.get $page) (i32.const -1)) (then unreachable))
    (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 1) (i32.const 0x10000))
    (br $again)))
