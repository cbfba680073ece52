//! A stream from the server that ends at a message which is too large, before any of it is kept.
//!
//! The client puts a whole message into memory before anybody sees it, and one value of a row may have a gigabyte. Here only the
//! lengths in front of messages are looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// What is in front of every message: a byte that says what it is, and its length without that byte.
const HEADER_BYTES: usize = 5;

/// How much a server may send at a time, and whether it wanted to send more.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// A larger message ends the stream, in bytes.
    pub(super) message_bytes_max: u64,
    /// There was one.
    pub(super) is_too_large: Arc<AtomicBool>,
}

/// A stream that is watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    watch: Watch,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes that are no header: what is left of a message.
    left: u64,
}

impl<S> Watched<S> {
    /// `lead`: bytes in front of the first message.
    pub(super) fn new(stream: S, watch: Watch, lead: u64) -> Self {
        Self { stream, watch, header: [0; HEADER_BYTES], have: 0, left: lead }
    }

    fn look(&mut self, mut read: &[u8]) -> io::Result<()> {
        while !read.is_empty() {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(read.len());
            read = &read[skipped..];
            self.left -= skipped as u64;
            let taken = (HEADER_BYTES - self.have).min(read.len());
            self.header[self.have..self.have + taken].copy_from_slice(&read[..taken]);
            read = &read[taken..];
            self.have += taken;
            if self.have == HEADER_BYTES {
                let [_, length @ ..] = self.header;
                let length = u64::from(u32::from_be_bytes(length));
                if length > self.watch.message_bytes_max {
                    self.watch.is_too_large.store(true, Ordering::Release);
                    return Err(io::Error::other("a message of the server is too large"));
                }
                self.have = 0;
                self.left = length.saturating_sub(size_of::<u32>() as u64);
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        Poll::Ready(this.look(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Makes TLS below the watch, which would see nothing but ciphertext otherwise.
pub(super) struct Below<T>(pub(super) T);

impl<S, T> TlsConnect<Watched<S>> for Below<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, watched: Watched<S>) -> Self::Future {
        let Watched { stream, watch, .. } = watched;
        let connecting = self.0.connect(stream);
        Box::pin(async move { Ok(Watched::new(connecting.await?, watch, 0)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pieces: &[&[u8]], lead: u64) -> bool {
        let watch = Watch { message_bytes_max: 100, is_too_large: Arc::default() };
        let mut watched = Watched::new((), watch.clone(), lead);
        let ended = pieces.iter().any(|piece| watched.look(piece).is_err());
        assert_eq!(ended, watch.is_too_large.load(Ordering::Acquire));
        ended
    }

    #[test]
    fn only_the_length_of_a_message_counts() {
        let [small, large] = [100_u32, 101].map(|length| [b"D", &length.to_be_bytes()[..]].concat());
        let message = [&small[..], &[0xff; 96]].concat();
        assert!(!look(&[&message, &message, b"Z\0\0\0\x05I"], 0));
        assert!(look(&[&message, &large], 0));
        assert!(look(&[b"N", &message, &large], 1));
        // However they are cut.
        let all = [&message[..], &message, &large[..4]].concat();
        let bytes: Vec<_> = all.chunks(1).collect();
        assert!(!look(&bytes, 0));
        assert!(look(&[&bytes[..], &[&large[4..]]].concat(), 0));
    }
}
