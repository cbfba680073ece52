;; Writes for as long as somebody takes it.
(memory $memory 2)
(func $misbehave
  (drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 0)))
  (loop $again (br_if $again (i32.eqz (call $response_write (i32.const 0) (i32.const 0x20000))))))
