//! How a line of the access log is written.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use http::HeaderValue;
use serde::Serialize;

use super::{Form, Record};
use crate::printable;

/// Of what a client has sent, each text is cut here, in bytes.
const FIELD_BYTES_MAX: usize = 8 << 10;

/// What a line says.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// When it ended.
    time: String,
    #[serde(skip)]
    received: SystemTime,
    remote: &'a str,
    method: &'a str,
    target: String,
    protocol: String,
    status: Option<u16>,
    bytes: u64,
    duration_us: u64,
    complete: bool,
    handler: Option<&'a str>,
    pattern: Option<&'a str>,
    request_id: &'a str,
    /// Left out for what is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    /// Content of the request that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_bytes: Option<u64>,
    /// Left out when it was not one of a guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    /// Of a request that is traced, sampled or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// What is known of the connection's TLS; left out without.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subject: Option<&'a str>,
    #[serde(skip)]
    client: [Option<&'a HeaderValue>; 2],
}

impl<'a> Line<'a> {
    /// What is known at the end.
    pub(super) fn of(record: &'a Record) -> Self {
        let stats = record.route.as_ref().map(|(stats, _)| &**stats);
        let version = stats.map(|stats| &*stats.version).filter(|version| !version.is_empty());
        let notes = record.notes.as_deref();
        let of_guest = notes.filter(|_| version.is_some());
        let tls = record.peer.tls.as_ref();
        let (now, took) = (SystemTime::now(), record.started.elapsed());
        Self {
            time: rfc3339(now),
            received: now.checked_sub(took).unwrap_or(now),
            remote: &record.peer.remote,
            method: record.method.as_str(),
            target: cut(record.target.clone().unwrap_or_else(|| record.uri.to_string())),
            protocol: format!("{:?}", record.version),
            status: record.status.map(|status| status.as_u16()),
            bytes: record.bytes,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            complete: record.complete,
            handler: stats.map(|stats| &*stats.handler.name),
            pattern: record.route.as_ref().map(|(_, info)| info.pattern.as_str()),
            request_id: &record.id,
            version,
            request_bytes: notes.map(|notes| notes.request_bytes.get()),
            queue_us: of_guest.map(|notes| notes.queue_us()),
            cpu_us: of_guest.map(|notes| notes.cpu_us()),
            trace_id: notes.and_then(|notes| Some(notes.trace()?.id().to_string())),
            tls: tls.map(|tls| tls.version),
            client_subject: tls.and_then(|tls| tls.client_subject.as_deref()),
            client: record.client.each_ref().map(Option::as_ref),
        }
    }

    /// The line, with its end.
    pub(super) fn text(&self, form: Form) -> String {
        match form {
            Form::Json => printable::json(serde_json::to_string(self).unwrap_or_default()) + "\n",
            Form::Text => self.plain(),
            Form::Combined => self.combined(),
        }
    }

    fn status(&self) -> String {
        self.status.map_or_else(|| "-".to_owned(), |status| status.to_string())
    }

    fn plain(&self) -> String {
        let broken = if self.complete { "" } else { " (incomplete)" };
        format!(
            "{} {} \"{} {} {}\" {} {}B {:.3}ms {} {}{broken}\n",
            self.time,
            self.remote,
            self.method,
            quoted(&self.target),
            self.protocol,
            self.status(),
            self.bytes,
            self.duration_us as f64 / 1000.0,
            self.handler.unwrap_or("-"),
            self.request_id,
        )
    }

    /// Apache's combined log format, without any more, so that whatever reads that can read this.
    fn combined(&self) -> String {
        let request = format!("{} {} {}", self.method, self.target, self.protocol);
        let bytes = if self.bytes == 0 { "-".to_owned() } else { self.bytes.to_string() };
        let [referer, agent] = self.client.map(|field| match field {
            Some(field) => field_text(field),
            None => "-".to_owned(),
        });
        format!(
            "{} - - [{}] \"{}\" {} {bytes} \"{referer}\" \"{agent}\"\n",
            host(self.remote).as_deref().unwrap_or("-"),
            clf_time(&rfc3339(self.received)),
            escape(request.as_bytes()),
            // As in nginx, and in the metrics: there is none, but there has to be one.
            self.status.unwrap_or(499),
        )
    }
}

/// An address without its port; `None` of a unix socket, which has none.
pub(super) fn host(remote: &str) -> Option<String> {
    Some(remote.parse::<SocketAddr>().ok()?.ip().to_canonical().to_string())
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// `2026-11-22T21:19:27.123Z` as `22/Nov/2026:21:19:27 +0000`.
fn clf_time(rfc3339: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range| rfc3339.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    format!("{}/{}/{}:{} +0000", part(8..10), month.unwrap_or(&"Jan"), part(0..4), part(11..19))
}

/// As much of a text as is logged.
fn cut(mut text: String) -> String {
    if text.len() > FIELD_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FIELD_BYTES_MAX));
        text.push('…');
    }
    text
}

/// As much of a field.
fn field_text(field: &HeaderValue) -> String {
    match field.as_bytes().get(..FIELD_BYTES_MAX) {
        Some(start) if field.len() > FIELD_BYTES_MAX => escape(start) + "...",
        _ => escape(field.as_bytes()),
    }
}

/// What a client has sent, between quotes for people: it can end neither the quotes nor the line, nor drive a terminal.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c => printable::push(&mut out, c),
        }
    }
    out
}

/// What a client has sent, between quotes as Apache writes it (mod_log_config): it can end neither the quotes nor the line.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_common_log_format() {
        assert_eq!(clf_time("2026-11-02T21:19:27.123Z"), "02/Nov/2026:21:19:27 +0000");
        assert_eq!(clf_time(""), "/Jan/: +0000");
    }

    #[test]
    fn nothing_ends_the_quotes() {
        assert_eq!(escape(b"a\"b\\c\n\xff"), r#"a\"b\\c\x0a\xff"#);
    }

    #[test]
    fn lines_for_people_cannot_be_forged() {
        assert_eq!(quoted("/é\"\\\u{9b}31m\u{202e}"), r#"/é\"\\\u{9b}31m\u{202e}"#);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("/é".to_owned()), "/é");
        let long = cut("é".repeat(FIELD_BYTES_MAX));
        assert_eq!(long, "é".repeat(FIELD_BYTES_MAX / 2) + "…");
        let field = HeaderValue::from_str(&"x".repeat(FIELD_BYTES_MAX + 1)).unwrap();
        assert_eq!(field_text(&field), "x".repeat(FIELD_BYTES_MAX) + "...");
        let field = HeaderValue::from_str(&"x".repeat(FIELD_BYTES_MAX)).unwrap();
        assert_eq!(field_text(&field), "x".repeat(FIELD_BYTES_MAX));
    }

    #[test]
    fn hosts_have_no_port() {
        for (remote, expected) in [
            ("192.0.2.1:5", Some("192.0.2.1")),
            ("[::1]:5", Some("::1")),
            ("[::ffff:1.2.3.4]:5", Some("1.2.3.4")),
            ("unix", None),
        ] {
            assert_eq!(host(remote).as_deref(), expected);
        }
    }
}
