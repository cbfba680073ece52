//! `[outbound]`: how this program calls others; and the same keys where a proxy has its own.

use std::num::NonZeroUsize;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};

use super::problem::{ProblemKind, Problems};
use super::table::Table;
use crate::outbound::{EnvironmentProxies, TransportSettings};
use crate::upstream::resolver_address;

/// Reads `[outbound]`, as far as the file has it.
pub(super) fn read(root: &Table<'_>, folder: &Path, problems: &Problems) -> TransportSettings {
    let defaults = TransportSettings::default();
    let Some(entries) = root.table("outbound") else { return defaults };
    let table = Table::new("[outbound]", entries.value, problems);
    let mut settings = transport(&table, &defaults);
    if let Some(count) = table.integer("max_idle", 0..=100_000) {
        settings.max_idle = count as usize;
    }
    for file in table.strings("roots").unwrap_or_default() {
        match certificates(&folder.join(file.value)) {
            Ok(certificates) => settings.roots.extend(certificates),
            Err((kind, why)) => problems.add(kind, &file.span, format!("`roots`: {}: {why}", file.value)),
        }
    }
    if let Some(text) = table.string("resolver") {
        match resolver_address(text.value) {
            Ok(address) => settings.resolver = Some(address),
            Err(why) => table.bad_value(&text.span, format!("`resolver`: {why}")),
        }
    }
    if table.boolean("proxy_from_environment") == Some(true) {
        settings.proxies = EnvironmentProxies::new(|name| std::env::var(name).ok());
    }
    table.finish();
    settings
}

/// The authorities in a PEM file, of which there has to be one that can be trusted.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, (ProblemKind, String)> {
    let failed = |error| match error {
        PemError::Io(error) => (ProblemKind::FileMissing, error.to_string()),
        other => (ProblemKind::CertificateInvalid, format!("is not a PEM file: {other}")),
    };
    let listed = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let certificates: Vec<_> = listed.collect::<Result<_, _>>().map_err(failed)?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in &certificates {
        let added = store.add(certificate.clone());
        added.map_err(|error| (ProblemKind::CertificateInvalid, error.to_string()))?;
    }
    if certificates.is_empty() {
        return Err((ProblemKind::CertificateInvalid, "has no certificate in it".to_owned()));
    }
    Ok(certificates)
}

/// The knobs of `http.Transport` in a table, which leaves the others as they are in `defaults`.
pub(super) fn transport(table: &Table<'_>, defaults: &TransportSettings) -> TransportSettings {
    let connections = |key, range| table.integer(key, range).map(|count| count as usize);
    let size = |key, default| table.size(key, 1..=u64::MAX).unwrap_or(default);
    let header = table.size("response_header_bytes", 8 << 10..=400 << 10);
    TransportSettings {
        dial_timeout: table.duration("dial_timeout").unwrap_or(defaults.dial_timeout),
        tls_handshake_timeout: table
            .duration("tls_handshake_timeout")
            .unwrap_or(defaults.tls_handshake_timeout),
        response_header_timeout: table
            .clock("response_header_timeout")
            .unwrap_or(defaults.response_header_timeout),
        expect_continue_timeout: table
            .clock("expect_continue_timeout")
            .unwrap_or(defaults.expect_continue_timeout),
        body_idle_timeout: table.clock("body_idle_timeout").unwrap_or(defaults.body_idle_timeout),
        timeout: table.clock("timeout").unwrap_or(defaults.timeout),
        idle_timeout: table.duration("idle_timeout").unwrap_or(defaults.idle_timeout),
        max_idle_per_host: connections("max_idle_per_host", 0..=100_000)
            .unwrap_or(defaults.max_idle_per_host),
        max_per_host: connections("max_per_host", 1..=100_000)
            .and_then(NonZeroUsize::new)
            .or(defaults.max_per_host),
        response_header_bytes: header.map_or(defaults.response_header_bytes, |bytes| bytes as u32),
        request_body_bytes: size("request_body_bytes", defaults.request_body_bytes),
        response_body_bytes: size("response_body_bytes", defaults.response_body_bytes),
        ..defaults.clone()
    }
}
