//! `request_head`: every field of the head, byte for byte (ABI.md section 3.1).

use std::time::{SystemTime, UNIX_EPOCH};

use super::script::{Op, SCRATCH, Script};
use super::{Call, caller};
use crate::support::Server;
use crate::support::http2;

const FIXED_SIZE: usize = 144;
/// More than any head here needs.
const ENOUGH: u32 = 16_384;

/// The head of a request, as the guest sent it back.
struct Head(Vec<u8>);

impl Head {
    fn u32_at(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn span(&self, at: usize) -> &[u8] {
        let (offset, len) = (self.u32_at(at), self.u32_at(at + 4));
        assert!(offset + len <= self.u32_at(0), "a span beyond the head");
        &self.0[offset..offset + len]
    }

    fn text(&self, at: usize) -> &str {
        std::str::from_utf8(self.span(at)).unwrap()
    }

    /// A field block, as pairs.
    fn fields(&self, at: usize) -> Vec<(String, Vec<u8>)> {
        let block = Head(self.span(at).to_vec());
        let mut at = 4;
        let fields = (0..block.u32_at(0)).map(|_| {
            let (name, value) = (block.u32_at(at), block.u32_at(at + 4));
            let field = &block.0[at + 8..at + 8 + name + value];
            at += 8 + name + value;
            (String::from_utf8(field[..name].to_vec()).unwrap(), field[name..].to_vec())
        });
        let fields = fields.collect();
        assert_eq!(at, block.0.len(), "nothing behind the last field");
        fields
    }
}

fn show_head() -> Script {
    Script::new().raw(Op::RequestHead, &[SCRATCH, ENOUGH]).show(SCRATCH, ENOUGH)
}

fn head_of(server: &Server, raw: impl FnOnce(&str) -> String) -> (Head, String) {
    let mut conn = server.connect();
    conn.send(raw(&show_head().encode()));
    let response = conn.response();
    assert_eq!(response.status, 200, "{response:?}");
    let head = Head(response.body);
    assert_eq!(head.u32_at(4), FIXED_SIZE);
    assert_eq!(head.u32_at(28), 0, "reserved");
    (head, conn.local().to_string())
}

#[test]
fn a_full_request() {
    let server = caller();
    let before = unix_ms();
    let mut target = String::new();
    let (head, local) = head_of(&server, |script| {
        target = format!("/call/{script}/a%2Fb/x/%C3%A9/y?q=1&r=%20");
        format!(
            "POST {target} HTTP/1.1\r\nHost: example.com:81\r\nX-B: 2\r\nx-a: 1\r\nX-B: \u{e9}\tz\r\n\
             X-Request-Id: abc.1\r\nContent-Length: 3\r\n\r\nabc"
        )
    });
    // The default timeout is 30 s.
    let deadline = head.u64_at(8);
    assert!((before + 30_000..=unix_ms() + 30_000).contains(&deadline), "deadline {deadline}");
    assert_eq!(head.u64_at(16), 3, "content_length");
    assert_eq!(head.u32_at(24), 1, "flags");
    assert_eq!(head.text(32), "POST");
    assert_eq!(head.text(40), "http");
    assert_eq!(head.text(48), "example.com:81");
    assert_eq!(head.text(56), target);
    assert_eq!(head.text(64), target.split('?').next().unwrap());
    assert_eq!(head.text(72), "q=1&r=%20");
    assert_eq!(head.text(80), "HTTP/1.1");
    assert_eq!(head.text(88), local, "remote_addr");
    assert_eq!(head.text(96), server.address().to_string(), "local_addr");
    assert_eq!(head.text(104), "POST /call/{script}/{name}/{rest...}");
    assert_eq!(head.text(112), "abc.1");
    assert_eq!(head.text(136), "", "client_subject, without a certificate");
    let values = head.fields(120);
    let names: Vec<_> = values.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["script", "name", "rest"]);
    assert_eq!((values[1].1.as_slice(), values[2].1.as_slice()), (&b"a/b"[..], "x/é/y".as_bytes()));
    let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let mut headers = head.fields(128);
    let repeated: Vec<_> =
        headers.iter().filter(|(name, _)| name == "x-b").map(|(_, value)| value.clone()).collect();
    assert_eq!(
        repeated,
        [b"2".to_vec(), "é\tz".as_bytes().to_vec()],
        "repeated fields stay apart and in order"
    );
    headers.retain(|(name, _)| name != "x-b");
    assert_eq!(
        headers,
        [
            pair("host", "example.com:81"),
            pair("x-a", "1"),
            pair("x-request-id", "abc.1"),
            pair("content-length", "3")
        ]
    );
}

