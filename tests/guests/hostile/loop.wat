;; Computes for ever.
(memory $memory 1)
(func $misbehave (loop $again (br $again)))
