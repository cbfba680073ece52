//! The [`Handler`] trait.

use crate::{Request, ResponseWriter, Result};

/// Answers a request; net/http's `Handler`, and `HandlerFunc` for functions.
///
/// Every `Fn(&mut ResponseWriter, &mut Request) -> Result<()>` is one, and so is a [`ServeMux`](crate::ServeMux).
///
/// - Read the body before writing the response, or both in turn: the host streams both ways.
/// - Returning `Ok` finishes the response; one that was never begun is `200` with an empty body.
/// - Returning an error answers with its status when no byte was sent yet, and breaks the response off otherwise, so
///   that no client takes half an answer for a whole one. See [`Error`](crate::Error).
/// - A panic is a trap: `500` if nothing was sent, else the response is broken off.
pub trait Handler {
    /// Answers `r` through `w`.
    ///
    /// # Errors
    /// Whatever stops the handler; the caller turns it into a response as told above.
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()>;
}

impl<F: Fn(&mut ResponseWriter, &mut Request) -> Result<()>> Handler for F {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        self(w, r)
    }
}
