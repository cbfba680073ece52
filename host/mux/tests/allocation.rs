//! A lookup does not allocate, as long as the path is clean and nothing in it has to be decoded.
#![expect(unsafe_code, reason = "a global allocator cannot be had without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wasmux_mux::{Found, Mux, Request};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; counting touches no memory that it manages, since the
// counter is a thread-local constant without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `find`, and reading all values of the match, allocates.
fn allocations(mux: &Mux<usize>, method: &str, path: &str) -> usize {
    let before = ALLOCATIONS.get();
    match mux.find(&Request { method, host: "example.com:80", path, query: None }) {
        Found::Match(found) => assert!(found.values().all(|(_, value)| !value.is_empty())),
        Found::NotFound => {}
        other => assert!(!matches!(other, Found::BadRequest)),
    }
    ALLOCATIONS.get() - before
}

#[test]
fn lookups_do_not_allocate() {
    let mut mux = Mux::new();
    let patterns =
        ["/a/b/c", "/a/{x}/c", "example.com/h/{x}/{y}/{rest...}", "GET /g", "/s/", "/a/b/{x}/{y}/{z}"];
    for (index, pattern) in patterns.into_iter().enumerate() {
        mux.insert(pattern, index).unwrap();
    }
    for path in ["/a/b/c", "/a/x/c", "/h/1/2/3/4/5", "/g", "/s/é", "/a/b/1/2/3", "/none/at/all", "/a/b/1/2"]
    {
        assert_eq!(allocations(&mux, "GET", path), 0, "{path}");
    }
    assert_ne!(allocations(&mux, "GET", "/a/%62/c"), 0, "the counter counts");
    assert_ne!(allocations(&mux, "POST", "/g"), 0, "a list of allowed methods is made");
}
