//! What holds for any patterns and any request, checked against a model that reads the rules literally: it
//! looks at every pattern, and knows nothing of trees or relations.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use wasmux_mux::{Found, InsertError, Mux, Pattern, Request, Segment};

/// A request that owns its parts.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    host: &'static str,
    path: String,
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request { method: self.method, host: self.host, path: &self.path, query: None }
    }
}

/// Few words, so that patterns compete for requests. Invalid ones are left out by those who insert them.
fn pattern() -> impl Strategy<Value = String> {
    let method = prop_oneof![
        3 => Just(""), 2 => Just("GET "), 1 => Just("HEAD "), 1 => Just("POST "), 1 => Just("CONNECT ")
    ];
    let host = prop_oneof![4 => Just(""), 1 => Just("h")];
    let segment =
        prop_oneof![3 => Just("a"), 2 => Just("b"), 4 => Just("{}"), 1 => Just("%61"), 1 => Just("a%2Fb")];
    let end = prop_oneof![Just(""), Just("/"), Just("/{$}"), Just("/{rest...}")];
    (method, host, prop::collection::vec(segment, 0..4), end).prop_map(|(method, host, segments, end)| {
        let mut text = format!("{method}{host}");
        for (at, segment) in segments.iter().enumerate() {
            text += "/";
            text += &segment.replace("{}", &format!("{{w{at}}}"));
        }
        text + end
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("CONNECT"), Just("get")];
    let host = prop_oneof![Just("h"), Just("h:80"), Just("other"), Just("")];
    let segment = prop_oneof![
        6 => Just("a"), 4 => Just("b"), 1 => Just("%61"), 1 => Just("a%2fb"), 1 => Just("%2F"), 1 => Just("%zz"),
        1 => Just(""), 1 => Just("."), 1 => Just("..")
    ];
    (method, host, prop::collection::vec(segment, 0..5)).prop_map(|(method, host, segments)| {
        let path = segments.iter().flat_map(|segment| ["/", segment]).collect();
        Asked { method, host, path }
    })
}

/// A mux of those patterns that are valid and do not conflict with earlier ones.
fn mux(patterns: &[String]) -> Mux<()> {
    let mut mux = Mux::new();
    for pattern in patterns {
        let _ = mux.insert(pattern, ());
    }
    mux
}

fn outcome(mux: &Mux<()>, asked: &Asked) -> String {
    match mux.find(&asked.request()) {
        Found::Match(found) => {
            let values = found.values().map(|(name, value)| format!(" {name}={}", value.escape_ascii()));
            format!("{}{}", found.pattern(), values.collect::<String>())
        }
        Found::Redirect(redirect) => {
            format!("307 {} {:?}", redirect.location(), redirect.pattern().map(Pattern::as_str))
        }
        Found::MethodNotAllowed(allow) => format!("405 {allow}"),
        Found::NotFound => "404".to_owned(),
        Found::BadRequest => "400".to_owned(),
    }
}

mod model {
    //! The rules.

    use super::*;

    fn clean(path: &str) -> String {
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
            if segment == ".." {
                segments.pop();
            } else {
                segments.push(segment);
            }
        }
        let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
        format!("/{}{end}", segments.join("/"))
    }

    fn decode(text: &str) -> Vec<u8> {
        match text {
            "%zz" => b"%zz".to_vec(),
            _ => text.replace("%61", "a").replace("%2F", "/").replace("%2f", "/").into_bytes(),
        }
    }

    /// The values of the wildcards, if the pattern matches the path.
    fn captures(pattern: &Pattern, path: &str) -> Option<Vec<(String, Vec<u8>)>> {
        let mut segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.last() == Some(&"") {
            *segments.last_mut().unwrap() = "%2F";
        }
        let mut captures = Vec::new();
        for (at, segment) in pattern.segments().iter().enumerate() {
            let text = decode(segments.get(at)?);
            match segment {
                Segment::Literal(literal) if **literal == *text => {}
                Segment::Wildcard(name) if *text != *b"/" => captures.push((name.to_string(), text)),
                Segment::Rest(name) => {
                    let rest = path.splitn(at + 2, '/').last().unwrap();
                    if !name.is_empty() {
                        // One segment that cannot be decoded keeps all of them as they are.
                        let rest = if rest.contains("%zz") { rest.into() } else { decode(rest) };
                        captures.push((name.to_string(), rest));
                    }
                    return Some(captures);
                }
                _ => return None,
            }
        }
        (segments.len() == pattern.segments().len()).then_some(captures)
    }

    fn is_host(pattern: &Pattern, host: &str) -> bool {
        pattern.host().is_none_or(|name| name == host)
    }

    /// The better a pattern, the smaller.
    fn rank(pattern: &Pattern) -> impl Ord {
        let segments = pattern.segments().iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Wildcard(_) => 1,
            Segment::Rest(_) => 2,
        });
        let method = match pattern.method() {
            None => 2,
            Some("GET") => 1,
            Some(_) => 0,
        };
        (pattern.host().is_none(), segments.collect::<Vec<_>>(), method)
    }

    fn best<'m>(mux: &'m Mux<()>, host: &str, method: &str, path: &str) -> Option<&'m Pattern> {
        let is_method = |name: &str| name == method || name == "GET" && method == "HEAD";
        mux.iter()
            .map(|(pattern, _)| pattern)
            .filter(|pattern| is_host(pattern, host) && pattern.method().is_none_or(is_method))
            .filter(|pattern| captures(pattern, path).is_some())
            .min_by_key(|pattern| rank(pattern))
    }

    /// The pattern to redirect to, if one starts exactly at `path/`.
    fn with_slash<'m>(mux: &'m Mux<()>, host: &str, method: &str, path: &str) -> Option<&'m Pattern> {
        let is_exact = |pattern: &&Pattern, path: &str| {
            let is_rest = matches!(pattern.segments().last(), Some(Segment::Rest(_)));
            !is_rest || path.ends_with('/') && path.matches('/').count() == pattern.segments().len()
        };
        let slashed = format!("{path}/");
        if path.is_empty()
            || path.ends_with('/')
            || best(mux, host, method, path).is_some_and(|p| is_exact(&p, path))
        {
            return None;
        }
        best(mux, host, method, &slashed).filter(|pattern| is_exact(pattern, &slashed))
    }

    pub(super) fn outcome(mux: &Mux<()>, asked: &Asked) -> String {
        let is_connect = asked.method == "CONNECT";
        let path = if is_connect { asked.path.clone() } else { clean(&asked.path) };
        let host = if is_connect { asked.host } else { asked.host.split(':').next().unwrap() };
        let target_host = if is_connect && !path.is_empty() { "" } else { host };
        if let Some(pattern) = with_slash(mux, target_host, asked.method, &path) {
            return format!("307 {} {:?}", clean(&format!("{path}/")), Some(pattern.as_str()));
        }
        let best = best(mux, host, asked.method, &path);
        if path != asked.path {
            return format!("307 {path} {:?}", best.map(Pattern::as_str));
        }
        if let Some(pattern) = best {
            let captures = captures(pattern, &path).unwrap().into_iter();
            let values = captures.map(|(name, value)| format!(" {name}={}", value.escape_ascii()));
            return format!("{pattern}{}", values.collect::<String>());
        }
        let slashed = if path.ends_with('/') { path.clone() } else { format!("{path}/") };
        let mut methods: Vec<&str> = mux
            .iter()
            .map(|(pattern, _)| pattern)
            .filter(|pattern| is_host(pattern, target_host))
            .filter(|pattern| captures(pattern, &path).is_some() || captures(pattern, &slashed).is_some())
            .filter_map(|pattern| pattern.method())
            .flat_map(|method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] })
            .collect();
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() { "404".to_owned() } else { format!("405 {}", methods.join(", ")) }
    }
}

