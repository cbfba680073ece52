;; Asks the host the same thing for ever.
(memory $memory 1)
(func $misbehave (loop $again (call $host) (br $again)))
