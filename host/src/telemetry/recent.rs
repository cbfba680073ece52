//! The latest lines of the log, kept for those who ask, and passed on to those who follow.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_util::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer;

/// Lines that are kept; beyond them the oldest goes.
const LINES_MAX: usize = 1_000;

/// Bytes of a message; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Lines that a follower may be behind; beyond it lines are lost to it, and it is told how many.
const BEHIND_MAX: usize = 1_000;

/// The part of the program that tells a follower of lines that it has missed.
const LOST_TARGET: &str = "wasmux::logs";

/// A line of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// RFC 3339, in milliseconds.
    pub time: String,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: String,
    /// The part of the program; `guest` for what guests say.
    pub target: String,
    /// The handler that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The request that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What it says, with its other fields.
    pub message: String,
}

impl Line {
    /// Says to a follower how many lines it has missed.
    fn of_lost(count: u64, time: &str) -> Self {
        let message = format!("{count} lines were lost here: they came faster than they were read");
        let (time, level, target) = (time.to_owned(), "WARN".to_owned(), LOST_TARGET.to_owned());
        Self { time, level, target, message, ..Self::default() }
    }

    /// Whether it is for one follower, about lines that could be any.
    #[must_use]
    pub fn says_what_is_lost(&self) -> bool {
        self.target == LOST_TARGET
    }
}

/// The latest lines. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<Line>>,
    followers: Vec<Follower>,
}

/// Somebody who follows.
#[derive(Debug)]
struct Follower {
    lines: mpsc::Sender<Arc<Line>>,
    /// Lines that were lost to it, and that it has not been told of.
    lost: u64,
}

impl Follower {
    /// Passes a line on, if there is room; says whether anybody is there.
    fn pass(&mut self, line: &Arc<Line>) -> bool {
        // What is said of those that were lost takes a place as well.
        if self.lost > 0 && self.lines.capacity() > 1 {
            let _ = self.lines.try_send(Arc::new(Line::of_lost(mem::take(&mut self.lost), &line.time)));
        }
        if self.lost > 0 || matches!(self.lines.try_send(Arc::clone(line)), Err(TrySendError::Full(_))) {
            self.lost += 1;
        }
        !self.lines.is_closed()
    }
}

/// Lines that were kept, and then, perhaps, those that come.
#[derive(Debug)]
pub struct Follow {
    past: VecDeque<Arc<Line>>,
    coming: Option<mpsc::Receiver<Arc<Line>>>,
}

impl Logs {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Line) {
        let line = Arc::new(line);
        let mut kept = self.lock();
        if kept.lines.len() == LINES_MAX {
            kept.lines.pop_front();
        }
        kept.lines.push_back(Arc::clone(&line));
        // One that is full misses this line; one that is gone is forgotten.
        kept.followers.retain_mut(|follower| follower.pass(&line));
    }

    /// The lines that there are; with `on`, and those that will be.
    #[must_use]
    pub fn follow(&self, on: bool) -> Follow {
        let mut kept = self.lock();
        let coming = on.then(|| {
            let (lines, receiver) = mpsc::channel(BEHIND_MAX);
            kept.followers.push(Follower { lines, lost: 0 });
            receiver
        });
        Follow { past: kept.lines.clone(), coming }
    }
}

impl Stream for Follow {
    type Item = Arc<Line>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Line>>> {
        let this = self.get_mut();
        if let Some(line) = this.past.pop_front() {
            return Poll::Ready(Some(line));
        }
        match &mut this.coming {
            None => Poll::Ready(None),
            Some(coming) => coming.poll_recv(cx),
        }
    }
}

/// Its fields, the known ones apart.
#[derive(Default)]
struct Fields {
    line: Line,
    others: String,
}

impl Fields {
    fn set(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            "message" => self.line.message = value.to_string(),
            "handler" => self.line.handler = Some(value.to_string()),
            "request_id" => self.line.request_id = Some(value.to_string()),
            // What the log crate's bridge adds.
            name if name.starts_with("log.") => {}
            name => drop(write!(self.others, " {name}={value}")),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format_args!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { mut line, others } = fields;
        line.message.push_str(&others);
        if line.message.len() > MESSAGE_BYTES_MAX {
            let end = line.message.floor_char_boundary(MESSAGE_BYTES_MAX);
            line.message.truncate(end);
            line.message.push('…');
        }
        line.time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        line.level = event.metadata().level().to_string();
        line.target = event.metadata().target().to_owned();
        self.push(line);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_are_kept_and_followed() {
        let logs = Logs::default();
        let subscriber = tracing_subscriber::registry().with(logs.clone());
        let mut follow = tracing::subscriber::with_default(subscriber, || {
            (0..LINES_MAX + 2).for_each(|count| tracing::info!(handler = "h", "line {count}"));
            let follow = logs.follow(true);
            tracing::warn!(request_id = "7", count = 3, "last");
            follow
        });
        let first = follow.next().await.unwrap();
        assert_eq!((&*first.message, first.handler.as_deref()), ("line 2", Some("h")));
        let mut last = first;
        for _ in 0..LINES_MAX {
            last = follow.next().await.unwrap();
        }
        assert_eq!(
            (&*last.message, &*last.level, last.request_id.as_deref()),
            ("last count=3", "WARN", Some("7"))
        );
        let past: Vec<_> = logs.follow(false).collect().await;
        assert_eq!(past.len(), LINES_MAX);
        drop(follow);
        logs.push(Line::default());
        assert!(logs.lock().followers.is_empty());
    }

    #[tokio::test]
    async fn followers_are_told_what_they_have_missed() {
        let logs = Logs::default();
        let mut follow = logs.follow(true);
        let line = |count: usize| Line { message: count.to_string(), ..Line::default() };
        (0..BEHIND_MAX + 5).for_each(|count| logs.push(line(count)));
        for count in 0..BEHIND_MAX {
            assert_eq!(follow.next().await.unwrap().message, count.to_string());
        }
        logs.push(line(7));
        let news = follow.next().await.unwrap();
        assert!(news.message.starts_with("5 lines were lost here"), "{news:?}");
        assert!(news.says_what_is_lost());
        assert_eq!(follow.next().await.unwrap().message, "7");
    }
}
