;; A handler in front of another one (`wasmux:next/1`). The first letter of the path says what it does:
;;   f, t  forwards the request and the response as they are, with `next_forward`
;;   c  sends `PUT /changed?x=1` with other fields, and copies the response itself
;;   o  answers on its own
;;   w  makes calls in the wrong order, and says what they returned, one byte each (as a positive number)
(module
  (import "wasmux:http/1" "request_head" (func $request_head (param i32 i32) (result i32)))
  (import "wasmux:http/1" "request_read" (func $request_read (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
  (import "wasmux:http/1" "response_trailers" (func $response_trailers (param i32 i32) (result i32)))
  (import "wasmux:next/1" "next_send" (func $next_send (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:next/1" "next_head" (func $next_head (param i32 i32) (result i32)))
  (import "wasmux:next/1" "next_read" (func $next_read (param i32 i32) (result i32)))
  (import "wasmux:next/1" "next_trailers" (func $next_trailers (param i32 i32) (result i32)))
  (import "wasmux:next/1" "next_forward" (func $next_forward (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "PUT/changed?x=1ownno path")
  (data (i32.const 64) "\02\00\00\00" "\04\00\00\00" "\04\00\00\00" "host" "a.io" "\07\00\00\00" "\03\00\00\00" "x-added" "yes")

  (func (export "serve_http") (local $what i32)
    (drop (call $request_head (i32.const 0x10000) (i32.const 0x8000)))
    ;; The path's offset is at 64 of the head.
    (local.set $what (i32.load8_u offset=1
      (i32.add (i32.const 0x10000) (i32.load (i32.add (i32.const 0x10000) (i32.const 64))))))
    (if (i32.eq (local.get $what) (i32.const 0x66)) (then (call $forward) (return)))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then (call $forward) (return)))
    (if (i32.eq (local.get $what) (i32.const 0x63)) (then (call $change) (return)))
    (if (i32.eq (local.get $what) (i32.const 0x6f)) (then
      (call $check (call $respond (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 31) (i32.const 3)))
      (return)))
    (call $wrong))

  (func $forward
    (call $check (call $next_send
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (call $start)
    (call $check (call $next_forward)))

  (func $change (local $count i32)
    (call $check (call $next_send
      (i32.const 16) (i32.const 3) (i32.const 19) (i32.const 12) (i32.const 64) (i32.const 38)))
    (call $start)
    (block $end
      (loop $more
        (local.set $count (call $next_read (i32.const 0x20000) (i32.const 0x1000)))
        (br_if $end (i32.eqz (local.get $count)))
        (if (i32.lt_s (local.get $count) (i32.const 0)) (then unreachable))
        (call $check (call $response_write (i32.const 0x20000) (local.get $count)))
        (br $more)))
    (local.set $count (call $next_trailers (i32.const 0x20000) (i32.const 0x1000)))
    (if (i32.gt_s (local.get $count) (i32.const 4)) (then
      (call $check (call $response_trailers (i32.const 0x20000) (local.get $count))))))

  ;; Starts the response with the status and the fields of the other one.
  (func $start (local $size i32)
    (local.set $size (call $next_head (i32.const 0x20000) (i32.const 0x8000)))
    (call $check (call $response_start (i32.load (i32.const 0x20000))
      (i32.const 0x20004) (i32.sub (local.get $size) (i32.const 4)))))

  (func $wrong
    (call $note (i32.const 0) (call $next_head (i32.const 0x20000) (i32.const 0)))
    (call $note (i32.const 1) (call $next_read (i32.const 0x20000) (i32.const 1)))
    (call $note (i32.const 2) (call $next_trailers (i32.const 0x20000) (i32.const 0)))
    (call $note (i32.const 3) (call $next_forward))
    ;; A target that is none.
    (call $note (i32.const 4) (call $next_send
      (i32.const 0) (i32.const 0) (i32.const 34) (i32.const 7) (i32.const 0) (i32.const 0)))
    (call $note (i32.const 5) (call $next_send
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    ;; Once is enough, and the body has gone along.
    (call $note (i32.const 6) (call $next_send
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (call $note (i32.const 7) (call $request_read (i32.const 0x20000) (i32.const 1)))
    (call $note (i32.const 8) (call $next_trailers (i32.const 0x20000) (i32.const 0)))
    ;; Without a response of its own there is nothing to forward to.
    (call $note (i32.const 9) (call $next_forward))
    (call $check (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0x30000) (i32.const 10))))

  (func $note (param $at i32) (param $errno i32)
    (i32.store8 offset=0x30000 (local.get $at) (i32.sub (i32.const 0x30) (local.get $errno))))

  (func $check (param $errno i32) (if (local.get $errno) (then unreachable))))
