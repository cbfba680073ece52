;; Sleeps for an hour.
(memory $memory 1)
(func $misbehave
  (i32.store (i32.const 80) (i32.const 1)) ;; a subscription at 64: clock 1 (monotonic), relative
  (i64.store (i32.const 88) (i64.const 3600000000000))
  (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192))))
