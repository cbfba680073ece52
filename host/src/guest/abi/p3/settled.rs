//! Polls a guest until it really waits.
//!
//! Inside a store, one part often wakes another: a piece of body that went into a channel wakes whoever takes it out. That
//! wake goes to the task, which would send what there is, be polled again, and send the rest: a small response would leave
//! in two pieces. So wakes that come while the store is polled are answered by polling it again at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::super::super::pulse::Pulse;

/// Polls in a row before others get their turn.
const TURNS_MAX: u32 = 32;

/// Nobody polls; a wake goes on to the task.
const WAITING: u8 = 0;
/// It is being polled.
const POLLING: u8 = 1;
/// It was woken and will be polled.
const WOKEN: u8 = 2;

#[derive(Default)]
struct Signal {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Signal {
    /// From here on wakes are only noted.
    fn begin(&self, task: &Waker) {
        self.state.store(POLLING, Ordering::Release);
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// From here on wakes go to the task, unless there was one.
    fn end(&self) -> bool {
        self.state.compare_exchange(POLLING, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == WAITING {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.iter().for_each(Waker::wake_by_ref);
        }
    }
}

/// Runs `work`; it is pending only when nothing can go on without something from outside, or when it is others' turn.
pub(super) async fn settled<F: Future>(pulse: &Pulse, mut work: Pin<&mut F>) -> F::Output {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(Arc::clone(&signal));
    poll_fn(|cx| {
        for _ in 0..TURNS_MAX {
            signal.begin(cx.waker());
            let seen = pulse.interruptions();
            if let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            if signal.end() {
                return Poll::Pending;
            }
            // It has computed for a tick: whoever runs it decides where it goes on.
            if pulse.interruptions() != seen {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Wakes itself so often before it is ready, and is then polled so often by [`settled`]'s caller.
    fn outer_polls(wakes: u32) -> u32 {
        let polls = AtomicU32::new(0);
        let work = poll_fn(|cx| {
            if polls.fetch_add(1, Ordering::Relaxed) == wakes {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let (pulse, work) = (Pulse::default(), pin!(work));
        let mut settled = pin!(settled(&pulse, work));
        let mut outer = 1;
        while settled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            outer += 1;
        }
        outer
    }

    #[test]
    fn what_wakes_itself_is_polled_at_once_but_not_for_ever() {
        assert_eq!(outer_polls(0), 1);
        assert_eq!(outer_polls(TURNS_MAX - 1), 1);
        assert_eq!(outer_polls(TURNS_MAX), 2);
        assert_eq!(outer_polls(TURNS_MAX * 2), 3);
    }

    #[test]
    fn a_wake_from_outside_reaches_the_task() {
        struct Count(AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let inner = Mutex::new(None);
        let pulse = Pulse::default();
        let work = pin!(poll_fn(|cx| {
            *inner.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let mut settled = pin!(settled(&pulse, work));
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        assert!(settled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let inner = inner.lock().unwrap().take().unwrap();
        inner.wake_by_ref();
        inner.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
