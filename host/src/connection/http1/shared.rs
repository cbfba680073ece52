//! The gate in the form hyper takes it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite};

use super::gate::Gate;

/// One gate in two hands: hyper's, and those of the connection's driver. Both are in one task, so the lock is free.
#[derive(Debug)]
pub(super) struct Shared<S>(Arc<Mutex<Gate<S>>>);

impl<S> Shared<S> {
    pub(super) fn new(gate: Gate<S>) -> Self {
        Self(Arc::new(Mutex::new(gate)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Gate<S>> {
        // A poisoned lock means that a poll panicked; the connection's task ends with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate, once hyper has let go of it.
    pub(super) fn into_inner(self) -> Option<Gate<S>> {
        Arc::into_inner(self.0).map(|gate| gate.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Shared<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(cx, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Shared<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    /// Only flushes: the driver closes the connection, in peace.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, bufs)
    }
}
