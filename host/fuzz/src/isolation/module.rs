//! The module of a shape, as text. Its request says in two bytes what to do: `w` and an ending leaves marks, `x` shows
//! all that can be seen, and traps if another byte than 0 follows.

use super::shape::{CALLS_AT, Global, MARK_FUNCTION, NULL, Shape, TABLE_GROWTH};

/// Pages that the memory grows by to be looked at: new ones must be empty.
pub(super) const SHOWN_PAGES: usize = 3;

/// Pages that it grows by to leave marks: more, and more than is kept resident between requests.
const MARKED_PAGES: u32 = 20;

/// The mark: none of the bytes or numbers that a module starts with.
const MARK: &str = "0x5a";

/// What shows references.
const OF_REFERENCES: &str = "\
;; A reference, by way of a table that has been looked at.
(func $out_function (param $function funcref)
  (if (ref.is_null (local.get $function))
    (then (call $out (i64.const NULL)))
    (else
      (table.set $t0 (i32.const 0) (local.get $function))
      (call $out32 (call_indirect $t0 (type $id) (i32.const 0))))))
";

const FRAME: &str = r#"
(import "wasmux:http/1" "request_read" (func $request_read (param i32 i32) (result i32)))
(import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
(import "wasmux:http/1" "response_start" (func $response_start (param i32 i32 i32) (result i32)))
(import "wasmux:http/1" "response_write" (func $response_write (param i32 i32) (result i32)))
(import "wasmux:http/1" "response_flush" (func $response_flush (result i32)))
(import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_tell" (func $fd_tell (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
(type $id (func (result i32)))
(func $f0 (result i32) (i32.const 0))
(func $f1 (result i32) (i32.const 1))
(func $f2 (result i32) (i32.const 2))
(func $f3 (result i32) (i32.const 3))
(elem declare func $f0 $f1 $f2 $f3 $mark)
(func $out (param $number i64)
  (i64.store (i32.const 0) (local.get $number))
  (drop (call $response_write (i32.const 0) (i32.const 8))))
(func $out32 (param $number i32) (call $out (i64.extend_i32_u (local.get $number))))
;; Opens the file "f" and reads 8 bytes of it to address 32; shows all that it learns, if it is to.
(func $read (param $shows i32) (local $fd i32) (local $opened i32) (local $read i32)
  (i32.store8 (i32.const 16) (i32.const 0x66))
  (local.set $opened (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 0)
    (i64.const 6) (i64.const 6) (i32.const 0) (i32.const 20)))
  (local.set $fd (i32.load (i32.const 20)))
  (i64.store (i32.const 32) (i64.const 0))
  (i32.store (i32.const 24) (i32.const 32))
  (i32.store (i32.const 28) (i32.const 8))
  (local.set $read (call $fd_read (local.get $fd) (i32.const 24) (i32.const 1) (i32.const 20)))
  (if (local.get $shows) (then
    (call $out32 (local.get $opened))
    (call $out32 (local.get $fd))
    (call $out32 (local.get $read))
    (call $out (i64.load (i32.const 32)))
    (call $out32 (call $fd_tell (local.get $fd) (i32.const 40)))
    (call $out (i64.load (i32.const 40))))))
(func $overflow (call $overflow) (call $overflow))
(func $fill (memory.fill (i32.const 0) (i32.const MARK) (i32.mul (memory.size) (i32.const 0x10000))))
(func (export "serve_http") (local $mode i32) (local $ending i32)
  (drop (call $request_read (i32.const 0) (i32.const 2)))
  (local.set $mode (i32.load8_u (i32.const 0)))
  (local.set $ending (i32.load8_u (i32.const 1)))
  (if (i32.eq (local.get $mode) (i32.const 0x77))
    (then (call $leave_marks) (call $end (local.get $ending)))
    (else (call $show) (drop (call $response_flush)) (if (local.get $ending) (then (unreachable))))))
;; As the numbers of `Ending` say.
(func $end (param $ending i32)
  (if (i32.eq (local.get $ending) (i32.const 1)) (then (unreachable)))
  (if (i32.eq (local.get $ending) (i32.const 2)) (then (loop $ever (br $ever))))
  (if (i32.eq (local.get $ending) (i32.const 3)) (then (call $overflow)))
  (if (i32.eq (local.get $ending) (i32.const 4)) (then
    (drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 0)))
    (drop (call $response_write (i32.const 0) (i32.const 0x10000)))
    (drop (call $response_flush))
    (unreachable)))
  (if (i32.eq (local.get $ending) (i32.const 5)) (then
    (drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 0)))
    (loop $more
      (drop (call $response_write (i32.const 0) (i32.const 0x10000)))
      (br $more))))
  (if (i32.eq (local.get $ending) (i32.const 6)) (then
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (call $fill)
    (unreachable)))
  (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
"#;

/// The text of a module.
pub(super) fn module(shape: &Shape) -> String {
    let references = if shape.is_restorable { "" } else { OF_REFERENCES };
    let frame = (FRAME.to_owned() + references).replace("NULL", &NULL.to_string()).replace("MARK", MARK);
    let mut text = format!("(module {frame}\n(func $mark (result i32) (i32.const {MARK_FUNCTION}))\n");
    if shape.has_initialize {
        text += &format!(
            "(func (export \"_initialize\")
              (i32.store (i32.const {CALLS_AT}) (i32.add (i32.load (i32.const {CALLS_AT})) (i32.const 1))))\n"
        );
    }
    definitions(shape, &mut text);
    text += "(func $show\n(drop (call $response_start (i32.const 200) (i32.const 0) (i32.const 0)))\n";
    let functions = show(shape, &mut text);
    text += &format!(")\n{functions}");
    text += "(func $leave_marks (local $at i32)\n";
    shape.ways.iter().for_each(|&way| mark(shape, way, &mut text));
    text + "))\n"
}

