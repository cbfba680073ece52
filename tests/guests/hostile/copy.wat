;; Copies half its memory for ever, 8 MiB, onto itself, one byte further.
(memory $memory 256)
(func $misbehave (loop $again (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x800000)) (br $again)))
