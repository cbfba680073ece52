//! `/debug/pprof/` and `wasmux profile`: what computes, with names, in the host and in guests.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::guests::puppet_site;
use crate::support::{Conn, Response, Server, Site};

/// Computes for some milliseconds, two functions deep.
const BURN: &str = r#"(module (memory (export "memory") 1)
  (func $inner (param $left i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $left)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (local.get $sum))
  (func $outer (result i32) (i32.add (call $inner (i32.const 5000000)) (i32.const 1)))
  (func (export "serve_http") (drop (call $outer))))"#;

/// The same in Rust, on lines that the test knows.
const CHURN: &str = "\
#![no_std]
#![no_main]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
mod work {
    #[inline(never)]
    pub fn churn(mut sum: u64) -> u64 {
        for step in 0..5_000_000 {
            sum = core::hint::black_box(sum.wrapping_mul(31).wrapping_add(step));
        }
        sum
    }
}
#[unsafe(no_mangle)]
pub extern \"C\" fn serve_http() {
    core::hint::black_box(work::churn(core::hint::black_box(3)));
}
";

const ROUTES: &str = r#"
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
[handlers]
burn = { wasm = "burn.wat" }
other = { wasm = "burn.wat" }
[routes]
"/burn/{x}" = "burn"
"/other" = "other"
"#;

fn serve() -> Server {
    Site::new(ROUTES).file("burn.wat", BURN).serve()
}

fn admin(server: &Server) -> SocketAddr {
    let line = server.out.wait_for(&["admin on http://"]);
    line["admin on http://".len()..].parse().unwrap()
}

fn get(server: &Server, target: &str) -> Response {
    let mut conn = Conn::tcp(admin(server));
    conn.request("GET", target, &[], b"");
    conn.response()
}

/// Asks for `targets`, one after the other and again, while `work` goes on.
fn while_asked<T>(server: &Server, targets: &[&str], work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in targets.iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                assert_eq!(server.get(target).status, 200);
            }
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        done
    })
}

/// What a text says of one stack: its heading, and its frames, innermost first.
fn stacks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let blocks = text.split("\n\n").skip(1);
    blocks
        .map(|block| {
            let (heading, frames) = block.split_once('\n').unwrap_or((block, ""));
            (heading, frames.lines().map(str::trim).collect())
        })
        .collect()
}

