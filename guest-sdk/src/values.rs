//! [`Values`]: the parameters of a query or a form.

use std::fmt;

use crate::escape::unescape_query;

/// Most parameters in one query or form; one with more is refused whole, as by net/http.
pub(crate) const PARAMETERS_MAX: usize = 10_000;

/// Names and values of a query or a form, in the order in which they came; `net/url`'s `Values`.
///
/// Text that is not UTF-8 after decoding has its bad bytes replaced by `U+FFFD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(Vec<(String, String)>);

impl Values {
    /// The first value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// All values of this name.
    pub fn get_all<'v>(&'v self, name: &str) -> impl Iterator<Item = &'v str> {
        self.iter().filter_map(move |(given, value)| (given == name).then_some(value))
    }

    /// Whether there is a value of this name, possibly an empty one; `Has`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// Appends the parameters of `text`, leaving out those that are not valid.
    ///
    /// # Errors
    /// The first thing that was wrong; what was right is there nevertheless, as after `ParseForm`.
    pub(crate) fn parse_into(&mut self, text: &str) -> Result<(), ValuesError> {
        if text.bytes().filter(|byte| *byte == b'&').count() >= PARAMETERS_MAX {
            return Err(ValuesError::TooMany);
        }
        let mut result = Ok(());
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            match parse_pair(pair) {
                Ok(pair) => self.0.push(pair),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

fn parse_pair(pair: &str) -> Result<(String, String), ValuesError> {
    if pair.contains(';') {
        return Err(ValuesError::Semicolon); // old clients meant `&` by it; guessing would be a way round filters
    }
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decode = |text| unescape_query(text).ok_or(ValuesError::Escape);
    Ok((decode(name)?, decode(value)?))
}

/// Why a query or form is not wholly valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValuesError {
    TooMany,
    Semicolon,
    Escape,
}

impl fmt::Display for ValuesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "more than 10000 parameters",
            Self::Semicolon => "invalid semicolon separator in query",
            Self::Escape => "invalid URL escape",
        })
    }
}

impl std::error::Error for ValuesError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<(String, String)>, Result<(), ValuesError>) {
        let mut values = Values::default();
        let result = values.parse_into(text);
        (values.0, result)
    }

    #[test]
    fn parameters_follow_net_url() {
        type Row = (&'static str, &'static [(&'static str, &'static str)], Result<(), ValuesError>);
        let table: [Row; 10] = [
            ("", &[], Ok(())),
            ("a=1", &[("a", "1")], Ok(())),
            ("a=1&b=2", &[("a", "1"), ("b", "2")], Ok(())),
            ("a=1&a=2&a=banana", &[("a", "1"), ("a", "2"), ("a", "banana")], Ok(())),
            ("ascii=%3Ckey%3A+0x90%3E", &[("ascii", "<key: 0x90>")], Ok(())),
            ("a", &[("a", "")], Ok(())),
            ("=x&&", &[("", "x")], Ok(())),
            ("a=1;b=2", &[], Err(ValuesError::Semicolon)),
            ("a;b&c=3", &[("c", "3")], Err(ValuesError::Semicolon)),
            ("a=%zz&b=2", &[("b", "2")], Err(ValuesError::Escape)),
        ];
        for (text, want, result) in table {
            let want: Vec<_> = want.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(parse(text), (want, result), "{text}");
        }
    }

    #[test]
    fn ten_thousand_parameters_are_the_most() {
        let (values, result) = parse(&"&a=".repeat(PARAMETERS_MAX)[1..]);
        assert_eq!((values.len(), result), (PARAMETERS_MAX, Ok(())));
        assert_eq!(parse(&"&a=".repeat(PARAMETERS_MAX)), (vec![], Err(ValuesError::TooMany)));
    }
}
