//! Who has memory: the instances of each handler, its code, and the host itself.

use std::sync::Arc;

use super::{Profile, ValueType};
use crate::guest::GuestEngine;

/// Bytes in use, by whose they are. Of the host's own only the sum is known: what the process has beside the rest.
pub(super) fn profile(guests: &GuestEngine) -> Profile {
    let values = [
        ValueType { name: "inuse_objects", unit: "count" },
        ValueType { name: "inuse_space", unit: "bytes" },
    ];
    let mut profile = Profile::of_words(values.to_vec());
    let mut add = |words: &[&str], bytes: u64, handler: Option<&Arc<str>>| {
        let labels = handler.map(|name| ("handler", Arc::clone(name))).into_iter().collect();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes > 0 {
            profile.add(words, vec![1, bytes], labels);
        }
    };
    let mut counted = 0;
    for (name, share) in guests.ledger().shares() {
        let bytes = share.used().memory_bytes;
        counted += bytes;
        add(&["guests", &name, "instances"], bytes, Some(&name));
    }
    for image in guests.images() {
        let range = image.addresses();
        add(&["guests", image.handler(), "code"], range.end - range.start, Some(image.handler()));
    }
    // Code is mapped from files, and not among what follows.
    let own = anonymous_bytes().unwrap_or_default().saturating_sub(counted);
    add(&["host"], own, None);
    profile
}

/// Resident memory that is no file's, in bytes; only Linux tells.
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}
