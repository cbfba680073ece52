//! An HTTP/2 client of hand-made frames (RFC 9113), for what no well-behaved library does.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::DEADLINE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection with no more manners than it is given.
pub(crate) struct Client {
    socket: TcpStream,
    acks: bool,
}

/// A frame as it came.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Client {
    /// Opens a connection whose streams have a window of `window` bytes. With `acks` it answers SETTINGS and PING.
    pub(crate) fn connect(address: SocketAddr, window: u32, acks: bool) -> Self {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        // Short reads, since a server that sends PINGs for ever must not keep a test for ever.
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut client = Self { socket, acks };
        let settings = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        client.send(SETTINGS, 0, 0, &settings);
        client
    }

    /// Requests a short path on a stream of an odd number.
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &head(GET, path));
    }

    /// Reads until the server gives up the connection, and says why (RFC 9113 section 7).
    pub(crate) fn read_goaway(&mut self) -> u32 {
        let mut code = None;
        let _ = self.read_until(|frame| {
            if frame.kind == GOAWAY {
                code = frame.payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
            code.is_some_and(|code| code != 0)
        });
        code.expect("a GOAWAY before the end")
    }

    /// Reads until a stream has ended.
    pub(crate) fn read_response(&mut self, stream: u32) {
        self.read_until(|frame| frame.stream == stream && frame.flags & END_STREAM != 0)
            .expect("a whole response");
    }

    /// Reads until the response on a stream has begun.
    pub(crate) fn read_head(&mut self, stream: u32) {
        self.read_until(|frame| frame.stream == stream && frame.kind == HEADERS).expect("a head");
    }

    /// Reads until the server closes the connection, for as long as it may take; how many body bytes have come.
    pub(crate) fn read_to_end(&mut self) -> usize {
        let mut bytes = 0;
        let ended = self.read_until(|frame| {
            bytes += if frame.kind == DATA { frame.payload.len() } else { 0 };
            false
        });
        assert!(ended.is_none());
        bytes
    }

    /// Reads until a frame is wanted; `None` when the connection has ended before.
    pub(crate) fn read_until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Option<()> {
        let until = Instant::now() + DEADLINE;
        loop {
            let frame = self.frame(until)?;
            if self.acks && frame.flags & ACK == 0 && matches!(frame.kind, SETTINGS | PING) {
                let echoed = if frame.kind == PING { &frame.payload[..] } else { &[] };
                self.send(frame.kind, ACK, 0, echoed);
            }
            if wanted(&frame) {
                return Some(());
            }
        }
    }

    fn frame(&mut self, until: Instant) -> Option<Frame> {
        let mut head = [0; 9];
        self.fill(&mut head, until)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.fill(&mut payload, until)?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    fn fill(&mut self, buffer: &mut [u8], until: Instant) -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            assert!(Instant::now() < until, "the server goes on with this connection");
            match self.socket.read(&mut buffer[filled..]) {
                Ok(0) => return None,
                Ok(count) => filled += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("reading from wasmux: {error}"),
            }
        }
        Some(())
    }

    /// Sends a frame; that the server has closed already shows when we read.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_bytes(&Self::frame_bytes(kind, flags, stream, payload));
    }

    /// Sends any bytes; whether the server still takes them.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// A frame as it stands on the wire.
    pub(crate) fn frame_bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&[a, b, c, kind, flags][..], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    }
}

/// The methods that HPACK has a number for.
pub(crate) const GET: u8 = 0x82;
pub(crate) const POST: u8 = 0x83;

/// The header of a request in HPACK (RFC 7541): method, http, then the path and the authority, neither compressed nor
/// remembered.
pub(crate) fn head(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.bytes());
    block.extend([0x01, 9]);
    block.extend(b"localhost");
    block
}
