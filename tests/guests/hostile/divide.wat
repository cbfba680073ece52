;; Divides by zero.
(memory $memory 1)
(func $misbehave (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0)))))
