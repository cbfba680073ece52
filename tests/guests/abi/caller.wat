;; Does what a script in the request's path tells it, one host call after the other, and logs what each returned:
;; `results 0 -2 5`. So every test of the ABI is a line of data.
;;
;; The script is the value of the pattern's first wildcard: steps of six u32 (which call, five arguments), then a step
;; that is 0, then data that the steps point to. tests/abi/script.rs writes it.
;;
;; Memory, 17 pages: 0x1000 script · 0x10000 text of the results · 0x20000 to 0xc0000 free for scripts · 0xc0000 request head
(module
  (import "wasmux:http/1" "request_head" (func $request_head (param i32 i32) (result i32)))
  (import "wasmux:http/1" "request_read" (func $request_read (param i32 i32) (result i32)))
  (import "wasmux:http/1" "request_trailers" (func $request_trailers (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_interim" (func $response_interim (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_flush" (func $response_flush (result i32)))
  (import "wasmux:http/1" "response_trailers" (func $response_trailers (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_abort" (func $response_abort))
  (import "wasmux:http/1" "response_timeout" (func $response_timeout (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "client_gone" (func $client_gone (result i32)))
  (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
  (import "wasmux:log/1" "enabled" (func $enabled (param i32) (result i32)))

  (memory (export "memory") 17 17)
  (data (i32.const 0x10000) "results")
  (global $step (mut i32) (i32.const 0x1000)) ;; address of the step that is being done
  (global $end (mut i32) (i32.const 0x10007)) ;; end of the text of the results

  (type $call (func (result i32)))
  (table funcref (elem
    $trap ;; 0 ends the script and is never called
    $do_request_head $do_request_read $do_request_trailers $do_respond $do_response_interim $do_response_start
    $do_response_write $response_flush $do_response_trailers $client_gone $do_log $do_enabled
    $fill $repeat $trap $wait_gone $read_all $do_response_abort $do_response_timeout))

  (func (export "serve_http")
    (call $load_script)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load (global.get $step))))
        (call $note (call_indirect (type $call) (i32.load (global.get $step))))
        (global.set $step (i32.add (global.get $step) (i32.const 24)))
        (br $next)))
    (call $log (i32.const 3) (i32.const 0x10000) (i32.sub (global.get $end) (i32.const 0x10000))))

  ;; The field block `path_values` of the head: count, then name_len, value_len, name, value of the first.
  (func $load_script (local $block i32)
    (drop (call $request_head (i32.const 0xc0000) (i32.const 0x40000)))
    (local.set $block (i32.add (i32.const 0xc0000) (i32.load (i32.const 0xc0078))))
    (memory.copy (i32.const 0x1000)
      (i32.add (i32.add (local.get $block) (i32.const 12)) (i32.load offset=4 (local.get $block)))
      (i32.load offset=8 (local.get $block))))

  (func $arg (param $n i32) (result i32)
    (i32.load (i32.add (global.get $step) (i32.shl (local.get $n) (i32.const 2)))))

  ;; The calls.
  (func $do_request_head (type $call) (call $request_head (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_request_read (type $call) (call $request_read (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_request_trailers (type $call)
    (call $request_trailers (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_respond (type $call)
    (call $respond (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))
      (call $arg (i32.const 4)) (call $arg (i32.const 5))))
  (func $do_response_interim (type $call)
    (call $response_interim (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))))
  (func $do_response_start (type $call)
    (call $response_start (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))))
  (func $do_response_write (type $call) (call $response_write (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_response_trailers (type $call)
    (call $response_trailers (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_response_abort (type $call) (call $response_abort) (i32.const 0))
  ;; response_timeout(ms, fields, fields_len, body, body_len), always with status 503
  (func $do_response_timeout (type $call)
    (call $response_timeout (call $arg (i32.const 1)) (i32.const 503) (call $arg (i32.const 2)) (call $arg (i32.const 3))
      (call $arg (i32.const 4)) (call $arg (i32.const 5))))
  (func $do_log (type $call)
    (call $log (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))) (i32.const 0))
  (func $do_enabled (type $call) (call $enabled (call $arg (i32.const 1))))

  ;; fill(ptr, byte, len)
  (func $fill (type $call)
    (memory.fill (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))) (i32.const 0))

  ;; repeat(from, len, count, to): count copies of the bytes, one behind the other.
  (func $repeat (type $call) (local $to i32) (local $left i32)
    (local.set $to (call $arg (i32.const 4)))
    (local.set $left (call $arg (i32.const 3)))
    (loop $again
      (memory.copy (local.get $to) (call $arg (i32.const 1)) (call $arg (i32.const 2)))
      (local.set $to (i32.add (local.get $to) (call $arg (i32.const 2))))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 0))

  (func $trap (type $call) (unreachable))

  ;; Computes until the client is gone, or the deadline ends it.
  (func $wait_gone (type $call)
    (loop $again (br_if $again (i32.eqz (call $client_gone))))
    (i32.const 1))

  ;; read_all(ptr, len): reads piece by piece to the end; answers how many bytes came, or the error.
  (func $read_all (type $call) (local $total i32) (local $count i32)
    (loop $again
      (local.set $count (call $do_request_read))
      (if (i32.lt_s (local.get $count) (i32.const 0)) (then (return (local.get $count))))
      (local.set $total (i32.add (local.get $total) (local.get $count)))
      (br_if $again (local.get $count)))
    (local.get $total))

  ;; Appends " NUMBER" to the text of the results.
  (func $note (param $number i32)
    (call $put (i32.const 32))
    (if (i32.lt_s (local.get $number) (i32.const 0))
      (then
        (call $put (i32.const 45))
        (local.set $number (i32.sub (i32.const 0) (local.get $number)))))
    (call $digits (local.get $number)))
  (func $digits (param $number i32)
    (if (i32.ge_u (local.get $number) (i32.const 10))
      (then (call $digits (i32.div_u (local.get $number) (i32.const 10)))))
    (call $put (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))
  (func $put (param $byte i32)
    (i32.store8 (global.get $end) (local.get $byte))
    (global.set $end (i32.add (global.get $end) (i32.const 1)))))
