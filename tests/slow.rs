//! Bodies that come or go too slowly for their handler, both ways, on every ABI: the response and the reason that the log
//! names; and those that are only waiting for the handler, which may take their time.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::guests::{component, puppet_folder};
use crate::support::{Conn, Server, Site, http2};

/// Far less than the limits that a test does not set.
const SOON: Duration = Duration::from_secs(20);

/// Handlers that play a script (`?ops=`), one for each ABI.
const SCRIPTS: [&str; 3] = ["puppet", "p2", "p3"];

/// Paths with responses without an end, or a very late one.
const FLOODS: [&str; 3] = ["/flood", "/p2?fault=stream", "/trouble?do=flood&n=1000000000"];

/// The handlers, with these limits for all of them.
fn serve(limits: &str) -> Server {
    let (puppet, p2, p3) = (puppet_folder(), component("proxy"), component("service"));
    let trouble = component("trouble");
    let routes = format!(
        r#"
        [defaults]
        timeout = "10m"
        {limits}
        [handlers]
        puppet = {{ wasm = {puppet:?} }}
        p2 = {{ wasm = {p2:?} }}
        p3 = {{ wasm = {p3:?} }}
        trouble = {{ wasm = {trouble:?} }}
        flood = {{ wasm = "flood.wat" }}
        silent = {{ wasm = "silent.wat" }}
        [routes]
        "/puppet" = "puppet"
        "/p2" = "p2"
        "/p3" = "p3"
        "/trouble" = "trouble"
        "/flood" = "flood"
        "/silent" = "silent"
        "/fixed" = {{ respond = "fixed" }}
        "#
    );
    Site::new(&routes).guest("flood").file("silent.wat", SILENT).log_level("debug").serve()
}

/// Reads its body and returns without a response.
const SILENT: &str = r#"(module
  (import "wasmux:http/1" "request_read" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "serve_http")
    (loop $more (br_if $more (i32.gt_s (call $read (i32.const 0) (i32.const 4096)) (i32.const 0))))))"#;

/// Begins a request whose body does not come to its end.
fn post(server: &Server, target: &str) -> Conn {
    let mut conn = server.connect();
    conn.request("POST", target, &["Content-Length: 1000"], b"abc");
    conn
}

#[test]
fn who_sends_nothing_gets_408_unless_the_guest_answers() {
    let server = serve("request_body_idle = \"600ms\"\nrequest_body_rate = \"0B\"");
    let silent =
        ["/puppet?ops=read:all,panic", "/p2?ops=read:all,panic", "/p3?ops=read:all,panic", "/silent"];
    for (count, target) in silent.into_iter().enumerate() {
        let started = Instant::now();
        let mut conn = post(&server, target);
        let response = conn.response();
        assert_eq!((response.status, response.header("connection")), (408, Some("close")), "{target}");
        assert!(response.text().starts_with("the request body came too slowly (request "), "{target}");
        assert!(started.elapsed() >= Duration::from_millis(600) && started.elapsed() < SOON, "{target}");
        server.log.wait_for_many("reason=\"request_body_idle\"", count + 1);
        assert!(conn.is_closed(), "{target}");
    }
    for (count, handler) in SCRIPTS.into_iter().enumerate() {
        let mut conn = post(&server, &format!("/{handler}?ops=read:all,state"));
        let response = conn.response();
        assert_eq!((response.status, response.text().as_str()), (200, "end=error\n"), "{handler}");
        server.log.wait_for_many("reason=\"request_body_idle\"", silent.len() + count + 1);
        assert!(conn.is_closed(), "{handler}: what follows would be the body's rest");
    }
}

#[test]
fn on_http2_it_is_the_stream_alone() {
    let server = serve("request_body_idle = \"600ms\"\nrequest_body_rate = \"0B\"");
    http2::run(async {
        let (client, _connection) = http2::connect(server.address()).await;
        for handler in SCRIPTS {
            let mut sender = client.clone().ready().await.unwrap();
            let request = http2::request("POST", &format!("/{handler}?ops=read:all,panic"));
            let (response, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"abc"), false).unwrap();
            assert_eq!(response.await.unwrap().status().as_u16(), 408, "{handler}");
            assert_eq!(http2::get(&client, "/fixed").await.1, "fixed", "{handler}");
        }
    });
    server.log.wait_for_many("reason=\"request_body_idle\"", SCRIPTS.len());
}

