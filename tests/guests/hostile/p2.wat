;; The frame around a hostile guest as a wasi:http 0.2 component, see `serve_http.wat`.
(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))))
  (alias export $types "fields" (type $fields))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core func $now (canon lower (func $clock "now")))
  (core func $new (canon lower (func $types "[constructor]fields")))
  (core func $drop (canon resource.drop $fields))
  (core module $guest
    (import "host" "now" (func $now (result i64)))
    (import "host" "new" (func $new (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (func $host (drop (call $now)) (call $drop (call $new)))
    (func (export "handle") (param i32 i32) (call $misbehave))
    HERE)
  (core instance $instance (instantiate $guest (with "host" (instance
    (export "now" (func $now)) (export "new" (func $new)) (export "drop" (func $drop))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $instance "handle")))
  (instance (export "wasi:http/incoming-handler@0.2.0") (export "handle" (func $handle))))
