//! The name of a client, as text.

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate, X509Name};

/// The subject of a certificate as a string of RFC 4514: `CN=Alice,OU=Staff,O=Example`. `None` when it cannot be parsed.
#[must_use]
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(text(parsed.subject()))
}

/// The last part comes first (RFC 4514 section 2.1); parts of one level are joined with `+`.
fn text(name: &X509Name<'_>) -> String {
    let mut levels: Vec<_> =
        name.iter_rdn().map(|level| level.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    levels.reverse();
    levels.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    match (oid2abbrev(kind, oid_registry()), attribute.as_str()) {
        (Ok(kind), Ok(value)) => format!("{kind}={}", escaped(value)),
        // Without a known name, or not text: the encoding itself (RFC 4514 section 2.4).
        _ => {
            let bytes = attribute.attr_value().to_der_vec().unwrap_or_default();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}=#{hex}", kind.to_id_string())
        }
    }
}

/// RFC 4514 section 2.4. Control characters are escaped as well, so that a subject is always one line.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            '#' if index == 0 => escaped.push_str("\\#"),
            ' ' if index == 0 || index == last => escaped.push_str("\\ "),
            control if control.is_control() => {
                let mut bytes = [0; 4];
                for byte in control.encode_utf8(&mut bytes).bytes() {
                    escaped.push_str(&format!("\\{byte:02X}"));
                }
            }
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    #[test]
    fn subjects() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Example, Inc. <x>");
        name.push(DnType::OrganizationalUnitName, " a\nb ");
        name.push(DnType::CommonName, "#1 \u{e4}");
        params.distinguished_name = name;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let expected = "CN=\\#1 \u{e4},OU=\\ a\\0Ab\\ ,O=Example\\, Inc. \\<x\\>,C=DE";
        assert_eq!(subject(certificate.der()).as_deref(), Some(expected));
        assert_eq!(subject(&CertificateDer::from(&b"nonsense"[..])), None);
    }
}
