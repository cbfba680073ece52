;; Logs for ever, 64 KiB at a time.
(memory $memory 1)
(func $misbehave
  (memory.fill (i32.const 0) (i32.const 120) (i32.const 0x10000))
  (loop $again (call $log (i32.const 3) (i32.const 0) (i32.const 0x10000)) (br $again)))
