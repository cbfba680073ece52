//! A bound socket that accepts, and does not stop for anything.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::activity::Activity;
use crate::config::ListenAddr;
use crate::guest::Peer;
use crate::handover::{Handover, Inherited, Note};

/// Connections that the kernel may hold for us.
const BACKLOG: i32 = 4096;

/// After a failed accept: from this pause, doubled each time, up to the next (Go: net/http.Server.Serve).
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: BoundSocket,
    /// The address as it was asked for.
    asked: ListenAddr,
    /// Handed over by a process whose socket file becomes ours when it goes.
    inherits_file: bool,
}

/// Who has taken over a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewOwner {
    /// The process that we have started.
    Other,
    /// This one, from the process that started it.
    Us,
}

#[derive(Debug)]
enum BoundSocket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket, removed with its listener if it is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    is_ours: AtomicBool,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.is_ours.get_mut() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Takes the socket for this address that was handed over, else binds. A host name is resolved and its first address
    /// that works is used; an empty host means every interface, IPv6 and IPv4.
    ///
    /// # Errors
    /// With the address and what to do about it.
    pub async fn bind(address: &ListenAddr, handover: &mut Handover) -> Result<Self, String> {
        if let Some(inherited) = handover.adopt(address).await {
            return Self::adopt(address, inherited).map_err(|error| {
                format!("cannot listen on the socket {address} that was handed over: {error}")
            });
        }
        let socket = match address {
            ListenAddr::Tcp(host, port) => bind_tcp(host, *port).await.map(BoundSocket::Tcp),
            ListenAddr::Unix(path) => bind_unix(path).await,
        };
        let listener = socket.map(|socket| Self { socket, asked: address.clone(), inherits_file: false });
        listener.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "; stop the program that uses it, or choose another with --listen"
                }
                io::ErrorKind::PermissionDenied => "; ports below 1024 need the right to bind them",
                io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
                _ => "",
            };
            format!("cannot listen on {address}: {error}{hint}")
        })
    }

    fn adopt(address: &ListenAddr, inherited: Inherited) -> io::Result<Self> {
        let socket = match address {
            ListenAddr::Tcp(..) => BoundSocket::Tcp(TcpListener::from_std(inherited.socket.into())?),
            ListenAddr::Unix(path) => {
                // Not ours yet: while the process that made it serves, it must stay if this one fails.
                let file = SocketFile { path: path.clone(), is_ours: AtomicBool::new(false) };
                BoundSocket::Unix(UnixListener::from_std(inherited.socket.into())?, file)
            }
        };
        let inherits_file = inherited.note.is_some_and(|note| note.owns_file);
        Ok(Self { socket, asked: address.clone(), inherits_file })
    }

    /// A further descriptor of the socket, and what the next process should know about it.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn to_hand_over(&self) -> io::Result<(OwnedFd, Note)> {
        let (fd, owns_file) = match &self.socket {
            BoundSocket::Tcp(socket) => (socket.as_fd(), false),
            BoundSocket::Unix(socket, file) => (socket.as_fd(), file.is_ours.load(Ordering::Relaxed)),
        };
        Ok((fd.try_clone_to_owned()?, Note { listen: self.asked.to_string(), owns_file }))
    }

    /// Another process has taken over, or this one has: says whose the file of a unix socket is from now on. One that
    /// a service manager made is neither's.
    pub fn handed_over(&self, to: NewOwner) {
        let BoundSocket::Unix(_, file) = &self.socket else { return };
        match to {
            NewOwner::Other => file.is_ours.store(false, Ordering::Relaxed),
            NewOwner::Us if self.inherits_file => file.is_ours.store(true, Ordering::Relaxed),
            NewOwner::Us => {}
        }
    }

    /// Whether it is bound to every interface of the machine.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        match &self.socket {
            BoundSocket::Tcp(socket) => {
                socket.local_addr().is_ok_and(|address| address.ip().to_canonical().is_unspecified())
            }
            BoundSocket::Unix(..) => false,
        }
    }

    /// The address as a URL of this scheme, `http` or `https`, with the real port.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        match &self.socket {
            BoundSocket::Tcp(socket) => match socket.local_addr() {
                Ok(address) => format!("{scheme}://{address}"),
                Err(error) => format!("{scheme}://? ({error})"),
            },
            BoundSocket::Unix(_, file) => format!("{scheme}+unix://{}", file.path.display()),
        }
    }

    /// The next connection. Errors are logged and waited out, never returned. Cancel safe.
    pub async fn accept(&self) -> (Stream, Peer) {
        let mut pause = BACKOFF_MIN;
        loop {
            let accepted = match &self.socket {
                BoundSocket::Tcp(socket) => {
                    socket.accept().await.and_then(|(stream, remote)| Stream::tcp(stream, remote))
                }
                BoundSocket::Unix(socket, _) => socket.accept().await.map(|(stream, _)| Stream::unix(stream)),
            };
            match accepted {
                Ok(accepted) => return accepted,
                // The client was gone before we took it: nothing is wrong with the listener.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::error!(
                        pause_ms = pause.as_millis() as u64,
                        "accept failed, trying again: {error}"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}

async fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() {
        // One socket for both families; machines without IPv6 get the other one.
        let any6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        return bind_address(any6).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => bind_address(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))),
        });
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return bind_address(SocketAddr::new(ip, port));
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match bind_address(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.ip() == std::net::Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn bind_unix(path: &Path) -> io::Result<BoundSocket> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let connected = UnixStream::connect(path).await;
    if is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        // Nobody listens: a socket that an earlier run left behind.
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), is_ours: AtomicBool::new(true) };
    Ok(BoundSocket::Unix(listener, file))
}

/// An accepted socket.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix domain socket.
    Unix(UnixStream),
    /// TLS over one of these, after its handshake.
    Tls(Box<TlsStream<Stream>>),
}

impl Stream {
    /// The user at the other side of a unix socket; `None` over a network.
    #[must_use]
    pub fn peer_user(&self) -> Option<u32> {
        match self {
            Self::Unix(stream) => stream.peer_cred().ok().map(|credentials| credentials.uid()),
            Self::Tcp(_) | Self::Tls(_) => None,
        }
    }

    fn tcp(stream: TcpStream, remote: SocketAddr) -> io::Result<(Self, Peer)> {
        // Guests stream small pieces; Nagle's algorithm would hold each back until the one before is acknowledged.
        stream.set_nodelay(true)?;
        let peer = Peer {
            remote: canonical(remote),
            local: canonical(stream.local_addr()?),
            scheme: "http",
            tls: None,
            guard: None,
            stall: None,
            link: None,
            activity: Activity::new(),
        };
        Ok((Self::Tcp(stream), peer))
    }

    fn unix(stream: UnixStream) -> (Self, Peer) {
        (
            Self::Unix(stream),
            Peer {
                remote: "unix".to_owned(),
                local: "unix".to_owned(),
                scheme: "http",
                tls: None,
                guard: None,
                stall: None,
                link: None,
                activity: Activity::new(),
            },
        )
    }
}

/// IPv4 clients of a socket for both families are shown as IPv4.
fn canonical(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
