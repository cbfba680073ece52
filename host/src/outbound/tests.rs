use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

mod http2;
mod phases;
mod policy;
mod reuse;

/// A server of the test's own: each connection is a script's, which gets its number.
struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    async fn start<F, S>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(count.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Self { address, connections }
    }

    /// Says the same on every connection to every request, and waits for what comes.
    async fn saying(answer: &'static str) -> Self {
        Self::start(move |_, mut stream| async move {
            while read_head(&mut stream).await.is_some() {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A request's head; `None` when there is none any more.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// What comes up to these bytes, with them.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.unwrap());
    }
    read
}

/// A policy that keeps what it was asked, and refuses addresses that are not public unless `is_open`.
#[derive(Debug, Default)]
struct Asked {
    is_open: bool,
    targets: Mutex<Vec<String>>,
    addresses: Mutex<Vec<IpAddr>>,
}

impl Policy for Asked {
    fn target(&self, uri: &Uri) -> Result<(), Refused> {
        self.targets.lock().unwrap().push(uri.to_string());
        match uri.path() {
            "/forbidden" => Err(Refused("it is forbidden".to_owned())),
            _ => Ok(()),
        }
    }

    fn address(&self, _: &Uri, address: IpAddr) -> Result<(), Refused> {
        self.addresses.lock().unwrap().push(address);
        match self.is_open || is_public(address) {
            true => Ok(()),
            false => Err(Refused(format!("{address} is not public"))),
        }
    }
}

fn client(settings: TransportSettings) -> Client {
    Outbound::new(&settings).unwrap().client(settings, Arc::new(AllowAll))
}

fn request(method: &str, url: &str, body: &'static str) -> Request<OutBody> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(url).body(body).unwrap()
}

fn get(url: &str) -> Request<OutBody> {
    request("GET", url, "")
}

async fn text(response: Response<InBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What all of so many requests at once are answered.
async fn all_at_once(client: &Client, url: &str, count: usize) -> Vec<String> {
    let send = |_| {
        let (client, url) = (client.clone(), url.to_owned());
        tokio::spawn(async move { outcome(&client, get(&url), Call::default()).await.unwrap() })
    };
    let all: Vec<_> = (0..count).map(send).collect();
    let mut answers = Vec::new();
    for one in all {
        answers.push(one.await.unwrap());
    }
    answers
}

/// What becomes of a request, its response's body included.
async fn outcome(client: &Client, request: Request<OutBody>, call: Call) -> Result<String, OutboundError> {
    let response = client.send(request, call).await?;
    Ok(String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()).into_owned())
}

/// Waits for what must become true.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it has not become true");
}
