//! Who may come in: how many connections there may be, of all peers and of each, and who has to go when it is full.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::activity::Activity;

/// Bits of an IPv6 address that its owner cannot choose: one customer has a network of 64 bits at least (RFC 6177).
const IPV6_NETWORK: u32 = 64;

/// Connections of one peer where nobody has said how many.
const PER_PEER_MAX: usize = 1_000;

/// A connection that has been without a request for less is left alone: it may be new, with its request on the way.
const IDLE_MIN: Duration = Duration::from_millis(500);

/// How often whoever waits for room looks for connections that have become idle.
const LOOK: Duration = Duration::from_millis(100);

/// Connections that were asked to end and have not done so; beyond it none is asked, as if all were busy. Most end at
/// once, but one whose request came at the same moment goes on, and does not count any more.
const SHED_MAX: usize = 256;

/// The limits on connections, and the connections that count.
#[derive(Clone, Debug)]
pub(super) struct Door {
    total_max: usize,
    per_peer_max: usize,
    /// Peers on this machine count like others.
    counts_loopback: bool,
    open: Arc<Mutex<Open>>,
    freed: Arc<Notify>,
}

/// No larger than `total_max`, and [`SHED_MAX`] beside them.
#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Connection>,
    by_peer: HashMap<IpAddr, usize>,
    next_id: u64,
    /// Were asked to end, and have not done so yet.
    shed: usize,
    idle_min: Duration,
}

#[derive(Debug)]
struct Connection {
    /// None for unix sockets, which do not count as a peer's.
    peer: Option<IpAddr>,
    activity: Arc<Activity>,
}

/// A connection that counts until this is dropped, or until it is shed.
#[derive(Debug)]
pub(super) struct Counted {
    id: u64,
    door: Door,
}

/// Why a connection may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its peer has as many as it may, all of them busy.
    Peer,
    /// There are as many as there may be, all of them busy: it has to wait.
    Full,
}

