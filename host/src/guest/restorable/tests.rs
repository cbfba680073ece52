use wasmtime::{Engine, Instance, Module, Store, Val};

use super::*;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A module of which nothing but the memory and some globals can change, with whatever else it says.
fn module(more: &str) -> Vec<u8> {
    wasm(&format!(
        r#"(module
            (import "env" "f" (func $import (param i32)))
            (memory (export "memory") 2)
            (table $t 3 funcref)
            (elem (table $t) (i32.const 0) func $f)
            (func $f)
            (data $d "passive")
            (data (i32.const 100) "active")
            (elem $e func $f)
            {more}
            (func (export "serve_http")
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 9))
                (memory.copy (i32.const 0) (i32.const 50) (i32.const 9))
                (memory.init $d (i32.const 0) (i32.const 0) (i32.const 7))
                (drop (memory.grow (i32.const 1)))
                (drop (ref.is_null (table.get $t (i32.const 0))))
                (drop (table.size $t))
                (call_indirect $t (i32.const 0))))"#
    ))
}

fn reason(wasm: &[u8]) -> String {
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(wasm).unwrap();
    changeable(wasm).unwrap_err().to_string()
}

#[test]
fn what_linkers_make_passes() {
    let found = |globals: &[u32]| Ok(Changeable { globals: globals.to_vec(), data: 100..106 });
    assert_eq!(changeable(&module("")), found(&[]));
    let globals = "(global $a (mut i32) (i32.const 1)) (global $b i32 (i32.const 2)) (global $c (mut v128) \
                   (v128.const i64x2 1 2)) (global $d funcref (ref.func $f)) (global $e (export \"e\") (mut f64) (f64.const 0))
                   (func $s (result v128) (i32x4.splat (i32.const 1)))
                   (func $r (param i32) (result i64) (i64.extend8_s (i64.trunc_sat_f32_s (f32.const 1))))
                   (func $tail (return_call $f))
                   (func $set (global.set $a (i32.const 7)))";
    assert_eq!(changeable(&module(globals)), found(&[0, 2, 4]));
}

#[test]
fn whatever_else_can_change_is_refused() {
    for (more, why) in [
        ("(func (table.set $t (i32.const 0) (ref.null func)))", "`table.set`"),
        ("(func (drop (table.grow $t (ref.null func) (i32.const 1))))", "`table.grow`"),
        ("(func (table.fill $t (i32.const 0) (ref.null func) (i32.const 1)))", "`table.fill`"),
        ("(func (table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1)))", "`table.copy`"),
        ("(func (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)))", "`table.init`"),
        ("(func (elem.drop $e))", "`elem.drop`"),
        ("(func (data.drop $d))", "`data.drop`"),
        // In any place of any function.
        ("(func (block (loop (if (i32.const 1) (then (data.drop $d))))))", "`data.drop`"),
        ("(start $f)", "a start function"),
        ("(global (mut funcref) (ref.null func))", "a mutable global that is a reference"),
        ("(global (mut externref) (ref.null extern))", "a mutable global that is a reference"),
        ("(global externref (ref.null extern))", "references to something other than functions"),
        ("(table 1 externref)", "references to something other than functions"),
        ("(type (struct (field (mut i32))))", "types other than functions"),
        ("(rec (type (func)) (type (func)))", "types other than functions"),
        ("(tag (param i32))", "a section that is not known here"),
        ("(func (drop (i32.atomic.load (i32.const 0))))", "instructions of a kind that is not known here"),
        (
            "(func (drop (ref.eq (ref.null eq) (ref.null eq))))",
            "instructions of a kind that is not known here",
        ),
        ("(memory 1)", "2 memories of its own"),
    ] {
        let reason = reason(&module(more));
        assert!(reason.contains(why), "{more}: {reason}");
    }
    let globals = |count| module(&"(global (mut i32) (i32.const 0))".repeat(count));
    assert_eq!(changeable(&globals(GLOBALS_MAX)).unwrap().globals.len(), GLOBALS_MAX);
    assert!(reason(&globals(GLOBALS_MAX + 1)).contains("65 mutable globals"));
}

#[test]
fn memories_and_imports_of_another_kind_are_refused() {
    for (text, why) in [
        ("(module)", "0 memories"),
        ("(module (import \"env\" \"m\" (memory 1)))", "imports something other than functions"),
        ("(module (import \"env\" \"t\" (table 1 funcref)) (memory 1))", "imports something other"),
        ("(module (import \"env\" \"g\" (global (mut i32))) (memory 1))", "imports something other"),
        ("(module (import \"env\" \"g\" (global i32)) (memory 1))", "imports something other"),
        ("(module (memory 1 2 shared))", "its memory is shared"),
        ("(module (memory i64 1))", "64-bit addresses"),
        ("(module (memory 1 (pagesize 1)))", "pages of an unusual size"),
        ("(module (memory 257))", "starts with 16 MiB of memory, more than 16 MiB"),
    ] {
        let reason = reason(&wasm(text));
        assert!(reason.contains(why), "{text}: {reason}");
    }
    assert_eq!(changeable(&wasm("(module (memory 256))")), Ok(Changeable::default()));
}

