;; Fills all its memory, 16 MiB, for ever: one instruction that takes longer than a time slice.
(memory $memory 256)
(func $misbehave (loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x1000000)) (br $again)))
