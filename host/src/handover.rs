//! What the process that started this one handed over: listening sockets, and in an upgrade a pipe on which this one
//! says that it is ready.
//!
//! Sockets come as systemd passes them (sd_listen_fds(3)): `LISTEN_FDS` of them, from file descriptor 3. An upgrade
//! uses the same and adds what the sockets alone do not say, in variables of its own.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use command_fds::inherited::take_fd_ownership;
use serde::{Deserialize, Serialize};
use socket2::Socket;

use crate::config::ListenAddr;

/// The first file descriptor that is handed over (sd_listen_fds(3): SD_LISTEN_FDS_START).
pub const FIRST_FD: RawFd = 3;

/// Sockets that one process takes over; more is an error.
pub const SOCKETS_MAX: u16 = 1024;

/// How many sockets there are.
pub const LISTEN_FDS: &str = "LISTEN_FDS";
/// For which process they are; without it for whoever reads it.
pub const LISTEN_PID: &str = "LISTEN_PID";
/// Their names, which say nothing to us.
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// The file descriptor on which to say that this process is ready.
pub const READY_FD: &str = "WASMUX_READY_FD";
/// A JSON array with a [`Note`] for each socket.
pub const SOCKETS: &str = "WASMUX_SOCKETS";

/// Everything in the environment that is for one process only, and must not reach those that it starts.
pub const VARIABLES: [&str; 5] = [LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES, READY_FD, SOCKETS];

/// What is said to the process that started this one. Any byte would do.
pub const READY: &[u8] = b"ready\n";

/// What an upgrade says about a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The address as it was asked for: with port 0 the socket does not tell.
    pub listen: String,
    /// The file of a unix socket is ours to remove, not that of a service manager.
    pub owns_file: bool,
}

/// The variables as they stood when the program started.
#[derive(Clone, Debug, Default)]
pub struct Environment([Option<OsString>; VARIABLES.len()]);

impl Environment {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        Self(VARIABLES.map(|name| std::env::var_os(name).filter(|value| !value.is_empty())))
    }

    /// Whether nothing is set, so that nothing is handed over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The value of one of [`VARIABLES`] as text; bytes that are none become U+FFFD, which no number has.
    fn text(&self, name: &str) -> Option<String> {
        let index = VARIABLES.iter().position(|known| *known == name)?;
        self.0[index].as_ref().map(|value| value.to_string_lossy().into_owned())
    }
}

/// A listening socket that was handed over.
#[derive(Debug)]
pub struct Inherited {
    /// The socket; it does not block, and is closed on exec.
    pub socket: Socket,
    /// What an upgrade says about it.
    pub note: Option<Note>,
    fd: RawFd,
    address: Address,
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What was handed over and is not in use yet.
#[derive(Debug, Default)]
pub struct Handover {
    sockets: Vec<Inherited>,
    ready: Option<io::PipeWriter>,
}

impl Handover {
    /// Takes over what the environment names. Sockets that are meant for another process than `pid` are left alone.
    ///
    /// # Errors
    /// A sentence that names the variable or the file descriptor that is wrong.
    pub fn open(environment: &Environment, pid: u32) -> Result<Self, String> {
        let ready = match environment.text(READY_FD) {
            Some(text) => Some(io::PipeWriter::from(open_ready(&text)?)),
            None => None,
        };
        let sockets = match (environment.text(LISTEN_FDS), environment.text(LISTEN_PID)) {
            (None, _) => Vec::new(),
            (Some(_), Some(other)) if other.trim().parse() != Ok(pid) => {
                tracing::warn!("{LISTEN_FDS} is ignored: {LISTEN_PID} says that it is for process {other}");
                Vec::new()
            }
            (Some(count), _) => open_sockets(&count, environment.text(SOCKETS))?,
        };
        Ok(Self { sockets, ready })
    }

    /// Whether another process waits for this one to take over.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.ready.is_some()
    }

    /// The first unused socket for this address, if there is one.
    pub(crate) async fn adopt(&mut self, wanted: &ListenAddr) -> Option<Inherited> {
        if self.sockets.is_empty() {
            return None;
        }
        let ips = addresses_of(wanted).await;
        let index = self.sockets.iter().position(|inherited| inherited.is_for(wanted, &ips))?;
        Some(self.sockets.remove(index))
    }

    /// Closes what nobody wanted, and says so.
    pub fn close_unused(&mut self) {
        for Inherited { fd, address, .. } in self.sockets.drain(..) {
            tracing::warn!(
                "the socket {address} was handed over (file descriptor {fd}), but nothing listens there: closed; add \
                 it to `listen`, or hand it over no more"
            );
        }
    }

    /// Tells the process that waits, if one does, that this one has taken over.
    pub fn say_ready(&mut self) {
        if let Some(Err(error)) = self.ready.take().map(|mut pipe| pipe.write_all(READY)) {
            tracing::warn!("the process that this one replaces has gone already: {error}");
        }
    }
}

