//! One function for each route. All answers are JSON, also the refusals.

use serde::Serialize;
use wasmux_sdk::{HeaderValue, Request, ResponseWriter, Result, StatusCode, header};

use crate::store::{Profile, User, seed};

/// Largest request body, in bytes; a longer one is a `413`.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// `GET /users/?q=text`: all users, or those whose name contains the text.
pub(crate) fn list(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let wanted = r.query_value("q").to_lowercase();
    let users: Vec<User> =
        seed().into_iter().filter(|user| user.profile.name.to_lowercase().contains(&wanted)).collect();
    w.json(&users)
}

/// `POST /users/`: a new user, `201` with its `Location`.
pub(crate) fn create(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let Some(profile) = read_profile(w, r)? else { return Ok(()) };
    let users = seed();
    if users.iter().any(|user| user.profile.email == profile.email) {
        return refuse(w, StatusCode::CONFLICT, "this e-mail address is taken", &[]);
    }
    let id = users.iter().map(|user| user.id).max().unwrap_or(0) + 1;
    w.headers_mut().insert(header::LOCATION, HeaderValue::try_from(format!("/users/{id}"))?);
    answer(w, StatusCode::CREATED, &User { id, profile })
}

/// `GET /users/{id}`
pub(crate) fn show(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    match find(w, r)? {
        Some(user) => w.json(&user),
        None => Ok(()),
    }
}

/// `PUT /users/{id}`: the user with another profile.
pub(crate) fn replace(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let Some(user) = find(w, r)? else { return Ok(()) };
    let Some(profile) = read_profile(w, r)? else { return Ok(()) };
    w.json(&User { profile, ..user })
}

/// `DELETE /users/{id}`: `204`.
pub(crate) fn delete(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    if find(w, r)?.is_some() {
        w.write_header(StatusCode::NO_CONTENT);
    }
    Ok(())
}

/// The user that the path names; `None` when the refusal was written.
fn find(w: &mut ResponseWriter, r: &Request) -> Result<Option<User>> {
    let Ok(id) = r.path_value("id").parse::<u64>() else {
        refuse(w, StatusCode::BAD_REQUEST, "the id must be a number", &[])?;
        return Ok(None);
    };
    let user = seed().into_iter().find(|user| user.id == id);
    if user.is_none() {
        refuse(w, StatusCode::NOT_FOUND, "no such user", &[])?;
    }
    Ok(user)
}

/// The profile in the body, checked; `None` when the refusal was written.
fn read_profile(w: &mut ResponseWriter, r: &mut Request) -> Result<Option<Profile>> {
    if !r.header("content-type").starts_with("application/json") {
        refuse(w, StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json", &[])?;
        return Ok(None);
    }
    let profile = match r.max_bytes(BODY_BYTES_MAX).json::<Profile>() {
        Ok(profile) => profile,
        Err(error) => {
            refuse(w, error.status(), error.message(), &[])?;
            return Ok(None);
        }
    };
    let problems = profile.problems();
    if !problems.is_empty() {
        refuse(w, StatusCode::UNPROCESSABLE_ENTITY, "the user is not valid", &problems)?;
        return Ok(None);
    }
    Ok(Some(profile))
}

/// What a client gets instead of what it wanted.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: Vec<Field<'a>>,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    problem: &'a str,
}

fn refuse(w: &mut ResponseWriter, status: StatusCode, error: &str, problems: &[(&str, &str)]) -> Result<()> {
    let fields = problems.iter().map(|&(name, problem)| Field { name, problem }).collect();
    answer(w, status, &Refusal { error, fields })
}

/// JSON with a status. The type has to be set before the status fixes the head.
fn answer(w: &mut ResponseWriter, status: StatusCode, value: &impl Serialize) -> Result<()> {
    w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    w.write_header(status);
    w.json(value)
}