impl Door {
    /// Without `per_peer_max` there is a limit for peers on the network, but none for those on this machine: a proxy in
    /// front of us is one of these.
    pub(super) fn new(total_max: usize, per_peer_max: Option<usize>) -> Self {
        let open = Open { idle_min: IDLE_MIN, ..Open::default() };
        Self {
            total_max,
            per_peer_max: per_peer_max.unwrap_or(PER_PEER_MAX),
            counts_loopback: per_peer_max.is_some(),
            open: Arc::new(Mutex::new(open)),
            freed: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection from this address. Where there is no room, the connection that has been idle for longest is
    /// shed for it.
    pub(super) fn enter(&self, remote: &str, activity: &Arc<Activity>) -> Result<Counted, Refused> {
        let address = remote.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical());
        let peer = address.filter(|ip| self.counts_loopback || !ip.is_loopback()).map(network);
        let mut open = self.lock();
        let of_peer = peer.and_then(|peer| open.by_peer.get(&peer)).copied().unwrap_or(0);
        if of_peer >= self.per_peer_max && !open.shed_idlest(|connection| connection.peer == peer) {
            return Err(Refused::Peer);
        }
        if open.connections.len() >= self.total_max && !open.shed_idlest(|_| true) {
            return Err(Refused::Full);
        }
        let id = open.next_id;
        open.next_id += 1;
        open.connections.insert(id, Connection { peer, activity: Arc::clone(activity) });
        if let Some(peer) = peer {
            *open.by_peer.entry(peer).or_default() += 1;
        }
        Ok(Counted { id, door: self.clone() })
    }

    /// As [`Self::enter`], waiting for room where it takes that. Cancel safe.
    pub(super) async fn wait(&self, remote: &str, activity: &Arc<Activity>) -> Result<Counted, Refused> {
        loop {
            let freed = self.freed.notified();
            match self.enter(remote, activity) {
                Err(Refused::Full) => drop(tokio::time::timeout(LOOK, freed).await),
                decided => return decided,
            }
        }
    }
}

impl Open {
    /// Looks at every connection: that is for a server that is full, which has other worries.
    fn shed_idlest(&mut self, may_go: impl Fn(&Connection) -> bool) -> bool {
        if self.shed >= SHED_MAX {
            return false;
        }
        let candidates = self.connections.iter().filter(|(_, connection)| may_go(connection));
        let idle = candidates.filter_map(|(id, connection)| Some((connection.activity.idle_for()?, *id)));
        let Some((_, id)) =
            idle.filter(|(idle, _)| *idle >= self.idle_min).max_by_key(|(idle, id)| (*idle, Reverse(*id)))
        else {
            return false;
        };
        if let Some(connection) = self.remove(id) {
            connection.activity.shed();
            self.shed += 1;
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        if let Some(peer) = connection.peer
            && let Entry::Occupied(mut count) = self.by_peer.entry(peer)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(connection)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.door.lock();
        if open.remove(self.id).is_none() {
            open.shed = open.shed.saturating_sub(1);
        }
        drop(open);
        self.door.freed.notify_one();
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> IPV6_NETWORK << IPV6_NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> (Arc<Activity>, crate::activity::Busy) {
        let activity = Activity::new();
        let busy = activity.begin();
        (activity, busy)
    }

    #[test]
    fn each_peer_has_its_own() {
        let door = Door::new(100, Some(2));
        let (activity, _busy) = busy();
        let enter = |remote: &str| door.enter(remote, &activity);
        let first = enter("192.0.2.1:1").unwrap();
        let _second = enter("192.0.2.1:2").unwrap();
        assert_eq!(enter("192.0.2.1:3").unwrap_err(), Refused::Peer);
        let other = enter("192.0.2.2:1").unwrap();
        drop(first);
        drop(enter("192.0.2.1:3").unwrap());
        drop(other);
        assert_eq!(door.lock().by_peer.len(), 1, "who has none is forgotten");

        // One network of IPv6 is one peer.
        let _held = ["[2001:db8::1]:1", "[2001:db8::2]:1"].map(|remote| enter(remote).unwrap());
        assert_eq!(enter("[2001:db8::3]:1").unwrap_err(), Refused::Peer);
        drop(enter("[2001:db8:0:1::3]:1").unwrap());
        let _unix: Vec<_> = (0..9).map(|_| enter("unix").unwrap()).collect();
    }

    #[test]
    fn peers_on_this_machine_count_when_somebody_says_so() {
        let enter_all = |door: Door| {
            let (activity, _busy) = busy();
            let entered: Vec<_> = (0..=PER_PEER_MAX).map(|_| door.enter("127.0.0.1:1", &activity)).collect();
            entered.iter().all(Result::is_ok)
        };
        assert!(enter_all(Door::new(5_000, None)));
        assert!(!enter_all(Door::new(5_000, Some(PER_PEER_MAX))));
        let (activity, _busy) = busy();
        let door = Door::new(5_000, None);
        let _held: Vec<_> =
            (0..PER_PEER_MAX).map(|_| door.enter("192.0.2.1:1", &activity).unwrap()).collect();
        assert_eq!(door.enter("192.0.2.1:1", &activity).unwrap_err(), Refused::Peer);
    }

    #[test]
    fn the_idlest_goes_first() {
        let door = Door::new(2, Some(2));
        assert_eq!(door.lock().idle_min, IDLE_MIN);
        door.lock().idle_min = Duration::ZERO;
        let (working, _busy) = busy();
        let idle = Activity::new();
        let _working = door.enter("192.0.2.1:1", &working).unwrap();
        let shed = door.enter("192.0.2.2:1", &idle).unwrap();
        let (next, busy) = busy();
        let _next = door.enter("192.0.2.3:1", &next).expect("the idle one makes room");
        assert_eq!(door.enter("192.0.2.4:1", &Activity::new()).unwrap_err(), Refused::Full);
        assert_eq!(door.lock().shed, 1);
        drop(shed);
        assert_eq!(door.lock().shed, 0);
        assert_eq!(
            door.enter("192.0.2.4:1", &Activity::new()).unwrap_err(),
            Refused::Full,
            "that made room before"
        );
        drop(busy);
        let _last = door.enter("192.0.2.4:1", &Activity::new()).expect("it is idle now");
        assert_eq!(door.lock().connections.len(), 2);
    }

    #[test]
    fn connections_that_do_not_end_are_bounded_too() {
        let door = Door::new(1, Some(1));
        door.lock().idle_min = Duration::ZERO;
        let enter = || door.enter("192.0.2.1:1", &Activity::new());
        let mut open: Vec<_> = (0..=SHED_MAX).map(|_| enter().unwrap()).collect();
        assert_eq!(enter().unwrap_err(), Refused::Peer);
        open.remove(0);
        drop(enter().unwrap());
    }
}
