//! Runs what it is sent, a list of steps in JSON, on the database that the path names: `["execute", "INSERT …", value, …]`,
//! `["query", …]`, `["begin"]`, `["commit"]`, `["rollback"]`, `["trap"]`, `["spin"]`. Answers what each step has.

use serde_json::{Value as Json, json};
use wasmux_sdk::sql::{self, Database, ErrorKind, Rows, ToValue, Tx, Value};
use wasmux_sdk::{Request, ResponseWriter, Result};

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let steps: Vec<Vec<Json>> = r.json()?;
    let mut steps = steps.into_iter();
    let mut told = Vec::new();
    match sql::open(r.path().trim_start_matches('/')) {
        Ok(mut database) => run(&mut database, &mut steps, &mut told),
        Err(error) => told.push(failure(&error)),
    }
    w.json(&told)
}

fn run(database: &mut Database, steps: &mut dyn Iterator<Item = Vec<Json>>, told: &mut Vec<Json>) {
    while let Some(step) = steps.next() {
        let (word, statement, values) = parts(&step);
        let values: Vec<&dyn ToValue> = values.iter().map(|value| value as &dyn ToValue).collect();
        told.push(match word {
            "execute" => executed(database.execute(statement, &values)),
            "query" => queried(database.query(statement, &values)),
            "begin" => match database.begin() {
                Ok(transaction) => {
                    told.push(json!("begun"));
                    in_transaction(transaction, steps, told);
                    continue;
                }
                Err(error) => failure(&error),
            },
            other => act(other),
        });
    }
}

fn in_transaction(transaction: Tx<'_>, steps: &mut dyn Iterator<Item = Vec<Json>>, told: &mut Vec<Json>) {
    for step in steps {
        let (word, statement, values) = parts(&step);
        let values: Vec<&dyn ToValue> = values.iter().map(|value| value as &dyn ToValue).collect();
        told.push(match word {
            "execute" => executed(transaction.execute(statement, &values)),
            "query" => queried(transaction.query(statement, &values)),
            "commit" => {
                told.push(match transaction.commit() {
                    Ok(()) => json!("committed"),
                    Err(error) => failure(&error),
                });
                return;
            }
            "rollback" => {
                transaction.rollback();
                told.push(json!("rolled back"));
                return;
            }
            // A second one, of another handle.
            "begin" => match sql::open("app").and_then(|mut other| other.begin().map(drop)) {
                Ok(()) => json!("begun"),
                Err(error) => failure(&error),
            },
            other => act(other),
        });
    }
}

fn act(word: &str) -> Json {
    match word {
        "trap" => panic!("as it was told"),
        "spin" => loop {
            std::hint::spin_loop();
        },
        _ => json!(null),
    }
}

fn parts(step: &[Json]) -> (&str, &str, Vec<Value>) {
    let text = |at: usize| step.get(at).and_then(Json::as_str).unwrap_or_default();
    let value = |json: &Json| match json {
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().unwrap_or(0.0).into(), Value::from)
        }
        Json::String(text) => text.as_str().into(),
        Json::Array(bytes) => {
            Value::Blob(bytes.iter().map(|byte| byte.as_u64().unwrap_or(0) as u8).collect())
        }
        Json::Object(large) => {
            "x".repeat(large.get("repeat").and_then(Json::as_u64).unwrap_or(0) as usize).into()
        }
        Json::Null => Value::Null,
    };
    (text(0), text(1), step.iter().skip(2).map(value).collect())
}

fn executed(done: sql::Result<sql::Executed>) -> Json {
    match done {
        Ok(done) => json!(done.rows),
        Err(error) => failure(&error),
    }
}

fn queried(done: sql::Result<Rows>) -> Json {
    let json = |value: &Value| match value {
        Value::Null => json!(null),
        Value::Integer(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!({ "blob": bytes }),
    };
    match done {
        Ok(rows) => rows.map(|row| row.values().iter().map(json).collect::<Json>()).collect(),
        Err(error) => failure(&error),
    }
}

fn failure(error: &sql::Error) -> Json {
    let kind: ErrorKind = error.kind();
    json!({ "error": format!("{kind:?}"), "message": error.to_string() })
}
