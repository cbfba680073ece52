//! Every way to misuse wasi:http 0.2, or to fail at it. What calls return is printed, and so is in the server's log.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wasip2::http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::OutputStream;

use crate::stage::{fields, shown, write_all};

/// Requests that this instance has been given.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// Does what `fault` names: first those faults that are instead of a response.
pub(crate) fn commit(fault: &str, out: ResponseOutparam) {
    let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    let (name, argument) = fault.split_once(':').unwrap_or((fault, ""));
    match name {
        "forget" => std::mem::forget(out),
        "drop" => drop(out),
        "error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("no luck".to_owned())))),
        "trap" => panic!("the query asks for it"),
        "exit" => std::process::exit(argument.parse().expect("a number")),
        "loop" => spin(),
        "memory" => grow(),
        "unchecked" => unchecked(out, argument.parse().expect("a number")),
        "early-bodies" => early_bodies(argument.parse().expect("a number")),
        "handles" => (0..).for_each(|_| std::mem::forget(Fields::new())),
        "fields" => hoard_fields(),
        "stack" => drop(recurse(argument.len() as u64)),
        "interim" => {
            let response = OutgoingResponse::new(Fields::new());
            println!("set-status-code: {:?}", response.set_status_code(103));
            ResponseOutparam::set(out, Ok(response));
        }
        "status" => {
            let response = OutgoingResponse::new(Fields::new());
            println!("set-status-code: {:?}", response.set_status_code(argument.parse().expect("a number")));
            ResponseOutparam::set(out, Ok(response));
        }
        "length" => drop(open(out, &[("content-length", argument)])),
        _ => break_off(name, argument, out, count),
    }
}

/// Faults that leave a response incomplete.
fn break_off(name: &str, argument: &str, out: ResponseOutparam, count: u32) {
    match name {
        "without-finish" => {
            let (stream, body) = open(out, &[]);
            write(&stream, b"part");
            drop((stream, body));
        }
        "flush-without-finish" => {
            let (stream, body) = open(out, &[]);
            write(&stream, b"part");
            std::thread::sleep(Duration::from_millis(20)); // lets it go
            drop((stream, body));
        }
        "forget-body" => {
            let (stream, body) = open(out, &[]);
            write(&stream, b"part");
            std::mem::forget((stream, body));
        }
        "short" => {
            let (stream, body) = open(out, &[("content-length", "10")]);
            write(&stream, b"part");
            finish(stream, body);
        }
        "long" => {
            let (stream, body) = open(out, &[("content-length", "4")]);
            write(&stream, b"part and more");
            finish(stream, body);
        }
        "finish-with-stream" => {
            let (stream, body) = open(out, &[]);
            write(&stream, b"part");
            println!("finish: {:?}", OutgoingBody::finish(body, None));
            write(&stream, b" and more");
        }
        "trap-set" => {
            let _opened = open(out, &[]);
            panic!("the query asks for it");
        }
        "trap-part" => {
            let (stream, _body) = open(out, &[]);
            write(&stream, b"part");
            std::thread::sleep(Duration::from_millis(20)); // lets it go
            panic!("the query asks for it");
        }
        "stream" => stream_on(out, argument),
        _ => overdo(name, argument, out, count),
    }
}

/// Faults beside a response that is complete.
fn overdo(name: &str, argument: &str, out: ResponseOutparam, count: u32) {
    match name {
        "trap-complete" => {
            respond(out, b"complete\n");
            panic!("the query asks for it");
        }
        "exit-complete" => {
            respond(out, b"complete\n");
            std::process::exit(argument.parse().expect("a number"));
        }
        "loop-complete" => {
            respond(out, b"complete\n");
            spin();
        }
        "after" => {
            respond(out, b"complete\n");
            std::thread::sleep(Duration::from_millis(argument.parse().expect("a number")));
            println!("after: done");
        }
        "no-body" => ResponseOutparam::set(out, Ok(OutgoingResponse::new(Fields::new()))),
        "early" => early(out, argument.parse().expect("a number")),
        "twice" => twice(out),
        "count" => respond(out, format!("{count}\n").as_bytes()),
        "second" if count > 1 => panic!("this is request {count}"),
        "second" => respond(out, b"1\n"),
        _ => respond(out, b"unknown\n"),
    }
}

/// Sends a head, and opens its body.
fn open(out: ResponseOutparam, list: &[(&str, &str)]) -> (OutputStream, OutgoingBody) {
    let list = list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let response = OutgoingResponse::new(fields(list));
    let body = response.body().expect("the first call");
    let stream = body.write().expect("the first call");
    ResponseOutparam::set(out, Ok(response));
    (stream, body)
}

fn write(stream: &OutputStream, data: &[u8]) {
    match write_all(stream, data) {
        Ok(()) => println!("write: ok"),
        Err(error) => println!("write: {}", shown(&error)),
    }
}

fn finish(stream: OutputStream, body: OutgoingBody) {
    drop(stream);
    println!("finish: {:?}", OutgoingBody::finish(body, None));
}

/// A complete response.
fn respond(out: ResponseOutparam, text: &[u8]) {
    let (stream, body) = open(out, &[]);
    write(&stream, text);
    finish(stream, body);
}

/// Writes until the host does not take any more, then does as `argument` says.
fn stream_on(out: ResponseOutparam, argument: &str) {
    let (stream, _body) = open(out, &[]);
    let error = loop {
        if let Err(error) = write_all(&stream, &[b'x'; 4096]) {
            break error;
        }
    };
    println!("stream: {}", shown(&error));
    match argument {
        "loop" => spin(),
        _ => println!("stream: returns"),
    }
}

/// A body that is complete before the response that it belongs to is sent.
fn early(out: ResponseOutparam, count: usize) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first call");
    let stream = body.write().expect("the first call");
    let data: Vec<u8> = (0..count).map(script::pattern).collect();
    write(&stream, &data);
    finish(stream, body);
    ResponseOutparam::set(out, Ok(response));
}

/// Writes so many MiB without asking whether there is room.
fn unchecked(out: ResponseOutparam, mib: usize) {
    let (stream, _body) = open(out, &[]);
    for _ in 0..mib {
        stream.write(&vec![b'x'; 1 << 20]).expect("the host must not take it, nor refuse it");
    }
}

/// Fills so many bodies that are never sent as far as the host takes it.
fn early_bodies(count: usize) {
    let mut written = 0;
    for _ in 0..count {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first call");
        let stream = body.write().expect("the first call");
        let room = stream.check_write().expect("an open stream");
        stream.write(&vec![b'x'; room as usize]).expect("as much as was granted");
        written += room;
        std::mem::forget((response, body, stream));
    }
    println!("the host took {written} bytes");
}

/// What can be asked for once only.
fn twice(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first call");
    println!("second body: {:?}", response.body().map(drop));
    let stream = body.write().expect("the first call");
    println!("second write: {:?}", body.write().map(drop));
    ResponseOutparam::set(out, Ok(response));
    finish(stream, body);
}

/// More memory than there is.
fn grow() {
    let mut all = Vec::new();
    loop {
        all.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// Sets of fields of 100 KiB each, which the host holds.
fn hoard_fields() {
    loop {
        let fields = Fields::new();
        fields.append("x-large", &[b'x'; 100 << 10]).expect("one set may be so large");
        std::mem::forget(fields);
    }
}

/// Calls itself for ever, or the compiler would see that it does nothing.
fn recurse(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX {
        return depth;
    }
    recurse(depth + 1) ^ depth
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}