#[test]
fn what_is_no_module_is_refused() {
    let sound = module("(global (mut i32) (i32.const 1))");
    for end in 0..sound.len() {
        // No panic; most of them are errors, others end between two sections.
        let _ = prepare(&sound[..end]);
    }
    assert!(prepare(b"\0asm\x01\0\0\0\xff").is_err());
    assert_eq!(&*prepare(&wasm("(component)")).unwrap(), wasm("(component)"));
}

/// The names that a module would need to pass for one that was proved to be harmless.
#[test]
fn the_hosts_names_are_its_own() {
    for name in [MEMORY, "wasmux:restore/", "wasmux:restore/global/0"] {
        let error = prepare(&module(&format!("(func (export {name:?}) (elem.drop $e))"))).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
    assert!(prepare(&module("(func (export \"wasmux:restored\"))")).is_ok());
}

#[test]
fn the_prepared_module_is_the_same_with_further_exports() {
    let sound = module(
        "(global $a (mut i32) (i32.const 1)) (global i32 (i32.const 2)) (global (mut i64) (i64.const 3)) \
         (func (export \"bump\") (global.set $a (i32.const 5)))",
    );
    let prepared = prepare(&sound).unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &prepared).unwrap();
    let names: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
    let own = [MEMORY.to_owned(), "wasmux:restore/data/100-106".to_owned(), global(0), global(1)];
    assert_eq!(names, [&["memory", "bump", "serve_http"].map(str::to_owned)[..], &own].concat());
    let mut store = Store::new(&engine, ());
    let import = wasmtime::Func::wrap(&mut store, |_: i32| ());
    let instance = Instance::new(&mut store, &module, &[import.into()]).unwrap();
    let numbers = |store: &mut Store<()>| {
        let globals = [0, 1].map(|number| instance.get_global(&mut *store, &global(number)).unwrap());
        globals.map(|global| match global.get(&mut *store) {
            Val::I32(number) => i64::from(number),
            Val::I64(number) => number,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(numbers(&mut store), [1, 3]);
    instance.get_typed_func::<(), ()>(&mut store, "bump").unwrap().call(&mut store, ()).unwrap();
    assert_eq!(numbers(&mut store), [5, 3]);
    let memory = instance.get_memory(&mut store, MEMORY).unwrap();
    assert_eq!(&memory.data(&store)[100..106], b"active");
    // All sections but the exports are byte for byte what they were: names and debug information still fit.
    let sections = |wasm: &[u8]| -> Vec<(u8, Vec<u8>)> {
        let payloads = Parser::new(0).parse_all(wasm).map(Result::unwrap);
        let sections = payloads.filter_map(|payload| payload.as_section());
        sections.map(|(id, range)| (id, wasm[range].to_vec())).filter(|(id, _)| *id != 7).collect()
    };
    assert_eq!(sections(&sound), sections(&prepared));
}

#[test]
fn numbers_of_any_length_are_written_as_they_are_read() {
    for number in [0, 1, 127, 128, 300, 16_383, 16_384, u32::MAX as usize] {
        let mut bytes = Vec::new();
        push_number(&mut bytes, number);
        let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
        assert_eq!((reader.read_var_u32().unwrap() as usize, reader.eof()), (number, true));
    }
}

#[test]
fn outside_its_data_a_memory_is_empty() {
    for (more, data) in [
        ("", 100..106),
        ("(data (i32.const 131071) \"x\")", 100..131_072),
        ("(data (i32.const 7) \"\") (data (i32.const 3) \"x\")", 3..106),
        ("(data $p \"passive and long\")", 100..106),
        // Where that is, is computed.
        ("(data (i32.add (i32.const 1) (i32.const 2)) \"x\")", 0..131_072),
        ("(global $at i32 (i32.const 9)) (data (global.get $at) \"x\")", 0..131_072),
    ] {
        let module = module(more);
        assert_eq!(changeable(&module).unwrap().data, data, "{more}");
        let prepared = prepare(&module).unwrap();
        let module = Module::new(&Engine::default(), &prepared).unwrap();
        let mut named = module.exports().filter_map(|export| data_in(export.name()));
        assert_eq!(named.next(), Some(data.start as usize..data.end as usize), "{more}");
    }
    // An offset is unsigned; that it is outside, instantiation finds out.
    let outside = wasm("(module (memory 1) (data (i32.const -1) \"xy\"))");
    assert_eq!(changeable(&outside).unwrap().data, 0xffff_ffff..0x1_0000_0001);
    for name in ["memory", MEMORY, "wasmux:restore/data/", "wasmux:restore/data/1", "wasmux:restore/data/1-x"]
    {
        assert_eq!(data_in(name), None, "{name}");
    }
}