#[test]
fn guests_are_sampled_with_the_names_of_their_functions() {
    let server = serve();
    let response =
        while_asked(&server, &["/burn/1"], || get(&server, "/debug/pprof/profile?seconds=1&debug=1"));
    let text = response.text();
    let stacks = stacks(&text);
    let (heading, frames) = stacks
        .iter()
        .find(|(_, frames)| frames[0].ends_with(" inner"))
        .unwrap_or_else(|| panic!("no sample of the guest in:\n{text}"));
    assert!(heading.contains(r#"handler="burn" route="/burn/{x}""#), "{heading}");
    assert!(frames[1].ends_with(" outer") && frames[2].ends_with(" serve_http"), "{frames:?}");
    let host = &frames[3..];
    assert!(
        host.iter().any(|frame| frame.contains("wasmtime_fiber_start")),
        "down to the guest's stack: {host:?}"
    );
    let by_host = stacks.iter().any(|(heading, frames)| {
        !heading.contains("handler=") && frames.iter().any(|frame| frame.contains("tokio"))
    });
    assert!(by_host, "the host computes too, in:\n{text}");
}

#[test]
fn one_handler_can_be_looked_at() {
    let server = serve();
    let ask = || get(&server, "/debug/pprof/profile?seconds=1&debug=1&handler=other");
    let text = while_asked(&server, &["/burn/1", "/other"], ask).text();
    let stacks = stacks(&text);
    assert!(!stacks.is_empty(), "{text}");
    assert!(stacks.iter().all(|(heading, _)| heading.contains(r#"handler="other""#)), "{text}");
    let unknown = get(&server, "/debug/pprof/profile?seconds=1&handler=nobody");
    assert_eq!(
        (unknown.status, unknown.text()),
        (404, "there is no handler `nobody` with a guest\n".to_owned())
    );
}

#[test]
fn lines_of_the_source_are_told_where_the_module_has_them() {
    // That has installed the target, if it was not there.
    drop(puppet_site(""));
    let routes = ROUTES.replace("burn.wat", "churn.wasm");
    let site = Site::new(&routes).file("churn.rs", CHURN);
    let mut compile = Command::new("rustc");
    compile.current_dir(site.path(".")).args([
        "--edition=2024",
        "--crate-type=cdylib",
        "--target=wasm32-wasip1",
        "-O",
        "-g",
    ]);
    let compiled = compile.arg("churn.rs").output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let server = site.serve();
    let response =
        while_asked(&server, &["/other"], || get(&server, "/debug/pprof/profile?seconds=1&debug=1"));
    let text = response.text();
    let churning = text.lines().filter(|line| line.contains("churn::work::churn") && line.contains(".rs:"));
    let churning: Vec<_> = churning.collect();
    let is_inside =
        |line: &&str| ["churn.rs:7", "churn.rs:8", "churn.rs:9"].iter().any(|end| line.ends_with(end));
    assert!(!churning.is_empty() && churning.iter().all(is_inside), "{text}");
}

#[test]
fn a_profile_is_a_file_for_pprof() {
    let server = serve();
    let response = while_asked(&server, &["/other"], || get(&server, "/debug/pprof/profile?seconds=1"));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/octet-stream"));
    assert_eq!(response.header("content-disposition"), Some("attachment; filename=\"profile\""));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let mut message = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(&*response.body), &mut message).unwrap();
    let has = |text: &str| message.windows(text.len()).any(|window| window == text.as_bytes());
    for text in
        ["samples", "cpu", "nanoseconds", "inner", "outer", "handler", "other", "route", "/other", "thread"]
    {
        assert!(has(text), "no {text}");
    }
}

#[test]
fn one_samples_at_a_time_and_who_leaves_makes_room() {
    let server = serve();
    let mut first = Conn::tcp(admin(&server));
    first.request("GET", "/debug/pprof/profile?seconds=600", &[], b"");
    while !get(&server, "/debug/pprof/threads?debug=1").text().contains("thread=\"profile\"") {}
    let mut other = get(&server, "/debug/pprof/profile?seconds=1");
    assert_eq!((other.status, other.header("x-go-pprof")), (500, Some("1")));
    assert!(other.text().starts_with("Could not enable CPU profiling: "), "{}", other.text());
    assert_eq!(get(&server, "/debug/pprof/threads?debug=1").status, 200, "these are another thing");
    drop(first);
    while other.status != 200 {
        other = get(&server, "/debug/pprof/profile?seconds=1");
    }
}

#[test]
fn threads_say_what_they_are_at() {
    let server = serve();
    let text = get(&server, "/debug/pprof/threads?debug=1").text();
    let stacks = stacks(&text);
    let main = stacks.iter().find(|(heading, _)| heading.contains(&format!("id=\"{}\"", server.pid())));
    let (_, frames) = main.unwrap_or_else(|| panic!("no main thread in:\n{text}"));
    assert!(frames.iter().any(|frame| frame.contains("wasmux::cli::Cli::run")), "{frames:?}");
    assert_eq!(get(&server, "/debug/pprof/goroutine").status, 200, "what Go calls it");
}

#[test]
fn memory_and_tasks_are_told_by_handler() {
    let server = serve();
    assert_eq!(server.get("/other").status, 200);
    let heap = get(&server, "/debug/pprof/heap?debug=1").text();
    assert!(heap.starts_with("inuse_objects (count), inuse_space (bytes): "), "{heap}");
    let code = stacks(&heap).into_iter().find(|(_, frames)| frames[..] == ["code", "other", "guests"]);
    assert!(code.unwrap().0.ends_with(r#" handler="other""#), "{heap}");
    assert!(stacks(&heap).iter().any(|(_, frames)| frames[..] == ["host"]), "{heap}");
    let tasks = while_asked(&server, &["/other"], || {
        loop {
            let tasks = get(&server, "/debug/pprof/tasks?debug=1").text();
            if tasks.contains("other") {
                return tasks;
            }
        }
    });
    assert_eq!(stacks(&tasks), [("1 handler=\"other\"", vec!["requests at work", "other"])]);
}

#[test]
fn pages_are_for_people_and_mistakes_are_told() {
    let server = serve();
    let index = get(&server, "/debug/pprof/");
    assert!(index.header("content-type").unwrap().starts_with("text/html"));
    for name in ["profile", "flame", "heap", "threads", "tasks"] {
        assert!(index.text().contains(&format!(">{name}</a>")), "{name}");
    }
    let flame = while_asked(&server, &["/burn/1"], || get(&server, "/debug/pprof/flame?seconds=1"));
    let page = flame.text();
    assert!(page.contains("\"handler burn\"") && page.contains("\"inner\""), "{page}");
    assert!(flame.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let line = get(&server, "/debug/pprof/cmdline").text();
    assert!(line.split('\0').any(|word| word == "serve"), "{line:?}");
    assert!(get(&server, "/debug/pprof/symbol").text().starts_with("num_symbols: 1\n"));
    for (target, status, says) in [
        ("/debug/pprof/nothing", 404, "Unknown profile"),
        ("/debug/pprof/profile?seconds=601", 400, "`seconds` is 600 at most"),
        ("/debug/pprof/flame?seconds=x", 400, "`seconds` is a number from 1 on"),
        ("/debug/pprof/heap?seconds=0", 400, "`seconds` is a number from 1 on"),
        ("/debug/pprof/heap?seconds=1&debug=1", 400, "seconds and debug params are incompatible"),
    ] {
        let refused = get(&server, target);
        assert_eq!((refused.status, refused.header("x-go-pprof")), (status, Some("1")), "{target}");
        assert!(refused.text().starts_with(says), "{target}: {}", refused.text());
    }
}

#[test]
fn the_command_writes_files() {
    let server = serve();
    let admin = admin(&server).to_string();
    let profile = |args: &[&str]| server.site.run(&[&["profile", "--admin", &admin], args].concat());
    let done = while_asked(&server, &["/burn/1"], || profile(&["-s", "1", "--handler", "burn"]));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "cpu.pb.gz: go tool pprof -top cpu.pb.gz\n");
    let bytes = std::fs::read(server.site.path("cpu.pb.gz")).unwrap();
    assert!(bytes.starts_with(&[0x1f, 0x8b]), "gzip");
    let flame = profile(&["flame", "-s", "1", "-o", "-"]);
    assert!(String::from_utf8_lossy(&flame.stdout).starts_with("<!doctype html>"));
    let heap = profile(&["heap", "--json"]);
    assert!(String::from_utf8_lossy(&heap.stdout).starts_with("{\"bytes\":"));
    let refused = profile(&["--handler", "nobody", "-s", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said, "wasmux: there is no handler `nobody` with a guest\n");
}
