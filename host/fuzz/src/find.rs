//! Any patterns and any request: no panic, and the order of the patterns does not matter.

use wasmux_mux::{Found, InsertError, Mux, Request, Target};

/// Input: lines of text: method, host, request target, then patterns.
pub fn find(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let mut lines = input.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (method, host, target) = (next(), next(), next());

    let mut mux = Mux::new();
    for pattern in lines {
        match mux.insert(pattern, ()) {
            Ok(()) => {}
            Err(InsertError::Pattern(error)) => assert!(error.offset() <= pattern.len()),
            Err(InsertError::Conflict(conflict)) => {
                let with = mux.iter().nth(conflict.with()).map(|(pattern, ())| pattern.as_str());
                assert_eq!(with, Some(conflict.with_pattern()));
                assert!(!conflict.explanation().is_empty());
            }
        }
    }
    let mut reversed = Mux::new();
    for pattern in mux.iter().map(|(pattern, ())| pattern.as_str()).rev() {
        reversed.insert(pattern, ()).expect("conflicts do not depend on the order");
    }

    // As it came, and as the server makes it.
    let raw = Request { method, host, path: target, query: None };
    check(&mux, &reversed, &raw);
    if let Ok(target) = Target::parse(method, target) {
        let request = target.request(method, host);
        assert!(
            request.path.is_ascii() && (matches!(request.path, "" | "*") || request.path.starts_with('/'))
        );
        check(&mux, &reversed, &request);
    }
}

fn check(mux: &Mux<()>, reversed: &Mux<()>, request: &Request<'_>) {
    assert_eq!(outcome(mux, request), outcome(reversed, request));
    let explanation = mux.explain(request);
    assert!(!explanation.to_string().is_empty());
    if let Found::Match(found) = mux.find(request) {
        assert_eq!(explanation.winner(), Some(found.pattern()));
        assert!(found.pattern().names().eq(found.values().map(|(name, _)| name)), "each name has a value");
    }
}

fn outcome(mux: &Mux<()>, request: &Request<'_>) -> String {
    match mux.find(request) {
        Found::Match(found) => format!("{} {:?}", found.pattern(), found.values().collect::<Vec<_>>()),
        Found::Redirect(redirect) => {
            assert!(redirect.location().bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(redirect.location().starts_with('/') && !redirect.location().starts_with("//"));
            format!("{redirect:?}")
        }
        Found::MethodNotAllowed(allow) => allow.to_string(),
        Found::NotFound => "not found".to_owned(),
        Found::BadRequest => "bad request".to_owned(),
    }
}
