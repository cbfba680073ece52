;; Computes for ever before it has begun.
(memory $memory 1)
(func $never (loop $again (br $again)))
(start $never)
(func $misbehave)
