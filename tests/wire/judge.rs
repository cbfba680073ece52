//! Compares an outcome with the golden one: what differs, less what the case allows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::case::{Case, Class, End, Field, Outcome, Response, latin1, tokens};
use super::player::contains;

/// Headers that any server may add.
const IGNORED: [&str; 2] = ["server", "keep-alive"];

/// Statuses of responses by the server itself that are compared exactly; for others any 4xx or 5xx will do.
const EXACT: [u16; 6] = [200, 307, 404, 405, 417, 431];

/// Headers of the request that a server may or may not leave in what the handler sees.
const SEE_OPTIONAL: [&str; 4] = ["Host", "Content-Length", "Transfer-Encoding", "Trailer"];

/// What differs: the aspect, as `allow` names it, and a sentence.
type Difference = (String, String);

/// The strings that must never come and did; nothing makes up for them.
pub(super) fn forbidden(case: &Case, raw: &[u8]) -> Vec<String> {
    let raw = raw.to_ascii_lowercase();
    let came = case.never.iter().filter(|text| contains(&raw, &latin1(text).to_ascii_lowercase()));
    came.map(|text| format!("forbidden bytes came: {text:?}")).collect()
}

/// The reasons why the outcome is not acceptable; `raw` is everything that the server sent.
pub(super) fn judge(case: &Case, got: &Outcome, raw: &[u8]) -> Vec<String> {
    let forbidden = forbidden(case, raw);
    if !forbidden.is_empty() {
        return forbidden;
    }
    let differences = diff_outcome(case, got);
    if !differences.is_empty() && is_alternative(case, got) {
        return Vec::new();
    }
    differences
}

/// Whether this is one of the other outcomes that the case admits: as wanted up to a point, then something else.
fn is_alternative(case: &Case, got: &Outcome) -> bool {
    let want = &case.golden;
    if got.error.is_some() || want.ended_at != got.ended_at {
        return false;
    }
    let both = want.responses.len().min(got.responses.len());
    let same = (0..both).take_while(|index| diff_responses(case, got, *index).is_empty()).count();
    let rest = &got.responses[same..];
    let may_refuse = case.class == Class::StrictOk || case.allows("refuse");
    if may_refuse && got.ended() && rest.len() <= 1 && rest.iter().all(is_refusal) {
        return true;
    }
    if case.allows("may-close") && got.ended() && rest.is_empty() && same > 0 {
        return true;
    }
    let is_500 = |response: &Response| response.status == 500 && is_refusal(response);
    case.allows("may-500") && rest.first().is_some_and(is_500)
}

/// A complete error response by the server itself.
fn is_refusal(response: &Response) -> bool {
    response.status >= 400 && !response.is_by_handler() && response.complete
}

fn diff_outcome(case: &Case, got: &Outcome) -> Vec<String> {
    let want = &case.golden;
    let both = want.responses.len().min(got.responses.len());
    let mut found: Vec<_> = (0..both).flat_map(|index| diff_responses(case, got, index)).collect();
    let mut differ = |what: &str, want: String, got: String| {
        if want != got {
            found.push(format!("{what}: want {want}, got {got}"));
        }
    };
    let statuses = |outcome: &Outcome| outcome.responses.iter().map(|response| response.status).collect();
    let (wanted, came): (Vec<_>, Vec<_>) = (statuses(want), statuses(got));
    if wanted.len() != came.len() {
        differ("responses", format!("{wanted:?}"), format!("{came:?}"));
    }
    differ("wire format", format!("{:?}", want.error), format!("{:?}", got.error));
    if !case.allows("interim") {
        let interim = |outcome: &Outcome| format!("{:?}", outcome.interim_only);
        differ("interim without a final response", interim(want), interim(got));
    }
    differ("came in time", format!("{:?}", want.seen), format!("{:?}", got.seen));
    // How the end of a connection shows depends on what was on its way.
    let same_end = want.ended() && got.ended();
    let fine_end = case.allows("end") && matches!(got.end, End::Open | End::Closed | End::Reset);
    if !same_end && !fine_end {
        differ("connection", format!("{:?}", want.end), format!("{:?}", got.end));
    }
    differ("ended in step", format!("{:?}", want.ended_at), format!("{:?}", got.ended_at));
    found
}

/// What differs between the two responses with this index, less what the case allows.
fn diff_responses(case: &Case, got: &Outcome, index: usize) -> Vec<String> {
    let (want, response) = (&case.golden.responses[index], &got.responses[index]);
    // A close that comes may be announced, also where net/http does not say so.
    let is_last = index + 1 == got.responses.len();
    let closes = header_map(response).get("connection").is_some_and(|tokens| tokens == &["close"]);
    let announced = is_last && got.ended() && closes;
    let framing = ["header:content-length", "header:transfer-encoding"];
    let allowed = |aspect: &str| {
        (announced && aspect == "header:connection")
            || case.allows(aspect)
            || (framing.contains(&aspect) && case.allows("framing"))
    };
    let found = diff_response(want, response, case).into_iter().filter(|(aspect, _)| !allowed(aspect));
    found.map(|(_, message)| format!("response {}: {message}", index + 1)).collect()
}