#[test]
fn lengths_and_queries() {
    let server = caller();
    let head = |line: &str, rest: &str| {
        let request = |script: &str| format!("{}\r\nHost: h\r\n{rest}", line.replace("SCRIPT", script));
        head_of(&server, request).0
    };
    let none = head("GET /call/SCRIPT HTTP/1.1", "\r\n");
    assert_eq!((none.u64_at(16), none.u32_at(24), none.text(72)), (0, 0, ""));
    assert_eq!(none.fields(128), [("host".to_owned(), b"h".to_vec())]);
    let empty_query = head("GET /call/SCRIPT? HTTP/1.1", "\r\n");
    assert_eq!((empty_query.u32_at(24), empty_query.text(72)), (1, ""));
    let second_mark = head("GET /call/SCRIPT?a?b HTTP/1.1", "\r\n");
    assert_eq!(second_mark.text(72), "a?b");
    let chunked = head("POST /call/SCRIPT HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(chunked.u64_at(16) as i64, -1);
    let zero = head("POST /call/SCRIPT HTTP/1.1", "Content-Length: 0\r\n\r\n");
    assert_eq!(zero.u64_at(16), 0);
    let made_id = zero.text(112);
    assert_eq!(made_id.len(), 20, "{made_id}");
}

#[test]
fn other_forms_of_targets_and_protocols() {
    let server = caller();
    let (head, _) = head_of(&server, |script| {
        format!("GET http://other.test/call/{script}?x HTTP/1.1\r\nHost: h\r\n\r\n")
    });
    assert_eq!(head.text(48), "other.test", "the target's authority, not the Host field");
    assert!(head.text(56).starts_with("http://other.test/call/"), "{}", head.text(56));
    assert!(head.text(56).ends_with("?x"), "{}", head.text(56));
    assert!(head.text(64).starts_with("/call/"), "{}", head.text(64));
    assert_eq!(head.fields(128), [("host".to_owned(), b"h".to_vec())]);

    let (head, _) = head_of(&server, |script| format!("GET /call/{script} HTTP/1.0\r\n\r\n"));
    assert_eq!((head.text(48), head.text(80)), ("", "HTTP/1.0"));

    let path = format!("/call/{}", show_head().encode());
    let body = http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let (response, _) = client.send_request(http2::request("GET", &path), true).unwrap();
        http2::whole(response.await.unwrap()).await.unwrap().0
    });
    let head = Head(body);
    assert_eq!((head.text(48), head.text(80), head.text(56)), ("localhost", "HTTP/2.0", path.as_str()));
    assert_eq!(head.u64_at(16), 0, "END_STREAM says that there is no body");
}

#[test]
fn a_buffer_that_is_too_small_is_left_alone() {
    let server = caller();
    let script = |len| {
        let script = Script::new().raw(Op::Fill, &[SCRATCH, b'.'.into(), ENOUGH]);
        script.raw(Op::RequestHead, &[SCRATCH, len]).show(SCRATCH, ENOUGH)
    };
    // Scripts of the same length make heads of the same size.
    let call = Call::new(&server, script(0));
    assert_eq!(call.send(b"").text(), ".".repeat(ENOUGH as usize));
    let results = call.results();
    let size: u32 = results.split(' ').nth(1).unwrap().parse().unwrap();
    let digits = call.id.len();
    let exact = |len| loop {
        let call = Call::new(&server, script(len));
        if call.id.len() == digits {
            return (call.send(b"").body, call.results());
        }
    };
    let (body, results) = exact(size - 1);
    assert_eq!(body, ".".repeat(ENOUGH as usize).as_bytes());
    assert_eq!(results, format!("0 {size} 0"));
    let (body, results) = exact(size);
    assert_eq!(Head(body.clone()).u32_at(0), size as usize);
    assert_eq!(results, format!("0 {size} 0"));
    assert!(body[size as usize..].iter().all(|&byte| byte == b'.'), "not a byte more");
}

#[test]
fn the_answer_is_always_the_same() {
    let server = caller();
    let again = SCRATCH + ENOUGH;
    let script = Script::new().raw(Op::RequestHead, &[SCRATCH, ENOUGH]).read_all().start(200, &[]).write("");
    let script = script.raw(Op::RequestHead, &[again, ENOUGH]);
    let script = script.raw(Op::ResponseWrite, &[SCRATCH, ENOUGH]).raw(Op::ResponseWrite, &[again, ENOUGH]);
    let body = Call::new(&server, script).method("POST").send(b"").body;
    // `read_all` has used the memory behind the head too, so compare the head only.
    let (first, second) = body.split_at(ENOUGH as usize);
    let size = Head(first.to_vec()).u32_at(0);
    assert!(size > FIXED_SIZE);
    assert_eq!(first[..size], second[..size]);
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
