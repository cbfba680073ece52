//! The cases as they stand in `tests/conformance/wire-cases.jsonl`, and the outcomes that they are about.
//!
//! Keys that nobody reads are errors, so that a case never asks for more than is compared.

use serde::Deserialize;

/// A field line: name in lower case, value.
pub(super) type Field = (String, String);

/// What one client does on one connection, and what net/http made of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) class: Class,
    /// Why the case is there.
    pub(super) note: String,
    /// How the server is set up.
    #[serde(default = "default_profile")]
    pub(super) profile: String,
    /// Methods of the requests in order; GET where there is none.
    #[serde(default)]
    pub(super) methods: Vec<String>,
    pub(super) steps: Vec<Step>,
    /// Whether a request is sent in the end, to see what state the connection is in.
    #[serde(default = "yes")]
    pub(super) probe: bool,
    /// What is compared beyond the ordinary.
    #[serde(default)]
    pub(super) check: Vec<String>,
    /// Differences that are fine.
    #[serde(default)]
    pub(super) allow: Vec<String>,
    /// What must not occur in the bytes that the server sent, in any letter case.
    #[serde(default)]
    pub(super) never: Vec<String>,
    pub(super) golden: Outcome,
}

fn default_profile() -> String {
    "default".to_owned()
}

fn yes() -> bool {
    true
}

impl Case {
    pub(super) fn checks(&self, what: &str) -> bool {
        self.check.iter().any(|word| word == what)
    }

    pub(super) fn allows(&self, what: &str) -> bool {
        self.allow.iter().any(|word| word == what)
    }

    /// Whether a machine that is too busy can make a server that is right look wrong.
    pub(super) fn measures_time(&self) -> bool {
        let clocks = ["timeouts", "read", "write"].contains(&self.profile.as_str());
        clocks || self.checks("when") || self.steps.iter().any(|step| matches!(step, Step::See { .. }))
    }
}

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    /// Users or security depend on it.
    Must,
    /// net/http is lenient; to refuse is as good.
    StrictOk,
    /// Shown, and never a failure.
    Informative,
}

/// One thing that the client does. Texts are Latin-1: one character is one byte. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Step {
    /// Sends; with `each` and `gap` so many bytes at a time, so long apart.
    Send { send: String, each: Option<usize>, gap: Option<u64> },
    /// Sends a text so many times.
    Repeat { repeat: String, times: usize },
    /// Reads for so long.
    Wait { wait: u64 },
    /// Reads until so many final responses are complete.
    Read { read: usize, ms: Option<u64> },
    /// Reads until so many interim responses came, or one more final one.
    Interim { interim: usize, ms: Option<u64> },
    /// Reads until these bytes came; whether they did in time is part of the outcome.
    See { see: String, ms: Option<u64> },
    /// Reads until the connection ends.
    Close {
        #[serde(rename = "close")]
        _close: bool,
        ms: Option<u64>,
    },
    /// Sends no more.
    Shut {
        #[serde(rename = "shut")]
        _shut: bool,
    },
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    /// Final responses in order.
    pub(super) responses: Vec<Response>,
    pub(super) end: End,
    /// The step in which the connection ended, when the case checks that.
    #[serde(default)]
    pub(super) ended_at: Option<usize>,
    /// What the `see` steps found.
    #[serde(default)]
    pub(super) seen: Vec<bool>,
    /// Statuses of interim responses that no final one followed.
    #[serde(default)]
    pub(super) interim_only: Vec<u16>,
    /// The first breach of the wire format.
    #[serde(default)]
    pub(super) error: Option<String>,
}

impl Outcome {
    /// Whether the server ended the connection.
    pub(super) fn ended(&self) -> bool {
        matches!(self.end, End::Closed | End::Reset)
    }
}

/// The state of the connection after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    /// The probe was answered.
    Open,
    /// The probe got the answer to something else.
    Desync,
    /// The probe got no answer.
    Stuck,
    Closed,
    Reset,
    /// Open, and not probed.
    Waiting,
}

/// A final response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) status: u16,
    /// `1.0` or `1.1`.
    pub(super) version: String,
    /// Sorted by name, the value of Date masked.
    pub(super) headers: Vec<Field>,
    pub(super) framing: Framing,
    pub(super) body: Body,
    /// Whether the body came to the end that its framing promised.
    pub(super) complete: bool,
    #[serde(default)]
    pub(super) trailers: Vec<Field>,
    /// Interim responses in front of it.
    #[serde(default)]
    pub(super) interim: Vec<Interim>,
}

impl Response {
    /// The puppet marks what it makes; anything else is by the server itself.
    pub(super) fn is_by_handler(&self) -> bool {
        values(&self.headers, "x-puppet").next().is_some()
    }
}

/// An interim (1xx) response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interim {
    pub(super) status: u16,
    pub(super) headers: Vec<Field>,
}

/// What says where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Framing {
    /// Content-Length.
    Cl,
    Chunked,
    /// The end of the connection.
    Close,
    /// There is no body.
    None,
}

/// A body: its length in bytes, and its text, or its hash if it is long or binary.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) len: usize,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) sha256: Option<String>,
}

/// The values of all fields with this name, in order.
pub(super) fn values<'f>(fields: &'f [Field], name: &'f str) -> impl Iterator<Item = &'f str> {
    fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The members of comma-separated lists, in lower case, sorted.
pub(super) fn tokens<'v>(values: impl Iterator<Item = &'v str>) -> Vec<String> {
    let members = values.flat_map(|value| value.split(','));
    let mut tokens: Vec<_> = members.map(|member| member.trim().to_lowercase()).collect();
    tokens.retain(|token| !token.is_empty());
    tokens.sort();
    tokens
}

/// A text of a case as bytes.
pub(super) fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("cases are Latin-1")).collect()
}
