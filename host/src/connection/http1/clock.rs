//! The clocks of an HTTP/1 connection, and the one timer they share.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::ServerConfig;

/// Limits of one connection; `None`: there is none. `[server]` says when each starts and stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) read_header: Option<Duration>,
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) stall: Duration,
}

impl Clocks {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            read_header: config.read_header_timeout,
            read: config.read_timeout,
            write: config.write_timeout,
            idle: config.idle_timeout,
            stall: config.stall_timeout,
        }
    }
}

/// Waits for a deadline that may be another one at each poll.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` has passed; never without one. A clock that is set for an earlier time is left alone: mostly it
    /// is put off again before that comes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

pub(super) fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}
