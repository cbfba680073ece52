//! Connections that wait for a request, and requests that wait for a connection (Go: net/http.Transport).
//!
//! A request takes the connection that came free last, else dials, if its host has a seat left. Whichever comes first serves
//! it, one that comes free or its own; its own then waits for another. With HTTP/2, those of a host share one, and dial another when it is full.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

mod connection;
mod state;

use self::connection::{Conn, Shared};
pub(super) use self::connection::{Fresh, Lease, Sender, Task};
use self::state::{Gone, Host, Idle, State, Waiter};
use super::error::OutboundErrorKind as Kind;
use super::route::Key;
use super::{OutboundError, TransportSettings};

/// All connections of a process, each filed under whose it is and where it leads.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    max_idle: usize,
    this: Weak<Pool>,
}

/// What a request that waits is given.
#[derive(Debug)]
enum Handed {
    Lease(Lease),
    Seat(Seat),
}

/// The right to one connection to a host; it comes back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pool: Weak<Pool>,
    key: Key,
    is_taken: bool,
}

/// What a request does to get a connection.
enum Plan {
    Use(Lease),
    Dial(Seat, oneshot::Receiver<Handed>),
    Wait(oneshot::Receiver<Handed>),
}

/// How many connections a host may have, and keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) seats: usize,
    pub(super) idle: usize,
    pub(super) idle_timeout: Duration,
    /// How long a request waits while all seats are taken.
    pub(super) patience: Duration,
}

impl Bounds {
    /// Who waits for a seat waits as long as it may take to connect, which is what it wants to do.
    pub(super) fn of(settings: &TransportSettings, connect_timeout: Option<Duration>) -> Self {
        Self {
            seats: settings.max_per_host.map_or(usize::MAX, Into::into),
            idle: settings.max_idle_per_host,
            idle_timeout: settings.idle_timeout,
            patience: connect_timeout.map_or(settings.dial_timeout, |own| own.min(settings.dial_timeout)),
        }
    }
}

