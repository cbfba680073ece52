//! One function for each route. All answers are JSON, also the refusals.

use serde::Serialize;
use wasmux_sdk::{HeaderValue, Request, ResponseWriter, Result, StatusCode, header, sql};

use crate::store::{self, Text};

/// The database's name in routes.toml.
const DATABASE: &str = "notes";

/// Largest request body, in bytes; a longer one is a `413`.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// `GET /notes/?tag=home`
pub(crate) fn list(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let db = sql::open(DATABASE)?;
    w.json(&store::list(&db, r.query_value("tag"))?)
}

/// `POST /notes/`: `201` with the new note's `Location`.
pub(crate) fn create(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let Some(text) = read_text(w, r)? else { return Ok(()) };
    let mut db = sql::open(DATABASE)?;
    let id = match store::insert(&mut db, &text) {
        Ok(id) => id,
        Err(error) if error.is_unique() => {
            return refuse(w, StatusCode::CONFLICT, "there is a note with this title");
        }
        Err(error) => return Err(error.into()),
    };
    w.headers_mut().insert(header::LOCATION, HeaderValue::try_from(format!("/notes/{id}"))?);
    answer(w, StatusCode::CREATED, &store::Note { id, text })
}

/// `GET /notes/{id}`
pub(crate) fn show(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let Some(id) = id(w, r)? else { return Ok(()) };
    match store::find(&sql::open(DATABASE)?, id)? {
        Some(note) => w.json(&note),
        None => missing(w),
    }
}

/// `PUT /notes/{id}`
pub(crate) fn replace(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let Some(id) = id(w, r)? else { return Ok(()) };
    let Some(text) = read_text(w, r)? else { return Ok(()) };
    let mut db = sql::open(DATABASE)?;
    match store::update(&mut db, id, &text) {
        Ok(true) => w.json(&store::Note { id, text }),
        Ok(false) => missing(w),
        Err(error) if error.is_unique() => refuse(w, StatusCode::CONFLICT, "there is a note with this title"),
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /notes/{id}`: `204`.
pub(crate) fn delete(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let Some(id) = id(w, r)? else { return Ok(()) };
    if !store::delete(&sql::open(DATABASE)?, id)? {
        return missing(w);
    }
    w.write_header(StatusCode::NO_CONTENT);
    Ok(())
}

/// The id in the path; `None` when the refusal was written.
fn id(w: &mut ResponseWriter, r: &Request) -> Result<Option<i64>> {
    let id = r.path_value("id").parse().ok();
    if id.is_none() {
        refuse(w, StatusCode::BAD_REQUEST, "the id must be a number")?;
    }
    Ok(id)
}

/// The note in the body, checked; `None` when the refusal was written.
fn read_text(w: &mut ResponseWriter, r: &mut Request) -> Result<Option<Text>> {
    let text = match r.max_bytes(BODY_BYTES_MAX).json::<Text>() {
        Ok(text) => text,
        Err(error) => return refuse(w, error.status(), error.message()).map(|()| None),
    };
    if text.title.trim().is_empty() {
        return refuse(w, StatusCode::UNPROCESSABLE_ENTITY, "a note has a title").map(|()| None);
    }
    Ok(Some(text))
}

fn missing(w: &mut ResponseWriter) -> Result<()> {
    refuse(w, StatusCode::NOT_FOUND, "no such note")
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

fn refuse(w: &mut ResponseWriter, status: StatusCode, error: &str) -> Result<()> {
    answer(w, status, &Refusal { error })
}

/// JSON with a status. The type has to be set before the status fixes the head.
fn answer(w: &mut ResponseWriter, status: StatusCode, value: &impl Serialize) -> Result<()> {
    w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    w.write_header(status);
    w.json(value)
}
