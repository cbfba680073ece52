use tokio::net::TcpSocket;

use super::*;

const SHORT: Duration = Duration::from_millis(150);

/// How a request fails at a server that does this; the clocks are those of `settings`.
async fn fails(answer: &'static str, settings: TransportSettings) -> OutboundError {
    let upstream = Upstream::saying(answer).await;
    let error = outcome(&client(settings), get(&upstream.url("/secret")), Call::default()).await.unwrap_err();
    let shown = crate::error::chain(&error);
    assert!(shown.contains(&upstream.address.to_string()) && !shown.contains("secret"), "{shown}");
    error
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_in_each_phase() {
    let header = TransportSettings { response_header_timeout: Some(SHORT), ..Default::default() };
    for partial in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nX-A: 1\r\n"] {
        assert_eq!(fails(partial, header.clone()).await.kind, OutboundErrorKind::HeaderTimeout, "{partial}");
    }
    let body = TransportSettings { body_idle_timeout: Some(SHORT), ..Default::default() };
    let partial = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    assert_eq!(fails(partial, body).await.kind, OutboundErrorKind::BodyTimeout);
    let whole = TransportSettings { timeout: Some(SHORT), ..Default::default() };
    for partial in ["", partial] {
        assert_eq!(fails(partial, whole.clone()).await.kind, OutboundErrorKind::Deadline, "{partial}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_accepts_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Once the queue is full, the kernel answers no more.
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue never fills");
    }
    let settings = TransportSettings { dial_timeout: SHORT, ..Default::default() };
    let error = outcome(&client(settings), get(&format!("http://{address}/")), Call::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::ConnectTimeout);
    assert!(error.is_unsent());
}

#[tokio::test]
async fn a_tls_handshake_has_a_clock() {
    let upstream = Upstream::start(|_, stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let settings = TransportSettings { tls_handshake_timeout: SHORT, ..Default::default() };
    let url = format!("https://{}/", upstream.address);
    let error = outcome(&client(settings.clone()), get(&url), Call::default()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::TlsTimeout);
    let plain = Upstream::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let url = format!("https://{}/", plain.address);
    let error = outcome(&client(TransportSettings::default()), get(&url), Call::default()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::TlsHandshake);
}

#[tokio::test]
async fn a_server_that_never_reads_is_given_up_at_the_deadline() {
    let upstream = Upstream::start(|_, stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let body = Full::new(Bytes::from(vec![0; 64 << 20])).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(upstream.url("/")).body(body).unwrap();
    let call = Call { deadline: Some(tokio::time::Instant::now() + SHORT), ..Call::default() };
    // The clock on the head begins behind the request, which never ends.
    let settings = TransportSettings { response_header_timeout: Some(SHORT / 4), ..Default::default() };
    let error = outcome(&client(settings), request, call).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::Deadline, "{error:?}");
}

#[tokio::test]
async fn a_server_that_takes_no_more_of_a_body_is_given_up() {
    let upstream = Upstream::start(|_, stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let body = Full::new(Bytes::from(vec![0; 64 << 20])).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(upstream.url("/")).body(body).unwrap();
    let settings = TransportSettings { body_idle_timeout: Some(SHORT), ..Default::default() };
    let error = outcome(&client(settings), request, Call::default()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::RequestTimeout);
    assert!(error.kind.is_timeout() && !error.is_unsent());
    assert!(error.to_string().contains("not taken in time (`body_idle_timeout`)"), "{error}");
}

/// A body of unknown length whose pieces come so far apart.
fn slow_body(pieces: usize, pause: Duration) -> OutBody {
    let stream = futures_util::stream::unfold(0, move |count| async move {
        tokio::time::sleep(pause).await;
        (count < pieces).then(|| (Ok(http_body::Frame::data(Bytes::from_static(b"x"))), count + 1))
    });
    http_body_util::StreamBody::new(stream).boxed_unsync()
}

#[tokio::test]
async fn a_client_that_pauses_is_not_the_servers_fault() {
    let upstream = Upstream::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        read_until(&mut stream, b"0\r\n\r\n").await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let settings = TransportSettings { body_idle_timeout: Some(SHORT), ..Default::default() };
    let request = Request::post(upstream.url("/")).body(slow_body(3, SHORT * 2)).unwrap();
    assert_eq!(outcome(&client(settings), request, Call::default()).await.unwrap(), "ok");
}

#[tokio::test]
async fn any_method_may_have_a_body() {
    let upstream = Upstream::start(|number, mut stream| async move {
        let head = read_head(&mut stream).await.unwrap().to_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert_eq!(read_until(&mut stream, b"0\r\n\r\n").await, b"1\r\nx\r\n1\r\nx\r\n0\r\n\r\n");
        if number == 0 {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
        }
        let _ = stream.read_u8().await;
    })
    .await;
    let settings = TransportSettings { response_header_timeout: Some(SHORT), ..Default::default() };
    let client = client(settings);
    let request = || Request::get(upstream.url("/")).body(slow_body(2, Duration::ZERO)).unwrap();
    assert_eq!(outcome(&client, request(), Call::default()).await.unwrap(), "ok");
    let error = outcome(&client, request(), Call::default()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::HeaderTimeout, "its clock runs behind any body");
}

#[tokio::test]
async fn what_is_no_response_says_why() {
    let settings =
        TransportSettings { response_header_bytes: 8 << 10, response_body_bytes: 5, ..Default::default() };
    assert_eq!(fails("SSH-2.0-x\r\n\r\n", settings.clone()).await.kind, OutboundErrorKind::Protocol);
    let large = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123456";
    assert_eq!(fails(large, settings.clone()).await.kind, OutboundErrorKind::BodyTooLarge);
    let head: &'static str =
        format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(9000)).leak();
    assert_eq!(fails(head, settings).await.kind, OutboundErrorKind::HeaderTooLarge);
    let closing = Upstream::start(|_, mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let client = client(TransportSettings::default());
    let error = outcome(&client, get(&closing.url("/")), Call::default()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::Closed);
    assert!(!error.is_unsent());
    assert_eq!(closing.connections(), 1, "a fresh connection that closes is no reason for another try");
    let short = Upstream::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    })
    .await;
    let error = outcome(&client, get(&short.url("/")), Call::default()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::Incomplete);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = outcome(&client, get(&format!("http://{nobody}/")), Call::default()).await.unwrap_err();
    assert_eq!((error.kind, error.is_unsent()), (OutboundErrorKind::Connect, true));
}

#[tokio::test]
async fn a_body_that_was_announced_waits_for_the_servers_word() {
    let upstream = Upstream::start(|number, mut stream| async move {
        read_head(&mut stream).await;
        if number == 0 {
            // Nothing comes before this, or it would be read as the answer's place.
            let mut early = [0; 1];
            let early = tokio::time::timeout(SHORT, stream.read(&mut early)).await;
            assert!(early.is_err(), "the body did not wait");
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n").await;
        let _ = stream.write_all(&body).await;
    })
    .await;
    let asking = || {
        let mut request = request("POST", &upstream.url("/"), "body");
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        request
    };
    let patient =
        TransportSettings { expect_continue_timeout: Some(Duration::from_secs(30)), ..Default::default() };
    assert_eq!(outcome(&client(patient), asking(), Call::default()).await.unwrap(), "body");
    let hasty = TransportSettings { expect_continue_timeout: Some(SHORT), ..Default::default() };
    assert_eq!(
        outcome(&client(hasty), asking(), Call::default()).await.unwrap(),
        "body",
        "the clock lets it go"
    );
}
