//! Tells a guest that waits for something from one that computes, and lets its response leave accordingly.
//!
//! Guests of wasi:http say what they answer in several steps: a head, a body, an end. An epoch tick that comes between
//! them stops the guest just as waiting does. If the response left at every stop, then whether a small one is sent in one
//! piece or in chunks would be the scheduler's choice.

use std::future::poll_fn;
use std::pin::Pin;

use super::outbox::Outbox;
use super::pulse::Pulse;

/// Runs a guest whose one response goes to `outbox`, and tells that whenever it stops.
pub(super) async fn paced<F: Future>(pulse: &Pulse, outbox: &Outbox, mut work: Pin<&mut F>) -> F::Output {
    outbox.hold();
    poll_fn(|cx| {
        let seen = pulse.interruptions();
        let polled = work.as_mut().poll(cx);
        // A guest that has ended may have failed, of which the connection has to know first.
        if polled.is_pending() {
            outbox.stopped(pulse.interruptions() != seen);
        }
        polled
    })
    .await
}
