;; Responds with 100,000 header lines: a field block of 10 bytes each, behind its count.
(memory $memory 16)
(func $misbehave (local $at i32)
  (i32.store (i32.const 0) (i32.const 100000))
  (local.set $at (i32.const 4))
  (loop $again
    (i32.store (local.get $at) (i32.const 1))
    (i32.store offset=4 (local.get $at) (i32.const 1))
    (i32.store16 offset=8 (local.get $at) (i32.const 0x7878))
    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 10))) (i32.const 1000004))))
  (drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 1000004))))
