//! SIGTERM and SIGINT: nothing new, idle connections closed, what is in flight finishes; and what cuts it short.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Server, Site, http2};

fn slow(shutdown_timeout: &str) -> Server {
    let routes = format!(
        r#"
        [server]
        shutdown_timeout = "{shutdown_timeout}"
        [handlers]
        sleep = {{ wasm = "sleep.wat" }}
        ticks = {{ wasm = "ticks.wat" }}
        echo = {{ wasm = "echo.wat" }}
        [routes]
        "/sleep/{{ms}}" = "sleep"
        "/ticks" = "ticks"
        "/echo" = "echo"
        "/fixed" = {{ respond = "fixed" }}
    "#
    );
    Site::new(&routes).guest("sleep").guest("ticks").guest("echo").serve()
}

fn wait_until_draining(server: &Server, signal: &str) {
    server.signal(signal);
    server.log.wait_for(&[&format!("SIG{signal}: draining")]);
}

#[test]
fn idle_connections_are_closed_at_once() {
    for signal in ["TERM", "INT"] {
        let mut server = slow("30s");
        let mut used = server.connect();
        used.request("GET", "/fixed", &[], b"");
        assert_eq!(used.response().status, 200);
        let mut silent = server.connect();
        // The server has accepted it when it has accepted one that came later.
        assert_eq!(server.get("/fixed").status, 200);
        let started = Instant::now();
        server.signal(signal);
        assert!(used.is_closed() && silent.is_closed());
        assert!(server.wait().success(), "exit code 0");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

/// The log's level has no say in what the program does.
#[test]
fn signals_work_without_a_log() {
    let routes = "[routes]\n\"/\" = { respond = \"ok\" }\n";
    let mut server = Site::new(routes).log_level("off").serve();
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "ok");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(server.log.all().is_empty(), "{:?}", server.log.all());
}

#[test]
fn a_request_in_flight_finishes() {
    let mut server = slow("30s");
    let mut conn = server.connect();
    conn.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(conn.head().status, 200);
    let mut sleeping = server.connect();
    sleeping.request("GET", "/sleep/1500", &[], b"");
    assert_eq!(server.get("/sleep/1").status, 200, "the one above is surely on its way");
    let address = server.address();
    wait_until_draining(&server, "TERM");

    conn.send_chunk(b"still");
    assert_eq!(conn.chunk().unwrap(), b"still");
    let response = sleeping.response();
    assert_eq!((response.status, response.text().as_str()), (200, "slept\n"));
    assert_eq!(response.header("connection"), Some("close"), "{response:?}");
    assert!(sleeping.is_closed());
    assert!(TcpStream::connect(address).is_err(), "new connections are refused");

    conn.send("0\r\n\r\n");
    assert_eq!(conn.chunk().unwrap(), b"");
    assert_eq!(conn.some(), b"\r\n");
    assert!(conn.is_closed());
    assert!(server.wait().success());
}

#[test]
fn a_request_that_follows_in_the_pipeline_is_not_taken() {
    let mut server = slow("30s");
    let mut conn = server.connect();
    conn.request("GET", "/sleep/1500", &[], b"");
    assert_eq!(server.get("/sleep/1").status, 200);
    wait_until_draining(&server, "TERM");
    conn.try_send("GET /fixed HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(conn.response().text(), "slept\n");
    assert!(conn.is_closed());
    assert!(server.wait().success());
}

/// One that comes to its end is answered, as the last; one that does not is no reason to wait for long.
#[test]
fn a_request_that_is_arriving_is_waited_for_a_while() {
    let mut server = slow("600s");
    let (mut ends, mut stops) = (server.connect(), server.connect());
    for conn in [&mut ends, &mut stops] {
        conn.request("GET", "/fixed", &[], b"");
        assert_eq!(conn.response().status, 200);
        conn.send("GET /fixed HTTP/1.1\r\nHost: x\r\nX-Rest: ");
    }
    // Both are on their way when a request that was sent later has been answered.
    assert_eq!(server.get("/fixed").status, 200);
    wait_until_draining(&server, "TERM");
    ends.send("there\r\n\r\n");
    let response = ends.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(server.wait().success(), "long before `read_header_timeout` and `shutdown_timeout`");
}

#[test]
fn the_timeout_cuts_what_does_not_finish() {
    let mut server = slow("300ms");
    let mut endless = server.connect();
    endless.request("GET", "/ticks", &[], b"");
    assert_eq!(endless.head().status, 200);
    let mut half = server.connect();
    half.send("GET /fixed HTTP/1.1\r\n");
    let started = Instant::now();
    wait_until_draining(&server, "TERM");
    while endless.chunk().is_some() {}
    assert!(server.wait().success());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    server.log.wait_for(&["`shutdown_timeout` has passed"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = slow("30s");
    let mut endless = server.connect();
    endless.request("GET", "/ticks", &[], b"");
    assert_eq!(endless.head().status, 200);
    let started = Instant::now();
    wait_until_draining(&server, "TERM");
    server.signal("INT");
    let status = server.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    while endless.chunk().is_some() {}
}

#[test]
fn http2_connections_drain_too() {
    let mut server = slow("30s");
    let address = server.address();
    http2::run(async {
        let (idle, idle_ended) = http2::connect(address).await;
        assert_eq!(http2::get(&idle, "/fixed").await.0, 200);
        let (busy, busy_ended) = http2::connect(address).await;
        let mut client = busy.clone().ready().await.unwrap();
        let (response, _) = client.send_request(http2::request("GET", "/sleep/1500"), true).unwrap();
        assert_eq!(http2::get(&busy, "/sleep/1").await.0, 200);
        server.signal("TERM");
        // An idle one is told to go, a busy one finishes its streams first.
        assert!(idle_ended.await.unwrap().is_ok());
        let (body, _) = http2::whole(response.await.unwrap()).await.unwrap();
        assert_eq!(body, b"slept\n");
        drop((client, busy, idle));
        assert!(busy_ended.await.unwrap().is_ok());
    });
    assert!(server.wait().success());
}

/// `on_disconnect = "finish"` is for clients that leave, not for a way around `shutdown_timeout`.
#[test]
fn guests_that_run_on_are_cut_too() {
    let routes = r#"
        [server]
        shutdown_timeout = "300ms"
        [handlers]
        sleep = { wasm = "sleep.wat", on_disconnect = "finish" }
        [routes]
        "/sleep/{ms}" = "sleep"
    "#;
    let mut server = Site::new(routes).guest("sleep").serve();
    let mut conn = server.connect();
    conn.request("GET", "/sleep/25000", &[], b"");
    assert_eq!(server.get("/sleep/100").text(), "slept\n", "by now the other one sleeps as well");
    let started = Instant::now();
    wait_until_draining(&server, "TERM");
    assert!(server.wait().success());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn guests_that_run_on_are_waited_for() {
    const SLEEP: Duration = Duration::from_millis(2000);
    let routes = r#"
        [server]
        access_log = "json"
        [handlers]
        sleep = { wasm = "sleep.wat", on_disconnect = "finish" }
        [routes]
        "/sleep/{ms}" = "sleep"
    "#;
    let mut server = Site::new(routes).guest("sleep").serve();
    let started = Instant::now();
    let mut conn = server.connect();
    conn.request("GET", &format!("/sleep/{}", SLEEP.as_millis()), &["X-Request-Id: alone"], b"");
    assert_eq!(server.get("/sleep/1").text(), "slept\n", "by now the other one sleeps as well");
    conn.reset();
    server.out.wait_for(&["\"alone\""]);
    wait_until_draining(&server, "TERM");
    assert!(server.wait().success());
    assert!(started.elapsed() >= SLEEP, "it ended after {:?}, before its guest", started.elapsed());
}
