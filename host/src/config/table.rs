//! Reads a TOML table key by key and notices what was not asked for.
//!
//! Why not serde: it stops at the first mistake and forgets where values stood.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{ProblemKind, Problems, did_you_mean};
use super::units;

/// A table that is being read. What was never asked for is reported by [`Table::finish`].
pub(super) struct Table<'t> {
    /// How the table is called in messages, such as `[server]`.
    name: String,
    entries: &'t DeTable<'t>,
    asked: RefCell<Vec<&'static str>>,
    problems: &'t Problems,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<'t> Table<'t> {
    pub(super) fn new(name: impl Into<String>, entries: &'t DeTable<'t>, problems: &'t Problems) -> Self {
        Self { name: name.into(), entries, asked: RefCell::default(), problems }
    }

    /// The value under `key`, whatever it is.
    pub(super) fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    /// A table inside this one.
    pub(super) fn inner(&self, key: &str, entries: &'t DeTable<'t>) -> Self {
        Self::new(format!("`{key}` of {}", self.name), entries, self.problems)
    }

    /// Whether the key is there, without taking it as asked for.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn string(&self, key: &'static str) -> Option<At<&'t str>> {
        self.typed(key, "a string", |value| value.as_str())
    }

    pub(super) fn table(&self, key: &'static str) -> Option<At<&'t DeTable<'t>>> {
        self.typed(key, "a table", |value| value.as_table())
    }

    /// A list of tables: `[[…]]`, or written inline.
    pub(super) fn tables(&self, key: &'static str) -> Option<Vec<At<&'t DeTable<'t>>>> {
        let list = self.typed(key, "a list of tables", |value| value.as_array())?;
        let mut tables = Vec::new();
        for item in list.value.iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push(At { value: table, span: item.span() }),
                None => self.wrong_type(key, item, "a list of tables"),
            }
        }
        Some(tables)
    }

    /// A list of strings; a single string is taken as a list of one.
    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<At<&'t str>>> {
        let value = self.value(key)?;
        if let Some(text) = value.get_ref().as_str() {
            return Some(vec![At { value: text, span: value.span() }]);
        }
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of strings");
            return None;
        };
        let mut strings = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(text) => strings.push(At { value: text, span: item.span() }),
                None => self.wrong_type(key, item, "a list of strings"),
            }
        }
        Some(strings)
    }

    /// A table whose values are all strings, in the order of the file.
    pub(super) fn string_map(&self, key: &'static str) -> Vec<(At<&'t str>, At<&'t str>)> {
        let mut pairs = Vec::new();
        for (name, value) in self.entries(key).into_iter().flatten() {
            match value.get_ref().as_str() {
                Some(text) => pairs.push((name, At { value: text, span: value.span() })),
                None => self.wrong_type(name.value, value, "a string"),
            }
        }
        pairs
    }

    /// The entries of a table of the author's own keys, in the order of the file.
    pub(super) fn entries(&self, key: &'static str) -> Option<Vec<(At<&'t str>, &'t Spanned<DeValue<'t>>)>> {
        let table = self.table(key)?;
        let mut entries: Vec<_> = table
            .value
            .iter()
            .map(|(name, value)| (At { value: name.get_ref().as_ref(), span: name.span() }, value))
            .collect();
        entries.sort_by_key(|(name, _)| name.span.start);
        Some(entries)
    }

    /// Whether it is true or false.
    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool).map(|found| found.value)
    }

    /// A whole number in a range.
    pub(super) fn integer(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = self.typed(key, "a whole number", |value| value.as_integer())?;
        let parsed = u64::from_str_radix(number.value.as_str(), number.value.radix()).ok();
        let in_range = parsed.filter(|parsed| range.contains(parsed));
        if in_range.is_none() {
            let (low, high) = range.into_inner();
            self.bad_value(&number.span, format!("`{key}` must be a whole number from {low} to {high}"));
        }
        in_range
    }

    /// A part of a whole: a number from 0 to 1.
    pub(super) fn ratio(&self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let ratio = number.filter(|number| (0.0..=1.0).contains(number));
        if ratio.is_none() {
            self.bad_value(&value.span(), format!("`{key}` must be a number from 0 to 1, such as 0.1"));
        }
        ratio
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        let text = self.string_with_unit(key, "a duration such as \"30s\"")?;
        match units::duration(text.value) {
            Ok(duration) if duration.is_zero() => {
                self.bad_value(&text.span, format!("`{key}` must be longer than nothing"));
                None
            }
            Ok(duration) => Some(duration),
            Err(message) => {
                // Some clocks can be, and this one looks like them.
                let hint = if text.value == "off" { "; it cannot be \"off\"" } else { "" };
                self.bad_value(&text.span, format!("`{key}`: {message}{hint}"));
                None
            }
        }
    }

    /// A duration, or `"off"`, which is the inner `None`.
    pub(super) fn clock(&self, key: &'static str) -> Option<Option<Duration>> {
        if self.value(key)?.get_ref().as_str() == Some("off") {
            return Some(None);
        }
        self.duration(key).map(Some)
    }

    pub(super) fn size(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.string_with_unit(key, "a size such as \"16MiB\"")?;
        match units::size(text.value) {
            Ok(size) if range.contains(&size) => Some(size),
            Ok(_) => {
                let (low, high) = range.into_inner();
                self.bad_value(&text.span, format!("`{key}` must be from {low} to {high} bytes"));
                None
            }
            Err(message) => {
                self.bad_value(&text.span, format!("`{key}`: {message}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = choices.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let hint = did_you_mean(text.value, choices.iter().map(|(word, _)| *word));
            let message = format!("`{key}` is \"{}\", but must be {}{hint}", text.value, words.join(" or "));
            self.bad_value(&text.span, message);
        }
        found.map(|(_, choice)| *choice)
    }

    pub(super) fn bad_value(&self, span: &Range<usize>, message: impl Into<String>) {
        self.problems.add(ProblemKind::BadValue, span, message);
    }

    /// Reports every key that was never asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !asked.contains(&name) {
                let hint = did_you_mean(name, asked.iter().copied());
                let message = format!("unknown key `{name}` in {}{hint}", self.name);
                self.problems.add(ProblemKind::UnknownKey, &key.span(), message);
            }
        }
    }

    fn typed<T>(
        &self,
        key: &'static str,
        wanted: &str,
        get: impl Fn(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let found = get(value.get_ref());
        if found.is_none() {
            self.wrong_type(key, value, wanted);
        }
        found.map(|found| At { value: found, span: value.span() })
    }

    fn string_with_unit(&self, key: &'static str, wanted: &str) -> Option<At<&'t str>> {
        self.typed(key, wanted, |value| value.as_str())
    }

    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.bad_value(
            &value.span(),
            format!("`{key}` in {} must be {wanted}, but is a TOML {found}", self.name),
        );
    }
}
