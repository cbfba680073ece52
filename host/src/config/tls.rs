//! `tls` of a server: which files HTTPS is made of. What is in them is seen when they are loaded.

use std::path::Path;
use std::sync::Arc;

use super::problem::{ProblemKind, Problems};
use super::table::{At, Table};
use crate::config::Config;
use crate::tls::{CertificateFiles, ClientAuth, ClientCa, NamedFile, Tls, TlsFiles};

impl Config {
    /// Loads the certificates of every server, in the order of `servers`; `None` for one without TLS. Everything that is
    /// wrong is added to `problems`.
    #[must_use]
    pub fn load_tls(&self, problems: &Problems) -> Vec<Option<Arc<Tls>>> {
        self.servers.iter().map(|server| load(server.tls.clone()?, problems)).collect()
    }

    /// The same for the admin listener.
    #[must_use]
    pub fn load_admin_tls(&self, problems: &Problems) -> Option<Arc<Tls>> {
        load(self.process.admin.as_ref()?.tls.clone()?, problems)
    }
}

fn load(files: TlsFiles, problems: &Problems) -> Option<Arc<Tls>> {
    match Tls::load(files) {
        Ok(tls) => Some(Arc::new(tls)),
        Err(faults) => {
            for fault in faults {
                let kind = match fault.is_missing {
                    true => ProblemKind::FileMissing,
                    false => ProblemKind::CertificateInvalid,
                };
                problems.add_at_line(kind, fault.line, fault.message);
            }
            None
        }
    }
}

/// Reads `tls` of a server's table; `None` when it is not there or not usable.
pub(super) fn read(server: &Table<'_>, folder: &Path, problems: &Problems) -> Option<TlsFiles> {
    let entries = server.table("tls")?;
    let table = Table::new("`tls`", entries.value, problems);
    if !table.has("certificates") {
        let message = "`tls` needs `certificates`: [{ cert = \"cert.pem\", key = \"key.pem\" }]";
        problems.add(ProblemKind::MissingKey, &entries.span, message);
    }
    let listed = table.tables("certificates");
    if let Some(value) = table.value("certificates")
        && value.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        let message = "`certificates` is empty; name at least one { cert = \"…\", key = \"…\" }";
        table.bad_value(&value.span(), message);
    }
    let certificates: Vec<_> = listed
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let certificate = Table::new("`certificates`", entry.value, problems);
            let file = |key| named_file(&certificate, key, &entry.span, folder, problems);
            let files = file("cert").zip(file("key")).map(|(cert, key)| CertificateFiles { cert, key });
            certificate.finish();
            files
        })
        .collect();
    let client_ca = client_ca(&table, folder, problems);
    table.finish();
    (!certificates.is_empty()).then_some(TlsFiles { certificates, client_ca })
}

fn named_file(
    table: &Table<'_>,
    key: &'static str,
    entry: &std::ops::Range<usize>,
    folder: &Path,
    problems: &Problems,
) -> Option<NamedFile> {
    if !table.has(key) {
        let message = format!("a certificate needs `{key}`: a PEM file");
        problems.add(ProblemKind::MissingKey, entry, message);
    }
    table.string(key).map(|text| file(&text, folder, problems))
}

fn file(text: &At<&str>, folder: &Path, problems: &Problems) -> NamedFile {
    NamedFile { path: folder.join(text.value), line: problems.line_of(text.span.start) }
}

fn client_ca(table: &Table<'_>, folder: &Path, problems: &Problems) -> Option<ClientCa> {
    let ca = table.string("client_ca");
    let auth = table
        .choice("client_auth", &[("required", ClientAuth::Required), ("optional", ClientAuth::Optional)]);
    if ca.is_none()
        && !table.has("client_ca")
        && let Some(value) = table.value("client_auth")
    {
        let message = "`client_auth` needs `client_ca`: a PEM file with the authorities that sign clients";
        problems.add(ProblemKind::MissingKey, &value.span(), message);
    }
    let ca = ca?;
    Some(ClientCa { file: file(&ca, folder, problems), auth: auth.unwrap_or(ClientAuth::Required) })
}
