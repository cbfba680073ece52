//! `/debug/pprof/`: the paths and parameters of Go's net/http/pprof, so that `go tool pprof` and who knows it find their way.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{CONTENT_DISPOSITION, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::query::Query;
use super::{Admin, typed};
use crate::body::Body;
use crate::profile::{DURATION_MAX, Profile};

/// What `profile` samples for when nothing is said; Go's.
const SECONDS: u64 = 30;

/// Addresses that `symbol` names in one go.
const ADDRESSES_MAX: usize = 1_000;

/// And `flame`, for which somebody waits.
const FLAME_SECONDS: u64 = 5;

/// Pages run their own script and no other's, talk to nobody, and stand in no other page.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; form-action 'none'; \
                           base-uri 'none'; frame-ancestors 'none'";

/// Each profile, and what it shows.
const PROFILES: [(&str, &str); 5] = [
    (
        "profile",
        "what computes, in the host and in guests: samples for seconds=N (30), of handler=NAME only if that is given",
    ),
    ("flame", "the same as a flame graph: for seconds=N (5)"),
    ("heap", "who has memory: handlers' instances and code, and the host"),
    ("threads", "what each thread is at; debug=1 for text"),
    ("tasks", "requests of guests, at work and waiting"),
];

/// Why there is no profile.
struct Refused(StatusCode, String);

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

type Answer = Result<Response<Body>, Refused>;

impl Admin {
    /// Answers a request for the profile of this name; none is the list of all.
    pub(super) async fn profile(&self, name: &str, request: &Request<Incoming>) -> Response<Body> {
        let query = Query::of(request);
        let answered = match name {
            "" => Ok(html(index())),
            "cmdline" => Ok(text(command_line())),
            "symbol" => self.symbols(request.uri().query().unwrap_or_default()).await,
            "profile" => self.cpu_profile(&query).await,
            "flame" => self.flame(&query).await,
            "heap" | "threads" | "goroutine" | "tasks" => self.snapshot(name, &query).await,
            _ => {
                let names = PROFILES.map(|(name, _)| name).join(", ");
                Err(Refused(StatusCode::NOT_FOUND, format!("Unknown profile; there are {names}")))
            }
        };
        let mut response = answered.unwrap_or_else(|Refused(status, message)| {
            let mut response = text(message + "\n");
            *response.status_mut() = status;
            let name = HeaderName::from_static("x-go-pprof");
            response.headers_mut().insert(name, HeaderValue::from_static("1"));
            response
        });
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn cpu_profile(&self, query: &Query) -> Answer {
        // As in Go, what is no number is as good as nothing.
        let seconds = query.get("seconds").and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
        let profile = self.sampled(seconds.unwrap_or(SECONDS), query).await?;
        shown("profile", profile, query).await
    }

    async fn flame(&self, query: &Query) -> Answer {
        let seconds = match query.get("seconds") {
            None => FLAME_SECONDS,
            Some(text) => positive(text)?,
        };
        let profile = self.sampled(seconds, query).await?;
        let of = query.get("handler").map(|name| format!(" of handler {name}")).unwrap_or_default();
        let page = profile.into_flame(format!("CPU{of}, {seconds} s")).await;
        page.map(html).map_err(|error| failed("There is no page", &error))
    }

    async fn sampled(&self, seconds: u64, query: &Query) -> Result<Profile, Refused> {
        let duration = Duration::from_secs(seconds);
        if duration > DURATION_MAX {
            let max = DURATION_MAX.as_secs();
            return Err(Refused::bad(format!("`seconds` is {max} at most")));
        }
        let handler = query.get("handler");
        if let Some(name) = handler.filter(|name| !self.profiler.knows(name)) {
            return Err(Refused(StatusCode::NOT_FOUND, format!("there is no handler `{name}` with a guest")));
        }
        let profile = self.profiler.cpu(duration, handler).await;
        profile.map_err(|error| failed("Could not enable CPU profiling", &error))
    }

    async fn snapshot(&self, name: &str, query: &Query) -> Answer {
        let mut profile = self.snapshot_now(name).await?;
        let mut name = name.to_owned();
        if let Some(seconds) = query.get("seconds") {
            if is_text(query) {
                return Err(Refused::bad("seconds and debug params are incompatible"));
            }
            let seconds = positive(seconds)?;
            if seconds > DURATION_MAX.as_secs() {
                return Err(Refused::bad(format!("`seconds` is {} at most", DURATION_MAX.as_secs())));
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            profile = self.snapshot_now(&name).await?.since(&profile);
            name += "-delta";
        }
        shown(&name, profile, query).await
    }

    async fn snapshot_now(&self, name: &str) -> Result<Profile, Refused> {
        match name {
            "heap" => Ok(self.profiler.heap()),
            "tasks" => Ok(self.profiler.tasks()),
            _ => self
                .profiler
                .threads()
                .await
                .map_err(|error| failed("The threads were not looked at", &error)),
        }
    }

    /// Go: net/http/pprof.Symbol.
    async fn symbols(&self, addresses: &str) -> Answer {
        let digits = addresses.split('+').map(|address| address.strip_prefix("0x").unwrap_or(address));
        let numbers = digits.filter_map(|digits| u64::from_str_radix(digits, 16).ok());
        let numbers: Vec<_> = numbers.filter(|number| *number > 0).take(ADDRESSES_MAX).collect();
        let names = self.profiler.functions(numbers.clone()).await;
        let mut lines = "num_symbols: 1\n".to_owned();
        for (number, name) in numbers.iter().zip(names.map_err(|error| failed("There are no names", &error))?)
        {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{number:#x} {name}");
        }
        Ok(text(lines))
    }
}

fn failed(what: &str, error: &std::io::Error) -> Refused {
    let why = match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            "somebody else samples at this moment; try again later".to_owned()
        }
        std::io::ErrorKind::Unsupported => "this system has no timers for threads".to_owned(),
        _ => error.to_string(),
    };
    Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("{what}: {why}"))
}

