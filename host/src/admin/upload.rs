//! A body that is sent to the admin API, read within bounds: of time, of memory, and of how many there are.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::history::Arriving;

/// What wasmtime's compiled code begins with: it is an ELF file, whatever its name is.
pub(super) const COMPILED: &[u8] = b"\x7fELF";

/// Uploads at one time; beyond it they are refused, with the advice to try again.
pub(super) const UPLOADS_MAX: usize = 4;

/// Largest module: as large as one may be in a file.
pub(super) const MODULE_BYTES_MAX: usize = 256 << 20;

/// Largest text of routes.toml.
pub(super) const ROUTES_BYTES_MAX: usize = 16 << 20;

/// Bytes of a module that are in memory before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// How long nothing may come.
const IDLE: Duration = Duration::from_secs(30);

/// How long a body is read on that nobody wants. Clients that still send when the connection ends may never see the answer.
const DISCARD: Duration = Duration::from_secs(2);

/// Why a body is not there.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is larger than this.
    TooLarge(usize),
    /// It did not come, or not all of it.
    Off,
    /// It could not be written.
    Disk(io::Error),
}

/// What is read of a body.
struct Reading<'b> {
    body: &'b mut Incoming,
    bytes: usize,
    bytes_max: usize,
}

impl Reading<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let Ok(frame) = timeout(IDLE, self.body.frame()).await else { return Err(Broken::Off) };
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(Broken::Off),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.bytes += data.len();
                    if self.bytes > self.bytes_max {
                        return Err(Broken::TooLarge(self.bytes_max));
                    }
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads all of a text.
pub(super) async fn read(body: &mut Incoming) -> Result<Vec<u8>, Broken> {
    let mut reading = Reading { body, bytes: 0, bytes_max: ROUTES_BYTES_MAX };
    let mut bytes = BytesMut::new();
    while let Some(data) = reading.next().await? {
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Writes all of a module to where it is to be kept, while it comes.
pub(super) async fn store(body: &mut Incoming, mut arriving: Arriving) -> Result<Arriving, Broken> {
    let mut reading = Reading { body, bytes: 0, bytes_max: MODULE_BYTES_MAX };
    let mut piece = BytesMut::new();
    loop {
        let data = reading.next().await?;
        piece.extend_from_slice(data.as_deref().unwrap_or_default());
        if data.is_some() && piece.len() < PIECE_BYTES {
            continue;
        }
        let full = piece.split();
        let writing = tokio::task::spawn_blocking(move || arriving.write(&full).map(|()| arriving));
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        arriving = written.map_err(Broken::Disk)?;
        if data.is_none() {
            return Ok(arriving);
        }
    }
}

/// Reads on for a moment what nobody wants.
pub(super) async fn discard(mut body: Incoming) {
    let _ = timeout(DISCARD, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}
