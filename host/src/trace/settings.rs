//! What is traced, and who gets to see it.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// The settings of `[tracing]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// Where spans go, path included: OTLP over HTTP.
    pub endpoint: Uri,
    /// Of 2^64 traces that begin here, as many are sampled; `None`: all. Whoever calls decides for those that go on.
    pub sampled_below: Option<u64>,
    /// Fields of each request to the collector.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `service.name` of the resource.
    pub service_name: String,
    /// How long the collector may take to answer.
    pub timeout: Duration,
}

impl TraceSettings {
    /// The path that OTLP has for traces.
    const PATH: &str = "/v1/traces";

    /// All traces, to this collector.
    #[must_use]
    pub fn new(endpoint: Uri) -> Self {
        Self {
            endpoint,
            sampled_below: None,
            headers: Vec::new(),
            service_name: "wasmux".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    /// `http://host:port` or `https://…`; `/v1/traces` goes behind it, if it has no path or does not end so.
    ///
    /// # Errors
    /// A clause that says what is wrong.
    pub fn endpoint(text: &str) -> Result<Uri, String> {
        let text = text.trim_end_matches('/');
        let whole =
            if text.ends_with(Self::PATH) { text.to_owned() } else { format!("{text}{}", Self::PATH) };
        let uri: Uri = whole.parse().map_err(|error| format!("\"{text}\" is not a URL: {error}"))?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        match () {
            () if !is_http || uri.host().is_none_or(str::is_empty) => {
                Err(format!("\"{text}\" must be a URL such as \"http://127.0.0.1:4318\""))
            }
            () if authority.contains('@') => {
                Err("a password in the URL would show in logs; use `headers`".to_owned())
            }
            () => Ok(uri),
        }
    }

    /// Samples this part of all traces, 0 to 1.
    pub fn sample(&mut self, part: f64) {
        // 2^64 as a float is exact, and so is what `as` does with what is beyond.
        self.sampled_below = (part < 1.0).then_some((part * 2_f64.powi(64)) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_path() {
        for text in ["http://a:4318", "http://a:4318/", "http://a:4318/v1/traces", "http://a:4318/v1/traces/"]
        {
            assert_eq!(TraceSettings::endpoint(text).unwrap(), "http://a:4318/v1/traces");
        }
        assert_eq!(TraceSettings::endpoint("https://a/otlp").unwrap(), "https://a/otlp/v1/traces");
        for bad in ["", "a:4318", "grpc://a", "http://", "http://u:p@a"] {
            let error = TraceSettings::endpoint(bad).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn a_part_is_a_bound() {
        let mut settings = TraceSettings::new(Uri::from_static("http://a/"));
        let mut below = |part| {
            settings.sample(part);
            settings.sampled_below
        };
        assert_eq!([below(0.0), below(0.5), below(1.0)], [Some(0), Some(1 << 63), None]);
    }
}
