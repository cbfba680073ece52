//! What handlers may rely on, whatever the backend: one table, for both.

use wasmux::sql::{Access, Database, Error, ErrorKind, Rows, Transaction, User, Value};

/// What a statement must answer.
enum Wanted {
    /// So many rows changed.
    Changed(u64),
    /// These rows.
    Rows(Vec<Vec<Value>>),
    /// This failure.
    Fails(ErrorKind),
}

use Wanted::{Changed, Fails};

fn int(number: i64) -> Value {
    Value::Integer(number)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn rows<const C: usize, const R: usize>(rows: [[Value; C]; R]) -> Wanted {
    Wanted::Rows(rows.map(|row| row.to_vec()).to_vec())
}

const INJECTION: &str = "x'); DROP TABLE item; --";
const COUNT: &str = "SELECT count(*) FROM item";
const ADD: &str = "INSERT INTO item (id, name) VALUES ($1, $2)";

type Case<'c> = (&'c str, Vec<Value>, Wanted);

/// Statements in the order in which they run, with the words `BEGIN`, `READ`, `COMMIT` and `ROLLBACK` for calls.
fn table(blob: &str) -> Vec<(String, Vec<Value>, Wanted)> {
    let make = format!(
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, price DOUBLE PRECISION, image {blob}, parent BIGINT \
         REFERENCES item (id), CHECK (price >= 0))"
    );
    let begin =
        vec![("DROP TABLE IF EXISTS item", Vec::new(), Changed(0)), (make.as_str(), Vec::new(), Changed(0))];
    let end = vec![("DROP TABLE item", Vec::new(), Changed(0))];
    let cases = [begin, statements(), mistakes(), transactions(), end].into_iter().flatten();
    cases.map(|(sql, values, wanted)| (sql.to_owned(), values, wanted)).collect()
}

fn statements() -> Vec<Case<'static>> {
    let none = Vec::new;
    vec![
        // Values go in and come out.
        (
            "INSERT INTO item VALUES ($1, $2, $3, $4, $5)",
            vec![int(1), text("Ä\u{1f600}"), Value::Real(0.5), Value::Blob(vec![0, 255]), Value::Null],
            Changed(1),
        ),
        (
            "SELECT id, name, price, image, parent FROM item",
            none(),
            rows([[int(1), text("Ä\u{1f600}"), Value::Real(0.5), Value::Blob(vec![0, 255]), Value::Null]]),
        ),
        (ADD, vec![int(i64::MAX), text("")], Changed(1)),
        ("SELECT id, name FROM item WHERE id = $1", vec![int(i64::MAX)], rows([[int(i64::MAX), text("")]])),
        (
            "SELECT name FROM item WHERE id = $2 AND name <> $1",
            vec![text("a"), int(1)],
            rows([[text("Ä\u{1f600}")]]),
        ),
        ("SELECT id FROM item WHERE name = $1", vec![text("nobody")], Wanted::Rows(vec![])),
        // What looks like a statement is a value.
        (ADD, vec![int(2), text(INJECTION)], Changed(1)),
        ("SELECT id FROM item WHERE name = $1", vec![text(INJECTION)], rows([[int(2)]])),
        ("SELECT id FROM item WHERE name = $1", vec![text("' OR '1'='1")], Wanted::Rows(vec![])),
        ("SELECT count(*) FROM item WHERE name = $1 OR name = $1", vec![text(INJECTION)], rows([[int(1)]])),
        // Changes.
        ("UPDATE item SET price = 2.25 WHERE id < $1", vec![int(10)], Changed(2)),
        ("SELECT id FROM item WHERE price > 2 ORDER BY id DESC", none(), rows([[int(2)], [int(1)]])),
        ("DELETE FROM item WHERE id = $1", vec![int(i64::MAX)], Changed(1)),
        (
            "INSERT INTO item (id, name) VALUES (3, 'c') RETURNING id, name",
            none(),
            rows([[int(3), text("c")]]),
        ),
        ("UPDATE item SET name = 'd' WHERE id = 99", none(), Changed(0)),
        ("SELECT NULL, 1 = 1", none(), rows([[Value::Null, int(1)]])),
    ]
}

