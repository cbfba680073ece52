;; Writes for ever, one byte at a time, and waits until it is sent.
(memory $memory 1)
(func $misbehave
  (drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 0)))
  (loop $again
    (drop (call $response_write (i32.const 0) (i32.const 1)))
    (br_if $again (i32.eqz (call $response_flush)))))