/// Whether the pattern, alone, matches the path.
fn matches(pattern: &Pattern, path: &str) -> bool {
    let mut mux = Mux::new();
    mux.insert(pattern.as_str(), ()).unwrap();
    let (method, host) = (pattern.method().unwrap_or("GET"), pattern.host().unwrap_or_default());
    matches!(mux.find(&Request { method, host, path, query: None }), Found::Match(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_rules(
        patterns in prop::collection::vec(pattern(), 0..16),
        asked in prop::collection::vec(asked(), 1..16),
    ) {
        let mux = mux(&patterns);
        for asked in &asked {
            prop_assert_eq!(outcome(&mux, asked), model::outcome(&mux, asked), "{:?} in {:?}", asked, mux);
        }
    }

    #[test]
    fn order_does_not_matter(
        patterns in prop::collection::vec(pattern(), 0..16),
        asked in prop::collection::vec(asked(), 1..8),
        seed in any::<u64>(),
    ) {
        let first = mux(&patterns);
        let mut texts: Vec<&str> = first.iter().map(|(pattern, _)| pattern.as_str()).collect();
        // Any order will do, as long as the seed chooses it.
        let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        texts.sort_by_key(|text| text.bytes().fold(seed, mix));
        let mut second = Mux::new();
        for text in texts {
            prop_assert_eq!(second.insert(text, ()), Ok(()), "it conflicts only in this order");
        }
        for asked in &asked {
            prop_assert_eq!(outcome(&first, asked), outcome(&second, asked), "{:?}", asked);
        }
    }

    #[test]
    fn a_conflict_is_explained_with_true_examples(first in pattern(), second in pattern()) {
        let mut mux = Mux::new();
        prop_assume!(mux.insert(&first, ()).is_ok());
        if let Err(InsertError::Conflict(conflict)) = mux.insert(&second, ()) {
            let (p, q) = (Pattern::parse(&second).unwrap(), Pattern::parse(&first).unwrap());
            let paths: Vec<&str> = conflict.explanation().split('"').skip(1).step_by(2).collect();
            if let [both, only_p, only_q] = paths[..] {
                prop_assert!(matches(&p, both) && matches(&q, both), "{conflict}");
                prop_assert!(matches(&p, only_p) && !matches(&q, only_p), "{conflict}");
                prop_assert!(matches(&q, only_q) && !matches(&p, only_q), "{conflict}");
            } else {
                prop_assert!(paths.is_empty(), "{conflict}");
            }
        }
    }

    #[test]
    fn explaining_agrees_with_finding(
        patterns in prop::collection::vec(pattern(), 0..16),
        asked in prop::collection::vec(asked(), 1..8),
    ) {
        let mux = mux(&patterns);
        for asked in &asked {
            let explanation = mux.explain(&asked.request());
            let winner = match mux.find(&asked.request()) {
                Found::Match(found) => Some(found.pattern()),
                Found::Redirect(redirect) => redirect.pattern(),
                _ => None,
            };
            prop_assert_eq!(explanation.winner(), winner);
            prop_assert!(explanation.runners_up().iter().all(|other| Some(other.pattern) != winner));
        }
    }

    #[test]
    fn nothing_panics(
        texts in prop::collection::vec("(GET |CONNECT )?[/{}$.%a2é \\t]{0,12}", 0..8),
        path in "[/%2F.é{}*]{0,12}",
    ) {
        let mux = mux(&texts);
        for method in ["GET", "CONNECT"] {
            let asked = Asked { method, host: "", path: path.clone() };
            outcome(&mux, &asked);
            mux.explain(&asked.request()).to_string();
        }
    }
}
