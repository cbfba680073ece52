;; A wasi:http 0.2 component that asks for a key-value store, for configuration and for the time zone, each twice, says in
;; the log what it was told, and never responds.
(component
  ;; MORE IMPORTS
  (import "wasi:http/types@0.2.0" (instance $http
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $http "incoming-request" (type $request))
  (alias export $http "response-outparam" (type $outparam))

  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $enum (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $enum)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))

  (import "wasi:keyvalue/store@0.2.0-draft" (instance $store
    (export "bucket" (type $bucket (sub resource)))
    (type $variant (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $variant)))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))
    (export "[method]bucket.exists"
      (func (param "self" (borrow $bucket)) (param "key" string) (result (result bool (error $error)))))))
  (alias export $store "bucket" (type $bucket))
  (alias export $store "error" (type $store-error))
  (import "wasi:keyvalue/atomics@0.2.0-draft" (instance
    (alias outer 1 $bucket (type $bucket'))
    (export "bucket" (type $bucket (eq $bucket')))
    (alias outer 1 $store-error (type $error'))
    (export "error" (type $error (eq $error')))
    (export "increment" (func (param "bucket" (borrow $bucket)) (param "key" string) (param "delta" u64)
      (result (result u64 (error $error)))))))
  (import "wasi:keyvalue/batch@0.2.0-draft" (instance
    (alias outer 1 $bucket (type $bucket'))
    (export "bucket" (type $bucket (eq $bucket')))
    (alias outer 1 $store-error (type $error'))
    (export "error" (type $error (eq $error')))
    (export "delete-many" (func (param "bucket" (borrow $bucket)) (param "keys" (list string))
      (result (result (error $error)))))))

  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $variant (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $variant)))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))
    (export "get-all" (func (result (result (list (tuple string string)) (error $error)))))))

  (import "wasi:clocks/timezone@0.2.0" (instance $timezone
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (type $shown (record (field "utc-offset" s32) (field "name" string) (field "in-daylight-saving-time" bool)))
    (export "timezone-display" (type $display (eq $shown)))
    (export "display" (func (param "when" $datetime) (result $display)))
    (export "utc-offset" (func (param "when" $datetime) (result s32)))))

  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    ;; Never frees, and knows no alignment but eight.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))
      (local.get $at))
    (data (i32.const 0) "asking")
    (data (i32.const 16) "open: 0 0")
    (data (i32.const 32) "get: 0")
    (data (i32.const 48) "get-all: 0")
    (data (i32.const 64) "shop"))
  (core instance $libc (instantiate $libc))
  (core func $log (canon lower (func $logging "log") (memory (core memory $libc "memory"))))
  (core func $open (canon lower (func $store "open") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $get (canon lower (func $config "get") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $all (canon lower (func $config "get-all") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $display
    (canon lower (func $timezone "display") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "all" (func $all (param i32)))
    (import "host" "display" (func $display (param i64 i32 i32)))
    ;; Level `warn`, in the context "asking".
    (func $say (param $at i32) (param $len i32)
      (call $log (i32.const 3) (i32.const 0) (i32.const 6) (local.get $at) (local.get $len)))
    ;; The byte at `from`, as the digit at `to`.
    (func $digit (param $to i32) (param $from i32)
      (i32.store8 (local.get $to) (i32.add (i32.const 48) (i32.load8_u (local.get $from)))))
    (func $ask
      (call $open (i32.const 64) (i32.const 4) (i32.const 1024))
      (call $digit (i32.const 22) (i32.const 1024))
      (call $digit (i32.const 24) (i32.const 1028))
      (call $say (i32.const 16) (i32.const 9))
      (call $get (i32.const 64) (i32.const 4) (i32.const 1024))
      (call $digit (i32.const 37) (i32.const 1028))
      (call $say (i32.const 32) (i32.const 6))
      (call $say (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))
      (call $all (i32.const 1024))
      (call $digit (i32.const 57) (i32.const 1024))
      (call $say (i32.const 48) (i32.const 10))
      (call $display (i64.const 0) (i32.const 0) (i32.const 1024))
      (call $say (i32.load (i32.const 1028)) (i32.load (i32.const 1032))))
    (func (export "handle") (param i32 i32)
      (call $ask)
      (call $ask)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "log" (func $log))
      (export "open" (func $open))
      (export "get" (func $get))
      (export "all" (func $all))
      (export "display" (func $display))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
