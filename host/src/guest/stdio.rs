//! What a guest prints becomes log lines: standard output at level info, standard error at level warn.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::log::GuestLog;

/// One stream of one guest: bytes in, log lines out. Clones share the unfinished line.
#[derive(Clone)]
pub(super) struct LineStream(Arc<Mutex<Lines>>);

struct Lines {
    log: GuestLog,
    level: Level,
    /// What is known of the line, and how long it is altogether.
    unfinished: Vec<u8>,
    bytes: usize,
}

impl LineStream {
    pub(super) fn new(log: GuestLog, level: Level) -> Self {
        Self(Arc::new(Mutex::new(Lines { log, level, unfinished: Vec::new(), bytes: 0 })))
    }

    /// Ends the unfinished line: what follows is another request's.
    pub(super) fn end_line(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end_line();
    }

    fn push(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let room = self.log.line_bytes_max().saturating_sub(self.unfinished.len());
            self.unfinished.extend_from_slice(&piece[..piece.len().min(room)]);
            self.bytes = self.bytes.saturating_add(piece.len());
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let is_whole = self.bytes == self.unfinished.len();
        let line = self.unfinished.trim_ascii_end();
        if !line.is_empty() {
            self.log.line_of(self.level, line, if is_whole { line.len() } else { self.bytes });
        }
        self.unfinished.clear();
        self.bytes = 0;
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
