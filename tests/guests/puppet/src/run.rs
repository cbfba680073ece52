//! Runs the operations. What a write fails with is the server's business and is passed over here.

use std::io::{Read, Write};
use std::{iter, thread};

use script::{Op, Told, digest, pattern};
use wasmux_sdk::{HeaderMap, HeaderName, Request, ResponseWriter, StatusCode};

use crate::see;

/// Bytes that are read at once.
const READ_BYTES: u64 = 64 * 1024;

/// How the latest read stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not at an end: there may be more.
    Open,
    Eof,
    Error,
}

struct Puppet<'a> {
    w: &'a mut ResponseWriter,
    r: &'a mut Request,
    /// Everything read of the request body.
    body: Vec<u8>,
    end: End,
    /// How many bytes of the pattern were written.
    written: usize,
    /// Names, values, and whether they were announced.
    trailers: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

/// Runs all operations, and sends the trailers they asked for.
pub(crate) fn run(ops: &[Op], w: &mut ResponseWriter, r: &mut Request) {
    let mut puppet = Puppet { w, r, body: Vec::new(), end: End::Open, written: 0, trailers: Vec::new() };
    ops.iter().for_each(|op| puppet.step(op));
    puppet.send_trailers();
}

impl Puppet<'_> {
    fn step(&mut self, op: &Op) {
        match op {
            Op::ReadAll => self.read(None),
            Op::Read(count) => self.read(Some(*count)),
            Op::Status(code) => {
                if self.w.status().is_none()
                    && let Ok(status) = StatusCode::from_u16(*code)
                {
                    self.w.write_header(status);
                }
            }
            Op::Header(name, value) => self.add_header(name, value),
            Op::ContentLength(value) if self.w.status().is_none() => {
                self.w.set_header("Content-Length", value);
            }
            Op::ContentLength(_) => {} // the head is fixed
            Op::Write(count) => {
                let block: Vec<u8> = (self.written..).take(*count).map(pattern).collect();
                self.written += count;
                self.write(&block);
            }
            Op::Text(text) => self.write(text),
            Op::Echo => {
                let _ = self.w.write(&self.body);
            }
            Op::Digest => {
                let line = digest(&self.body);
                self.write(line.as_bytes());
            }
            Op::State => self.write(match self.end {
                End::Open => b"end=open\n",
                End::Eof => b"end=eof\n",
                End::Error => b"end=error\n",
            }),
            Op::See => {
                let line = see::line(self.r, self.end == End::Eof);
                self.write(line.as_bytes());
            }
            Op::Flush => {
                let _ = self.w.flush();
            }
            Op::Sleep(time) => thread::sleep(*time),
            Op::Trailer(name, value) => {
                self.add_header(b"Trailer", name);
                self.trailers.push((name.clone(), value.clone(), true));
            }
            Op::UnannouncedTrailer(name, value) => self.trailers.push((name.clone(), value.clone(), false)),
            Op::Tell => self.write(told(self.r).lines().as_bytes()),
            Op::Trailers => self.write(script::lines(fields(self.r.trailers())).as_bytes()),
            Op::Pipe => self.pipe(),
            Op::Probe(probe) => self.write(probe.look().as_bytes()),
            Op::Out(text) => println!("{}", String::from_utf8_lossy(text)),
            Op::Err(text) => eprintln!("{}", String::from_utf8_lossy(text)),
            Op::Fetch(_) => self.write(b"this ABI has no requests of its own\n"),
            Op::Panic => panic!("the query asks for it"),
        }
    }

    fn read(&mut self, count: Option<u64>) {
        let mut left = count.unwrap_or(u64::MAX);
        let mut block = vec![0; left.min(READ_BYTES) as usize];
        while left > 0 && self.end == End::Open {
            let room = left.min(block.len() as u64) as usize;
            match self.r.read(&mut block[..room]) {
                Ok(0) => self.end = End::Eof,
                Ok(got) => {
                    self.body.extend_from_slice(&block[..got]);
                    left -= got as u64;
                }
                Err(_) => self.end = End::Error,
            }
        }
    }

    fn pipe(&mut self) {
        let mut block = vec![0; READ_BYTES as usize];
        while self.end == End::Open {
            match self.r.read(&mut block) {
                Ok(0) => self.end = End::Eof,
                Ok(got) => {
                    self.write(&block[..got]);
                    let _ = self.w.flush();
                }
                Err(_) => self.end = End::Error,
            }
        }
    }

    /// One write: also one of no bytes fixes the head.
    fn write(&mut self, block: &[u8]) {
        let _ = self.w.write(block);
    }

    fn add_header(&mut self, name: &[u8], value: &[u8]) {
        if self.w.status().is_none() {
            self.w.add_header(&String::from_utf8_lossy(name), value);
        }
    }

    fn send_trailers(&mut self) {
        if self.trailers.is_empty() {
            return;
        }
        let _ = self.w.write(b"");
        for (name, value, is_announced) in std::mem::take(&mut self.trailers) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let key = if is_announced { name } else { format!("Trailer:{name}") };
            self.w.add_header(&key, value);
        }
    }
}

/// The host has a place of its own in net/http; here it stands where the other contracts have it, too.
fn told(r: &Request) -> Told {
    let mut fields = fields(r.headers());
    fields.retain(|(name, _)| name != "host");
    if !r.host().is_empty() {
        fields.push(("host".to_owned(), r.host().as_bytes().to_vec()));
    }
    Told {
        method: r.method().to_string(),
        scheme: r.scheme().to_owned(),
        authority: r.host().to_owned(),
        target: r.target_bytes().to_vec(),
        fields,
    }
}

fn fields(map: &HeaderMap) -> script::Fields {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// `X-Foo-Bar` for `x-foo-bar`.
pub(crate) fn canonical(name: &HeaderName) -> String {
    let before = iter::once(b'-').chain(name.as_str().bytes());
    let letters = before.zip(name.as_str().bytes());
    letters
        .map(|(before, byte)| char::from(if before == b'-' { byte.to_ascii_uppercase() } else { byte }))
        .collect()
}
