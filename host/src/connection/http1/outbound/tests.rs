use std::future::poll_fn;
use std::task::Waker;

use super::*;

const LONG: Duration = Duration::from_secs(3600);
const STALL: Duration = Duration::from_millis(20);

/// A client that takes so many bytes; TLS keeps what is beyond, or the kernel does not take it.
#[derive(Default)]
struct Client {
    taken: Vec<u8>,
    room: usize,
    is_tls: bool,
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = if self.is_tls { buf.len() } else { buf.len().min(self.room) };
        self.taken.extend_from_slice(&buf[..count]);
        self.room = self.room.saturating_sub(count);
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_tls && self.room == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn outbound(stall: Duration) -> Outbound {
    Outbound::new(stall, Activity::new())
}

fn push(outbound: &mut Outbound, text: &'static str) {
    outbound.push_head(|buffer| buffer.extend_from_slice(text.as_bytes()));
}

fn flush(outbound: &mut Outbound, client: &mut Client) -> Poll<io::Result<()>> {
    outbound.poll_flush(client, &mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn everything_is_written_in_order_at_every_split() {
    let large = Bytes::from(vec![b'x'; COPIED_BYTES_MAX + 1]);
    let expected = [b"head ".as_slice(), b"1001\r\n", &large, b"\r\n", b"2\r\nhi\r\n"].concat();
    for step in [1, 7, 4096, 16_390, usize::MAX] {
        let (mut outbound, mut client) = (outbound(LONG), Client::default());
        push(&mut outbound, "head ");
        outbound.push_content(large.clone(), true);
        assert!(!outbound.has_room(), "it is not copied");
        loop {
            client.room = step;
            if flush(&mut outbound, &mut client).is_ready() {
                break;
            }
        }
        assert!(outbound.has_room() && outbound.is_flushed());
        client.room = usize::MAX;
        outbound.push_content(Bytes::from_static(b"hi"), true);
        assert!(flush(&mut outbound, &mut client).is_ready());
        assert!(client.taken == expected, "by {step}");
    }
}

#[tokio::test]
async fn what_the_client_has_of_a_head_is_not_sent_again() {
    let (mut outbound, mut client) = (outbound(LONG), Client { room: 1000, ..Client::default() });
    assert!(!outbound.probe(Awaited::Nothing));
    assert!(outbound.probe(Awaited::Head));
    assert!(!outbound.probe(Awaited::Head), "it is on its way");
    assert!(flush(&mut outbound, &mut client).is_ready());
    assert_eq!(client.taken, b"HTTP/1.");
    push(&mut outbound, "HTTP/1.1 200 OK\r\n\r\n");
    assert!(flush(&mut outbound, &mut client).is_ready());
    assert!(outbound.probe(Awaited::Chunk));
    outbound.push_content(Bytes::from_static(b"hi"), true);
    assert!(flush(&mut outbound, &mut client).is_ready());
    assert_eq!(client.taken, b"HTTP/1.1 200 OK\r\n\r\n02\r\nhi\r\n");
}

#[tokio::test]
async fn both_clocks_end_a_write() {
    let is_late =
        |done: &io::Result<()>| done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
    let (mut stalling, mut client) = (outbound(Duration::ZERO), Client::default());
    push(&mut stalling, "response");
    assert!(is_late(&poll_fn(|cx| stalling.poll_flush(&mut client, cx)).await));

    let (mut late, mut client) = (outbound(LONG), Client { room: 9, ..Client::default() });
    late.begin(Some(Instant::now()));
    push(&mut late, "response");
    assert!(matches!(flush(&mut late, &mut client), Poll::Ready(done) if is_late(&done)));
}

#[tokio::test]
async fn what_tls_keeps_is_under_the_clocks() {
    let mut outbound = outbound(STALL);
    let mut client = Client { is_tls: true, ..Client::default() };
    push(&mut outbound, "response");
    assert!(outbound.activity.idle_for().is_some());
    assert!(poll_fn(|cx| Poll::Ready(outbound.poll_flush(&mut client, cx))).await.is_pending());
    assert!(outbound.activity.idle_for().is_none(), "busy while the client has not got all");
    let flushed = poll_fn(|cx| outbound.poll_flush(&mut client, cx)).await;
    assert_eq!(flushed.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
