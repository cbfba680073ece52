//! Plays the cases that real Go made through `check` and `routes explain`, as a user would see them.
//!
//! The mux crate plays them too; here it is the TOML, the lines and the commands that are put to the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::Site;

const CORPUS: &str = include_str!("../conformance/mux-corpus.jsonl");

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

/// A TOML key: JSON's escapes are TOML's too, but TOML wants one for DEL as well.
fn quoted(pattern: &str) -> String {
    serde_json::to_string(pattern).unwrap().replace('\x7f', "\\u007f")
}

/// A deployment of these patterns, the first on line 2.
fn deployment<'p>(patterns: impl Iterator<Item = &'p str>) -> Site {
    let mut routes = "[routes]\n".to_owned();
    patterns.for_each(|pattern| writeln!(routes, "{} = {{ respond = \"\" }}", quoted(pattern)).unwrap());
    Site::new(&routes)
}

#[test]
fn check_agrees_with_go() {
    let mut failures = Vec::new();
    for (number, line) in CORPUS.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let patterns = case["register"].as_array().unwrap();
        let site = deployment(patterns.iter().map(|pattern| text(pattern, "pattern")));
        let problems: Vec<Value> = serde_json::from_slice(&site.run(&["check", "--json"]).stdout).unwrap();
        let found: BTreeMap<_, _> = problems
            .iter()
            .map(|problem| (problem["line"].as_u64().unwrap(), text(problem, "kind")))
            .collect();
        for (index, pattern) in patterns.iter().enumerate() {
            let seen = match found.get(&(index as u64 + 2)) {
                None => "ok",
                Some(&"pattern-invalid") => "invalid",
                Some(&"pattern-conflict") => "conflict",
                Some(other) => other,
            };
            if seen != text(pattern, "result") {
                failures.push(format!("case {}: {pattern}: {seen}", number + 1));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn explain_agrees_with_go() {
    let mut failures = Vec::new();
    let mut played = 0;
    for (number, line) in CORPUS.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let patterns = case["register"].as_array().unwrap().iter();
        let good =
            patterns.filter(|pattern| pattern["result"] == "ok").map(|pattern| text(pattern, "pattern"));
        let site = deployment(good);
        let mut expected = Vec::new();
        let mut questions = String::new();
        for request in case["requests"].as_array().unwrap() {
            let mut outcome = request.clone();
            let mut question = serde_json::Map::new();
            for key in ["method", "target", "host"] {
                question.insert(key.to_owned(), outcome.as_object_mut().unwrap().remove(key).unwrap());
            }
            writeln!(questions, "{}", Value::Object(question)).unwrap();
            expected.push((request, outcome));
        }
        let output = site.run_with_input(&["routes", "explain", "--json"], &questions);
        let answers: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(answers.len(), expected.len(), "case {}", number + 1);
        for (mut answer, (request, outcome)) in answers.into_iter().zip(expected) {
            let handler = answer.as_object_mut().unwrap().remove("handler");
            let named = handler == Some("(respond 200)".into());
            if answer != outcome || named != (outcome["status"] == 200) {
                failures.push(format!("case {}: {request}: {answer}", number + 1));
            }
            played += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(played > 5000, "only {played}");
}
