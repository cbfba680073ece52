;; Does as it should: for `serve_http` only, as all that follow.
(memory $memory 1)
(data (i32.const 0) "hello\n")
(func $misbehave
  (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 6))))
