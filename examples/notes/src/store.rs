//! Notes and their tags, as statements.

use serde::{Deserialize, Serialize};
use wasmux_sdk::sql::{Database, Queries, Result, Row};

/// A note with its id.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Note {
    pub(crate) id: i64,
    #[serde(flatten)]
    pub(crate) text: Text,
}

/// What a client may say about a note.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Text {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
}

/// Most notes of one answer.
const LISTED_MAX: i64 = 100;

/// The newest notes, or the newest of those with a tag.
pub(crate) fn list(db: &impl Queries, tag: &str) -> Result<Vec<Note>> {
    let rows = match tag {
        "" => db.query("SELECT id, title, body FROM notes ORDER BY id DESC LIMIT $1", &[&LISTED_MAX])?,
        tag => db.query(
            "SELECT id, title, body FROM notes JOIN tags ON note = id WHERE tag = $1 ORDER BY id DESC LIMIT $2",
            &[&tag, &LISTED_MAX],
        )?,
    };
    rows.map(|row| note(db, &row)).collect()
}

/// The note with this id, if there is one.
pub(crate) fn find(db: &impl Queries, id: i64) -> Result<Option<Note>> {
    let row = db.query_row("SELECT id, title, body FROM notes WHERE id = $1", &[&id])?;
    row.map(|row| note(db, &row)).transpose()
}

fn note(db: &impl Queries, row: &Row) -> Result<Note> {
    let (id, title, body) = row.read()?;
    let tags = db.query("SELECT tag FROM tags WHERE note = $1 ORDER BY tag", &[&id])?;
    let tags = tags.map(|row| row.get("tag")).collect::<Result<_>>()?;
    Ok(Note { id, text: Text { title, body, tags } })
}

/// Keeps a new note; answers its id.
pub(crate) fn insert(db: &mut Database, text: &Text) -> Result<i64> {
    let tx = db.begin()?;
    let row = tx.query_row(
        "INSERT INTO notes (id, title, body) SELECT coalesce(max(id), 0) + 1, $1, $2 FROM notes RETURNING id",
        &[&text.title, &text.body],
    )?;
    let id = row.map_or(Ok(0), |row| row.get("id"))?;
    insert_tags(&tx, id, &text.tags)?;
    tx.commit()?;
    Ok(id)
}

/// Changes the note with this id; answers whether there is one.
pub(crate) fn update(db: &mut Database, id: i64, text: &Text) -> Result<bool> {
    let tx = db.begin()?;
    let done =
        tx.execute("UPDATE notes SET title = $1, body = $2 WHERE id = $3", &[&text.title, &text.body, &id])?;
    if done.rows == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM tags WHERE note = $1", &[&id])?;
    insert_tags(&tx, id, &text.tags)?;
    tx.commit()?;
    Ok(true)
}

/// Deletes the note with this id, and its tags along with it; answers whether there was one.
pub(crate) fn delete(db: &impl Queries, id: i64) -> Result<bool> {
    Ok(db.execute("DELETE FROM notes WHERE id = $1", &[&id])?.rows > 0)
}

fn insert_tags(db: &impl Queries, id: i64, tags: &[String]) -> Result<()> {
    for tag in tags {
        db.execute("INSERT INTO tags (note, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING", &[&id, tag])?;
    }
    Ok(())
}
