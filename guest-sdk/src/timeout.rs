//! [`timeout_handler`]: net/http's `TimeoutHandler`.
//!
//! A guest has one thread and cannot interrupt itself. So the answer for the case that time runs out is given to the
//! host beforehand (ABI.md, `response_timeout`), which ends the guest with it. Where nobody interrupts, as under
//! `cargo test` and in components, the time is looked at when the handler has returned.

use std::{
    io::Write,
    rc::Rc,
    time::{Duration, Instant},
};

use http::StatusCode;

use crate::{Handler, Request, ResponseWriter, Result, exchange::Exchange};

const DEFAULT_MESSAGE: &str = "<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>";

/// Runs `handler` with a time limit; net/http's `TimeoutHandler`.
///
/// The whole reply is kept in the guest's memory until the handler has returned, and sent then: flushing does nothing,
/// interim responses are left out. When `limit` is over before that, the client gets `503` with `message`, or a short
/// HTML page when it is empty, and the headers that `w` had when the handler was called. The host ends the guest then,
/// in the middle of a computation or of a wait; under `cargo test`, and in a component unless it waits for the request's
/// body, the handler runs to its end, and its reply is dropped. [`Request::deadline`] tells the handler how long it has.
///
/// Limits may be nested; the first one that is over answers. The handler's own `timeout` in routes.toml holds besides,
/// and answers `504`. An error of the handler is passed on, unless it comes too late.
///
/// ```
/// use std::{io::Write, time::Duration};
/// use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, timeout_handler};
///
/// fn report(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     std::thread::sleep(Duration::from_millis(r.query_value("ms").parse()?));
///     Ok(write!(w, "done")?)
/// }
///
/// let limited = timeout_handler(report, Duration::from_millis(500), "try a smaller one");
/// assert_eq!(Recorder::serve(&limited, Request::get("/?ms=0")).text(), "done");
/// let response = Recorder::serve(&limited, Request::get("/?ms=600"));
/// assert_eq!((response.status().as_u16(), response.text()), (503, "try a smaller one"));
/// ```
pub fn timeout_handler(
    handler: impl Handler,
    limit: Duration,
    message: impl Into<String>,
) -> TimeoutHandler<impl Handler> {
    let message = Some(message.into()).filter(|message| !message.is_empty());
    TimeoutHandler { handler, limit, message: message.unwrap_or_else(|| DEFAULT_MESSAGE.to_owned()) }
}

/// A handler with a time limit; see [`timeout_handler`].
#[derive(Clone, Debug)]
pub struct TimeoutHandler<H> {
    handler: H,
    limit: Duration,
    message: String,
}

/// The answer that the host holds, and when it gives it.
#[derive(Clone)]
pub(crate) struct Armed {
    at: Instant,
    answer: Rc<Answer>,
}

struct Answer {
    fields: Vec<u8>,
    body: String,
}

impl<H: Handler> Handler for TimeoutHandler<H> {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        let begin = Instant::now();
        let before = r.armed.clone();
        // An outer limit that is over earlier stays; one too far off for a clock is none.
        let at = begin.checked_add(self.limit);
        let at = at.filter(|at| before.as_ref().is_none_or(|outer| *at < outer.at));
        if let Some(at) = at {
            let fields = w.fields_for(StatusCode::SERVICE_UNAVAILABLE, self.message.as_bytes());
            r.arm(Some(Armed { at, answer: Rc::new(Answer { fields, body: self.message.clone() }) }));
        }
        let mut held = w.hold();
        let result = self.handler.serve_http(&mut held, r);
        if at.is_some() {
            r.arm(before);
        }
        if begin.elapsed() >= self.limit {
            if let Err(error) = result {
                log::info!("the handler failed after its time limit: {error}");
            }
            w.write_header(StatusCode::SERVICE_UNAVAILABLE);
            w.write_all(self.message.as_bytes())?;
            return Ok(());
        }
        result?;
        w.take_held(held)
    }
}

/// Limits can be asked again and again.
impl<H: Handler> Handler for &TimeoutHandler<H> {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        (**self).serve_http(w, r)
    }
}

impl Request {
    /// Gives the host an answer for later, or takes the last one back.
    fn arm(&mut self, armed: Option<Armed>) {
        let given = match &armed {
            None => self.link.response_timeout(0, 503, &[], &[]),
            Some(Armed { at, answer }) => {
                let left = at.saturating_duration_since(Instant::now()).as_millis();
                let ms = u32::try_from(left).unwrap_or(u32::MAX).max(1); // 0 takes it back
                self.link.response_timeout(ms, 503, &answer.fields, answer.body.as_bytes())
            }
        };
        if let Err(errno) = given {
            log::warn!("the host does not take an answer for the time limit: {errno:?}");
        }
        self.armed = armed;
    }

    /// What is left of the shortest [`timeout_handler`] around the handler.
    pub(crate) fn limit_left(&self) -> Option<Duration> {
        self.armed.as_ref().map(|armed| armed.at.saturating_duration_since(Instant::now()))
    }
}
