//! Lines on their way to the thread that writes them: bounded, and those that there is no room for are counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};
use tracing_subscriber::fmt::MakeWriter;

use super::Flush;
use crate::stats::Counter;

/// Bytes of lines that may wait to be written; beyond them lines are dropped.
const QUEUE_BYTES: usize = 16 << 20;

/// Lines that may wait. Each counts for no less than its part of the bytes, so these run out first.
const QUEUE_LINES: usize = 8_192;

/// Lines that were dropped since the process began: of the program's own log, and of the access log.
pub(crate) static DROPPED: [(&str, Counter); 2] = [("log", Counter::new()), ("access", Counter::new())];

/// Which log it is: where it is in [`DROPPED`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Own,
    Access,
}

/// Where lines go in. Never waits. Clones are the same queue.
#[derive(Clone, Debug)]
pub(crate) struct LineWriter {
    queue: NonBlocking,
    /// What of [`QUEUE_BYTES`] is taken.
    waiting: Arc<AtomicUsize>,
    dropped: &'static Counter,
}

impl LineWriter {
    /// A writer that never waits for `out`, and the guard of its thread.
    pub(crate) fn new(out: impl Write + Send + 'static, which: Which) -> (Self, Flush) {
        let (name, dropped) = &DROPPED[which as usize];
        let waiting = Arc::new(AtomicUsize::new(0));
        let out = Written { out, waiting: Arc::clone(&waiting) };
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES);
        let (queue, guard) = builder.thread_name(name).finish(out);
        (Self { queue, waiting, dropped }, Flush(Some(guard)))
    }

    /// Writes a line with its end, if there is room.
    pub(crate) fn line(&self, line: &[u8]) {
        let weight = weight(line);
        let take = |waiting: usize| Some(waiting + weight).filter(|waiting| *waiting <= QUEUE_BYTES);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return self.dropped.increment();
        }
        // Fails only when the writing thread is gone: then the log is all that is lost.
        let _ = self.queue.clone().write_all(line);
    }
}

/// What of the queue a line takes.
fn weight(line: &[u8]) -> usize {
    line.len().max(QUEUE_BYTES / QUEUE_LINES)
}

/// What tracing's subscribers write to, an event at a time.
impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The thread's end: gives a line's part of the queue back when it is out.
struct Written<W> {
    out: W,
    waiting: Arc<AtomicUsize>,
}

impl<W: Write> Write for Written<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.out.write_all(line);
        self.waiting.fetch_sub(weight(line), Ordering::Relaxed);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A reader that takes nothing before it is told to.
    struct Stuck(Receiver<()>, Arc<AtomicUsize>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_bounded_in_lines_and_bytes() {
        for (line, fit) in [(vec![b'x'; 10], QUEUE_LINES), (vec![b'x'; 1 << 20], QUEUE_BYTES >> 20)] {
            let ((go, stuck), written) = (channel(), Arc::default());
            let (writer, flush) = LineWriter::new(Stuck(stuck, Arc::clone(&written)), Which::Access);
            let before = writer.dropped.get();
            (0..fit + 3).for_each(|_| writer.line(&line));
            assert_eq!(writer.dropped.get() - before, 3, "lines of {} bytes", line.len());
            drop(go);
            drop(flush);
            assert_eq!((written.load(Ordering::Relaxed), writer.waiting.load(Ordering::Relaxed)), (fit, 0));
            writer.line(&line);
            assert_eq!(writer.dropped.get() - before, 3);
        }
    }
}
