;; Grows its table as far as it gets, and then traps.
(memory $memory 1)
(table $table 1 funcref)
(func $misbehave
  (loop $again
    (br_if $again (i32.ge_s (table.grow $table (ref.null func) (i32.const 64)) (i32.const 0)))
    unreachable))
