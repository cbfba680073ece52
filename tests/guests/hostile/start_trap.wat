;; Traps before it has begun.
(memory $memory 1)
(func $never unreachable)
(start $never)
(func $misbehave)
