//! An HTTP/1 client that sees the wire: sends any bytes, reads one response at a time, decodes chunks itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::DEADLINE;

trait Socket: Read + Write + Send {
    fn finish(&self);
    fn set_patience(&self, patience: Duration);
    /// Makes the kernel forget all about it when it is closed, and tell the other side so.
    fn reset_on_close(&self);
}

impl Socket for TcpStream {
    fn finish(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }

    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }

    fn reset_on_close(&self) {
        socket2::SockRef::from(self).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Socket for UnixStream {
    fn finish(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }

    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }

    fn reset_on_close(&self) {}
}

impl Socket for StreamOwned<ClientConnection, TcpStream> {
    fn finish(&self) {
        self.sock.shutdown(Shutdown::Write).unwrap();
    }

    fn set_patience(&self, patience: Duration) {
        self.sock.set_read_timeout(Some(patience)).unwrap();
    }

    fn reset_on_close(&self) {
        self.sock.reset_on_close();
    }
}

/// A connection, and what was read from it but not used.
pub(crate) struct Conn {
    socket: Box<dyn Socket>,
    local: Option<SocketAddr>,
    unread: Vec<u8>,
    head_of_last: bool,
}

/// A response as it stood on the wire.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Statuses of the interim responses before it.
    pub(crate) interim: Vec<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether the body came to the end that its framing promised.
    pub(crate) complete: bool,
}

impl Response {
    /// The first field with this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

impl Conn {
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let local = socket.local_addr().ok();
        Self { socket: Box::new(socket), local, unread: Vec::new(), head_of_last: false }
    }

    pub(crate) fn unix(path: &Path) -> Self {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { socket: Box::new(socket), local: None, unread: Vec::new(), head_of_last: false }
    }

    /// HTTP/1.1 over a TLS connection, whose handshake may still be to come.
    pub(crate) fn tls(session: ClientConnection, socket: TcpStream) -> Self {
        let local = socket.local_addr().ok();
        let socket = Box::new(StreamOwned::new(session, socket));
        Self { socket, local, unread: Vec::new(), head_of_last: false }
    }

    /// Our own address, as the server sees it.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local.unwrap()
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// As [`Self::send`]; a server that has closed already is fine.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a request with `Host: localhost` unless `fields` has one, and a Content-Length if there is a body.
    pub(crate) fn request(&mut self, method: &str, target: &str, fields: &[&str], body: &[u8]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !fields.iter().any(|field| field.starts_with("Host:")) {
            head.push_str("Host: localhost\r\n");
        }
        fields.iter().for_each(|field| head.push_str(&format!("{field}\r\n")));
        let declared = fields
            .iter()
            .any(|field| field.starts_with("Transfer-Encoding") || field.starts_with("Content-Length"));
        if !body.is_empty() && !declared {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.head_of_last = method == "HEAD";
        self.send([head.as_bytes(), body].concat());
    }

    /// Sends one chunk; the empty one ends the body.
    pub(crate) fn send_chunk(&mut self, data: &[u8]) {
        self.send([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat());
    }

    /// No more bytes from this side.
    pub(crate) fn finish(&self) {
        self.socket.finish();
    }

    /// Ends the connection as a program that dies does: with a reset, which says more than that nothing else is sent.
    pub(crate) fn reset(self) {
        self.socket.reset_on_close();
    }

    /// Reads one response with its whole body.
    pub(crate) fn response(&mut self) -> Response {
        let mut interim = Vec::new();
        let mut response = loop {
            let response = self.head();
            match response.status {
                100..200 => interim.push(response.status),
                _ => break response,
            }
        };
        response.interim = interim;
        let status = response.status;
        let length = response.header("content-length").map(|length| length.parse::<usize>().unwrap());
        if self.head_of_last || status == 204 || status == 304 {
            response.complete = true;
        } else if response.is_chunked() {
            while let Some(chunk) = self.chunk() {
                if chunk.is_empty() {
                    response.trailers = self.fields();
                    response.complete = true;
                    break;
                }
                response.body.extend(chunk);
            }
        } else if let Some(length) = length {
            response.complete = self.fill(length);
            response.body = self.take(length.min(self.unread.len()));
        } else {
            while self.more() {}
            response.body = std::mem::take(&mut self.unread);
            response.complete = true;
        }
        response
    }

    /// Reads the head of a response only.
    pub(crate) fn head(&mut self) -> Response {
        let line = self.line().expect("a response, but the connection is closed");
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap().to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
        Response { version, status, headers: self.fields(), ..Response::default() }
    }

    /// Reads one chunk of a chunked body; empty at its end (trailers are next), `None` when it breaks off.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line()?;
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).expect("a chunk size");
        if size == 0 {
            return Some(Vec::new());
        }
        if !self.fill(size + 2) {
            return None;
        }
        let mut data = self.take(size + 2);
        assert_eq!(data.split_off(size), b"\r\n", "the end of a chunk");
        Some(data)
    }

    /// Whether the server closes the connection now, without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.more()
    }

    /// Whether a byte comes within this time.
    pub(crate) fn answers_within(&mut self, patience: Duration) -> bool {
        self.socket.set_patience(patience);
        let mut byte = [0];
        let read = self.socket.read(&mut byte);
        self.socket.set_patience(DEADLINE);
        self.unread.extend_from_slice(&byte[..*read.as_ref().unwrap_or(&0)]);
        read.is_ok_and(|count| count > 0)
    }

    /// Everything until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// At least one further byte of whatever comes; empty at the end.
    pub(crate) fn some(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.more();
        }
        std::mem::take(&mut self.unread)
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a field");
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        fields
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end + 2);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn fill(&mut self, count: usize) -> bool {
        while self.unread.len() < count {
            if !self.more() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading from wasmux: {error}"),
        }
    }
}
