//! Arbitrary guests of the `serve_http` ABI, as text: a finding can be read, and kept as a `.wat` file.
//!
//! They make any calls in any order, with arguments that are mostly nearly right. What they import is what they call.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use arbitrary::{Result, Unstructured};

/// A function that guests may import: module, name, parameters (see [`Writer::arguments`]), and whether it has a result.
type Import = (&'static str, &'static str, &'static str, bool);

const HTTP: &str = "wasmux:http/1";
const LOG: &str = "wasmux:log/1";
const NEXT: &str = "wasmux:next/1";
const CLIENT: &str = "wasmux:client/1";
const CONFIG: &str = "wasmux:config/1";
const KEYVALUE: &str = "wasmux:keyvalue/1";
const WASI: &str = "wasi_snapshot_preview1";

/// The contract's own functions, as in ABI.md.
const CONTRACT: &[Import] = &[
    (HTTP, "request_head", "b", true),
    (HTTP, "request_read", "b", true),
    (HTTP, "request_trailers", "b", true),
    (HTTP, "respond", "sfb", true),
    (HTTP, "response_timeout", "isfb", true),
    (HTTP, "response_interim", "sf", true),
    (HTTP, "response_start", "sf", true),
    (HTTP, "response_write", "b", true),
    (HTTP, "response_flush", "", true),
    (HTTP, "response_trailers", "f", true),
    (HTTP, "response_abort", "", false),
    (HTTP, "client_gone", "", true),
    (LOG, "log", "ib", false),
    (LOG, "enabled", "i", true),
    (CLIENT, "send", "tpfbb", true),
    (CLIENT, "write", "db", true),
    (CLIENT, "finish", "df", true),
    (CLIENT, "wait", "iii", true),
    (CLIENT, "head", "db", true),
    (CLIENT, "read", "db", true),
    (CLIENT, "trailers", "db", true),
    (CLIENT, "error", "db", true),
    (CLIENT, "close", "d", false),
    (CONFIG, "get", "pb", true),
    (CONFIG, "all", "b", true),
    (KEYVALUE, "open", "p", true),
    (KEYVALUE, "get", "dpb", true),
    (KEYVALUE, "exists", "dp", true),
    (KEYVALUE, "set", "dpbl", true),
    (KEYVALUE, "delete", "dp", true),
    (KEYVALUE, "increment", "dpli", true),
    (KEYVALUE, "add", "dpbl", true),
    (KEYVALUE, "swap", "dpbbl", true),
    (KEYVALUE, "list", "dpbib", true),
];

/// Those of guests that have a next handler.
const NEXT_HANDLER: &[Import] = &[
    (NEXT, "next_send", "tpf", true),
    (NEXT, "next_head", "b", true),
    (NEXT, "next_read", "b", true),
    (NEXT, "next_trailers", "b", true),
    (NEXT, "next_forward", "", true),
];

/// All of WASI preview 1.
const WASI_P1: &[Import] = &[
    (WASI, "args_get", "ii", true),
    (WASI, "args_sizes_get", "ii", true),
    (WASI, "environ_get", "ii", true),
    (WASI, "environ_sizes_get", "ii", true),
    (WASI, "clock_res_get", "ii", true),
    (WASI, "clock_time_get", "ili", true),
    (WASI, "fd_advise", "dlli", true),
    (WASI, "fd_allocate", "dll", true),
    (WASI, "fd_close", "d", true),
    (WASI, "fd_datasync", "d", true),
    (WASI, "fd_fdstat_get", "di", true),
    (WASI, "fd_fdstat_set_flags", "di", true),
    (WASI, "fd_fdstat_set_rights", "dll", true),
    (WASI, "fd_filestat_get", "di", true),
    (WASI, "fd_filestat_set_size", "dl", true),
    (WASI, "fd_filestat_set_times", "dlli", true),
    (WASI, "fd_pread", "dvli", true),
    (WASI, "fd_prestat_get", "di", true),
    (WASI, "fd_prestat_dir_name", "db", true),
    (WASI, "fd_pwrite", "dvli", true),
    (WASI, "fd_read", "dvi", true),
    (WASI, "fd_readdir", "dbli", true),
    (WASI, "fd_renumber", "dd", true),
    (WASI, "fd_seek", "dlii", true),
    (WASI, "fd_sync", "d", true),
    (WASI, "fd_tell", "di", true),
    (WASI, "fd_write", "dvi", true),
    (WASI, "path_create_directory", "dp", true),
    (WASI, "path_filestat_get", "dipi", true),
    (WASI, "path_filestat_set_times", "diplli", true),
    (WASI, "path_link", "dipdp", true),
    (WASI, "path_open", "dipillii", true),
    (WASI, "path_readlink", "dpbi", true),
    (WASI, "path_remove_directory", "dp", true),
    (WASI, "path_rename", "dpdp", true),
    (WASI, "path_symlink", "pdp", true),
    (WASI, "path_unlink_file", "dp", true),
    (WASI, "poll_oneoff", "iiii", true),
    (WASI, "proc_exit", "i", false),
    (WASI, "sched_yield", "", true),
    (WASI, "random_get", "b", true),
    (WASI, "sock_accept", "dii", true),
    (WASI, "sock_recv", "dviii", true),
    (WASI, "sock_send", "dvii", true),
    (WASI, "sock_shutdown", "di", true),
];

const NAMES: [&[u8]; 12] = [
    b"content-length",
    b"Content-Type",
    b"transfer-encoding",
    b"connection",
    b"set-cookie",
    b"x-a",
    b"trailer",
    b"date",
    b"",
    b"bad name",
    b"x\r\ny",
    b":status",
];
const VALUES: [&[u8]; 12] = [
    b"5",
    b"0",
    b"100000",
    b"18446744073709551616",
    b"-1",
    b"close",
    b"chunked",
    b"text/plain",
    b"",
    b"a\r\nb: c",
    b"\xff\x80",
    b"\0",
];
const PATHS: [&str; 11] = [
    "a.txt",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "sub/../a.txt",
    "",
    "GET",
    "/x?y=1",
    "a\0b",
    "http://echo.handler/x?y",
    "http://127.0.0.1:1/",
];
const STATUSES: [i64; 12] = [200, 200, 204, 304, 404, 103, 100, 101, 199, 999, 1000, 0x1_00c8];

/// Bytes of memory that buffers are taken from; the texts come behind it.
const SCRATCH_BYTES: usize = 4096;
/// Most field blocks, and most calls and the like, of one guest.
const BLOCKS_MAX: usize = 6;
const STEPS_MAX: usize = 60;

/// A guest, and whether it needs a next handler.
pub(crate) struct Program {
    pub(crate) wat: String,
    pub(crate) has_next: bool,
}

impl Program {
    /// The guest that these bytes stand for.
    pub(crate) fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let flags: u8 = u.arbitrary()?;
        let has_next = flags & 3 == 0;
        let mut writer = Writer::new(u, has_next, flags & 4 != 0)?;
        let initialize = if flags & 8 == 0 { String::new() } else { writer.steps(u, 6)? };
        let serve = writer.steps(u, STEPS_MAX)?;
        Ok(Self { wat: writer.module(&initialize, &serve), has_next })
    }
}

