//! The request as a guest is told of it, in lines that are the same whatever its contract.

use std::fmt::Write as _;

/// Header or trailer lines: values are bytes.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A request's head.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// `GET`.
    pub method: String,
    /// `http` or `https`; empty if the guest cannot know.
    pub scheme: String,
    /// Host and port; empty if the guest cannot know.
    pub authority: String,
    /// Path and query, as they came.
    pub target: Vec<u8>,
    /// In the order in which the guest gets them.
    pub fields: Fields,
}

impl Told {
    /// One line for each thing; fields sorted by name, values of one name in their order.
    #[must_use]
    pub fn lines(&self) -> String {
        let target = quote(&self.target);
        let Self { method, scheme, authority, fields, .. } = self;
        format!(
            "method={method}\nscheme={scheme}\nauthority={authority}\ntarget={target}\n{}",
            lines(fields.clone())
        )
    }
}

/// One line for each field, sorted by name; values of one name stay in their order.
#[must_use]
pub fn lines(mut fields: Fields) -> String {
    fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}: {}", quote(value)); // into a String: never fails
        text
    })
}

/// Bytes that are not visible ASCII as `\xNN`.
fn quote(bytes: &[u8]) -> String {
    let escaped = bytes.iter().map(|&byte| match byte {
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    escaped.collect()
}
