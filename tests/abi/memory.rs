//! Pointers and lengths: whatever is not within the memory traps, and the log names the call.

use super::script::{MEMORY, Op, SCRATCH, Script};
use super::{caller, check, check_traps};

/// Buffers that are not within the memory; the last wraps around in 32 bits.
const OUTSIDE: [(u32, u32); 6] =
    [(MEMORY, 1), (MEMORY - 1, 2), (MEMORY + 1, 0), (u32::MAX, 1), (0, MEMORY + 1), (u32::MAX - 3, 8)];

/// A call with one buffer: its name, and how to get to it with this buffer.
type Using = (&'static str, fn(u32, u32) -> Script);

const USING: [Using; 10] = [
    ("request_head: the buffer", |ptr, len| Script::new().raw(Op::RequestHead, &[ptr, len])),
    ("request_read: the buffer", |ptr, len| Script::new().raw(Op::RequestRead, &[ptr, len])),
    ("request_trailers: the buffer", |ptr, len| {
        Script::new().read_all().raw(Op::RequestTrailers, &[ptr, len])
    }),
    ("respond: the buffer", |ptr, len| Script::new().raw(Op::Respond, &[200, ptr, len, 0, 0])),
    ("respond: the buffer", |ptr, len| Script::new().raw(Op::Respond, &[200, 0, 0, ptr, len])),
    ("response_interim: the buffer", |ptr, len| Script::new().raw(Op::ResponseInterim, &[103, ptr, len])),
    ("response_start: the buffer", |ptr, len| Script::new().raw(Op::ResponseStart, &[200, ptr, len])),
    ("response_write: the buffer", |ptr, len| {
        Script::new().start(200, &[]).raw(Op::ResponseWrite, &[ptr, len])
    }),
    ("response_trailers: the buffer", |ptr, len| {
        Script::new().start(200, &[]).raw(Op::ResponseTrailers, &[ptr, len])
    }),
    ("log: the buffer", |ptr, len| Script::new().raw(Op::Log, &[3, ptr, len])),
];

#[test]
fn buffers_outside_the_memory_trap() {
    let server = caller();
    let all = USING.iter().flat_map(|&(name, using)| OUTSIDE.map(|(ptr, len)| (name, using(ptr, len))));
    check_traps(&server, all.collect());
}

/// A pointer is checked before anything else, also where the call would be refused or ignored.
#[test]
fn buffers_are_checked_first() {
    let server = caller();
    let out = [MEMORY, 1];
    check_traps(
        &server,
        vec![
            ("request_trailers: the buffer", Script::new().raw(Op::RequestTrailers, &out)),
            (
                "respond: the buffer",
                Script::new().respond(200, &[], "x").raw(Op::Respond, &[200, MEMORY, 1, 0, 0]),
            ),
            ("respond: the buffer", Script::new().raw(Op::Respond, &[0, 0, 0, MEMORY, 1])),
            ("response_interim: the buffer", Script::new().raw(Op::ResponseInterim, &[0, MEMORY, 1])),
            ("response_start: the buffer", Script::new().raw(Op::ResponseStart, &[0, MEMORY, 1])),
            ("response_write: the buffer", Script::new().raw(Op::ResponseWrite, &out)),
            ("response_trailers: the buffer", Script::new().raw(Op::ResponseTrailers, &out)),
            ("log: the buffer", Script::new().raw(Op::Log, &[5, MEMORY, 1])),
        ],
    );
}

#[test]
fn a_length_of_0_is_fine_up_to_the_end_of_the_memory() {
    let server = caller();
    for ptr in [0, SCRATCH, MEMORY - 1, MEMORY] {
        let script = Script::new().raw(Op::RequestRead, &[ptr, 0]).raw(Op::ResponseInterim, &[103, ptr, 0]);
        let script = script.raw(Op::ResponseStart, &[201, ptr, 0]).raw(Op::ResponseWrite, &[ptr, 0]);
        let script = script.raw(Op::ResponseTrailers, &[ptr, 0]).raw(Op::Log, &[3, ptr, 0]);
        let respond = Script::new().raw(Op::Respond, &[202, ptr, 0, ptr, 0]);
        check(
            &server,
            vec![
                ("all that take 0 bytes", script, "0 0 0 0 0 0", 201, ""),
                ("respond", respond, "0", 202, ""),
            ],
        );
    }
    // The last bytes of the memory are as good as any.
    let last = Script::new().raw(Op::Fill, &[MEMORY - 2, b'z'.into(), 2]).show(MEMORY - 2, 2);
    check(&server, vec![("the last bytes", last, "0 0", 200, "zz")]);
}