fn diff_response(want: &Response, got: &Response, case: &Case) -> Vec<Difference> {
    let maker = |response: &Response| if response.is_by_handler() { "handler" } else { "server" };
    let by_handler = want.is_by_handler();
    if by_handler != got.is_by_handler() {
        let (by, by_got) = (maker(want), maker(got));
        let message = format!("want {} from the {by}, got {} from the {by_got}", want.status, got.status);
        return vec![("maker".to_owned(), message)];
    }
    if want.status != got.status && (by_handler || EXACT.contains(&want.status) || got.status < 400) {
        let aspect = if want.status >= 400 && got.status >= 400 { "status" } else { "outcome" };
        return vec![(aspect.to_owned(), format!("status: want {}, got {}", want.status, got.status))];
    }
    let mut found = diff_interim(want, got);
    if want.complete != got.complete {
        let (want, complete, len) = (want.complete, got.complete, got.body.len);
        let message = format!("complete: want {want}, got {complete} ({len} body bytes)");
        found.push(("complete".to_owned(), message));
    }
    found.extend(if by_handler { diff_by_handler(want, got, case) } else { diff_by_server(want, got) });
    found
}

fn diff_interim(want: &Response, got: &Response) -> Vec<Difference> {
    let statuses = |response: &Response| response.interim.iter().map(|one| one.status).collect::<Vec<_>>();
    let found = difference("interim", &statuses(want), &statuses(got));
    if !found.is_empty() {
        return found;
    }
    let pairs = want.interim.iter().zip(&got.interim).filter(|(want, _)| want.status != 100);
    let date = BTreeSet::from(["date"]);
    let headers =
        pairs.flat_map(|(want, got)| diff_headers(&map(&want.headers, ""), &map(&got.headers, ""), &date));
    headers.map(|(_, message)| ("interim".to_owned(), format!("interim {message}"))).collect()
}

/// A response of the server itself: only what clients act on.
fn diff_by_server(want: &Response, got: &Response) -> Vec<Difference> {
    let (wanted, came) = (header_map(want), header_map(got));
    let mut found = Vec::new();
    for name in ["location", "allow"] {
        if wanted.contains_key(name) {
            found.extend(difference(&format!("header:{name}"), &wanted.get(name), &came.get(name)));
        }
    }
    if want.status == 200 {
        found.extend(difference("body", &want.body, &got.body));
    }
    found
}

/// A response of the handler: all that it said.
fn diff_by_handler(want: &Response, got: &Response, case: &Case) -> Vec<Difference> {
    let mut found = difference("version", &want.version, &got.version);
    let mut skip = BTreeSet::new();
    if !case.checks("content-type") {
        skip.insert("content-type");
    }
    if want.framing != got.framing {
        skip.extend(["content-length", "transfer-encoding"]);
        found.extend(difference("framing", &want.framing, &got.framing));
    }
    if let (Some(want), Some(got)) = (see_of(want), see_of(got)) {
        skip.insert("content-length");
        found.extend(diff_see(&want, &got, case.checks("see-all")));
    } else {
        found.extend(difference("body", &want.body, &got.body));
    }
    found.extend(diff_headers(&header_map(want), &header_map(got), &skip));
    found.extend(difference("trailers", &want.trailers, &got.trailers));
    found
}

fn difference<T: PartialEq + std::fmt::Debug>(aspect: &str, want: &T, got: &T) -> Vec<Difference> {
    if want == got {
        return Vec::new();
    }
    let text = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
    vec![(aspect.to_owned(), format!("{aspect}: want {}, got {}", text(want), text(got)))]
}

type Headers = BTreeMap<String, Vec<String>>;

fn header_map(response: &Response) -> Headers {
    map(&response.headers, &response.version)
}

/// The fields by name; of Connection only what the version does not say by itself.
fn map(fields: &[Field], version: &str) -> Headers {
    let mut map = Headers::new();
    for (name, value) in fields.iter().filter(|(name, _)| !IGNORED.contains(&name.as_str())) {
        map.entry(name.clone()).or_default().push(value.clone());
    }
    let implied = if version == "1.0" { "close" } else { "keep-alive" };
    let mut connection = tokens(map.remove("connection").iter().flatten().map(String::as_str));
    connection.retain(|token| token != implied);
    if !connection.is_empty() {
        map.insert("connection".to_owned(), connection);
    }
    map
}

fn diff_headers(want: &Headers, got: &Headers, skip: &BTreeSet<&str>) -> Vec<Difference> {
    let names: BTreeSet<_> =
        want.keys().chain(got.keys()).filter(|name| !skip.contains(name.as_str())).collect();
    let differences =
        names.into_iter().map(|name| difference(&format!("header:{name}"), &want.get(name), &got.get(name)));
    differences.flatten().collect()
}

/// What the handler saw of the request, if that is what the body says.
fn see_of(response: &Response) -> Option<Value> {
    let text = response.body.text.as_deref().filter(|text| text.starts_with("{\"method\":"))?;
    serde_json::from_str(text).ok()
}

fn diff_see(want: &Value, got: &Value, exact: bool) -> Vec<Difference> {
    let wanted = want.as_object().into_iter().flatten().filter(|(key, _)| exact || *key != "te");
    let needed = |field: &Value| !field[0].as_str().is_some_and(|name| SEE_OPTIONAL.contains(&name));
    let differences = wanted.map(|(key, want)| {
        let aspect = format!("see:{key}");
        match (want, &got[key]) {
            (Value::Array(want), Value::Array(got)) if key == "headers" && !exact => {
                let fields =
                    |fields: &[Value]| fields.iter().filter(|field| needed(field)).cloned().collect();
                let (want, got): (Vec<_>, Vec<_>) = (fields(want), fields(got));
                difference(&aspect, &want, &got)
            }
            (want, got) => difference(&aspect, want, got),
        }
    });
    differences.flatten().collect()
}
