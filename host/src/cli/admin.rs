//! The way to the admin API of a running server, for the commands that use it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use self::tls::{Tls, TlsArgs};
use crate::config::{AdminConfig, Config, ListenAddr, ProcessConfig};
use crate::tls::TlsFiles;

mod tls;

/// Where the token comes from when neither the file nor the command line has one.
const TOKEN_VARIABLE: &str = "WASMUX_ADMIN_TOKEN";

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an upload that are sent at a time, so that there is progress to show.
const PIECE_BYTES: usize = 64 << 10;

/// Larger uploads are only begun when the server answers otherwise.
const UNASKED_BYTES_MAX: usize = 1 << 20;

/// Which server is meant.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArg {
    /// The deployment whose server is asked
    #[arg(long, short, value_name = "FILE", default_value = "routes.toml", global = true)]
    pub(super) config: PathBuf,
    /// Its admin listener instead of the one that the file names: HOST:PORT, https://HOST:PORT or unix:PATH; a token is
    /// taken from $WASMUX_ADMIN_TOKEN
    #[arg(long, value_name = "ADDR", value_parser = Address::parse, global = true)]
    pub(super) admin: Option<Address>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Where an admin listener is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    listen: ListenAddr,
    has_tls: bool,
}

impl Address {
    /// Parses what [`ListenAddr::parse`] does, or such an address with `http://` or `https://` before it.
    fn parse(text: &str) -> Result<Self, String> {
        let (has_tls, address) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(address), _) => (true, address.trim_end_matches('/')),
            (None, Some(address)) => (false, address.trim_end_matches('/')),
            (None, None) => (false, text),
        };
        let listen = ListenAddr::parse(address)?;
        Ok(Self { has_tls: has_tls && matches!(listen, ListenAddr::Tcp(..)), listen })
    }
}

/// A server that can be asked.
#[derive(Debug)]
pub(super) struct Client {
    address: ListenAddr,
    token: Option<String>,
    tls: Option<Tls>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nobody listens.
    Down(String),
    /// The server has refused, and says why.
    Refused(Vec<String>),
    /// Anything else.
    Other(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down(message) | Self::Other(message) => f.write_str(message),
            Self::Refused(sentences) => f.write_str(&sentences.join("\nwasmux: ")),
        }
    }
}

impl ServerArg {
    /// What the file says about the process, as far as it can be read.
    pub(super) fn process(&self) -> ProcessConfig {
        Config::read(&self.config).0.process
    }

    /// The server that is meant.
    pub(super) fn client(&self) -> Result<Client, Failed> {
        let token = std::env::var(TOKEN_VARIABLE).ok();
        let settings = |own: Option<&TlsFiles>| self.tls.settings(own).map_err(Failed::Other);
        if let Some(Address { listen, has_tls }) = &self.admin {
            let own = || if self.config.exists() { self.process().admin?.tls } else { None };
            let tls = has_tls.then(|| settings(own().as_ref())).transpose()?;
            return Ok(Client { address: listen.clone(), token, tls });
        }
        if !self.config.exists() {
            let file = self.config.display();
            return Err(Failed::Other(format!(
                "there is no {file}; name one with --config, or a server with --admin"
            )));
        }
        let off = || Failed::Other("`admin` in [server] is \"off\"".to_owned());
        let AdminConfig { listen, token: own, tls, .. } = self.process().admin.ok_or_else(off)?;
        // A unix socket needs none.
        let tls = tls.filter(|_| matches!(listen, ListenAddr::Tcp(..)));
        let tls = tls.map(|own| settings(Some(&own))).transpose()?;
        Ok(Client { address: listen, token: own.or(token), tls })
    }
}

/// Runs a conversation to its end.
pub(super) fn run<T>(conversation: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failed::Other(error.to_string()))?.block_on(conversation)
}

