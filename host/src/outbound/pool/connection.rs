//! One connection, as the pool has it and as a request holds it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Bounds, Pool};
use crate::outbound::progress::Upload;
use crate::outbound::route::Key;

/// The end of the last request may still be on its way to a server that has answered it; beyond this time another connection
/// is better.
const READY_GRACE: Duration = Duration::from_millis(50);

/// Requests that one connection with HTTP/2 serves at a time. A server that allows fewer has hyper wait.
const STREAMS_MAX: usize = 100;

/// The task that reads and writes a connection; dropped, it ends, and closes it.
#[derive(Debug)]
pub(in crate::outbound) struct Task {
    handle: AbortHandle,
    is_left: AtomicBool,
}

impl Task {
    pub(in crate::outbound) fn spawn(
        connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static,
    ) -> Self {
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("outbound connection ended: {}", crate::error::chain(&error));
            }
        });
        Self { handle: task.abort_handle(), is_left: AtomicBool::new(false) }
    }

    /// Lets it go on by itself.
    fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !*self.is_left.get_mut() {
            self.handle.abort();
        }
    }
}

/// A connection that was just made.
#[derive(Debug)]
pub(in crate::outbound) struct Fresh {
    pub(in crate::outbound) sender: Sender,
    pub(in crate::outbound) task: Task,
}

/// Where requests are handed to hyper.
pub(in crate::outbound) enum Sender {
    Http1(http1::SendRequest<Upload>),
    Http2(http2::SendRequest<Upload>),
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1(_) => "Http1",
            Self::Http2(_) => "Http2",
        })
    }
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// A connection, or a share in one.
#[derive(Debug)]
pub(super) struct Conn {
    sender: Sender,
    task: Arc<Task>,
    /// Of the shared connection that this is a share in.
    shared: Option<u64>,
}

impl Conn {
    pub(super) fn exclusive(sender: http1::SendRequest<Upload>, task: Task) -> Self {
        Self { sender: Sender::Http1(sender), task: Arc::new(task), shared: None }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// A connection with HTTP/2, which serves up to [`STREAMS_MAX`] requests of its host.
#[derive(Debug)]
pub(super) struct Shared {
    number: u64,
    sender: http2::SendRequest<Upload>,
    task: Arc<Task>,
    /// Requests that it serves.
    active: usize,
    /// Since it serves none: its number among those that wait, and until when.
    idle: Option<(u64, Instant)>,
}

impl Shared {
    pub(super) fn new(number: u64, sender: http2::SendRequest<Upload>, task: Task) -> Self {
        Self { number, sender, task: Arc::new(task), active: 0, idle: None }
    }

    pub(super) fn is(&self, number: u64) -> bool {
        self.number == number
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn has_room(&self) -> bool {
        self.active < STREAMS_MAX && !self.is_closed()
    }

    /// A share in it, and its number among those that wait, if it did.
    pub(super) fn borrow(&mut self) -> (Conn, Option<u64>) {
        self.active += 1;
        let sender = Sender::Http2(self.sender.clone());
        let conn = Conn { sender, task: Arc::clone(&self.task), shared: Some(self.number) };
        (conn, self.idle.take().map(|(number, _)| number))
    }

    /// Says whether it serves nobody any more; it waits under this number then.
    pub(super) fn give_back(&mut self, idle_number: u64, until: Instant) -> bool {
        self.active -= 1;
        if self.active == 0 {
            self.idle = Some((idle_number, until));
        }
        self.active == 0
    }

    pub(super) fn idle_number(&self) -> Option<u64> {
        self.idle.map(|(number, _)| number)
    }

    pub(super) fn until(&self) -> Instant {
        self.idle.map_or_else(Instant::now, |(_, until)| until)
    }
}

/// A connection in the hands of a request. Dropped amidst one, it is closed; before one, or with HTTP/2, it is given back.
#[derive(Debug)]
pub(in crate::outbound) struct Lease {
    pool: Weak<Pool>,
    key: Key,
    bounds: Bounds,
    conn: Option<Conn>,
    /// It has served others.
    pub(in crate::outbound) is_reused: bool,
    /// Something may have been sent on it.
    is_used: bool,
}

impl Lease {
    pub(super) fn first(pool: Weak<Pool>, key: Key, bounds: Bounds, conn: Conn) -> Self {
        Self { pool, key, bounds, conn: Some(conn), is_reused: false, is_used: false }
    }

    pub(super) fn again(pool: Weak<Pool>, key: Key, bounds: Bounds, conn: Conn) -> Self {
        let mut lease = Self::first(pool, key, bounds, conn);
        lease.is_reused = true;
        lease
    }

    pub(super) fn into_conn(mut self) -> Option<Conn> {
        self.conn.take()
    }

    pub(in crate::outbound) fn is_http2(&self) -> bool {
        matches!(self.conn, Some(Conn { sender: Sender::Http2(_), .. }))
    }

    /// Waits until it can take a request, which is at once, or never if its server has closed it.
    pub(super) async fn is_ready(&mut self) -> bool {
        let is_ready = match &mut self.conn {
            Some(Conn { sender: Sender::Http1(sender), .. }) => {
                tokio::time::timeout(READY_GRACE, sender.ready()).await.is_ok_and(|ready| ready.is_ok())
            }
            Some(Conn { sender: Sender::Http2(sender), .. }) => sender.ready().await.is_ok(),
            None => false,
        };
        self.is_used |= !is_ready;
        is_ready
    }

    /// Sends a request and waits for the head of its response. A request that was not sent comes back with the error.
    pub(in crate::outbound) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        self.is_used = true;
        match &mut self.conn {
            Some(Conn { sender: Sender::Http1(sender), .. }) => sender.try_send_request(request).await,
            Some(Conn { sender: Sender::Http2(sender), .. }) => sender.try_send_request(request).await,
            // Only a lease that is gone has none.
            None => std::future::pending().await,
        }
    }

    /// The exchange is complete: the connection may serve the next.
    pub(in crate::outbound) fn give_back(mut self) {
        self.is_used = false;
    }

    /// The connection is not HTTP's any more; whoever holds its stream closes it.
    pub(in crate::outbound) fn leave_to_stream(mut self) {
        if let Some(conn) = self.conn.take() {
            // Its task hands the stream over, and ends by itself.
            conn.task.leave();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(conn), Some(pool)) = (self.conn.take(), self.pool.upgrade()) else { return };
        match conn.shared {
            Some(number) => {
                drop(conn);
                pool.put_back_shared(&self.key, self.bounds, number);
            }
            None if self.is_used => {}
            None => pool.put_back(&self.key, self.bounds, conn),
        }
    }
}