impl Pool {
    pub(super) fn new(max_idle: usize) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { state: Mutex::default(), max_idle, this: this.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn idle(&self) -> usize {
        self.lock().by_age.len()
    }

    /// A connection for one request: one that waits, or a new one, which `dial` makes.
    ///
    /// # Errors
    /// Those of `dial`, and `Busy`, for `authority`, when there is no seat for too long.
    pub(super) async fn get<F>(
        &self,
        key: &Key,
        bounds: Bounds,
        authority: &Arc<str>,
        dial: impl Fn(Seat) -> F,
    ) -> Result<Lease, OutboundError>
    where
        F: Future<Output = Result<Fresh, OutboundError>> + Send + 'static,
    {
        let until = Instant::now() + bounds.patience;
        loop {
            let (seat, waiting) = match self.plan(key, bounds) {
                Plan::Use(mut lease) => match lease.is_ready().await {
                    true => return Ok(lease),
                    false => continue, // its server has closed it meanwhile
                },
                Plan::Dial(seat, waiting) => (Some(seat), waiting),
                Plan::Wait(waiting) => (None, waiting),
            };
            // Dropped behind the wait, whose end may be that of the last interest in this host.
            let _tidy = Tidy { pool: self, key };
            let (seat, waiting) = match seat {
                Some(seat) => (seat, Some(waiting)),
                None => match timeout_at(until, waiting).await {
                    Ok(Ok(Handed::Seat(seat))) => (seat, None),
                    Ok(Ok(Handed::Lease(mut lease))) => match lease.is_ready().await {
                        true => return Ok(lease),
                        false => continue,
                    },
                    Ok(Err(_)) => continue,
                    Err(_) => return Err(OutboundError::new(Kind::Busy, authority).unsent()),
                },
            };
            return self.dial(key, bounds, &dial, (seat, waiting)).await;
        }
    }

    /// Makes a connection, and takes another one instead if that comes free before.
    async fn dial<F>(
        &self,
        key: &Key,
        bounds: Bounds,
        dial: &impl Fn(Seat) -> F,
        (seat, mut waiting): (Seat, Option<oneshot::Receiver<Handed>>),
    ) -> Result<Lease, OutboundError>
    where
        F: Future<Output = Result<Fresh, OutboundError>> + Send + 'static,
    {
        let mut dialing = Box::pin(dial(seat));
        loop {
            let handed = async {
                match &mut waiting {
                    Some(waiting) => waiting.await.ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                fresh = &mut dialing => return Ok(self.admit(key, bounds, fresh?)),
                handed = handed => {
                    waiting = None;
                    if let Some(Handed::Lease(mut lease)) = handed && lease.is_ready().await {
                        self.keep_when_made(key.clone(), bounds, dialing);
                        return Ok(lease);
                    }
                }
            }
        }
    }

    /// The request was served by another: the connection that was under way waits for the next one (as in Go).
    fn keep_when_made<F>(&self, key: Key, bounds: Bounds, dialing: Pin<Box<F>>)
    where
        F: Future<Output = Result<Fresh, OutboundError>> + Send + 'static,
    {
        let Some(pool) = self.this.upgrade() else { return };
        tokio::spawn(async move {
            if let Ok(fresh) = dialing.await {
                drop(pool.admit(&key, bounds, fresh)); // which gives it back, as nothing was sent on it
            }
        });
    }

    fn plan(&self, key: &Key, bounds: Bounds) -> Plan {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut guard = self.lock();
        let State { hosts, by_age, .. } = &mut *guard;
        // Not the map's entry, which would want a key of its own each time.
        let host = match hosts.contains_key(key) {
            true => hosts.get_mut(key),
            false => Some(hosts.entry(key.clone()).or_insert_with(|| Host::new(bounds.seats))),
        };
        let (hand, waiting) = oneshot::channel();
        let Some(host) = host else { return Plan::Wait(waiting) };
        for shared in host.shared.extract_if(.., |shared| shared.is_closed()) {
            shared.idle_number().map(|number| by_age.remove(&number));
            gone.push(Gone::Shared(shared));
        }
        if let Some(shared) = host.shared.iter_mut().find(|shared| shared.has_room()) {
            let (conn, was_idle) = shared.borrow();
            was_idle.map(|number| by_age.remove(&number));
            return Plan::Use(Lease::again(self.this.clone(), key.clone(), bounds, conn));
        }
        while let Some(idle) = host.idle.pop() {
            by_age.remove(&idle.number);
            if idle.until > now && !idle.conn.is_closed() {
                return Plan::Use(Lease::again(self.this.clone(), key.clone(), bounds, idle.conn));
            }
            gone.push(Gone::Idle(idle));
        }
        host.waiters.retain(|waiter| !waiter.hand.is_closed());
        let has_seat = host.seats < host.seats_max;
        host.waiters.push_back(Waiter { has_seat, hand });
        if !has_seat {
            return Plan::Wait(waiting);
        }
        host.seats += 1;
        Plan::Dial(Seat { pool: self.this.clone(), key: key.clone(), is_taken: true }, waiting)
    }

    /// Takes in a connection that was just made, for the request that made it. With HTTP/2 those that wait get it too, as far as it has room.
    fn admit(&self, key: &Key, bounds: Bounds, fresh: Fresh) -> Lease {
        let mut guard = self.lock();
        let number = guard.next_number();
        let conn = match fresh.sender {
            Sender::Http1(sender) => Conn::exclusive(sender, fresh.task),
            Sender::Http2(sender) => {
                let mut shared = Shared::new(number, sender, fresh.task);
                let (conn, _) = shared.borrow();
                if let Some(host) = guard.hosts.get_mut(key)
                    && !host.shared.iter().any(Shared::has_room)
                    && !host.is_forgotten
                {
                    host.shared.push(shared);
                }
                conn
            }
        };
        let unwanted = self.hand_out(&mut guard, key, bounds);
        drop(guard);
        drop(unwanted);
        Lease::first(self.this.clone(), key.clone(), bounds, conn)
    }

    /// Gives shares in connections that have room to those that wait longest. What comes back is for nobody any more; it is
    /// dropped once nobody is held up by it.
    fn hand_out(&self, state: &mut State, key: &Key, bounds: Bounds) -> Vec<Handed> {
        let (State { hosts, by_age, .. }, mut unwanted) = (state, Vec::new());
        let Some(host) = hosts.get_mut(key) else { return unwanted };
        while let Some(shared) = host.shared.iter_mut().find(|shared| shared.has_room())
            && let Some(waiter) = host.waiters.pop_front()
        {
            let (conn, was_idle) = shared.borrow();
            was_idle.map(|number| by_age.remove(&number));
            let lease = Lease::again(self.this.clone(), key.clone(), bounds, conn);
            unwanted.extend(waiter.hand.send(Handed::Lease(lease)).err());
        }
        unwanted
    }

    /// An HTTP/1 connection comes free: for whoever waits longest, or to wait itself.
    fn put_back(&self, key: &Key, bounds: Bounds, conn: Conn) {
        let (mut conn, mut gone) = (Some(conn), Vec::new());
        let mut guard = self.lock();
        let number = guard.next_number();
        let State { hosts, by_age, .. } = &mut *guard;
        let Some(host) = hosts.get_mut(key) else { return drop(guard) };
        while let Some(free) = conn.take() {
            let Some(waiter) = host.waiters.pop_front() else {
                conn = Some(free);
                break;
            };
            let lease = Lease::again(self.this.clone(), key.clone(), bounds, free);
            if let Err(Handed::Lease(lease)) = waiter.hand.send(Handed::Lease(lease)) {
                conn = lease.into_conn();
            }
        }
        if let Some(conn) = conn {
            if host.idle.len() < bounds.idle && !host.is_forgotten {
                host.idle.push(Idle { number, until: Instant::now() + bounds.idle_timeout, conn });
                by_age.insert(number, key.clone());
            } else {
                gone.push(Gone::Conn(conn));
            }
        }
        gone.extend(guard.evict(self.max_idle));
        self.sweep_later(&mut guard);
        drop(guard);
    }

    /// A request on a shared connection is done.
    fn put_back_shared(&self, key: &Key, bounds: Bounds, number: u64) {
        let mut guard = self.lock();
        let (idle_number, mut gone) = (guard.next_number(), Vec::new());
        let State { hosts, by_age, .. } = &mut *guard;
        let Some(host) = hosts.get_mut(key) else { return };
        let idle_count = host.shared.iter().filter(|shared| shared.idle_number().is_some()).count();
        let Some(index) = host.shared.iter().position(|shared| shared.is(number)) else { return };
        let shared = &mut host.shared[index];
        if shared.give_back(idle_number, Instant::now() + bounds.idle_timeout) {
            if shared.is_closed() || idle_count >= bounds.idle || host.is_forgotten {
                gone.push(Gone::Shared(host.shared.remove(index)));
            } else {
                by_age.insert(idle_number, key.clone());
            }
        }
        let unwanted = self.hand_out(&mut guard, key, bounds);
        gone.extend(guard.evict(self.max_idle));
        self.sweep_later(&mut guard);
        drop(guard);
        drop(unwanted);
    }

    /// Lets go of all that belongs to a client.
    pub(super) fn forget(&self, client: u64) {
        let mut gone = Vec::new();
        let mut guard = self.lock();
        let State { hosts, by_age, .. } = &mut *guard;
        by_age.retain(|_, key| key.client != client);
        for (_, host) in hosts.iter_mut().filter(|(key, _)| key.client == client) {
            gone.extend(host.idle.drain(..).map(Gone::Idle));
            gone.extend(host.shared.drain(..).map(Gone::Shared));
            host.is_forgotten = true;
        }
        hosts.retain(|_, host| !host.is_empty());
        drop(guard);
    }

    fn sweep_later(&self, state: &mut State) {
        if !state.by_age.is_empty() && !std::mem::replace(&mut state.is_swept, true) {
            tokio::spawn(sweep(self.this.clone()));
        }
    }

    /// Closes what has waited for too long; says when to look again, if there is anything left.
    fn sweep(&self) -> Option<Instant> {
        let (now, mut gone, mut next) = (Instant::now(), Vec::new(), None::<Instant>);
        let mut guard = self.lock();
        let State { hosts, by_age, is_swept, .. } = &mut *guard;
        by_age.retain(|number, key| {
            let Some(host) = hosts.get_mut(key) else { return false };
            match host.until(*number) {
                Some(until) if until > now => {
                    next = Some(next.map_or(until, |next| next.min(until)));
                    true
                }
                _ => {
                    gone.extend(host.remove(*number));
                    false
                }
            }
        });
        *is_swept = next.is_some();
        drop(guard);
        next
    }
}

/// Looks after connections that wait, for as long as there are any.
async fn sweep(pool: Weak<Pool>) {
    loop {
        let next = pool.upgrade().and_then(|pool| pool.sweep());
        let Some(next) = next else { return };
        tokio::time::sleep_until(next).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !std::mem::take(&mut self.is_taken) {
            return;
        }
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = pool.lock();
        let Some(host) = state.hosts.get_mut(&self.key) else { return };
        host.seats -= 1;
        // Whoever waits longest without a connection under way may make one.
        while host.seats < host.seats_max {
            let Some(index) = host.waiters.iter().position(|waiter| !waiter.has_seat) else { break };
            let Some(waiter) = host.waiters.remove(index) else { break };
            let seat = Seat { pool: self.pool.clone(), key: self.key.clone(), is_taken: true };
            match waiter.hand.send(Handed::Seat(seat)) {
                Ok(()) => host.seats += 1,
                // It has left: its seat must not come back by a drop in here.
                Err(Handed::Seat(mut seat)) => seat.is_taken = false,
                Err(Handed::Lease(_)) => {}
            }
        }
        state.tidy(&self.key);
    }
}

/// Forgets a host that nobody is interested in any more.
struct Tidy<'p> {
    pool: &'p Pool,
    key: &'p Key,
}

impl Drop for Tidy<'_> {
    fn drop(&mut self) {
        self.pool.lock().tidy(self.key);
    }
}
