//! Which trace a request belongs to: the fields `traceparent` and `tracestate` (W3C Trace Context, level 1).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names trace, span and whether it is sampled.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What each tracing system on the way has to say; may be several fields.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A `traceparent` of version 00, in bytes.
const LEN: usize = 55;

/// Longest `tracestate` that is handed on, in bytes: the least that the standard asks for (section 3.3.1.5). A longer one
/// is dropped, which it allows.
const STATE_BYTES_MAX: usize = 512;

/// The flag that says: it is sampled.
const SAMPLED: u8 = 1;

/// The id of a trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    pub(super) fn random() -> Self {
        Self(random())
    }

    /// Its part of randomness: by this all who trace decide alike (OpenTelemetry: TraceIdRatioBased).
    pub(super) fn ratio(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(random())
    }
}

fn random<const N: usize>() -> [u8; N] {
    loop {
        let bytes: [u8; N] = rand::random();
        if bytes != [0; N] {
            return bytes;
        }
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// A span, as one service tells the next about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span that caused this request.
    pub span: SpanId,
    /// Whether the caller keeps it.
    pub is_sampled: bool,
    /// `tracestate`, as it came; may be empty.
    pub state: Vec<u8>,
}

impl Context {
    /// What a request says of it. `None` when it says nothing, or what is malformed.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(&TRACEPARENT).iter();
        // Of two nobody knows which one holds.
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        let (trace, span, is_sampled) = parse(field.as_bytes())?;
        Some(Self { trace, span, is_sampled, state: state(headers) })
    }

    /// Replaces what a request says of it.
    pub fn write(&self, headers: &mut HeaderMap) {
        let flags = if self.is_sampled { SAMPLED } else { 0 };
        let text = format!("00-{}-{}-{flags:02x}", self.trace, self.span);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
        match HeaderValue::from_bytes(&self.state) {
            Ok(state) if !state.is_empty() => drop(headers.insert(TRACESTATE, state)),
            _ => drop(headers.remove(TRACESTATE)),
        }
    }
}

/// Section 3.2. Later versions may have more behind it, and begin the same.
fn parse(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (head, rest) = value.split_at_checked(LEN)?;
    let version = byte(&head[..2])?;
    let is_known = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let has_dashes = [2, 35, 52].iter().all(|&at| head[at] == b'-');
    if !is_known || !has_dashes {
        return None;
    }
    let (trace, span) = (bytes::<16>(&head[3..35])?, bytes::<8>(&head[36..52])?);
    let flags = byte(&head[53..])?;
    let is_valid = trace != [0; 16] && span != [0; 8];
    is_valid.then_some((TraceId(trace), SpanId(span), flags & SAMPLED != 0))
}

fn bytes<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (out, digits) in out.iter_mut().zip(hex.chunks(2)) {
        *out = byte(digits)?;
    }
    Some(out)
}

/// Two digits in lower case.
fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let &[high, low] = digits else { return None };
    Some(digit(high)? << 4 | digit(low)?)
}

/// All of `tracestate` in one line. What is in it is not ours to judge.
fn state(headers: &HeaderMap) -> Vec<u8> {
    let lines: Vec<&[u8]> = headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    let whole = lines.join(&b","[..]);
    if whole.len() > STATE_BYTES_MAX { Vec::new() } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn fields(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    fn of(text: &str) -> Option<Context> {
        Context::of(&fields(&[(TRACEPARENT, text)]))
    }

    #[test]
    fn what_is_well_formed_is_understood() {
        let context = of(GOOD).unwrap();
        assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span.to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled);
        assert!(!of(&GOOD.replace("-01", "-00")).unwrap().is_sampled);
        assert!(of(&GOOD.replace("-01", "-ff")).unwrap().is_sampled, "flags that nobody knows yet");
        assert!(of(&format!("cc{}", &GOOD[2..])).is_some(), "a later version");
        assert!(of(&format!("cc{}-more", &GOOD[2..])).is_some(), "which says more");
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        let bad = [
            "",
            "00",
            &GOOD[1..],
            &GOOD.to_uppercase(),
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &format!("ff{}", &GOOD[2..]),
            &format!("cc{}x", &GOOD[2..]),
            &GOOD.replace("0af7", "0xf7"),
            &GOOD.replace("b7ad", "b7 d"),
            &GOOD.replace('-', "_"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
        ];
        for text in bad {
            assert_eq!(of(text), None, "{text:?}");
        }
        let twice = fields(&[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)]);
        assert_eq!(Context::of(&twice), None);
    }

    #[test]
    fn what_is_written_is_understood_the_same() {
        let mut map = fields(&[(TRACEPARENT, GOOD), (TRACESTATE, "a=1"), (TRACESTATE, "b=2,c=3")]);
        let context = Context::of(&map).unwrap();
        assert_eq!(context.state, b"a=1,b=2,c=3");
        context.write(&mut map);
        assert_eq!(map[TRACEPARENT], GOOD);
        assert_eq!(map.get_all(TRACESTATE).iter().count(), 1);
        assert_eq!(Context::of(&map).unwrap(), context);
        let quiet = Context { state: Vec::new(), is_sampled: false, ..context };
        quiet.write(&mut map);
        assert!(map[TRACEPARENT].to_str().unwrap().ends_with("-00") && !map.contains_key(TRACESTATE));
    }

    #[test]
    fn too_much_state_is_dropped() {
        let long = "x".repeat(STATE_BYTES_MAX + 1);
        let map = fields(&[(TRACEPARENT, GOOD), (TRACESTATE, &long)]);
        assert_eq!(Context::of(&map).unwrap().state, b"");
        let map = fields(&[(TRACEPARENT, GOOD), (TRACESTATE, &long[1..])]);
        assert_eq!(Context::of(&map).unwrap().state.len(), STATE_BYTES_MAX);
    }
}
