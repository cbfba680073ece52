//! What the host holds for a component beside its memories and tables: sets of fields, mostly.
//!
//! Guests make these by calls that wasmtime-wasi-http answers, so they are not counted as they grow but all together, at
//! each epoch tick. Between two ticks a guest can add a few MiB at most.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{FieldMap, p2, p3};

/// Bytes that something in an instance's table holds; given back when it goes.
pub(super) struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(all: &Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { all: Arc::clone(all), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a set of fields takes, in bytes.
pub(super) fn field_bytes(fields: &HeaderMap) -> usize {
    let names = fields.keys().map(|name| name.as_str().len() + size_of::<HeaderName>());
    let values = fields.values().map(|value| value.len() + size_of::<HeaderValue>());
    names.chain(values).sum()
}

/// What the things in this table hold that can be large, in bytes.
pub(super) fn bytes(table: &mut ResourceTable) -> usize {
    // Copies that were not changed are one and the same.
    let mut seen = BTreeSet::new();
    let mut fields = |fields: &FieldMap| {
        let fields: &HeaderMap = fields;
        if seen.insert(std::ptr::from_ref(fields)) { field_bytes(fields) } else { 0 }
    };
    table.iter_mut().map(|entry| entry_bytes(entry, &mut fields)).sum()
}

fn entry_bytes(entry: &(dyn Any + Send), fields: &mut dyn FnMut(&FieldMap) -> usize) -> usize {
    if let Some(map) = entry.downcast_ref::<FieldMap>() {
        return fields(map);
    }
    if let Some(request) = entry.downcast_ref::<p2::types::HostOutgoingRequest>() {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        return fields(&request.headers) + text(&request.authority) + text(&request.path_with_query);
    }
    if let Some(request) = entry.downcast_ref::<p3::Request>() {
        let authority = request.authority.as_ref().map_or(0, |authority| authority.as_str().len());
        let path = request.path_with_query.as_ref().map_or(0, |path| path.as_str().len());
        return fields(&request.headers) + authority + path;
    }
    entry.downcast_ref::<p3::Response>().map_or(0, |response| fields(&response.headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_when_they_are_changed() {
        let name = HeaderName::from_static("a");
        let mut map = FieldMap::new_mutable(1_000);
        map.append_raw(name.clone(), "x".repeat(100).parse().unwrap()).unwrap();
        let one = 101 + size_of::<HeaderName>() + size_of::<HeaderValue>();
        assert_eq!(field_bytes(&map), one);
        let mut table = ResourceTable::new();
        table.push(map.clone()).unwrap();
        let copy = table.push(map).unwrap();
        assert_eq!(bytes(&mut table), one);
        table.get_mut(&copy).unwrap().append_raw(name, HeaderValue::from_static("")).unwrap();
        assert_eq!(bytes(&mut table), 2 * one + size_of::<HeaderValue>());
        table.delete(copy).unwrap();
        assert_eq!(bytes(&mut table), one);
    }

    #[test]
    fn what_goes_is_given_back() {
        let all = Arc::new(AtomicUsize::new(0));
        let (first, second) = (Held::new(&all, 10), Held::new(&all, 5));
        assert_eq!(all.load(Ordering::Relaxed), 15);
        drop(first);
        assert_eq!(all.load(Ordering::Relaxed), 5);
        drop(second);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
