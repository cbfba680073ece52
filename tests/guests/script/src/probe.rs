//! Looks at what a guest was granted, through the standard library: for every contract it leads to WASI.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The clocks: the time is after 2020, and passes.
    Clock,
    /// Random bytes: two of them differ.
    Random,
    /// Files: a folder can be listed, a file read or written.
    Files,
    /// Sockets: one can be connected or bound.
    Sockets,
    /// Environment variables, sorted.
    Env,
    /// Arguments.
    Args,
}

impl Probe {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"clock" => Self::Clock,
            b"random" => Self::Random,
            b"files" => Self::Files,
            b"sockets" => Self::Sockets,
            b"env" => Self::Env,
            b"args" => Self::Args,
            _ => return None,
        })
    }

    /// What is there, in a line or several.
    #[must_use]
    pub fn look(self) -> String {
        match self {
            Self::Clock => format!("clock={}\n", works(clock())),
            Self::Random => format!("random={}\n", works(random())),
            Self::Files => format!("files={}\n", granted(files())),
            Self::Sockets => format!("sockets={}\n", granted(sockets())),
            Self::Env => {
                let mut list: Vec<_> =
                    std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
                list.sort();
                list.concat()
            }
            Self::Args => format!("args={}\n", std::env::args().count()),
        }
    }
}

fn works(it_does: bool) -> &'static str {
    if it_does { "works" } else { "broken" }
}

fn granted(it_is: bool) -> &'static str {
    if it_is { "granted" } else { "none" }
}

fn clock() -> bool {
    const YEAR_2020: Duration = Duration::from_secs(1_577_836_800);
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(5));
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.is_ok_and(|since| since > YEAR_2020) && started.elapsed() >= Duration::from_millis(5)
}

/// The keys of a hash table are random in each process; two of a process differ in their hashes only if they are.
fn random() -> bool {
    let first = RandomState::new().hash_one(0);
    first != 0 && first != RandomState::new().hash_one(0)
}

fn files() -> bool {
    let lists = ["/", ".", "/tmp"].iter().any(|folder| std::fs::read_dir(folder).is_ok());
    lists || std::fs::read("/etc/passwd").is_ok() || std::fs::write("/tmp/probe", "").is_ok()
}

fn sockets() -> bool {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let someone = SocketAddr::from(([127, 0, 0, 1], 9));
    let is_reached = match TcpStream::connect(someone) {
        Ok(_) => true,
        // Nobody is there: but the host has asked.
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    };
    is_reached || UdpSocket::bind(any).is_ok() || std::net::TcpListener::bind(any).is_ok()
}
