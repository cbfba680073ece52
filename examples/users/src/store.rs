//! The users. In memory, which with `isolation = "request"` lasts as long as one request.

use serde::{Deserialize, Serialize};

/// A user with an id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) profile: Profile,
}

/// What a client may say about a user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) email: String,
}

/// Three users, the same at the start of every request.
pub(crate) fn seed() -> Vec<User> {
    [
        ("Ada Lovelace", "ada@example.com"),
        ("Grace Hopper", "grace@example.com"),
        ("Ken Thompson", "ken@example.com"),
    ]
    .into_iter()
    .zip(1..)
    .map(|((name, email), id)| User { id, profile: Profile { name: name.into(), email: email.into() } })
    .collect()
}

impl Profile {
    /// What is wrong with it, as field and sentence; empty if nothing is.
    pub(crate) fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.name.trim().chars().count()) {
            problems.push(("name", "must have 1 to 100 characters"));
        }
        let is_email = self.email.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && host.contains('.') && !self.email.contains(char::is_whitespace)
        });
        if !is_email || self.email.len() > 254 {
            problems.push(("email", "must be an e-mail address"));
        }
        problems
    }
}
