//! Plays a case on a connection of its own, and says what came back.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::case::{Case, End, Framing, Interim, Outcome, Response, Step, latin1, tokens, values};
use super::parse::{self, Stop};
use crate::support::DEADLINE;

const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: h.test\r\n\r\n";

/// How long a server gets to close a connection that looks reusable; one that takes longer meets the probe.
const SETTLE: Duration = Duration::from_millis(100);

/// How long it gets when its last response announced the close. Bounds a failure.
const CLOSE_WAIT: Duration = Duration::from_secs(12);

/// How long it gets to take what is sent. Bounds a failure.
const SEND_WAIT: Duration = Duration::from_secs(30);

/// How long what it said before it closed is read, once it takes no more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The limit of a reading step that names none, in milliseconds.
const STEP_MS: u64 = 4000;

/// Where the limit of a step only bounds a failure, it is taken so many times: machines that test are busy.
const PATIENCE: u32 = 4;

/// Plays the case; returns its outcome and all bytes that the server sent.
pub(super) fn play(case: &Case, address: SocketAddr) -> (Outcome, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut conn = Conn::open(address, case.methods.clone()).await;
        let (end, ended_at) = conn.run(case).await;
        let error = match conn.error {
            None if conn.at < conn.data.len() && conn.pending.is_empty() && conn.end.is_some() => {
                Some("cut off inside a response head".to_owned())
            }
            error => error,
        };
        let outcome = Outcome {
            responses: conn.responses,
            end,
            ended_at: ended_at.filter(|_| case.checks("when")),
            seen: conn.seen,
            interim_only: conn.pending.iter().map(|interim| interim.status).collect(),
            error,
        };
        (outcome, conn.data)
    })
}

/// A connection that reads all the time, also while it sends.
struct Conn {
    socket: TcpStream,
    /// Methods of the requests in order; GET where there is none.
    methods: Vec<String>,
    /// Everything received.
    data: Vec<u8>,
    /// Where the first unfinished response starts.
    at: usize,
    responses: Vec<Response>,
    /// Interim responses of the unfinished one.
    pending: Vec<Interim>,
    /// How the server ended the connection.
    end: Option<End>,
    /// The first breach of the wire format.
    error: Option<String>,
    seen: Vec<bool>,
}