fn definitions(shape: &Shape, text: &mut String) {
    *text += &format!("(memory (export \"memory\") {})\n", shape.pages);
    for &(at, len, byte) in &shape.data {
        *text += &format!("(data (i32.const {at}) \"{}\")\n", format!("\\{byte:02x}").repeat(len));
    }
    for (index, &(len, byte)) in shape.passive.iter().enumerate() {
        *text += &format!("(data $d{index} \"{}\")\n", format!("\\{byte:02x}").repeat(len));
    }
    for (index, table) in shape.tables.iter().enumerate() {
        *text += &format!("(table $t{index} {} funcref)\n", table.len);
        let set: String = (0..table.set).map(|element| format!(" $f{}", element % 4)).collect();
        *text += &format!("(elem (table $t{index}) (i32.const 0) func{set})\n");
    }
    if shape.has_passive_elements {
        *text += "(elem $e funcref (ref.func $mark))\n";
    }
    for (index, global) in shape.globals.iter().enumerate() {
        let (ty, value) = match global {
            Global::I32(value) => ("i32", format!("i32.const {value}")),
            Global::I64(value) => ("i64", format!("i64.const {value}")),
            Global::F32(bits) => ("f32", format!("f32.const {:?}", f32::from_bits(*bits))),
            Global::F64(bits) => ("f64", format!("f64.const {:?}", f64::from_bits(*bits))),
            Global::V128(bits) => {
                ("v128", format!("v128.const i64x2 {} {}", *bits as i64, (*bits >> 64) as i64))
            }
            Global::Function(None) => ("funcref", "ref.null func".to_owned()),
            Global::Function(Some(number)) => ("funcref", format!("ref.func $f{number}")),
        };
        *text += &format!("(global $g{index} (mut {ty}) ({value}))\n");
    }
}

/// Statements that send all that can be seen, in the order of `expected`; gives back the functions that they call.
fn show(shape: &Shape, text: &mut String) -> String {
    let mut line = |statement: String| *text += &(statement + "\n");
    // The memory before anything is written to it; then what it grows by.
    line(
        "(drop (call $response_write (i32.const 0) (i32.mul (memory.size) (i32.const 0x10000))))".to_owned(),
    );
    if shape.is_restorable {
        // One that has grown is not put back.
        line("(call $out32 (memory.size))".to_owned());
    } else {
        line(format!(
            "(drop (call $response_write (i32.mul (memory.grow (i32.const {SHOWN_PAGES})) (i32.const 0x10000)) \
             (i32.const {})))",
            SHOWN_PAGES << 16
        ));
        line(format!("(call $out32 (i32.sub (memory.size) (i32.const {SHOWN_PAGES})))"));
    }
    let mut functions = String::new();
    for (index, global) in shape.globals.iter().enumerate() {
        let get = format!("(global.get $g{index})");
        line(match global {
            Global::I32(_) => format!("(call $out32 {get})"),
            Global::I64(_) => format!("(call $out {get})"),
            Global::F32(_) => format!("(call $out32 (i32.reinterpret_f32 {get}))"),
            Global::F64(_) => format!("(call $out (i64.reinterpret_f64 {get}))"),
            Global::V128(_) => {
                format!("(call $out (i64x2.extract_lane 0 {get})) (call $out (i64x2.extract_lane 1 {get}))")
            }
            Global::Function(_) => format!("(call $out_global {get})"),
        });
    }
    for (index, table) in shape.tables.iter().enumerate() {
        line(format!("(call $out32 (table.size $t{index}))"));
        let growth = if shape.is_restorable { 0 } else { TABLE_GROWTH };
        if growth > 0 {
            line(format!("(drop (table.grow $t{index} (ref.null func) (i32.const {growth})))"));
        }
        for element in 0..table.len + growth {
            line(format!("(call $out_element{index} (i32.const {element}))"));
        }
        functions += &format!(
            "(func $out_element{index} (param $at i32)
              (if (ref.is_null (table.get $t{index} (local.get $at)))
                (then (call $out (i64.const {NULL})))
                (else (call $out32 (call_indirect $t{index} (type $id) (local.get $at))))))\n"
        );
    }
    for (index, &(len, _)) in shape.passive.iter().enumerate() {
        let len = len.min(8);
        line(format!("(memory.init $d{index} (i32.const 48) (i32.const 0) (i32.const {len}))"));
        line("(call $out (i64.load (i32.const 48)))".to_owned());
    }
    if shape.has_passive_elements {
        line("(table.init $t0 $e (i32.const 0) (i32.const 0) (i32.const 1))".to_owned());
        line("(call $out_function (table.get $t0 (i32.const 0)))".to_owned());
    }
    line("(call $out32 (call $fd_prestat_get (i32.const 3) (i32.const 16)))".to_owned());
    line("(call $read (i32.const 1))".to_owned());
    line("(drop (call $environ_get (i32.const 16) (i32.const 64)))".to_owned());
    line("(call $out (i64.load (i32.const 64)))".to_owned());
    // A function is called through the first table, which has not been looked at yet.
    if !shape.is_restorable {
        functions += "(func $out_global (param $function funcref) (local $kept funcref)
      (local.set $kept (table.get $t0 (i32.const 0)))
      (call $out_function (local.get $function))
      (table.set $t0 (i32.const 0) (local.get $kept)))\n";
    }
    functions
}

