//! The body of a response: written by the guest, read from the outbox.
//!
//! A guest may write before it says which response it sends, so a pipe first fills a buffer of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::super::super::outbox::{Outbox, SendError};

/// Body bytes that a guest may write before it has set its response: all bodies of an instance together.
const EARLY_BYTES_MAX: usize = 1 << 20;

/// A body on its way to the outbox, once there is one.
pub(super) struct Pipe(Mutex<Flow>);

enum Flow {
    /// The response was not set yet.
    Early {
        buffer: Early,
        end: Option<End>,
    },
    Attached(Arc<Outbox>),
}

impl Flow {
    /// How much may be written.
    fn room(&self) -> StreamResult<usize> {
        match self {
            Self::Early { buffer, .. } => Ok(buffer.room()),
            Self::Attached(outbox) => outbox.room().map_err(failure),
        }
    }
}

enum End {
    Finished(Option<HeaderMap>),
    Abandoned,
}

/// Bytes that wait for their response.
struct Early {
    bytes: BytesMut,
    /// How many all bodies of the instance have.
    count: Arc<AtomicUsize>,
}

impl Early {
    fn room(&self) -> usize {
        EARLY_BYTES_MAX.saturating_sub(self.count.load(Ordering::Relaxed))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.count.fetch_add(bytes.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(bytes);
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Pipe {
    pub(super) fn new(count: Arc<AtomicUsize>) -> Self {
        let buffer = Early { bytes: BytesMut::new(), count };
        Self(Mutex::new(Flow::Early { buffer, end: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response was set: hands over what is there, and all that follows.
    pub(super) fn attach(&self, outbox: Arc<Outbox>) {
        let mut flow = self.lock();
        if let Flow::Early { buffer, end } =
            std::mem::replace(&mut *flow, Flow::Attached(Arc::clone(&outbox)))
        {
            // Who is told of an error here has written into the void before; its next write says the same.
            let _ = outbox.push(&buffer.bytes);
            match end {
                None => {}
                Some(End::Finished(trailers)) => drop(outbox.complete(trailers)),
                Some(End::Abandoned) => outbox.abandon(),
            }
        }
    }

    pub(super) fn finish(&self, trailers: Option<HeaderMap>) -> Result<(), ErrorCode> {
        match &mut *self.lock() {
            Flow::Early { end, .. } => {
                *end = Some(End::Finished(trailers));
                Ok(())
            }
            Flow::Attached(outbox) => {
                outbox.complete(trailers).map_err(|_| ErrorCode::HttpResponseBodySize(None))
            }
        }
    }

    /// The body was dropped before it was finished.
    pub(super) fn abandon(&self) {
        match &mut *self.lock() {
            Flow::Early { end, .. } => *end = Some(End::Abandoned),
            Flow::Attached(outbox) => outbox.abandon(),
        }
    }
}

/// `output-stream` of an `outgoing-body`.
pub(super) struct PipeStream(pub(super) Arc<Pipe>);

impl PipeStream {
    /// Waits for room, or for a reason not to wait.
    async fn wait(&self) {
        std::future::poll_fn(|cx| match &*self.0.lock() {
            Flow::Early { buffer, .. } if buffer.room() > 0 => std::task::Poll::Ready(()),
            // Only the guest can change that, and then it polls anew.
            Flow::Early { .. } => std::task::Poll::Pending,
            Flow::Attached(outbox) => outbox.poll_room(cx).map(drop),
        })
        .await;
    }

    /// Waits for room, and says how much there is.
    async fn room(&self) -> StreamResult<usize> {
        loop {
            self.wait().await;
            match self.0.lock().room()? {
                0 => {}
                room => return Ok(room),
            }
        }
    }
}

#[async_trait]
impl Pollable for PipeStream {
    async fn ready(&mut self) {
        self.wait().await;
    }
}

#[async_trait]
impl OutputStream for PipeStream {
    /// Traps a guest that writes more than `check-write` allows, as the interface says: nothing else bounds what waits.
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut flow = self.0.lock();
        if bytes.len() > flow.room()? {
            return Err(StreamError::trap("cannot write more than `check-write` allows"));
        }
        match &mut *flow {
            Flow::Early { buffer, .. } => {
                buffer.add(&bytes);
                Ok(())
            }
            Flow::Attached(outbox) => outbox.push(&bytes).map_err(failure),
        }
    }

    /// Never waits for the client: what is written leaves as soon as the guest waits for anything.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.lock().room()
    }

    /// What the interface says it is, as it is by default; but there each step is allocated.
    async fn blocking_write_and_flush(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        loop {
            let room = self.room().await?;
            self.write(bytes.split_to(bytes.len().min(room)))?;
            if bytes.is_empty() {
                break;
            }
        }
        match self.room().await {
            Ok(_) | Err(StreamError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn failure(error: SendError) -> StreamError {
    match error {
        SendError::Limit | SendError::Length => {
            StreamError::LastOperationFailed(wasmtime::format_err!(ErrorCode::HttpResponseBodySize(None)))
        }
        _ => StreamError::Closed,
    }
}
