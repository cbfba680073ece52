//! What is known of one span.

use std::time::SystemTime;

use super::{SpanId, TraceId};

/// Whose side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Neither.
    Internal,
    /// A request that has come.
    Server,
    /// A call to others.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl Attribute {
    /// The same, of which no text is longer than so many bytes.
    pub(super) fn cut(mut self, bytes_max: usize) -> Self {
        if let Self::Text(text) = &mut self {
            text.truncate(text.floor_char_boundary(bytes_max));
        }
        self
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Attribute {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// A span, for the collector.
#[derive(Debug)]
pub struct Finished {
    /// Its trace.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span above it.
    pub above: Option<SpanId>,
    /// Whose side it is.
    pub kind: SpanKind,
    /// What it is called.
    pub name: String,
    /// `tracestate`, as it came.
    pub state: Vec<u8>,
    /// When it began.
    pub begin: SystemTime,
    /// When it ended: by the steady clock, from when it began.
    pub end: SystemTime,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Whether it has failed.
    pub has_failed: bool,
}

impl Finished {
    pub(super) fn new(
        trace: TraceId,
        id: SpanId,
        above: Option<SpanId>,
        kind: SpanKind,
        name: String,
        state: Vec<u8>,
        begin: SystemTime,
    ) -> Self {
        Self {
            trace,
            id,
            above,
            kind,
            name,
            state,
            begin,
            end: begin,
            attributes: Vec::new(),
            has_failed: false,
        }
    }

    /// All of it; the texts are gone here.
    pub(super) fn take(&mut self) -> Self {
        let (name, state) = (std::mem::take(&mut self.name), std::mem::take(&mut self.state));
        let attributes = std::mem::take(&mut self.attributes);
        Self { name, state, attributes, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        let cut = |text: &str| Attribute::from(text).cut(4);
        assert_eq!(
            [cut("abcd"), cut("abcde"), cut("abcü")].map(|text| text == "abc".into()),
            [false, false, true]
        );
        assert_eq!(cut("abcde"), "abcd".into());
    }
}