/// Statements that leave marks in one way.
fn mark(shape: &Shape, way: u8, text: &mut String) {
    let grow = format!("(drop (memory.grow (i32.const {MARKED_PAGES})))");
    let open = "(call $read (i32.const 0))";
    let of_tables = |statement: &dyn Fn(usize) -> String| -> String {
        (0..shape.tables.len()).map(statement).collect::<Vec<_>>().join("\n")
    };
    let statements = match way {
        0 => "(call $fill)".to_owned(),
        1 => format!("{grow} (call $fill)"),
        // One word in every page and a half.
        2 => format!(
            "(local.set $at (i32.const 0x200)) (loop $next (i32.store (local.get $at) (i32.const {MARK}))
               (local.set $at (i32.add (local.get $at) (i32.const 0x1804)))
               (br_if $next (i32.lt_u (local.get $at) (i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 4)))))"
        ),
        3 => shape.globals.iter().enumerate().map(|(index, global)| mark_global(index, global)).collect(),
        4 => of_tables(&|index| {
            format!("(table.fill $t{index} (i32.const 0) (ref.func $mark) (table.size $t{index}))")
        }),
        5 => of_tables(&|index| format!("(drop (table.grow $t{index} (ref.func $mark) (i32.const 50)))")),
        6 => of_tables(&|index| format!("(table.set $t{index} (i32.const 0) (ref.null func))")),
        7 => {
            let data = (0..shape.passive.len()).map(|index| format!("(data.drop $d{index})")).collect::<String>();
            data + if shape.has_passive_elements { "(elem.drop $e)" } else { "" }
        }
        8 => open.to_owned(),
        9 => "(drop (call $fd_close (i32.const 3)))".to_owned(),
        10 => format!("{open} (drop (call $fd_renumber (i32.const 4) (i32.const 3)))"),
        // As little as can be: what is put back piece by piece may lack one.
        11 => format!("(i32.store8 (i32.const {}) (i32.const {MARK}))", shape.spot),
        12 => shape.globals.get(shape.global).map(|global| mark_global(shape.global, global)).unwrap_or_default(),
        // From a segment, and from one end of the memory to the other.
        13 => {
            // Where none is dropped.
            let segments = if shape.is_restorable { shape.passive.len() } else { 0 };
            let from_segments = (0..segments).map(|index| {
                format!("(memory.init $d{index} (i32.const 0x300) (i32.const 1) (i32.const 7))")
            });
            from_segments.collect::<String>()
                + "(memory.fill (i32.const 0x300) (i32.const MARK) (i32.const 5))
                  (memory.copy (i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 16)) (i32.const 0x300)
                    (i32.const 16))"
                    .replace("MARK", MARK)
                    .as_str()
        }
        // A line without its end.
        _ => format!(
            "(i32.store (i32.const 32) (i32.const 0)) (i32.store (i32.const 36) (i32.const 64))
             (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40)))
             (drop (call $fd_write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 40))) {grow}"
        ),
    };
    *text += &statements;
    text.push('\n');
}

fn mark_global(index: usize, global: &Global) -> String {
    let value = match global {
        Global::I32(_) => format!("i32.const {MARK}"),
        Global::I64(_) => format!("i64.const {MARK}"),
        Global::F32(_) => "f32.const 90.5".to_owned(),
        Global::F64(_) => "f64.const 90.5".to_owned(),
        Global::V128(_) => format!("v128.const i64x2 0 {MARK}"),
        Global::Function(_) => "ref.func $mark".to_owned(),
    };
    format!("(global.set $g{index} ({value}))\n")
}