fn is_text(query: &Query) -> bool {
    query.get("debug").is_some_and(|debug| debug.parse().is_ok_and(|debug: i64| debug > 0))
}

fn positive(text: &str) -> Result<u64, Refused> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Refused::bad("`seconds` is a number from 1 on"))
}

fn text(text: impl Into<bytes::Bytes>) -> Response<Body> {
    typed("text/plain; charset=utf-8", text)
}

fn html(page: String) -> Response<Body> {
    let mut response = typed("text/html; charset=utf-8", page);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response.headers_mut().insert(http::header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// A profile as it is wanted: for people, or as a file of this name.
async fn shown(name: &str, profile: Profile, query: &Query) -> Answer {
    let broken = |error| failed("The profile cannot be written", &error);
    if is_text(query) {
        return profile.into_text().await.map(text).map_err(broken);
    }
    let mut response = typed("application/octet-stream", profile.into_proto().await.map_err(broken)?);
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// The arguments that the process was started with, with NUL between them.
fn command_line() -> Vec<u8> {
    let mut line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    line.pop_if(|last| *last == 0);
    line
}

fn index() -> String {
    let rows = PROFILES.map(|(name, what)| {
        let text = if name == "flame" { "" } else { "?debug=1" };
        format!("<tr><td><a href=\"{name}{text}\">{name}</a><td>{what}")
    });
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>/debug/pprof/</title><style>:root{{color-scheme:light dark}}\
         body{{font:14px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:60rem;padding:0 1rem}}td{{padding:.2rem 1rem .2rem \
         0;vertical-align:top}}</style><h1>/debug/pprof/</h1><table>{}</table><p>Without <code>debug=1</code> they are gzip'd \
         profile.proto, for <code>go tool pprof</code>; <code>wasmux profile</code> writes them to a file. \
         <code>seconds=N</code> of <code>heap</code>, <code>threads</code> and <code>tasks</code> is what changes in that \
         time.</p></html>\n",
        rows.join("")
    )
}