impl Conn {
    async fn open(address: SocketAddr, methods: Vec<String>) -> Self {
        let socket = timeout(DEADLINE, TcpStream::connect(address)).await.expect("a connection in time");
        let socket = socket.unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            methods,
            data: Vec::new(),
            at: 0,
            responses: Vec::new(),
            pending: Vec::new(),
            end: None,
            error: None,
            seen: Vec::new(),
        }
    }

    /// Takes all steps, then finds out what has become of the connection; returns also in which step it ended.
    async fn run(&mut self, case: &Case) -> (End, Option<usize>) {
        let mut ended_at = None;
        for (index, step) in case.steps.iter().enumerate() {
            self.step(step, index + 1 == case.steps.len()).await;
            if self.end.is_some() {
                ended_at = Some(index);
                break;
            }
        }
        let shut = case.steps.iter().any(|step| matches!(step, Step::Shut { .. }));
        if self.error.is_none() {
            let announced = shut || self.responses.last().is_some_and(says_close);
            self.read_for(if announced { CLOSE_WAIT } else { SETTLE }).await;
        }
        let end = match self.end {
            Some(end) => end,
            None if self.error.is_none() && !shut && case.probe => self.probe().await,
            None => End::Waiting,
        };
        (end, ended_at)
    }

    /// Sends a request that any server answers which takes it for a request.
    async fn probe(&mut self) -> End {
        let before = self.responses.len();
        self.methods.resize(before, "GET".to_owned());
        let done = |conn: &Self| conn.responses.len() > before || conn.error.is_some();
        self.pump(PROBE, done, Duration::from_millis(STEP_MS) * PATIENCE).await;
        let Some(last) = self.responses.get(before) else { return self.end.unwrap_or(End::Stuck) };
        if last.status == 200 && values(&last.headers, "x-puppet").eq(["/probe"]) {
            self.responses.truncate(before);
            return self.end.unwrap_or(End::Open);
        }
        End::Desync
    }

    async fn step(&mut self, step: &Step, is_last: bool) {
        let limit = |ms: Option<u64>| Duration::from_millis(ms.unwrap_or(STEP_MS));
        match step {
            Step::Send { send, each, gap } => {
                let bytes = latin1(send);
                for part in bytes.chunks(each.unwrap_or(bytes.len()).max(1)) {
                    self.pump(part, |_| true, SEND_WAIT).await;
                    if let Some(gap) = gap {
                        self.read_for(Duration::from_millis(*gap)).await;
                    }
                }
            }
            Step::Repeat { repeat, times } => {
                self.pump(&latin1(repeat).repeat(*times), |_| true, SEND_WAIT).await;
            }
            Step::Wait { wait } => self.read_for(Duration::from_millis(*wait)).await,
            Step::Shut { .. } => {
                // It may have ended already.
                let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Write);
            }
            Step::Read { read, ms } => {
                let done = |conn: &Self| conn.responses.len() >= *read || conn.error.is_some();
                self.pump(b"", done, limit(*ms) * PATIENCE).await;
            }
            Step::Interim { interim, ms } => {
                let before = self.responses.len();
                let done = |conn: &Self| {
                    let came = conn.interims() >= *interim || conn.responses.len() > before;
                    came || conn.error.is_some()
                };
                self.pump(b"", done, limit(*ms) * PATIENCE).await;
            }
            Step::See { see, ms } => {
                let text = latin1(see);
                self.pump(b"", |conn| conn.has(&text) || conn.error.is_some(), limit(*ms)).await;
                self.seen.push(self.has(&text));
            }
            // That it does not end before its time is what an earlier one is for.
            Step::Close { ms, .. } => self.read_for(limit(*ms) * if is_last { PATIENCE } else { 1 }).await,
        }
    }

    fn interims(&self) -> usize {
        self.responses.iter().map(|response| response.interim.len()).sum::<usize>() + self.pending.len()
    }

    fn has(&self, text: &[u8]) -> bool {
        contains(&self.data, text)
    }

    /// Reads for so long, or until the connection ends.
    async fn read_for(&mut self, limit: Duration) {
        self.pump(b"", |_| false, limit).await;
    }

    /// Sends `out` while reading; then reads on until `done`, the end of the connection or the limit.
    async fn pump(&mut self, mut out: &[u8], done: impl Fn(&Self) -> bool, limit: Duration) {
        let mut until = Instant::now() + limit;
        let mut refused = false;
        while self.end.is_none() && (refused || !out.is_empty() || !done(self)) {
            let both = Interest::READABLE | Interest::WRITABLE;
            let interest = if out.is_empty() { Interest::READABLE } else { both };
            let Ok(ready) = timeout_at(until, self.socket.ready(interest)).await else {
                if refused {
                    self.end = Some(End::Reset);
                }
                return;
            };
            let ready = ready.unwrap();
            if ready.is_readable() {
                self.receive();
            } else if ready.is_writable() {
                match self.socket.try_write(&out[..out.len().min(1 << 16)]) {
                    Ok(count) => out = &out[count..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => {
                        // The server is gone; what it said before is still read.
                        (out, refused, until) = (b"", true, Instant::now() + LAST_WORDS);
                    }
                }
            }
        }
    }

    fn receive(&mut self) {
        let mut buffer = vec![0; 1 << 18];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => self.data.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => self.end = Some(End::Reset),
        }
        self.parse();
    }

    fn parse(&mut self) {
        while self.error.is_none() && self.at < self.data.len() {
            let method = self.methods.get(self.responses.len()).map_or("GET", String::as_str);
            match parse::response(&self.data, self.at, method, self.end.is_some()) {
                Ok((response, at)) => {
                    self.at = at;
                    self.responses.push(response);
                    self.pending.clear();
                }
                Err(Stop::More(pending)) => {
                    self.pending = pending;
                    return;
                }
                Err(Stop::Bad(why)) => self.error = Some(why),
            }
        }
    }
}

pub(super) fn contains(data: &[u8], part: &[u8]) -> bool {
    part.is_empty() || data.windows(part.len()).any(|window| window == part)
}

/// Whether a client may not use the connection again after this response.
fn says_close(response: &Response) -> bool {
    let tokens = tokens(values(&response.headers, "connection"));
    let says = |token: &str| tokens.iter().any(|known| known == token);
    let lasts = response.version == "1.1" || says("keep-alive");
    says("close") || response.framing == Framing::Close || !lasts
}
