;; Takes all the memory it gets before it has begun, and then traps.
(memory $memory 1)
(func $never (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable)
(start $never)
(func $misbehave)