struct Writer {
    choices: Vec<Import>,
    imports: BTreeSet<usize>,
    /// Of the memory: where field blocks, texts and lists of buffers are, each with its length.
    blocks: Vec<(usize, usize)>,
    texts: Vec<(usize, usize)>,
    vectors: Vec<(usize, usize)>,
    data: Vec<u8>,
    pages: u8,
    loops: usize,
}

impl Writer {
    fn new(u: &mut Unstructured<'_>, has_next: bool, has_wasi: bool) -> Result<Self> {
        let mut choices = CONTRACT.repeat(4);
        if has_next {
            choices.extend(NEXT_HANDLER.repeat(3));
        }
        if has_wasi {
            choices.extend(WASI_P1);
        }
        let imports = if has_next { [CONTRACT.len() * 4].into() } else { BTreeSet::new() };
        let (blocks, texts, vectors, data) = (vec![], vec![], vec![], vec![]);
        let mut writer =
            Self { choices, imports, blocks, texts, vectors, data, pages: u.int_in_range(1..=3)?, loops: 0 };
        for _ in 0..u.int_in_range(1..=BLOCKS_MAX)? {
            let block = field_block(u)?;
            let at = writer.put(&block);
            writer.blocks.push(at);
        }
        for path in PATHS {
            let at = writer.put(path.as_bytes());
            writer.texts.push(at);
        }
        for list in [&[(64, 64)][..], &[(0, 0), (8, 8), (4000, 200)], &[(0, u32::MAX)], &[(0xfff0, 0x20)]] {
            let bytes: Vec<u8> = list
                .iter()
                .flat_map(|&(ptr, len): &(u32, u32)| [ptr.to_le_bytes(), len.to_le_bytes()].concat())
                .collect();
            let (at, _) = writer.put(&bytes);
            writer.vectors.push((at, list.len()));
        }
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> (usize, usize) {
        let at = SCRATCH_BYTES + self.data.len();
        self.data.extend_from_slice(bytes);
        (at, bytes.len())
    }

    /// Statements, at most so many.
    fn steps(&mut self, u: &mut Unstructured<'_>, count_max: usize) -> Result<String> {
        let mut text = String::new();
        for _ in 0..count_max {
            if u.is_empty() {
                break;
            }
            self.step(u, &mut text, 3)?;
        }
        Ok(text)
    }

    fn step(&mut self, u: &mut Unstructured<'_>, text: &mut String, depth: usize) -> Result<()> {
        let kind = u.int_in_range(0..=31)?;
        let written = match kind {
            0..=21 => return self.call(u, text),
            22 => {
                let pages = *u.choose(&[0, 1, 2, 20, 70, 65_536, -1])?;
                writeln!(text, "(global.set $last (memory.grow (i32.const {pages})))")
            }
            23 => writeln!(text, "(i32.store {} {})", self.number(u)?, self.number(u)?),
            24 => writeln!(text, "(memory.fill {} {} {})", self.number(u)?, self.number(u)?, self.number(u)?),
            25 => writeln!(text, "(memory.copy {} {} {})", self.number(u)?, self.number(u)?, self.number(u)?),
            26 | 27 if depth > 0 => {
                let (label, times) = (self.loops, *u.choose(&[2, 3, 20, 1_000])?);
                self.loops += 1;
                let mut body = String::new();
                for _ in 0..u.int_in_range(1..=3)? {
                    self.step(u, &mut body, depth - 1)?;
                }
                writeln!(
                    text,
                    "(global.set $n{label} (i32.const {times}))\n(loop $l{label} {body} (br_if $l{label} \
                    (global.get $n{label}) (global.set $n{label} (i32.sub (global.get $n{label}) (i32.const 1)))))"
                )
            }
            28 if depth > 0 => {
                let mut body = String::new();
                self.step(u, &mut body, depth - 1)?;
                writeln!(text, "(if (i32.lt_s (global.get $last) (i32.const 0)) (then {body}))")
            }
            29 if u.ratio(1, 3)? => writeln!(text, "(call $serve)"),
            30 if u.ratio(1, 3)? => writeln!(text, "(unreachable)"),
            31 if u.ratio(1, 6)? => writeln!(text, "(loop $ever (br $ever))"),
            _ => writeln!(text, "(drop (global.get $last))"),
        };
        written.map_err(|_| arbitrary::Error::IncorrectFormat)
    }

    fn call(&mut self, u: &mut Unstructured<'_>, text: &mut String) -> Result<()> {
        let index = u.choose_index(self.choices.len())?;
        let (module, name, parameters, has_result) = self.choices[index];
        self.imports.insert(index);
        let mut call = format!("(call ${module}/{name}");
        for parameter in parameters.chars() {
            call.push(' ');
            call.push_str(&self.arguments(u, parameter)?);
        }
        call.push(')');
        text.push_str(&if has_result { format!("(global.set $last {call})\n") } else { call + "\n" });
        Ok(())
    }

    /// What is passed for a parameter: `b` a buffer, `f` a field block, `p` and `t` a text, `v` a list of buffers (all of
    /// these are two numbers), `s` a status, `d` a file descriptor, `i` a number, `l` one of 64 bits.
    fn arguments(&self, u: &mut Unstructured<'_>, parameter: char) -> Result<String> {
        let pair = |(at, len): (usize, usize)| format!("(i32.const {at}) (i32.const {len})");
        if !"il".contains(parameter) && u.ratio(1, 12)? {
            // Anything at all.
            return match parameter {
                's' | 'd' => self.number(u),
                _ => Ok(format!("{} {}", self.number(u)?, self.number(u)?)),
            };
        }
        Ok(match parameter {
            'f' => pair(*u.choose(&self.blocks)?),
            'p' => pair(*u.choose(&self.texts)?),
            't' => pair(if u.ratio(3, 4)? { (0, 0) } else { *u.choose(&self.texts)? }),
            'v' => pair(*u.choose(&self.vectors)?),
            'b' => match u.int_in_range(0..=6)? {
                0 => "(i32.const 0) (i32.mul (memory.size) (i32.const 0x10000))".to_owned(),
                1 => "(i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 3)) (i32.const 3)"
                    .to_owned(),
                2 => pair((0, 0)),
                3 => pair((8, 65_000)),
                _ => pair((u.int_in_range(0..=64)?, u.int_in_range(0..=2_000)?)),
            },
            's' => format!("(i32.const {})", u.choose(&STATUSES)?),
            'd' => format!("(i32.const {})", u.int_in_range(0..=6)?),
            'l' => format!("(i64.const {})", u.choose(&[0, 1, 2, -1, 64, i64::MIN, i64::MAX])?),
            _ => self.number(u)?,
        })
    }

    fn number(&self, u: &mut Unstructured<'_>) -> Result<String> {
        Ok(match u.int_in_range(0..=7)? {
            0 => "(global.get $last)".to_owned(),
            1 => "(i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 4))".to_owned(),
            2 => format!("(i32.const {})", u.arbitrary::<i32>()?),
            3 => format!("(i32.const {})", u.choose(&[-1, i32::MIN, i32::MAX, 0xffff, 0x10000])?),
            _ => format!("(i32.const {})", u.int_in_range(0..=300)?),
        })
    }

    fn module(&self, initialize: &str, serve: &str) -> String {
        let mut text = "(module\n".to_owned();
        let mut named = BTreeSet::new();
        for &(module, name, parameters, has_result) in self.imports.iter().map(|&index| &self.choices[index])
        {
            if !named.insert((module, name)) {
                continue;
            }
            let types: Vec<_> = parameters.chars().map(types).collect();
            let result = if has_result { "(result i32)" } else { "" };
            text += &format!(
                "(import \"{module}\" \"{name}\" (func ${module}/{name} (param {}) {result}))\n",
                types.join(" ")
            );
        }
        let data: String = self.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        text += &format!(
            "(memory (export \"memory\") {})\n(data (i32.const {SCRATCH_BYTES}) \"{data}\")\n",
            self.pages
        );
        text += "(global $last (mut i32) (i32.const 0))\n";
        for label in 0..self.loops {
            text += &format!("(global $n{label} (mut i32) (i32.const 0))\n");
        }
        if !initialize.is_empty() {
            text += &format!("(func (export \"_initialize\") {initialize})\n");
        }
        text + &format!("(func $serve (export \"serve_http\")\n{serve}))\n")
    }
}

fn types(parameter: char) -> &'static str {
    match parameter {
        'b' | 'f' | 'p' | 't' | 'v' => "i32 i32",
        'l' => "i64",
        _ => "i32",
    }
}

/// A field block that is mostly well-formed.
fn field_block(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let count = *u.choose(&[0_u32, 1, 2, 3, 5, 40, 501])?;
    // There is data for a few; the many are the same.
    let mut field = Vec::new();
    let mut block = count.to_le_bytes().to_vec();
    for index in 0..count {
        if index < 5 {
            // The last ones of both are wrong.
            let is_right = u.ratio(3, 4)?;
            let name = *u.choose(if is_right { &NAMES[..8] } else { &NAMES })?;
            let value = *u.choose(if is_right { &VALUES[..9] } else { &VALUES })?;
            field = [&(name.len() as u32).to_le_bytes(), &(value.len() as u32).to_le_bytes(), name, value]
                .concat();
        }
        block.extend_from_slice(&field);
    }
    if u.ratio(1, 8)? {
        let at = u.choose_index(block.len())?;
        block[at] = u.arbitrary()?;
    }
    Ok(block)
}
