//! A body that is sent to the admin API, read within bounds.

use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Largest module: as large as one may be in a file.
pub(super) const MODULE_BYTES_MAX: usize = 256 << 20;

/// Largest text of routes.toml.
pub(super) const ROUTES_BYTES_MAX: usize = 16 << 20;

/// How long nothing may come.
const IDLE: Duration = Duration::from_secs(30);

/// Why a body is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is larger than this.
    TooLarge(usize),
    /// It did not come, or not all of it.
    Off,
}

/// Reads all of it.
pub(super) async fn read(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = BytesMut::new();
    loop {
        let Ok(frame) = timeout(IDLE, body.frame()).await else { return Err(Broken::Off) };
        match frame {
            None => return Ok(bytes.into()),
            Some(Err(_)) => return Err(Broken::Off),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > bytes_max {
                    return Err(Broken::TooLarge(bytes_max));
                }
                bytes.extend_from_slice(&data);
            }
        }
    }
}