/// A byte at a time is never silent for long.
#[test]
fn who_trickles_is_below_the_rate() {
    let server = serve("request_body_idle = \"4s\"\nrequest_body_rate = \"1KiB\"");
    for (count, handler) in SCRIPTS.into_iter().enumerate() {
        let started = Instant::now();
        let mut conn = post(&server, &format!("/{handler}?ops=read:all,panic"));
        while !conn.answers_within(Duration::from_millis(50)) && started.elapsed() < SOON {
            conn.try_send(b"x");
        }
        assert_eq!(conn.response().status, 408, "{handler}");
        assert!(started.elapsed() >= Duration::from_secs(1), "{handler}: the rate has a grace");
        server.log.wait_for_many("reason=\"request_body_rate\"", count + 1);
    }
    assert_eq!(server.log.count("request_body_idle"), 0);
}

/// The clock runs only while somebody waits for the client.
#[test]
fn who_is_not_asked_may_be_slow() {
    let server = serve("request_body_idle = \"600ms\"\nrequest_body_rate = \"1MiB\"");
    for handler in SCRIPTS {
        let mut conn = server.connect();
        let target = format!("/{handler}?ops=sleep:1200,read:all,state");
        conn.request("POST", &target, &["Content-Length: 8"], b"half");
        std::thread::sleep(Duration::from_millis(800));
        conn.send("half");
        let response = conn.response();
        assert_eq!((response.status, response.text().as_str()), (200, "end=eof\n"), "{handler}");
    }
}

#[test]
fn who_takes_nothing_is_cut_off() {
    let server = serve("response_body_idle = \"600ms\"\nresponse_body_rate = \"0B\"");
    for (count, target) in FLOODS.into_iter().enumerate() {
        let started = Instant::now();
        let mut conn = server.connect();
        conn.request("GET", target, &[], b"");
        server.log.wait_for_many("reason=\"response_body_idle\"", count + 1);
        assert!(started.elapsed() >= Duration::from_millis(600) && started.elapsed() < SOON, "{target}");
        assert!(!conn.response().complete, "{target}");
    }
    assert_eq!(server.log.count("client_gone"), 0, "they are still there");
}

#[test]
fn on_http2_only_the_stream_is_reset() {
    let server = serve("response_body_idle = \"600ms\"\nresponse_body_rate = \"0B\"");
    http2::run(async {
        let (client, _connection) = http2::connect(server.address()).await;
        for target in FLOODS {
            let mut sender = client.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(http2::request("GET", target), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            // The window is never opened again: what is in it comes, then the reset.
            let error = loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("{target}: the response is complete"),
                }
            };
            assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{target}: {error}");
            drop(body);
            assert_eq!(http2::get(&client, "/fixed").await.1, "fixed", "{target}: the connection goes on");
        }
    });
    server.log.wait_for_many("reason=\"response_body_idle\"", FLOODS.len());
    assert_eq!(server.log.count("client_gone"), 0);
}

#[test]
fn who_takes_too_little_is_cut_off() {
    let server = serve("response_body_idle = \"2s\"\nresponse_body_rate = \"1GiB\"");
    for (count, target) in FLOODS.into_iter().enumerate() {
        let started = Instant::now();
        let mut conn = server.connect();
        conn.request("GET", target, &[], b"");
        while server.log.count("reason=\"response_body_rate\"") <= count && started.elapsed() < SOON {
            assert!(!conn.some().is_empty() || started.elapsed() < SOON, "{target}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server.log.wait_for_many("reason=\"response_body_rate\"", count + 1);
    }
}

#[test]
fn handlers_that_say_nothing_are_not_slow_clients() {
    let server = serve("response_body_idle = \"300ms\"\nresponse_body_rate = \"1MiB\"");
    for handler in SCRIPTS {
        let target = format!("/{handler}?ops=text:a,flush,sleep:900,text:b");
        assert_eq!(server.get(&target).text(), "ab", "{handler}");
        http2::run(async {
            let (client, _connection) = http2::connect(server.address()).await;
            assert_eq!(http2::get(&client, &target).await, (200, "ab".to_owned()), "{handler}");
        });
    }
}

/// The response is all there before the client takes any of it, and the guest is long gone.
#[test]
fn whole_responses_have_the_limit_too() {
    let server = serve("response_body_idle = \"600ms\"\nresponse_body_rate = \"0B\"");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let mut socket = TcpStream::from(socket);
    // Far more in all than sockets hold.
    let request = "GET /puppet?ops=write:60000 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    socket.write_all(request.as_bytes()).unwrap();
    server.log.wait_for(&["reason=\"response_body_idle\"", "handler=\"puppet\""]);
}
