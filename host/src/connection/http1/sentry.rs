//! Tells a client that has gone from one that waits, while nothing is read from it.
//!
//! A client that closes its socket and one that only ends its own side look the same, a FIN, until something is sent to
//! them: who has closed answers that with a reset. So a while after the FIN a little is sent (see `Outbound::probe`).
//! The kernel tells of FIN and reset also behind bytes that nobody reads, but only to a descriptor of its own: the
//! stream's stays readable all the time. It is made when a request is not over at the second look and its connection is
//! not being read from; a request that is answered at once costs nothing, nor does a client that is there and waits.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::clock::Timer;
use crate::listener::Stream;

/// What a response may still take when the client has ended its side, before the client is asked for a sign of life:
/// most are there sooner.
pub(super) const PROBE_DELAY: Duration = Duration::from_millis(20);

/// Without a descriptor to watch it with, a client that may have gone is looked at so often: they are missing when there are
/// too many clients, and then those who have gone are in the way.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A stream whose descriptor can be watched beside reading from it.
pub(in crate::connection) trait Descriptor {
    /// Another descriptor of the same socket.
    fn duplicate(&self) -> io::Result<OwnedFd>;

    /// Whether the connection has broken off, as far as the kernel knows.
    fn has_failed(&self) -> bool;
}

impl Descriptor for Stream {
    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    fn has_failed(&self) -> bool {
        SockRef::from(self).take_error().is_ok_and(|error| error.is_some())
    }
}

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It takes and sends nothing any more.
    Gone,
    /// It sends nothing any more, since [`PROBE_DELAY`]. Said once.
    Silent,
}

/// The watch over the client of one request.
#[derive(Debug, Default)]
pub(super) struct Sentry {
    watch: Watch,
    /// When the client has ended its side.
    ended: Option<Instant>,
    is_told: bool,
    timer: Timer,
}

#[derive(Debug, Default)]
enum Watch {
    /// Nobody has looked.
    #[default]
    Off,
    /// Somebody has, once.
    Looked,
    On(AsyncFd<OwnedFd>),
    /// There was no descriptor left; when to look again.
    Failed(Instant),
}

impl Sentry {
    /// Somebody reads, and will notice.
    pub(super) fn rest(&mut self) {
        if let Watch::Looked = self.watch {
            self.watch = Watch::Off;
        }
    }

    /// Whether the client has ended its side.
    pub(super) fn has_seen_end(&self) -> bool {
        self.ended.is_some()
    }

    /// Ready when there is something to know of the client. `has_ended`: a read has found the end already.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &impl Descriptor,
        has_ended: bool,
    ) -> Poll<Sign> {
        if let Watch::Off = self.watch
            && !has_ended
        {
            // What a guest reads first is asked for in the very next turn, and then this was not needed.
            self.watch = Watch::Looked;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Watch::Off | Watch::Looked = self.watch {
            self.watch = watch(stream);
        }
        if let Watch::On(descriptor) = &self.watch {
            // Writing is not asked for when it is registered: what comes is a hang-up.
            if descriptor.poll_write_ready(cx).is_ready() {
                return Poll::Ready(Sign::Gone);
            }
            if self.ended.is_none() && sees_end(descriptor, cx) {
                self.ended = Some(Instant::now());
            }
        }
        if has_ended && self.ended.is_none() {
            self.ended = Some(Instant::now());
        }
        if let Some(ended) = self.ended.filter(|_| !self.is_told) {
            ready!(self.timer.poll(cx, Some(ended + PROBE_DELAY)));
            self.is_told = true;
            return Poll::Ready(Sign::Silent);
        }
        let Watch::Failed(next_look) = &mut self.watch else { return Poll::Pending };
        while !stream.has_failed() {
            ready!(self.timer.poll(cx, Some(*next_look)));
            *next_look = Instant::now() + LOOK_INTERVAL;
            if !has_ended && let Watch::On(descriptor) = watch(stream) {
                self.watch = Watch::On(descriptor);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Sign::Gone)
    }
}

#[expect(
    deprecated,
    reason = "it is for types that may be wrong about their descriptor; `OwnedFd` cannot be"
)]
fn watch(stream: &impl Descriptor) -> Watch {
    let registered =
        stream.duplicate().and_then(|descriptor| AsyncFd::with_interest(descriptor, Interest::READABLE));
    registered.map_or_else(
        |error| {
            tracing::debug!("a client is watched without a descriptor: {error}");
            Watch::Failed(Instant::now() + LOOK_INTERVAL)
        },
        Watch::On,
    )
}

/// Whether there is a FIN; if not, the task is woken by whatever comes next.
fn sees_end(descriptor: &AsyncFd<OwnedFd>, cx: &mut Context<'_>) -> bool {
    loop {
        match descriptor.poll_read_ready(cx) {
            Poll::Ready(Ok(guard)) if guard.ready().is_read_closed() => return true,
            Poll::Ready(Ok(mut guard)) => guard.clear_ready(),
            Poll::Ready(Err(_)) | Poll::Pending => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::*;

    impl Descriptor for tokio::io::DuplexStream {
        fn duplicate(&self) -> io::Result<OwnedFd> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn has_failed(&self) -> bool {
            false
        }
    }

    async fn tcp() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Stream::Tcp(listener.accept().await.unwrap().0))
    }

    async fn next(sentry: &mut Sentry, stream: &Stream) -> Sign {
        poll_fn(|cx| sentry.poll(cx, stream, false)).await
    }

    #[tokio::test]
    async fn an_end_is_seen_behind_bytes_that_nobody_reads() {
        let (mut client, server) = tcp().await;
        client.write_all(b"unread").await.unwrap();
        client.shutdown().await.unwrap();
        let mut sentry = Sentry::default();
        assert_eq!(next(&mut sentry, &server).await, Sign::Silent);
        // It has unread bytes of ours, so that its kernel says that it has gone.
        let Stream::Tcp(mut socket) = server else { panic!("it is TCP") };
        socket.write_all(b"H").await.unwrap();
        let mut byte = [0];
        client.peek(&mut byte).await.unwrap();
        drop(client);
        assert_eq!(next(&mut sentry, &Stream::Tcp(socket)).await, Sign::Gone);
    }

    #[tokio::test]
    async fn a_closed_client_is_told_by_what_is_sent_to_it() {
        let (client, server) = tcp().await;
        drop(client);
        let mut sentry = Sentry::default();
        assert_eq!(next(&mut sentry, &server).await, Sign::Silent);
        let Stream::Tcp(mut socket) = server else { panic!("it is TCP") };
        socket.write_all(b"H").await.unwrap();
        assert_eq!(next(&mut sentry, &Stream::Tcp(socket)).await, Sign::Gone);
    }

    #[tokio::test]
    async fn unix_sockets_tell_at_once() {
        let (client, server) = UnixStream::pair().unwrap();
        let mut sentry = Sentry::default();
        drop(client);
        assert_eq!(next(&mut sentry, &Stream::Unix(server)).await, Sign::Gone);
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut sentry = Sentry::default();
        client.shutdown().await.unwrap();
        assert_eq!(next(&mut sentry, &Stream::Unix(server)).await, Sign::Silent);
    }
}
