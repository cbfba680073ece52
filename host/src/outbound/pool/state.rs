//! What the pool knows of its hosts.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Handed;
use super::connection::{Conn, Shared};
use crate::outbound::route::Key;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) hosts: HashMap<Key, Host>,
    /// Connections that wait, the oldest first.
    pub(super) by_age: BTreeMap<u64, Key>,
    pub(super) last_number: u64,
    /// A task closes those that wait for too long.
    pub(super) is_swept: bool,
}

/// One host of one client.
#[derive(Debug)]
pub(super) struct Host {
    /// HTTP/1 connections that wait, the oldest first.
    pub(super) idle: Vec<Idle>,
    /// HTTP/2 connections, the oldest first.
    pub(super) shared: Vec<Shared>,
    pub(super) waiters: VecDeque<Waiter>,
    /// Connections, also those that are being made.
    pub(super) seats: usize,
    pub(super) seats_max: usize,
    /// Its client has gone: what still comes back is closed.
    pub(super) is_forgotten: bool,
}

#[derive(Debug)]
pub(super) struct Idle {
    pub(super) number: u64,
    pub(super) until: Instant,
    pub(super) conn: Conn,
}

#[derive(Debug)]
pub(super) struct Waiter {
    /// It dials meanwhile, and needs no seat.
    pub(super) has_seat: bool,
    pub(super) hand: oneshot::Sender<Handed>,
}

/// What is closed once nobody is held up by it.
#[derive(Debug)]
#[expect(dead_code, reason = "it is kept to be dropped")]
pub(super) enum Gone {
    Idle(Idle),
    Shared(Shared),
    Conn(Conn),
}

impl State {
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Forgets a host with which there is nothing going on.
    pub(super) fn tidy(&mut self, key: &Key) {
        if let Some(host) = self.hosts.get_mut(key) {
            host.waiters.retain(|waiter| !waiter.hand.is_closed());
            if host.is_empty() {
                self.hosts.remove(key);
            }
        }
    }

    /// Takes out the oldest of those that wait while there are more than `max`.
    pub(super) fn evict(&mut self, max: usize) -> Vec<Gone> {
        let mut gone = Vec::new();
        while self.by_age.len() > max {
            let Some((number, key)) = self.by_age.pop_first() else { break };
            gone.extend(self.hosts.get_mut(&key).and_then(|host| host.remove(number)));
        }
        gone
    }
}

impl Host {
    pub(super) fn new(seats_max: usize) -> Self {
        Self {
            idle: Vec::new(),
            shared: Vec::new(),
            waiters: VecDeque::new(),
            seats: 0,
            seats_max,
            is_forgotten: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats == 0 && self.idle.is_empty() && self.shared.is_empty() && self.waiters.is_empty()
    }

    pub(super) fn until(&self, number: u64) -> Option<Instant> {
        let shared = self.shared.iter().find(|shared| shared.idle_number() == Some(number));
        let idle = || self.idle.iter().find(|idle| idle.number == number).map(|idle| idle.until);
        shared.map(Shared::until).or_else(idle)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Gone> {
        if let Some(index) = self.shared.iter().position(|shared| shared.idle_number() == Some(number)) {
            return Some(Gone::Shared(self.shared.remove(index)));
        }
        let index = self.idle.iter().position(|idle| idle.number == number)?;
        Some(Gone::Idle(self.idle.remove(index)))
    }
}
