use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Barrier;

use super::*;

/// Frames without content: type, flags and stream of each lie in front of it.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The last stream that was looked at is none, and nothing is wrong.
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Answers each request on a connection by this.
async fn serve<F, S>(stream: TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> S + Clone,
    S: Future<Output = String> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let answer = answer.clone();
        let answered = answer(request);
        async move { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(answered.await)))) }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// The number of the next stream that the client begins; `None` when it has gone. The preface must have been read.
async fn next_stream(stream: &mut TcpStream) -> Option<[u8; 4]> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == 1 {
            return Some([head[5], head[6], head[7], head[8]]);
        }
    }
}

async fn greet(stream: &mut TcpStream) {
    stream.write_all(SETTINGS).await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
}

fn url(upstream: &Upstream, path: &str) -> String {
    format!("h2c://{}{path}", upstream.address)
}

#[tokio::test]
async fn requests_share_one_connection() {
    let upstream = Upstream::start(|_, stream| {
        serve(stream, |request| async move {
            format!("{} {}", request.uri(), request.headers().contains_key("connection"))
        })
    })
    .await;
    let client = client(TransportSettings::default());
    let (url, expected) = (url(&upstream, "/x?y"), format!("http://{}/x?y false", upstream.address));
    assert_eq!(outcome(&client, get(&url), Call::default()).await.unwrap(), expected);
    assert_eq!(all_at_once(&client, &url, 10).await, vec![expected; 10]);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_is_full_is_not_the_only_one() {
    const MANY: usize = 150;
    let (barrier, most) = (Arc::new(Barrier::new(MANY)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let upstream = Upstream::start(move |_, stream| {
        let (barrier, most, here) = (Arc::clone(&barrier), Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
        serve(stream, move |request| {
            let (barrier, most, here) = (Arc::clone(&barrier), Arc::clone(&most), Arc::clone(&here));
            async move {
                if request.uri().path() == "/all" {
                    most.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    barrier.wait().await;
                }
                "ok".to_owned()
            }
        })
    })
    .await;
    let settings = TransportSettings::default();
    let outbound = Outbound::new(&settings).unwrap();
    let client = outbound.client(settings, Arc::new(AllowAll));
    outcome(&client, get(&url(&upstream, "/")), Call::default()).await.unwrap();
    assert_eq!(all_at_once(&client, &url(&upstream, "/all"), MANY).await, vec!["ok"; MANY]);
    assert!(upstream.connections() > 1, "all of them on one");
    assert_eq!(seen.load(Ordering::SeqCst), 100);
    assert!(outbound.idle_connections() <= 2, "`max_idle_per_host` holds for these, too");
}

#[tokio::test]
async fn what_a_server_has_not_looked_at_is_sent_again() {
    let upstream = Upstream::start(|number, mut stream| async move {
        if number == 0 {
            greet(&mut stream).await;
            next_stream(&mut stream).await;
            stream.write_all(GOAWAY).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
        serve(stream, |request| async move {
            let method = request.method().clone();
            format!("{method} {:?}", request.into_body().collect().await.unwrap().to_bytes())
        })
        .await;
    })
    .await;
    let body = || Full::new(Bytes::from_static(b"body")).map_err(|never| match never {}).boxed_unsync();
    let call = Call { rewind: Some(Arc::new(body)), ..Call::default() };
    let client = client(TransportSettings::default());
    let answer = outcome(&client, request("POST", &url(&upstream, "/"), "body"), call).await;
    assert_eq!(answer.unwrap(), "POST b\"body\"");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_only_so_often() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let upstream = Upstream::start(move |_, mut stream| {
        let asked = Arc::clone(&asked);
        async move {
            greet(&mut stream).await;
            while let Some(number) = next_stream(&mut stream).await {
                asked.fetch_add(1, Ordering::SeqCst);
                // RST_STREAM with REFUSED_STREAM.
                let reset = [&[0, 0, 4, 3, 0][..], &number, &[0, 0, 0, 7]].concat();
                stream.write_all(&reset).await.unwrap();
            }
        }
    })
    .await;
    let client = client(TransportSettings::default());
    let error = outcome(&client, request("DELETE", &url(&upstream, "/"), ""), Call::default()).await;
    let error = error.unwrap_err();
    assert_eq!((error.kind, error.is_unsent()), (OutboundErrorKind::Refused, true));
    assert_eq!(count.load(Ordering::SeqCst), 4);
    let call = Call { no_retry: true, ..Call::default() };
    assert!(outcome(&client, get(&url(&upstream, "/")), call).await.is_err());
    assert_eq!(count.load(Ordering::SeqCst), 5);
}