fn open_ready(text: &str) -> Result<OwnedFd, String> {
    let fd = text.parse().map_err(|_| format!("{READY_FD} must be a file descriptor, but is `{text}`"))?;
    take_fd_ownership(fd).map_err(|_| format!("{READY_FD}={text}: file descriptor {fd} is not open"))
}

fn open_sockets(count: &str, notes: Option<String>) -> Result<Vec<Inherited>, String> {
    let parsed = count.trim().parse::<u16>().ok().filter(|count| *count <= SOCKETS_MAX);
    let number = parsed.ok_or_else(|| {
        format!("{LISTEN_FDS} must be a number of sockets from 0 to {SOCKETS_MAX}, but is `{count}`; unset it unless sockets are handed over")
    })?;
    let notes = match notes {
        Some(text) => serde_json::from_str::<Vec<Note>>(&text)
            .map_err(|error| format!("{SOCKETS} is not as wasmux writes it: {error}"))?,
        None => Vec::new(),
    };
    let mut notes = notes.into_iter();
    let open = |fd| {
        open_socket(fd, notes.next())
            .map_err(|why| format!("{LISTEN_FDS}={number}: file descriptor {fd} {why}"))
    };
    (FIRST_FD..FIRST_FD + RawFd::from(number)).map(open).collect()
}

fn open_socket(fd: RawFd, note: Option<Note>) -> Result<Inherited, String> {
    let socket = take_fd_ownership(fd).map_err(|_| "is not open".to_owned())?;
    let socket = Socket::from(socket);
    if !socket.is_listener().unwrap_or(false) {
        return Err("is not a listening socket; with systemd, `Accept=` must be `no`".to_owned());
    }
    let local = socket.local_addr().map_err(|error| format!("has no address: {error}"))?;
    let address = match (local.as_socket(), local.as_pathname()) {
        (Some(address), _) => Address::Tcp(address),
        (_, Some(path)) => Address::Unix(path.to_owned()),
        _ => return Err("is neither a TCP nor a unix socket with a path".to_owned()),
    };
    socket.set_nonblocking(true).map_err(|error| format!("cannot be used: {error}"))?;
    Ok(Inherited { socket, note, fd, address })
}

impl Inherited {
    fn is_for(&self, wanted: &ListenAddr, ips: &[IpAddr]) -> bool {
        if self.note.as_ref().is_some_and(|note| note.listen == wanted.to_string()) {
            return true;
        }
        match (&self.address, wanted) {
            (Address::Tcp(address), ListenAddr::Tcp(_, port)) => {
                let own = canonical(address.ip());
                address.port() == *port && ips.iter().any(|ip| canonical(*ip) == own)
            }
            (Address::Unix(path), ListenAddr::Unix(wanted)) => is_same_path(path, wanted),
            _ => false,
        }
    }
}

/// The addresses that a host stands for.
async fn addresses_of(wanted: &ListenAddr) -> Vec<IpAddr> {
    let ListenAddr::Tcp(host, port) = wanted else { return Vec::new() };
    if host.is_empty() {
        return vec![IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)];
    }
    if let Ok(ip) = host.parse() {
        return vec![ip];
    }
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}

/// "Every interface" is one address, whichever family it is written in (Go: gracenet.isSameAddr).
fn canonical(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        ip => ip,
    }
}

fn is_same_path(one: &Path, other: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).ok();
    let real = |path: &Path| path.canonicalize().ok();
    absolute(one) == absolute(other) || (real(one).is_some() && real(one) == real(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_for(bound: &str, wanted: &str, note: Option<&str>) -> bool {
        let inherited = Inherited {
            socket: Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap(),
            note: note.map(|listen| Note { listen: listen.to_owned(), owns_file: false }),
            fd: FIRST_FD,
            address: match bound.strip_prefix("unix:") {
                Some(path) => Address::Unix(path.into()),
                None => Address::Tcp(bound.parse().unwrap()),
            },
        };
        let wanted = ListenAddr::parse(wanted).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        inherited.is_for(&wanted, &runtime.block_on(addresses_of(&wanted)))
    }

    #[test]
    fn equal_addresses() {
        for (bound, wanted) in [
            ("0.0.0.0:80", ":80"),
            ("[::]:80", ":80"),
            ("[::]:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "[::]:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("unix:/run/x", "unix:/run/x"),
            ("unix:/run/./x", "unix:/run/x"),
        ] {
            assert!(is_for(bound, wanted, None), "{bound} {wanted}");
        }
        for (bound, wanted) in [
            ("0.0.0.0:80", ":81"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("127.0.0.1:80", ":80"),
            ("127.0.0.1:80", "127.0.0.1:0"),
            ("[::1]:80", "127.0.0.1:80"),
            ("unix:/run/x", "unix:/run/y"),
            ("unix:/run/x", ":80"),
        ] {
            assert!(!is_for(bound, wanted, None), "{bound} {wanted}");
        }
        assert!(
            is_for("127.0.0.1:4321", "127.0.0.1:0", Some("127.0.0.1:0")),
            "an upgrade knows what was asked for"
        );
        assert!(!is_for("127.0.0.1:4321", "127.0.0.1:0", Some(":0")));
    }
}
