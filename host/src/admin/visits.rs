//! The connections of the admin listener: few, and none of them for long, unless its client has shown that it may.
//!
//! Whoever can connect could take all of them, and leave none for the probes that a process is restarted by. So when there are too
//! many, the oldest that has shown nothing goes, and one that does not read goes in any case.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// A response of which a client takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(30);

/// All of them, in the order in which they have come.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<VecDeque<Arc<Visit>>>);

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Visit {
    has_right: AtomicBool,
    cut: Notify,
}

impl Visit {
    /// Its client may do what takes long.
    pub(super) fn has_right(&self) {
        self.has_right.store(true, Ordering::Relaxed);
    }

    /// Waits until it has to go: when it is in the way, or `limit` is over and it has no right to more.
    pub(super) async fn is_over(&self, limit: Duration, limit_with_right: Duration) {
        let late = async {
            sleep(limit).await;
            if self.has_right.load(Ordering::Relaxed) {
                sleep(limit_with_right.saturating_sub(limit)).await;
            }
        };
        tokio::select! { () = self.cut.notified() => {} () = late => {} }
    }
}

impl Visits {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Visit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) -> Arc<Visit> {
        let visit = Arc::<Visit>::default();
        self.lock().push_back(Arc::clone(&visit));
        visit
    }

    pub(super) fn end(&self, visit: &Arc<Visit>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, visit));
    }

    /// Has the oldest one go that has no right, if there is one.
    pub(super) fn make_room(&self) {
        let oldest = self.lock().iter().find(|visit| !visit.has_right.load(Ordering::Relaxed)).cloned();
        oldest.inspect(|visit| visit.cut.notify_one());
    }
}

/// A stream that breaks when the other side takes nothing.
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Runs while something waits to be taken.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Impatient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, patience: STALL, clock: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.clock = None;
            return polled;
        }
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        clock.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn who_does_not_read_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut stream = Impatient { patience: Duration::from_millis(1), ..Impatient::new(ours) };
        assert_eq!(stream.write_all(&[0; 17]).await.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_oldest_without_a_right_makes_room() {
        let (visits, day) = (Visits::default(), Duration::from_secs(86_400));
        let [first, second, third] = [(); 3].map(|()| visits.begin());
        first.has_right();
        visits.make_room();
        second.is_over(day, day).await;
        visits.end(&second);
        visits.make_room();
        third.is_over(day, day).await;
        visits.end(&third);
        visits.make_room();
        let goes_on =
            tokio::time::timeout(Duration::from_millis(1), first.is_over(Duration::ZERO, day)).await;
        assert!(goes_on.is_err());
        visits.begin().is_over(Duration::ZERO, day).await;
    }
}
