//! The TLS handshake of one connection, in the connection's own task.

use std::io;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::drain::{Guard, Phase};
use crate::guest::{Peer, PeerTls};
use crate::listener::Stream;
use crate::tls::{Tls, subject};

/// What every TLS connection begins with: the type of a handshake record (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The answer to a client that does not speak TLS (Go: net/http.conn.serve).
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How long a client that does not speak TLS may go on sending. A socket that is closed with bytes unread is reset, and a
/// reset can overtake the answer.
const NOT_TLS_LINGER: Duration = Duration::from_millis(500);

/// Bytes that are read in that time.
const NOT_TLS_LINGER_BYTES: u64 = 256 * 1024;

/// Makes a TLS connection of an accepted socket. `None` when that fails, takes longer than `timeout` or the drain begins;
/// the log says why, for whom it helps: a client that cannot connect is nothing out of the ordinary.
pub(super) async fn handshake(
    tls: &Tls,
    stream: Stream,
    peer: Peer,
    timeout: Option<Duration>,
    guard: &mut Guard,
) -> Option<(Stream, Peer)> {
    let remote = &peer.remote;
    let handshake = async {
        let done = accept(tls, stream);
        match timeout {
            None => done.await,
            Some(timeout) => tokio::time::timeout(timeout, done).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no end of it for `tls_handshake_timeout`"))
            }),
        }
    };
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = guard.reached(Phase::Draining) => {
            tracing::debug!(remote, "connection closed: the drain began during its TLS handshake");
            return None;
        }
    };
    match accepted {
        Ok(Accepted::Tls(stream)) => {
            let tls = peer_tls(&stream);
            Some((Stream::Tls(stream), Peer { scheme: "https", tls: Some(tls), ..peer }))
        }
        Ok(Accepted::NotTls(stream)) => {
            tracing::debug!(remote, "connection closed: the client does not speak TLS");
            tokio::select! {
                () = refuse(stream) => {}
                () = guard.reached(Phase::Closing) => {}
            }
            None
        }
        Err(error) => {
            tracing::debug!(remote, "connection closed: TLS handshake: {}", crate::error::chain(&error));
            None
        }
    }
}

enum Accepted {
    Tls(Box<TlsStream<Stream>>),
    NotTls(Stream),
}

async fn accept(tls: &Tls, mut stream: Stream) -> io::Result<Accepted> {
    let first = stream.read_u8().await?;
    if first != HANDSHAKE_RECORD {
        return Ok(Accepted::NotTls(stream));
    }
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &[first][..])?;
    let start = LazyConfigAcceptor::new(acceptor, stream).await?;
    Ok(Accepted::Tls(Box::new(start.into_stream(tls.current()).await?)))
}

fn peer_tls(stream: &TlsStream<Stream>) -> PeerTls {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let client = session.peer_certificates().and_then(<[_]>::first);
    PeerTls {
        version,
        server_name: session.server_name().map(str::to_owned),
        client_subject: client.and_then(subject),
    }
}

/// Answers in plain HTTP, so that whoever wrote `http://` learns why it does not work.
async fn refuse(mut stream: Stream) {
    let answer = async {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(NOT_TLS_LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // A client that has gone away, or goes on for too long: it had its answer.
    let _ = tokio::time::timeout(NOT_TLS_LINGER, answer).await;
}
