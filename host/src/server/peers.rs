//! How many connections one peer has, so that none takes all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an IPv6 address that its owner cannot choose: one customer has a network of 64 bits at least (RFC 6177).
const IPV6_NETWORK: u32 = 64;

/// Counts connections by peer. No larger than the number of open connections.
#[derive(Clone, Debug)]
pub(super) struct PeerLimit {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    /// None for what is not counted.
    peer: Option<(IpAddr, PeerLimit)>,
}

impl PeerLimit {
    /// A limit of `max` open connections for each peer.
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: Arc::default() }
    }

    /// Counts a connection of this address; `None` when its peer has as many as it may. Unix sockets have no address
    /// and are not counted.
    pub(super) fn enter(&self, remote: &str) -> Option<Counted> {
        let Ok(address) = remote.parse::<SocketAddr>() else { return Some(Counted { peer: None }) };
        let peer = network(address.ip());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Counted { peer: Some((peer, self.clone())) })
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> IPV6_NETWORK << IPV6_NETWORK).into(),
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((peer, limit)) = &self.peer else { return };
        let mut open = limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(*peer) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_own() {
        let limit = PeerLimit::new(2);
        let first = limit.enter("192.0.2.1:1").unwrap();
        let _second = limit.enter("192.0.2.1:2").unwrap();
        assert!(limit.enter("192.0.2.1:3").is_none());
        let other = limit.enter("192.0.2.2:1").unwrap();
        drop(first);
        assert!(limit.enter("192.0.2.1:3").is_some());
        drop(other);
        assert_eq!(limit.open.lock().unwrap().len(), 1, "who has none is forgotten");

        // One network of IPv6 is one peer.
        let _held = ["[2001:db8::1]:1", "[2001:db8::2]:1"].map(|remote| limit.enter(remote).unwrap());
        assert!(limit.enter("[2001:db8::3]:1").is_none());
        assert!(limit.enter("[2001:db8:0:1::3]:1").is_some());
        let _unix: Vec<_> = (0..9).map(|_| limit.enter("unix").unwrap()).collect();
    }
}
