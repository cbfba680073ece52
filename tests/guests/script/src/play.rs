//! Does what a script says, for guests whose contract is a standard one.

use crate::ops::Op;
use crate::told::{Fields, Told, lines};
use crate::{digest, pattern};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// What a contract with the host makes of a request and its response. What fails is the host's business, and is passed
/// over where no result is asked for.
#[expect(async_fn_in_trait, reason = "guests have one thread")]
pub trait Stage {
    /// The request's head.
    fn told(&self) -> Told;
    /// Sends an interim response, if the contract has them.
    async fn interim(&mut self, status: u16, fields: Fields);
    /// Sends the head of the response: the first call, and only one.
    async fn open(&mut self, status: u16, fields: Fields);
    /// Sends body bytes, all of them.
    async fn write(&mut self, data: &[u8]);
    /// Lets what was written go to the client.
    async fn flush(&mut self);
    /// At most so many bytes of the request's body; none at its end.
    async fn read(&mut self, len_max: usize) -> Result<Vec<u8>, String>;
    /// The request's trailers, once its body was read.
    async fn request_trailers(&mut self) -> Fields;
    /// Sends a request to another server and says what became of it.
    async fn fetch(&mut self, authority: &str) -> String;
    /// Ends the response.
    async fn finish(&mut self, trailers: Fields);
}

#[derive(Default)]
struct Player {
    status: u16,
    fields: Fields,
    is_open: bool,
    trailers: Fields,
    /// Everything read of the request's body.
    body: Vec<u8>,
    end: Option<&'static str>,
    /// How many bytes of the pattern were written.
    written: usize,
}

/// Does what the script says, and ends the response.
pub async fn play(ops: &[Op], stage: &mut impl Stage) {
    let mut player = Player { status: 200, ..Player::default() };
    for op in ops {
        player.step(op, stage).await;
    }
    player.open(stage).await;
    stage.finish(player.trailers).await;
}

impl Player {
    async fn step(&mut self, op: &Op, stage: &mut impl Stage) {
        match op {
            Op::ReadAll => self.read(usize::MAX, stage).await,
            Op::Read(count) => self.read(usize::try_from(*count).unwrap_or(usize::MAX), stage).await,
            Op::Status(code @ 100..200) if !self.is_open => stage.interim(*code, self.fields.clone()).await,
            Op::Status(code) if !self.is_open => self.status = *code,
            Op::Header(name, value) => self.add_header(name, value),
            Op::ContentLength(value) => {
                self.fields.retain(|(name, _)| name != "Content-Length");
                self.add_header(b"Content-Length", value);
            }
            Op::Status(_) => {} // the head is out
            Op::Write(count) => {
                let block: Vec<u8> = (self.written..).take(*count).map(pattern).collect();
                self.written += count;
                self.write(&block, stage).await;
            }
            Op::Text(text) => self.write(text, stage).await,
            Op::Echo => {
                let body = std::mem::take(&mut self.body);
                self.write(&body, stage).await;
                self.body = body;
            }
            Op::Pipe => self.pipe(stage).await,
            Op::Digest => self.write(digest(&self.body).as_bytes(), stage).await,
            Op::State => {
                let line = format!("end={}\n", self.end.unwrap_or("open"));
                self.write(line.as_bytes(), stage).await;
            }
            Op::See | Op::Tell => self.write(stage.told().lines().as_bytes(), stage).await,
            Op::Trailers => {
                let text = lines(stage.request_trailers().await);
                self.write(text.as_bytes(), stage).await;
            }
            Op::Flush => {
                self.open(stage).await;
                stage.flush().await;
            }
            Op::Sleep(time) => std::thread::sleep(*time),
            Op::Trailer(name, value) => {
                self.add_header(b"Trailer", name);
                self.add_trailer(name, value);
            }
            Op::UnannouncedTrailer(name, value) => self.add_trailer(name, value),
            Op::Probe(probe) => self.write(probe.look().as_bytes(), stage).await,
            Op::Out(text) => println!("{}", String::from_utf8_lossy(text)),
            Op::Err(text) => eprintln!("{}", String::from_utf8_lossy(text)),
            Op::Fetch(authority) => {
                let outcome = stage.fetch(&String::from_utf8_lossy(authority)).await;
                self.write(format!("{outcome}\n").as_bytes(), stage).await;
            }
            Op::Panic => panic!("the query asks for it"),
        }
    }

    async fn open(&mut self, stage: &mut impl Stage) {
        if !std::mem::replace(&mut self.is_open, true) {
            stage.open(self.status, std::mem::take(&mut self.fields)).await;
        }
    }

    async fn write(&mut self, block: &[u8], stage: &mut impl Stage) {
        self.open(stage).await;
        stage.write(block).await;
    }

    async fn read(&mut self, count: usize, stage: &mut impl Stage) {
        let mut left = count;
        while left > 0 && self.end.is_none() {
            match stage.read(left.min(READ_BYTES)).await {
                Ok(data) if data.is_empty() => self.end = Some("eof"),
                Ok(data) => {
                    left -= data.len();
                    self.body.extend_from_slice(&data);
                }
                Err(_) => self.end = Some("error"),
            }
        }
    }

    async fn pipe(&mut self, stage: &mut impl Stage) {
        self.open(stage).await;
        stage.flush().await;
        while self.end.is_none() {
            match stage.read(READ_BYTES).await {
                Ok(data) if data.is_empty() => self.end = Some("eof"),
                Ok(data) => {
                    stage.write(&data).await;
                    stage.flush().await;
                }
                Err(_) => self.end = Some("error"),
            }
        }
    }

    fn add_header(&mut self, name: &[u8], value: &[u8]) {
        if !self.is_open {
            self.fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        }
    }

    fn add_trailer(&mut self, name: &[u8], value: &[u8]) {
        self.trailers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
}
