//! Whose work a thread is at: a number that a sampling profiler finds there, whatever it has interrupted.
//!
//! Setting it costs two moves; nobody looks at it while nothing is profiled.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    /// Nothing is allocated for it and nothing dropped, so a signal handler may read it.
    static CURRENT: Cell<Tag> = const { Cell::new(Tag::NONE) };
}

/// A handler and a route, by the numbers that their counters have (see `guest::Ledger` and `stats::Registry`); 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The number of the handler.
    pub handler: u32,
    /// The number of the route.
    pub route: u32,
}

impl Tag {
    /// Work of the host itself.
    pub const NONE: Self = Self { handler: 0, route: 0 };

    /// Marks this thread's work until the guard is dropped.
    pub(crate) fn enter(self) -> Tagged {
        Tagged { before: CURRENT.replace(self), stays: PhantomData }
    }

    /// What this thread is at. Fit for a signal handler.
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }
}

/// Work under a tag. Guests call guests, so what was before comes back.
#[derive(Debug)]
pub(crate) struct Tagged {
    before: Tag,
    /// It belongs to its thread.
    stays: PhantomData<*const ()>,
}

impl Drop for Tagged {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_comes_back() {
        let (outer, inner) = (Tag { handler: 1, route: 2 }, Tag { handler: 3, route: 2 });
        {
            let _outer = outer.enter();
            {
                let _inner = inner.enter();
                assert_eq!(Tag::current(), inner);
            }
            assert_eq!(Tag::current(), outer);
            assert_eq!(std::thread::spawn(Tag::current).join().unwrap(), Tag::NONE, "another thread's work");
        }
        assert_eq!(Tag::current(), Tag::NONE);
    }
}
