use tokio::net::UdpSocket;

use super::*;

/// A DNS server that gives one of these after the other for every name, and nothing for IPv6.
async fn dns(answers: &'static [[u8; 4]]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut packet, mut asked) = ([0; 512], 0);
        while let Ok((len, from)) = socket.recv_from(&mut packet).await {
            // Behind the 12 bytes of the header: labels up to an empty one, the type, the class.
            let name_end = 12 + packet[12..len].iter().position(|&byte| byte == 0).unwrap() + 1;
            let is_v4 = packet[name_end..name_end + 2] == [0, 1];
            let mut answer = packet[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
            answer.extend(&packet[12..name_end + 4]);
            if is_v4 {
                // The name as above, type A, class IN, no time to live, four bytes.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                answer.extend(answers[asked.min(answers.len() - 1)]);
                asked += 1;
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

async fn asked(is_open: bool, answers: &'static [[u8; 4]]) -> (Client, Arc<Asked>) {
    let settings = TransportSettings {
        resolver: Some(dns(answers).await),
        dial_timeout: Duration::from_secs(20),
        ..Default::default()
    };
    let policy = Arc::new(Asked { is_open, ..Default::default() });
    (Outbound::new(&settings).unwrap().client(settings, Arc::clone(&policy) as _), policy)
}

#[tokio::test]
async fn what_a_name_resolves_to_is_judged_and_then_connected_to() {
    let upstream =
        Upstream::saying("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    let url = format!("http://rebind.test:{}/", upstream.address.port());
    // The first answer is good for the policy, and would be bad for it when asked again: nobody asks again.
    let (client, policy) = asked(true, &[[127, 0, 0, 1], [203, 0, 113, 1]]).await;
    assert_eq!(outcome(&client, get(&url), Call::default()).await.unwrap(), "ok");
    assert_eq!(*policy.addresses.lock().unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    let (client, _) = asked(false, &[[127, 0, 0, 1]]).await;
    let error = outcome(&client, get(&url), Call::default()).await.unwrap_err();
    assert_eq!((error.kind, error.is_unsent()), (OutboundErrorKind::Denied, true));
    let shown = crate::error::chain(&error);
    assert!(shown.contains("rebind.test") && shown.contains("127.0.0.1 is not public"), "{shown}");
    assert_eq!(upstream.connections(), 1, "it was never connected to");
}

#[tokio::test]
async fn a_redirect_is_judged_like_any_request() {
    let upstream = Upstream::start(|_, mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/away" => "HTTP/1.1 302 Found\r\nLocation: /forbidden\r\nContent-Length: 4\r\n\r\naway",
                "/loop" => "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n",
                "/once" => "HTTP/1.1 307 Temporary Redirect\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend",
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let settings = TransportSettings::default();
    let policy = Arc::new(Asked { is_open: true, ..Default::default() });
    let client = Outbound::new(&settings).unwrap().client(settings, Arc::clone(&policy) as _);
    let call = || Call { redirects: 10, ..Call::default() };
    assert_eq!(outcome(&client, get(&upstream.url("/once")), call()).await.unwrap(), "end");
    let error = outcome(&client, get(&upstream.url("/away")), call()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::Denied);
    policy.targets.lock().unwrap().clear();
    let error = outcome(&client, get(&upstream.url("/loop")), call()).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::TooManyRedirects);
    assert_eq!(policy.targets.lock().unwrap().len(), 11);
    policy.targets.lock().unwrap().clear();
    let left = AtomicUsize::new(3);
    let may_go_on =
        move || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let paced = Call { may_go_on: Some(Arc::new(may_go_on)), ..call() };
    let error = outcome(&client, get(&upstream.url("/loop")), paced).await.unwrap_err();
    assert_eq!(error.kind, OutboundErrorKind::TooFast);
    assert_eq!(policy.targets.lock().unwrap().len(), 4, "each redirect has asked");
    let response = client.send(get(&upstream.url("/away")), Call::default()).await.unwrap();
    assert_eq!(response.status(), 302, "who follows none gets it");
    assert_eq!(upstream.connections(), 1, "the connection was good for all of them");
}

#[test]
fn a_client_is_made_without_a_runtime() {
    // Deployments are built before there is one.
    let settings =
        TransportSettings { resolver: Some("127.0.0.1:53".parse().unwrap()), ..Default::default() };
    drop(client(settings));
}
