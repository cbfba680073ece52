use super::*;
use crate::guest::{EngineSettings, GuestEngine};

/// All interfaces of a version of WASI, without their versions.
const P2: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:clocks/timezone",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:sockets/network",
    "wasi:sockets/instance-network",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/ip-name-lookup",
    "wasi:http/types",
    "wasi:http/outgoing-handler",
];
const P3: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/timezone",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:sockets/types",
    "wasi:sockets/ip-name-lookup",
    "wasi:http/types",
    "wasi:http/client",
];
const DRAFTS: &[&str] = &[
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:logging/logging@0.1.0-draft",
    "wasi:logging/logging",
];

fn versions(interfaces: &[&str], versions: &[&str]) -> Vec<String> {
    let all =
        versions.iter().flat_map(|version| interfaces.iter().map(move |name| format!("{name}@{version}")));
    all.collect()
}

fn lacking<T: 'static>(names: &[String], linker: &Linker<T>) -> Vec<String> {
    let absent = absent(names.iter().map(String::as_str), linker).unwrap();
    names.iter().zip(absent).filter(|(_, absent)| *absent).map(|(name, _)| name.clone()).collect()
}

#[test]
fn everything_standard_is_there() {
    let engine = GuestEngine::new(EngineSettings::with_instances(4)).unwrap();
    let drafts: Vec<_> = DRAFTS.iter().map(|&name| name.to_owned()).collect();
    let p2 = versions(P2, &["0.2.0", "0.2.6", "0.2.12", "0.2.99"]);
    let p3 = versions(P3, &["0.3.0", "0.3.2", "0.3.99"]);
    let nothing = Vec::<String>::new();
    for lane in [engine.plain(), &engine.concurrent().unwrap()] {
        assert_eq!(lacking(&p2, &lane.components), nothing);
        assert_eq!(lacking(&drafts, &lane.components), nothing);
    }
    assert_eq!(lacking(&p3, &engine.concurrent().unwrap().components), nothing);
    let foreign = ["wasi:http/types@0.2.0-rc-2023-11-10", "wasi:http/types", "wasi:nn/tensor@0.2.0", "f"];
    let foreign: Vec<_> = foreign.map(str::to_owned).into();
    assert_eq!(lacking(&foreign, &engine.plain().components), foreign);
}

/// What is said of a component in the text format, on the engine that has everything.
fn explained(text: &str) -> Vec<String> {
    let lane = GuestEngine::new(EngineSettings::with_instances(4)).unwrap().concurrent().unwrap();
    let component = Component::from_binary(&lane.engine, &wat::parse_str(text).unwrap()).unwrap();
    match lane.components.instantiate_pre(&component) {
        Ok(_) => Vec::new(),
        Err(complaint) => explain(&component, &lane.components, &complaint).problems,
    }
}

#[test]
fn versions_may_be_mixed() {
    let import = |version: &str, ty: &str| {
        format!(
            r#"(import "wasi:random/random@{version}" (instance (export "get-random-u64" (func (result {ty})))))"#
        )
    };
    let all = ["0.2.0", "0.2.12", "0.2.6", "0.3.0", "0.3.2"].map(|version| import(version, "u64")).join("\n");
    assert_eq!(explained(&format!("(component {all})")), Vec::<String>::new());
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    let problems = explained(
        r#"(component
          (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" (instance (export "run" (func))))
          (import "wasi:io/streams@0.2.0" (instance $streams (export "input-stream" (type (sub resource)))))
          (alias export $streams "input-stream" (type $stream))
          (import "acme:shop/types@1.0.0" (instance
            (alias outer 1 $stream (type $s))
            (export "stream" (type (eq $s)))
            (type $e (enum "a"))
            (export "e" (type (eq $e)))))
          (import "acme:shop/prices@1.0.0" (instance (export "price" (func))))
          (import "acme:shop/basket@1.0.0" (instance (export "basket" (type (sub resource)))))
          (import "now" (func async (result u64))))"#,
    );
    let names: Vec<_> = problems.iter().map(|problem| problem.split('`').nth(1).unwrap()).collect();
    let missing =
        ["wasi:nn/tensor@0.2.0-rc-2024-10-28", "acme:shop/prices@1.0.0", "acme:shop/basket@1.0.0", "now"];
    assert_eq!(names, missing, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.contains("which nobody provides: ")), "{problems:#?}");
}

#[test]
fn other_types_are_said_after_what_is_missing() {
    let problems = explained(
        r#"(component
          (import "acme:shop/prices@1.0.0" (instance (export "price" (func))))
          (import "wasi:random/insecure@0.2.5" (instance
            (export "get-insecure-random-u64" (func (result u32))))))"#,
    );
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("it imports `acme:shop/prices@1.0.0`, which nobody provides: "));
    let other = "it imports `wasi:random/insecure@0.2.5`, which is another one here (instance export \
                 `get-insecure-random-u64` has the wrong type: ";
    assert!(problems[1].starts_with(other), "{problems:#?}");

    let lacking = explained(
        r#"(component (import "wasi:random/random@0.2.5" (instance (export "dice" (func (result u32))))))"#,
    );
    let other = "it imports `wasi:random/random@0.2.5`, which is another one here (instance export `dice` has the \
                 wrong type: function implementation is missing): build it again with the newest release of its SDK, \
                 or update wasmux";
    assert_eq!(lacking, [other]);
}

#[test]
fn long_lists_are_cut() {
    for (count, rest) in [(21, "it imports 1 others"), (3_000, "it imports 980 or more others")] {
        let imports: String = (0..count).map(|i| format!(r#"(import "f{i}" (func))"#)).collect();
        let problems = explained(&format!("(component {imports})"));
        assert_eq!(problems.len(), NAMED_MAX + 1);
        assert!(problems[NAMED_MAX].starts_with(rest), "{}", problems[NAMED_MAX]);
    }
}