impl Client {
    /// The answer's JSON.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Value, Failed> {
        let response = self.send(method, path, body).await?;
        let bytes = response.into_body().collect().await.map_err(broken)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| Failed::Other(format!("the server's answer: {error}")))
    }

    /// The answer as it comes.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Failed> {
        if body.len() > UNASKED_BYTES_MAX {
            // Whoever is refused hears so before it has sent everything.
            Box::pin(self.send(Method::GET, "/v1/status", Vec::new())).await?;
        }
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream =
            stream.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map_err(|error| self.down(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::new(Upload::new(body));
        *request.method_mut() = method;
        let bad = |error: http::uri::InvalidUri| Failed::Other(error.to_string());
        *request.uri_mut() = path.parse().map_err(bad)?;
        let headers = request.headers_mut();
        headers.insert(HOST, http::HeaderValue::from_static("wasmux"));
        if let Some(token) = &self.token {
            let value = http::HeaderValue::from_str(&format!("Bearer {token}"));
            headers
                .insert(AUTHORIZATION, value.map_err(|_| Failed::Other("the token is not text".to_owned()))?);
        }
        let response = sender.send_request(request).await.map_err(|error| self.gave_up(error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    async fn connect(&self) -> io::Result<Box<dyn Socket>> {
        Ok(match &self.address {
            ListenAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((&**host, *port)).await?;
                match &self.tls {
                    Some(tls) => Box::new(tls.connect(host, stream).await?),
                    None => Box::new(stream),
                }
            }
            ListenAddr::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    /// There was no answer.
    fn gave_up(&self, error: hyper::Error) -> Failed {
        let advice = match &self.tls {
            Some(tls) => tls.advice(&error),
            None if error.is_parse() => {
                Some("it does not speak HTTP; if it speaks TLS, write https:// before it".to_owned())
            }
            None => None,
        };
        match advice {
            Some(advice) => Failed::Other(format!("{} does not answer: {advice}", self.address)),
            None => broken(error),
        }
    }

    fn down(&self, error: &io::Error) -> Failed {
        if let Some(advice) = self.tls.as_ref().and_then(|tls| tls.advice(error)) {
            return Failed::Other(format!("{} does not answer: {advice}", self.address));
        }
        let message = format!("no server answers at {}: {error}", self.address);
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failed::Down(message),
            _ => Failed::Other(message),
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

fn broken(error: hyper::Error) -> Failed {
    Failed::Other(format!("the server has broken off: {}", crate::error::chain(&error)))
}

/// What the server says about why not.
async fn refused(response: Response<Incoming>) -> Failed {
    let status = response.status();
    let is_profile = response.headers().contains_key("x-go-pprof");
    let Ok(body) = response.into_body().collect().await else {
        return Failed::Refused(vec![status.to_string()]);
    };
    let bytes = body.to_bytes();
    let answer: Value = match serde_json::from_slice(&bytes) {
        Ok(answer) => answer,
        // Profiles are refused in plain words, as Go does.
        Err(_) if is_profile => {
            return Failed::Refused(vec![String::from_utf8_lossy(&bytes).trim().to_owned()]);
        }
        Err(_) => Value::Null,
    };
    let error = &answer["error"];
    let problem = |problem: &Value| {
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        format!("{}:{}: {} [{}]", text("file"), problem["line"], text("message"), text("kind"))
    };
    let mut sentences: Vec<String> =
        error["problems"].as_array().into_iter().flatten().map(problem).collect();
    let message = error["message"].as_str().map_or_else(|| unknown(status), str::to_owned);
    sentences.push(message);
    Failed::Refused(sentences)
}

fn unknown(status: StatusCode) -> String {
    format!("the server answers {status}; is it another program, or another version of this one?")
}

/// A body that shows how far it is.
struct Upload {
    bytes: Bytes,
    total: usize,
    shows: bool,
}

impl Upload {
    fn new(bytes: Vec<u8>) -> Self {
        let shows = bytes.len() > 4 * PIECE_BYTES && io::stderr().is_terminal();
        Self { total: bytes.len(), bytes: bytes.into(), shows }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.shows {
            let sent = this.total - this.bytes.len();
            let _ = write!(io::stderr(), "\r  uploading {} %\x1b[K", sent * 100 / this.total.max(1));
        }
        if this.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let piece = this.bytes.split_to(this.bytes.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// Waits, and says so on a terminal.
pub(super) async fn with_progress<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let (begun, mut work) = (Instant::now(), std::pin::pin!(work));
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let done = loop {
        let is_done = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => tick.poll_tick(cx).map(|_| None),
        });
        match is_done.await {
            Some(done) => break done,
            None => {
                let _ = write!(io::stderr(), "\r  {what} {:.1} s\x1b[K", begun.elapsed().as_secs_f64());
            }
        }
    };
    let _ = write!(io::stderr(), "\r\x1b[K");
    done
}

/// The name of a file in a query.
pub(super) fn form_of(file: &Path) -> &'static str {
    match file.extension().and_then(|form| form.to_str()) {
        Some("wat") => "wat",
        _ => "wasm",
    }
}
