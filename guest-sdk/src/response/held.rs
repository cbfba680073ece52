//! Replies that are kept until they are whole, for handlers that decide about the reply of another one.

use std::io::Write as _;

use http::StatusCode;

use super::head::Head;
use crate::{ResponseWriter, Result, detect_content_type};

impl ResponseWriter {
    /// A writer for a reply to the same request that is kept; [`take_held`](Self::take_held) sends it.
    pub(crate) fn hold(&self) -> Self {
        let mut held = Self::new(self.link.clone(), self.is_head_request);
        held.held = Some(Vec::new());
        held
    }

    /// Where a write to a held reply goes; it fixes the head.
    pub(super) fn write_held(&mut self) -> Option<&mut Vec<u8>> {
        if self.held.is_some() {
            self.fixed_head();
        }
        self.held.as_mut()
    }

    /// Answers as the reply says that was held: its headers replace those of the same name here.
    pub(crate) fn take_held(&mut self, held: Self) -> Result<()> {
        let status = held.status().unwrap_or(StatusCode::OK);
        for name in held.headers.keys() {
            self.headers_mut().remove(name);
        }
        self.headers_mut().extend(held.headers);
        for (name, value) in &held.trailers {
            self.add_trailer(name.clone(), value.clone());
        }
        self.write_header(status);
        // Writing nothing is no error for a status without a body.
        self.write_all(&held.held.unwrap_or_default())?;
        Ok(())
    }

    /// The fields of a reply that has the headers so far, and this status and body.
    pub(crate) fn fields_for(&self, status: StatusCode, body: &[u8]) -> Vec<u8> {
        let head = Head::new(status, &self.headers, false);
        let content_type = head.wants_content_type().then(|| detect_content_type(body));
        let mut block = self.head_block(head, content_type, None);
        block.finish().to_vec()
    }
}
