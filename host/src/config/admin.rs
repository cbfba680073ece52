//! `[server] admin`: where the admin listener is, and who may use it.

use std::fmt;
use std::path::Path;

use super::grants::secret;
use super::listen::ListenAddr;
use super::problem::Problems;
use super::server::address;
use super::table::{At, Table};
use super::tls;
use crate::tls::TlsFiles;

/// Shortest token, in bytes: what is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// The admin listener.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Its address: never every interface.
    pub listen: ListenAddr,
    /// The bearer token (RFC 6750) that requests need, but for probes.
    pub token: Option<String>,
    /// Certificates, and whose clients may connect.
    pub tls: Option<TlsFiles>,
    /// Nobody has asked for it; it is a socket in the state folder.
    pub is_default: bool,
}

impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl AdminConfig {
    /// The socket in this state folder.
    #[must_use]
    pub fn in_state(state: &Path) -> Self {
        Self { listen: ListenAddr::Unix(state.join("admin.sock")), token: None, tls: None, is_default: true }
    }
}

/// Reads `admin` of `[server]`: an address, `"off"`, or a table. `None` without one.
pub(super) fn read(
    table: &Table<'_>,
    folder: &Path,
    state: &Path,
    problems: &Problems,
) -> Option<AdminConfig> {
    let Some(value) = table.value("admin") else { return Some(AdminConfig::in_state(state)) };
    let Some(entries) = value.get_ref().as_table() else {
        let text = table.string("admin")?;
        if text.value == "off" {
            return None;
        }
        let listen = listen(table, "admin", &text, folder)?;
        return Some(AdminConfig { listen, token: None, tls: None, is_default: false });
    };
    let inner = table.inner("admin", entries);
    let listen = match inner.string("listen") {
        Some(text) => listen(&inner, "listen", &text, folder),
        None => Some(AdminConfig::in_state(state).listen),
    };
    let token = inner.value("token").and_then(|value| {
        let token = secret(&inner, folder, &At { value: "token", span: value.span() }, value)?;
        if token.len() < TOKEN_BYTES_MIN || token.chars().any(|c| !c.is_ascii_graphic()) {
            let message = format!("`token` needs {TOKEN_BYTES_MIN} visible ASCII characters at least; `openssl rand -hex 32` makes one");
            inner.bad_value(&value.span(), message);
            return None;
        }
        Some(token)
    });
    let tls = tls::read(&inner, folder, problems);
    if let (Some(ListenAddr::Tcp(host, _)), Some(_), None) = (&listen, &token, &tls)
        && !is_loopback(host)
    {
        let message = "a token would travel in the clear: add `tls`, or listen on a loopback address";
        inner.bad_value(&value.span(), message);
    }
    inner.finish();
    Some(AdminConfig { listen: listen?, token, tls, is_default: false })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn listen(table: &Table<'_>, key: &'static str, text: &At<&str>, folder: &Path) -> Option<ListenAddr> {
    let address = address(table, key, text, folder)?;
    if address.is_wildcard() {
        let message = format!(
            "`{key}`: \"{}\" is every interface, which lets the public in; name a loopback or private address, such \
             as \"127.0.0.1:9090\"",
            text.value
        );
        table.bad_value(&text.span, message);
        return None;
    }
    Some(address)
}
