use wasmux_sdk::sql::{self, Answer, ErrorKind, Queries};
use wasmux_sdk::{Recorder, Request, ResponseWriter, Result};

/// Runs `ask` on a database of one row.
fn with_row(ask: fn(&mut sql::Database) -> sql::Result<()>) {
    let handler =
        move |_: &mut ResponseWriter, _: &mut Request| -> Result<()> { Ok(ask(&mut sql::open("app")?)?) };
    let request = Request::get("/").sql("app", |_, _| {
        Ok(Answer::rows(["id", "title", "size"], [[7.into(), "Milk".into(), 0.5.into()]]))
    });
    assert_eq!(Recorder::serve(handler, request).status(), 200);
}

#[test]
fn rows_are_read_as_tuples() {
    with_row(|db| {
        let row = db.query_row("SELECT", &[])?.expect("a row");
        assert_eq!(row.read::<(i64, String, f32)>()?, (7, "Milk".to_owned(), 0.5));
        let error = row.read::<(i64, String)>().expect_err("too few");
        assert_eq!(error.kind(), ErrorKind::Column);
        assert_eq!(error.to_string(), "the row has 3 columns, but 2 are wanted");
        let error = row.read::<(i64, i64, f64)>().expect_err("a title is no number");
        assert_eq!(error.to_string(), "1: it is text, but i64 is wanted");
        Ok(())
    });
}

#[test]
fn databases_and_transactions_run_statements_alike() {
    fn title(db: &impl Queries) -> sql::Result<String> {
        db.query_row("SELECT", &[])?.expect("a row").get("title")
    }
    with_row(|db| {
        assert_eq!(title(db)?, "Milk");
        let tx = db.begin()?;
        assert_eq!(title(&tx)?, "Milk");
        tx.commit()
    });
}
