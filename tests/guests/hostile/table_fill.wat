;; Fills a table for ever.
(memory $memory 1)
(table $table 4096 funcref)
(func $misbehave (loop $again (table.fill $table (i32.const 0) (ref.null func) (i32.const 4096)) (br $again)))
