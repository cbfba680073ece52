;; Calls itself for ever.
(memory $memory 1)
(func $misbehave (call $misbehave) (call $misbehave))
