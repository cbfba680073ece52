use std::io::Write as _;
use std::num::NonZeroUsize;

use http::StatusCode;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn connections_are_used_again_by_their_client_alone() {
    let upstream = Upstream::saying(OK).await;
    let settings = TransportSettings::default();
    let outbound = Outbound::new(&settings).unwrap();
    let first = outbound.client(settings.clone(), Arc::new(AllowAll));
    let second = outbound.client(settings, Arc::new(AllowAll));
    for _ in 0..5 {
        assert_eq!(outcome(&first, get(&upstream.url("/")), Call::default()).await.unwrap(), "ok");
    }
    assert_eq!((upstream.connections(), outbound.idle_connections()), (1, 1));
    outcome(&second, get(&upstream.url("/")), Call::default()).await.unwrap();
    assert_eq!((upstream.connections(), outbound.idle_connections()), (2, 2));
    drop(first);
    assert_eq!(outbound.idle_connections(), 1, "they end with their client");
}

#[tokio::test]
async fn idle_connections_are_bounded_and_end() {
    let upstream = Upstream::saying(OK).await;
    let settings =
        TransportSettings { max_idle: 2, idle_timeout: Duration::from_secs(1), ..Default::default() };
    let outbound = Outbound::new(&settings).unwrap();
    let clients: Vec<_> = (0..3).map(|_| outbound.client(settings.clone(), Arc::new(AllowAll))).collect();
    for client in &clients {
        outcome(client, get(&upstream.url("/")), Call::default()).await.unwrap();
    }
    assert_eq!(outbound.idle_connections(), 2, "the oldest has made room");
    until(|| outbound.idle_connections() == 0).await;
}

/// Sends so many requests at once through one seat, which all say "ok"; how many connections that takes.
async fn connections_of(upstream: &Upstream, requests: usize) -> usize {
    let client = client(TransportSettings { max_per_host: NonZeroUsize::new(1), ..Default::default() });
    assert_eq!(all_at_once(&client, &upstream.url("/"), requests).await, vec!["ok"; requests]);
    upstream.connections()
}

#[tokio::test]
async fn requests_wait_for_a_seat_and_take_what_comes_free() {
    let upstream = Upstream::saying(OK).await;
    assert_eq!(connections_of(&upstream, 20).await, 1);
}

#[tokio::test]
async fn a_seat_comes_back_when_its_connection_closes() {
    let upstream = Upstream::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    assert_eq!(connections_of(&upstream, 5).await, 5);
}

#[tokio::test]
async fn who_waits_for_a_seat_has_a_clock() {
    let upstream = Upstream::start(|_, stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let settings = TransportSettings {
        max_per_host: NonZeroUsize::new(1),
        dial_timeout: Duration::from_millis(100),
        ..Default::default()
    };
    let (client, url) = (client(settings), upstream.url("/"));
    let (first, first_url) = (client.clone(), url.clone());
    let first = tokio::spawn(async move { first.send(get(&first_url), Call::default()).await.map(drop) });
    until(|| upstream.connections() == 1).await;
    let error = outcome(&client, get(&url), Call::default()).await.unwrap_err();
    assert_eq!((error.kind, error.is_unsent()), (OutboundErrorKind::Busy, true));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_response_of_two_lengths_ends_its_connection() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n";
    let upstream = Upstream::saying(answer).await;
    let client = client(TransportSettings::default());
    for _ in 0..2 {
        let response = client.send(get(&upstream.url("/")), Call::default()).await.unwrap();
        assert!(!response.headers().contains_key("content-length"), "{:?}", response.headers());
        assert_eq!(text(response).await, "all");
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn what_a_stale_connection_lost_is_sent_again_if_that_is_safe() {
    // Answers once on each connection, and closes it when the next request is there.
    let upstream = Upstream::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
        read_head(&mut stream).await;
    })
    .await;
    let client = client(TransportSettings::default());
    for _ in 0..3 {
        assert_eq!(outcome(&client, get(&upstream.url("/")), Call::default()).await.unwrap(), "ok");
    }
    assert_eq!(upstream.connections(), 3);
    let error = outcome(&client, request("POST", &upstream.url("/"), "body"), Call::default()).await;
    assert_eq!(error.unwrap_err().kind, OutboundErrorKind::Closed, "the server may have seen it");
}

#[tokio::test]
async fn who_is_dropped_takes_the_connection_along() {
    let (closed, mut closings) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |number, mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            if number == 1 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
            }
            let _ = stream.read_u8().await;
            let _ = closed.send(number);
        }
    })
    .await;
    let client = client(TransportSettings::default());
    let (pending, url) = (client.clone(), upstream.url("/"));
    let call = tokio::spawn(async move { pending.send(get(&url), Call::default()).await.map(drop) });
    until(|| upstream.connections() == 1).await;
    call.abort();
    assert_eq!(closings.recv().await, Some(0), "before there was a response");
    drop(client.send(get(&upstream.url("/")), Call::default()).await.unwrap());
    assert_eq!(closings.recv().await, Some(1), "amidst its body");
}

#[tokio::test]
async fn gzip_is_undone_when_it_was_our_idea() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"plain text").unwrap();
    let gzip: &'static [u8] = encoder.finish().unwrap().leak();
    let upstream = Upstream::start(move |_, mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            assert!(head.to_lowercase().contains("accept-encoding: gzip"), "{head}");
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                gzip.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), gzip].concat()).await;
        }
    })
    .await;
    let client = client(TransportSettings::default());
    let call = || Call { decompress: true, ..Call::default() };
    let response = client.send(get(&upstream.url("/")), call()).await.unwrap();
    assert!(
        !response.headers().contains_key("content-encoding")
            && !response.headers().contains_key("content-length")
    );
    assert_eq!(text(response).await, "plain text");
    let mut own = get(&upstream.url("/"));
    own.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let response = client.send(own, call()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), gzip, "who asks gets it as it is");
}

#[tokio::test]
async fn interim_responses_and_trailers_pass() {
    let upstream = Upstream::saying(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let on_interim: OnInterim = Arc::new(move |status, fields: &http::HeaderMap| {
        note.lock().unwrap().push((status, fields["link"].clone()));
    });
    let call = Call { on_interim: Some(on_interim), ..Call::default() };
    let response = client(TransportSettings::default()).send(get(&upstream.url("/")), call).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    assert_eq!(seen.lock().unwrap().as_slice(), [(StatusCode::EARLY_HINTS, "</a>".parse().unwrap())]);
}
