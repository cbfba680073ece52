//! The lines of an output stream, collected while the program runs; tests wait for the one they need.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::DEADLINE;

/// One output stream of a program.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects from `stream` in a thread of its own, which ends with the stream.
    pub(crate) fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                writer.change(|collected| collected.lines.push(text));
                line.clear();
            }
            writer.change(|collected| collected.ended = true);
        });
        lines
    }

    /// Collects the lines up to one that begins with `last`, and gives the rest of the stream back.
    pub(crate) fn collect_until<R: Read>(stream: R, last: &str) -> (Self, BufReader<R>) {
        let lines = Self::default();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while !line.starts_with(last) {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "no line that begins with {last:?}");
            lines.change(|collected| collected.lines.push(line.trim_end().to_owned()));
        }
        (lines, stream)
    }

    fn change(&self, change: impl FnOnce(&mut Collected)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// The first line with all of `parts`, waiting for it.
    pub(crate) fn wait_for(&self, parts: &[&str]) -> String {
        let matches = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.wait(&format!("a line with {parts:?}"), |lines, _| lines.iter().find(matches).cloned())
    }

    /// The first `count` lines with `part`, waiting for them.
    pub(crate) fn wait_for_many(&self, part: &str, count: usize) -> Vec<String> {
        self.wait(&format!("{count} lines with {part:?}"), |lines, _| {
            let found: Vec<_> =
                lines.iter().filter(|line| line.contains(part)).take(count).cloned().collect();
            (found.len() == count).then_some(found)
        })
    }

    /// How many lines with `part` there are so far.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for the end of the stream.
    pub(crate) fn wait_for_end(&self) {
        self.wait("the end of the stream", |_, ended| ended.then_some(()));
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&[String], bool) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut collected = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = look(&collected.lines, collected.ended) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            let over = left.is_zero() || collected.ended;
            assert!(!over, "{what} did not come; there is:\n{}", collected.lines.join("\n"));
            collected = self.0.1.wait_timeout(collected, left).unwrap().0;
        }
    }
}