fn mistakes() -> Vec<Case<'static>> {
    let none = Vec::new;
    vec![
        // Constraints are told apart.
        (ADD, vec![int(1), text("e")], Fails(ErrorKind::Unique)),
        (ADD, vec![int(4), text("c")], Fails(ErrorKind::Unique)),
        (ADD, vec![int(4), Value::Null], Fails(ErrorKind::NotNull)),
        ("INSERT INTO item (id, name, price) VALUES (4, 'd', -1)", none(), Fails(ErrorKind::Check)),
        ("INSERT INTO item (id, name, parent) VALUES (4, 'd', 77)", none(), Fails(ErrorKind::ForeignKey)),
        // Mistakes.
        ("SELEC 1", none(), Fails(ErrorKind::Statement)),
        ("SELECT * FROM nowhere", none(), Fails(ErrorKind::Statement)),
        ("SELECT nobody FROM item", none(), Fails(ErrorKind::Statement)),
        ("SELECT 1; SELECT 2", none(), Fails(ErrorKind::Statement)),
        ("SELECT $1", none(), Fails(ErrorKind::Parameters)),
        ("SELECT 1", vec![int(1)], Fails(ErrorKind::Parameters)),
        // Calls begin and end transactions, and nobody leaves anything behind.
        ("BEGIN TRANSACTION", none(), Fails(ErrorKind::Denied)),
        ("/* */ commit;", none(), Fails(ErrorKind::Denied)),
        ("SAVEPOINT x", none(), Fails(ErrorKind::Denied)),
        (COUNT, none(), rows([[int(3)]])),
    ]
}

fn transactions() -> Vec<Case<'static>> {
    let none = Vec::new;
    vec![
        ("BEGIN", none(), Changed(0)),
        (ADD, vec![int(5), text("e")], Changed(1)),
        (COUNT, none(), rows([[int(4)]])),
        ("ROLLBACK", none(), Changed(0)),
        (COUNT, none(), rows([[int(3)]])),
        ("BEGIN", none(), Changed(0)),
        (ADD, vec![int(5), text("e")], Changed(1)),
        ("COMMIT", none(), Changed(0)),
        (COUNT, none(), rows([[int(4)]])),
        ("BEGIN", none(), Changed(0)),
        (ADD, vec![int(6), text("f")], Changed(1)),
        (ADD, vec![int(6), text("g")], Fails(ErrorKind::Unique)),
        (COUNT, none(), Fails(ErrorKind::Transaction)),
        ("COMMIT", none(), Fails(ErrorKind::Transaction)),
        (COUNT, none(), rows([[int(4)]])),
        // Reading only.
        ("READ", none(), Changed(0)),
        (COUNT, none(), rows([[int(4)]])),
        (ADD, vec![int(7), text("g")], Fails(ErrorKind::Denied)),
        ("ROLLBACK", none(), Changed(0)),
    ]
}

/// Holds a database to the table. `blob` is what it calls the type of bytes.
pub(crate) async fn conforms(database: &Database, blob: &str) {
    let mut open: Option<Transaction> = None;
    for (number, (sql, values, wanted)) in table(blob).into_iter().enumerate() {
        let case = format!("case {number}: {sql} {values:?}");
        let user = |access| User { name: "tests", access };
        let access = user(Access::Full);
        let answer: Result<(u64, Rows), Error> = match (&*sql, &open, &wanted) {
            ("BEGIN", ..) => {
                database.begin(access).await.map(|begun| (open.insert(begun), (0, Rows::default())).1)
            }
            ("READ", ..) => {
                let begun = database.begin(user(Access::ReadOnly)).await;
                begun.map(|begun| (open.insert(begun), (0, Rows::default())).1)
            }
            ("COMMIT", Some(begun), _) => {
                let done = begun.commit().await;
                open = None;
                done.map(|()| (0, Rows::default()))
            }
            ("ROLLBACK", ..) => {
                open = None;
                Ok((0, Rows::default()))
            }
            (_, Some(begun), Changed(_)) => {
                begun.execute(&sql, values).await.map(|it| (it.rows, Rows::default()))
            }
            (_, Some(begun), _) => begun.query(&sql, values).await.map(|rows| (0, rows)),
            (_, None, Changed(_)) => {
                database.execute(access, &sql, values).await.map(|it| (it.rows, Rows::default()))
            }
            (_, None, _) => database.query(access, &sql, values).await.map(|rows| (0, rows)),
        };
        match (wanted, answer) {
            (Changed(wanted), Ok((changed, _))) => assert_eq!(changed, wanted, "{case}"),
            (Wanted::Rows(wanted), Ok((_, rows))) => assert_eq!(rows.collect::<Vec<_>>(), wanted, "{case}"),
            (Fails(wanted), Err(error)) => assert_eq!(error.kind, wanted, "{case}: {error}"),
            (Fails(wanted), Ok(answer)) => panic!("{case}: {answer:?} in place of {wanted:?}"),
            (_, Err(error)) => panic!("{case}: {:?}: {error}", error.kind),
        }
    }
    for sql in ["CREATE TABLE item (id BIGINT)", "DROP TABLE nowhere"] {
        let error = database
            .execute(User { name: "tests", access: Access::ReadOnly }, sql, Vec::new())
            .await
            .unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Denied | ErrorKind::Statement), "{sql}: {error}");
    }
}
