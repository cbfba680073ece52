//! Which certificate a client gets: by the name it asks for (RFC 6066 section 3), else the first.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Certificates by the DNS names that they are for.
#[derive(Debug, Default)]
pub(super) struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    /// By name in lower case; of a wildcard, `*.example.com` as it stands. Several for one name differ in the kind of
    /// their keys, and the client says which it can check.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    pub(super) fn add(&mut self, certified: CertifiedKey, names: Vec<String>) {
        let certified = Arc::new(certified);
        for name in names {
            self.names.entry(name).or_default().push(Arc::clone(&certified));
        }
        self.all.push(certified);
    }

    /// Those for this name: by itself, by a wildcard for its first label (RFC 9525 section 6.3), else all of them.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.all };
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        self.names.get(&name).or_else(wildcard).unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let checkable =
            |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(checkable).or(candidates.first()).cloned()
    }
}

/// The DNS names of a certificate, in lower case, and what is wrong with its dates, if anything.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, Option<String>), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = alternatives.into_iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let dates = parsed.validity();
    let wrong = if dates.is_valid() {
        None
    } else if dates.not_after.timestamp() < x509_parser::time::ASN1Time::now().timestamp() {
        Some(format!("has expired on {}", dates.not_after))
    } else {
        Some(format!("is not valid before {}", dates.not_before))
    };
    Ok((names.collect(), wrong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::PrivateKeyDer;

    fn certified(names: &[&str]) -> (CertifiedKey, Vec<String>) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let chain = vec![made.cert.der().clone()];
        let names = of(&chain[0]).unwrap().0;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        (CertifiedKey::from_der(chain, key, &default_provider()).unwrap(), names)
    }

    #[test]
    fn names_choose() {
        let mut by_name = ByName::default();
        for names in [&["first.test", "*.Wild.test"][..], &["a.wild.test", "second.test"], &["*.test"]] {
            let (certified, names) = certified(names);
            by_name.add(certified, names);
        }
        let chosen = |name| {
            let chosen = &by_name.candidates(name)[0];
            by_name.all.iter().position(|certified| Arc::ptr_eq(certified, chosen)).unwrap()
        };
        for (name, expected) in [
            ("first.test", 0),
            ("FIRST.test", 0),
            ("second.test", 1),
            ("a.wild.test", 1),
            ("b.wild.test", 0),
            ("c.b.wild.test", 0),
            ("wild.test", 2),
            ("other.test", 2),
            ("other.example", 0),
            ("", 0),
        ] {
            assert_eq!(chosen(Some(name)), expected, "{name}");
        }
        assert_eq!(chosen(None), 0);
    }
}
