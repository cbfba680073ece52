use super::*;

/// Every sentence, word for word.
#[test]
fn sentences_say_who_could_provide_it() {
    let cases = [
        (
            "wasi:http/handler@0.3.0",
            "it is the handler behind this one; name it with `next` in [handlers.NAME]",
        ),
        (
            "wasi:http/incoming-handler@0.2.3",
            "a wasi:http 0.2 handler has no other behind it; build the middleware for wasi:http 0.3",
        ),
        (
            "wasi:http/types@0.2.0-rc-2023-11-10",
            "0.2.0-rc-2023-11-10 is a draft of what became WASI 0.2; build it again with a newer SDK",
        ),
        (
            "wasi:http/handler@0.3.0-rc-2026-03-15",
            "0.3.0-rc-2026-03-15 is a draft of what became WASI 0.3; build it again with a newer SDK",
        ),
        (
            "wasi:io/streams",
            "it says no version, which is older than WASI 0.2; build it again with a newer SDK",
        ),
        ("wasi:clocks/sundial@0.2.0", "WASI 0.2 has no interface of this name"),
        (
            "wasi:cli/environment@1.0.0",
            "wasmux has WASI 0.2 and 0.3; build it for one of them, or update wasmux",
        ),
        (
            "wasi:keyvalue/store@0.2.0-draft2",
            "of wasi:keyvalue wasmux has 0.2.0-draft: `store`, `atomics` and `batch`; build it for that",
        ),
        (
            "wasi:config/runtime@0.2.0-draft",
            "of wasi:config wasmux has 0.2.0-rc.1: `store`; build it for that",
        ),
        (
            "wasi:tls/types@0.2.0-draft",
            "wasmux does not offer TLS to guests; build it without, or compose it with a component that has it (`wac plug`)",
        ),
        (
            "wasi:nn/tensor@0.2.0-rc-2024-10-28",
            "wasmux does not offer machine learning; build it without, or compose it with a component that has it (`wac \
             plug`)",
        ),
        (
            "wasi:sql/readwrite@0.2.0-draft",
            "wasmux does not offer wasi:sql; build it without, or compose it with a component that has it (`wac plug`)",
        ),
        ("fermyon:spin/key-value@2.0.0", "only Spin has it; build the handler on wasi:http instead"),
        ("spin:redis/redis@3.0.0", "only Spin has it; build the handler on wasi:http instead"),
        ("wasmcloud:bus/lattice@1.0.0", "only wasmCloud has it; build the handler on wasi:http instead"),
        ("fastly:api/http-req", "only Fastly Compute has it; build the handler on wasi:http instead"),
        ("wasmux:kv/store@2.0.0", "this host is too old for it, or the name is misspelt"),
        (
            "acme:shop/prices@1.2.0",
            "`acme:shop` is no standard; compose it with the component that exports it (`wac plug`)",
        ),
        ("now", "it is not part of any interface; compose it with a component that exports it (`wac plug`)"),
    ];
    for (name, expected) in cases {
        assert_eq!(missing(name), format!("it imports `{name}`, which nobody provides: {expected}"));
    }
}

#[test]
fn names_cannot_break_the_line() {
    let sentence = missing(&format!("a:b/c\n\u{1b}[31m{}", "x".repeat(10_000)));
    assert!(sentence.contains("a:b/c\\n\\u{1b}[31mxxx") && sentence.chars().count() < 1_000, "{sentence}");
}
