//! `[tracing]`: which requests are traced, and the collector that gets the spans.

use std::path::Path;

use http::{HeaderName, HeaderValue};
use toml::Spanned;
use toml::de::DeValue;

use super::grants;
use super::problem::{ProblemKind, Problems};
use super::table::{At, Table};
use crate::trace::TraceSettings;

/// Reads `[tracing]`; `None` without it, and beside a problem.
pub(super) fn read(root: &Table<'_>, folder: &Path, problems: &Problems) -> Option<TraceSettings> {
    let entries = root.table("tracing")?;
    let table = Table::new("[tracing]", entries.value, problems);
    if cfg!(not(feature = "otlp")) {
        let message = "[tracing]: this wasmux was built without the feature `otlp`";
        problems.add(ProblemKind::BadValue, &entries.span, message.to_owned());
    }
    let endpoint = match table.string("endpoint") {
        Some(text) => TraceSettings::endpoint(text.value)
            .map_err(|why| table.bad_value(&text.span, format!("`endpoint`: {why}")))
            .ok(),
        None if table.has("endpoint") => None, // it is no string, which was reported
        None => {
            let message = "[tracing] needs an `endpoint`, such as \"http://127.0.0.1:4318\"";
            problems.add(ProblemKind::BadValue, &entries.span, message.to_owned());
            None
        }
    };
    let sample = table.ratio("sample");
    let name = table.string("service_name");
    let timeout = table.duration("timeout");
    let headers = table.entries("headers").into_iter().flatten();
    let headers: Vec<_> = headers.filter_map(|(name, value)| header(&table, folder, &name, value)).collect();
    table.finish();
    let mut settings = TraceSettings::new(endpoint?);
    settings.headers = headers;
    sample.into_iter().for_each(|part| settings.sample(part));
    name.into_iter().for_each(|name| settings.service_name = name.value.to_owned());
    timeout.into_iter().for_each(|timeout| settings.timeout = timeout);
    Some(settings)
}

/// A field for the collector: text, or a secret from elsewhere.
fn header(
    table: &Table<'_>,
    folder: &Path,
    name: &At<&str>,
    value: &Spanned<DeValue<'_>>,
) -> Option<(HeaderName, HeaderValue)> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.clone().into_owned(),
        _ => grants::secret(table, folder, name, value)?,
    };
    let Ok(field) = HeaderName::from_bytes(name.value.as_bytes()) else {
        table.bad_value(&name.span, format!("`headers`: \"{}\" is no name of a field", name.value));
        return None;
    };
    let Ok(mut text) = HeaderValue::try_from(text) else {
        table
            .bad_value(&value.span(), format!("`headers`: the value of `{}` is none of a field", name.value));
        return None;
    };
    text.set_sensitive(true);
    Some((field, text))
}
