;; Asks for all the memory there can be, and when it is refused, again.
(memory $memory 1)
(func $misbehave (loop $again (drop (memory.grow (i32.const 0xffff))) (br $again)))
