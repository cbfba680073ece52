;; Asks for the largest table there can be, and when it is refused, again.
(memory $memory 1)
(table $table 1 funcref)
(func $misbehave
  (loop $again (drop (table.grow $table (ref.null func) (i32.const 0x7fffffff))) (br $again)))
