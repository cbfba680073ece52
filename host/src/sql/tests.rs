use std::path::PathBuf;

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;

fn settings(folder: &TempDir) -> Settings {
    let file = folder.path().join("sql/app.sqlite");
    Settings { name: "app".into(), location: Location::Sqlite(file), limits: Limits::default() }
}

fn database(limits: Limits) -> (TempDir, Arc<Database>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { limits, ..settings(&folder) };
    (folder, Databases::default().open(&settings).unwrap())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

const FULL: User<'static> = User { name: "tests", access: Access::Full };
const READ: User<'static> = User { name: "tests", access: Access::ReadOnly };

async fn count(database: &Database, table: &str) -> i64 {
    let mut rows = database.query(FULL, &format!("select count(*) from {table}"), vec![]).await.unwrap();
    match rows.next().as_deref() {
        Some([Value::Integer(count)]) => *count,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn values_go_in_and_come_out() {
    let (_folder, database) = database(Limits::default());
    database.execute(FULL, "create table t (id integer primary key, v)", vec![]).await.unwrap();
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(-0.5),
        text("Ä'; drop table t; --"),
        Value::Blob(vec![0, 255]),
    ];
    for (value, id) in values.clone().into_iter().zip(1..) {
        let done = database.execute(FULL, "insert into t (v) values ($1)", vec![value]).await.unwrap();
        assert_eq!(done, Executed { rows: 1, last_insert_id: Some(id) });
    }
    let rows = database.query(FULL, "select v, id from t order by id", vec![]).await.unwrap();
    assert_eq!(rows.columns(), ["v", "id"]);
    let read: Vec<_> = rows.map(|row| row[0].clone()).collect();
    assert_eq!(read, values);
    let done =
        database.execute(FULL, "update t set v = 1 where id > $2 and id <= $1", vec![4.into(), 1.into()]);
    assert_eq!(done.await.unwrap(), Executed { rows: 3, last_insert_id: None }, "no row was inserted");
    let returned =
        database.query(FULL, "insert into t (v) values (?1) returning id", vec![Value::Null]).await;
    assert_eq!(returned.unwrap().next(), Some(vec![Value::Integer(6)]));
    assert_eq!(database.execute(FULL, "create table u (a)", vec![]).await.unwrap(), Executed::default());
    let odd = database.query(FULL, "select cast(x'ff' as text)", vec![]).await.unwrap().next();
    assert_eq!(odd, Some(vec![Value::Blob(vec![255])]));
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

#[tokio::test]
async fn errors_say_what_they_are() {
    let (_folder, database) = database(Limits::default());
    for sql in [
        "create table p (id integer primary key, name text not null unique check (name <> ''))",
        "create table c (p integer references p (id) deferrable initially deferred)",
        "insert into p (id, name) values (1, 'a')",
    ] {
        database.execute(FULL, sql, vec![]).await.unwrap();
    }
    for (sql, kind) in [
        ("insert into p (name) values ('a')", ErrorKind::Unique),
        ("insert into p (id, name) values (1, 'b')", ErrorKind::Unique),
        ("insert into p (name) values (null)", ErrorKind::NotNull),
        ("insert into p (name) values ('')", ErrorKind::Check),
        ("insert into c (p) values (7)", ErrorKind::ForeignKey),
        ("select * from nothing", ErrorKind::Statement),
        ("selec 1", ErrorKind::Statement),
        ("select 1; select 2", ErrorKind::Statement),
        ("select $1", ErrorKind::Parameters),
        ("select :name", ErrorKind::Parameters),
        ("select 1 \0", ErrorKind::Statement),
        ("attach 'x' as y", ErrorKind::Denied),
        ("vacuum", ErrorKind::Statement),
        ("vacuum into '/tmp/x'", ErrorKind::Statement),
        ("pragma journal_mode = delete", ErrorKind::Denied),
        ("pragma user_version = 3", ErrorKind::Denied),
        ("select load_extension('x')", ErrorKind::Denied),
        ("begin", ErrorKind::Denied),
        ("commit", ErrorKind::Denied),
        ("savepoint x", ErrorKind::Denied),
        ("create temp table x (a)", ErrorKind::Denied),
        ("create table wasmux_migrations (a)", ErrorKind::Denied),
        ("create virtual table wasmux_migrations using fts5 (a)", ErrorKind::Denied),
        ("alter table c rename to \"Wasmux_Migrations\"", ErrorKind::Denied),
    ] {
        let error = database.query(FULL, sql, vec![]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{sql}: {error}");
        let error = database.execute(FULL, sql, vec![]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{sql}: {error}");
    }
    assert_eq!(count(&database, "p").await, 1);
    let allowed = database.query(FULL, "select name from pragma_table_info('p')", vec![]).await.unwrap();
    assert_eq!(allowed.len(), 2);
}

#[tokio::test]
async fn read_only_grants_read() {
    let (_folder, database) = database(Limits::default());
    let read = READ;
    assert_eq!(database.query(read, "select 1", vec![]).await.unwrap().len(), 1);
    database.execute(FULL, "create table t (a)", vec![]).await.unwrap();
    for sql in ["insert into t values (1) returning a", "delete from t", "drop table t", "create table u (a)"]
    {
        assert_eq!(database.query(read, sql, vec![]).await.unwrap_err().kind, ErrorKind::Denied, "{sql}");
        assert_eq!(database.execute(read, sql, vec![]).await.unwrap_err().kind, ErrorKind::Denied, "{sql}");
        let transaction = database.begin(read).await.unwrap();
        assert_eq!(transaction.execute(sql, vec![]).await.unwrap_err().kind, ErrorKind::Denied, "{sql}");
    }
    // What somebody else had prepared is of no help.
    database.execute(FULL, "delete from t", vec![]).await.unwrap();
    assert_eq!(database.execute(read, "delete from t", vec![]).await.unwrap_err().kind, ErrorKind::Denied);
}

#[tokio::test]
async fn transactions_commit_or_leave_nothing() {
    let (_folder, database) = database(Limits::default());
    database.execute(FULL, "create table t (a integer unique)", vec![]).await.unwrap();
    let insert = "insert into t values ($1)";
    let transaction = database.begin(FULL).await.unwrap();
    transaction.execute(insert, vec![1.into()]).await.unwrap();
    // Others do not see it, nor wait for it.
    assert_eq!(count(&database, "t").await, 0);
    let seen = transaction.query("select a from t", vec![]).await.unwrap();
    assert_eq!(seen.len(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(count(&database, "t").await, 1);
    assert_eq!(transaction.commit().await.unwrap_err().kind, ErrorKind::Transaction);

    let dropped = database.begin(FULL).await.unwrap();
    dropped.execute(insert, vec![2.into()]).await.unwrap();
    drop(dropped);
    let failed = database.begin(FULL).await.unwrap();
    failed.execute(insert, vec![3.into()]).await.unwrap();
    assert_eq!(failed.execute(insert, vec![1.into()]).await.unwrap_err().kind, ErrorKind::Unique);
    assert!(!failed.is_open());
    assert_eq!(failed.execute(insert, vec![4.into()]).await.unwrap_err().kind, ErrorKind::Transaction);
    assert_eq!(failed.commit().await.unwrap_err().kind, ErrorKind::Transaction);
    let rolled = database.begin(FULL).await.unwrap();
    rolled.execute("insert or rollback into t values (1)", vec![]).await.unwrap_err();
    // The writer is free again after all of these.
    database.execute(FULL, insert, vec![5.into()]).await.unwrap();
    assert_eq!(count(&database, "t").await, 2);
}

#[tokio::test]
async fn a_transaction_ends_with_its_time() {
    let (_folder, database) =
        database(Limits { transaction_timeout: Duration::from_millis(50), ..Limits::default() });
    database.execute(FULL, "create table t (a)", vec![]).await.unwrap();
    let transaction = database.begin(FULL).await.unwrap();
    transaction.execute("insert into t values (1)", vec![]).await.unwrap();
    // Waits for the writer, which only the clock can free.
    database.execute(FULL, "insert into t values (2)", vec![]).await.unwrap();
    assert!(!transaction.is_open());
    assert_eq!(transaction.commit().await.unwrap_err().kind, ErrorKind::Transaction);
    assert_eq!(count(&database, "t").await, 1);
}

const ENDLESS: &str =
    "with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n";

#[tokio::test]
async fn what_never_ends_is_interrupted() {
    let timeout = Duration::from_millis(100);
    let (_folder, database) = database(Limits { timeout, connections_max: 1, ..Limits::default() });
    for _ in 0..3 {
        let error = database.query(FULL, ENDLESS, vec![]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    }
    // A caller that goes away takes its statement along: the only reader is free for the next.
    let (_folder, database) = self::database(Limits { connections_max: 1, ..Limits::default() });
    database.execute(FULL, "create table t (a)", vec![]).await.unwrap();
    for _ in 0..3 {
        let gone = tokio::time::timeout(timeout, database.query(FULL, ENDLESS, vec![])).await;
        assert!(gone.is_err());
    }
    assert_eq!(count(&database, "t").await, 0);
    let transaction = database.begin(FULL).await.unwrap();
    let gone = tokio::time::timeout(timeout, transaction.execute(ENDLESS, vec![])).await;
    assert!(gone.is_err() && !transaction.is_open());
    database.execute(FULL, "insert into t values (1)", vec![]).await.unwrap();
}

#[tokio::test]
async fn results_and_files_have_limits() {
    let limits = Limits { rows_max: 3, bytes_max: 2_000_000, size_max: 1 << 20, ..Limits::default() };
    let (_folder, database) = database(limits);
    database.execute(FULL, "create table t (a)", vec![]).await.unwrap();
    let rows = |count: i64| {
        let sql =
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < $1) select i from n";
        database.query(FULL, sql, vec![count.into()])
    };
    assert_eq!(rows(3).await.unwrap().len(), 3);
    assert_eq!(rows(4).await.unwrap_err().kind, ErrorKind::Rows);
    for (sql, kind) in [
        ("select zeroblob(1000000), zeroblob(1000000)", ErrorKind::Bytes),
        ("select length(zeroblob(100000000))", ErrorKind::Bytes),
        ("insert into t values (zeroblob(1500000))", ErrorKind::Full),
        ("insert into t values (1), (2), (3), (4) returning a", ErrorKind::Rows),
    ] {
        assert_eq!(database.query(FULL, sql, vec![]).await.unwrap_err().kind, kind, "{sql}");
    }
    assert_eq!(count(&database, "t").await, 0);
    database.execute(FULL, "insert into t values (1)", vec![]).await.unwrap();
    let many = vec![Value::Null; PARAMETERS_MAX + 1];
    assert_eq!(database.query(FULL, "select 1", many).await.unwrap_err().kind, ErrorKind::Parameters);
    let long = " ".repeat(STATEMENT_BYTES_MAX + 1);
    assert_eq!(database.query(FULL, &long, vec![]).await.unwrap_err().kind, ErrorKind::Statement);
}

#[tokio::test]
async fn many_at_once_wait_for_their_turn() {
    let (_folder, database) = database(Limits { connections_max: 2, ..Limits::default() });
    database.execute(FULL, "create table t (a integer primary key)", vec![]).await.unwrap();
    let mut all = JoinSet::new();
    for number in 0..50 {
        let database = Arc::clone(&database);
        all.spawn(async move {
            database.execute(FULL, "insert into t values ($1)", vec![number.into()]).await.unwrap();
            count(&database, "t").await
        });
    }
    assert!(all.join_all().await.into_iter().all(|count| count > 0));
    assert_eq!(count(&database, "t").await, 50);
}

#[test]
fn the_same_database_is_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::default();
    let one = databases.open(&settings(&folder)).unwrap();
    assert!(Arc::ptr_eq(&one, &databases.open(&settings(&folder)).unwrap()));
    let other = Settings { limits: Limits { rows_max: 1, ..Limits::default() }, ..settings(&folder) };
    assert!(!Arc::ptr_eq(&one, &databases.open(&other).unwrap()));
    assert!(!folder.path().join("sql").exists(), "nothing is made before it is needed");
}

#[test]
fn urls_are_read_and_never_shown() {
    let url = "postgres://ann:hunter2@db.example:5433/app?sslmode=disable";
    let location = Location::from_url(url).unwrap();
    let shown = format!("{location:?}");
    assert!(!shown.contains("hunter2") && shown.contains("db.example"), "{shown}");
    for bad in
        ["", "mysql://x/y", "postgres://ann:hun/ter2@x:y/z", "postgres:///x?port=hunter2", "postgres://"]
    {
        let error = Location::from_url(bad).unwrap_err();
        assert!(!error.contains("ter2") && error.contains("postgres://USER"), "{bad}: {error}");
    }
}

/// The most memory that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_row_is_not_copied_before_its_size_is_known() {
    let (_folder, database) = database(Limits::default());
    let blobs = vec!["zeroblob(3900000)"; 60].join(", ");
    let before = peak_kib();
    let error = database.query(FULL, &format!("select {blobs}"), vec![]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bytes, "{error}");
    // SQLite has 223 MiB of such values itself; a copy of them would be as much again.
    assert!(peak_kib() - before < 350 << 10, "{} KiB", peak_kib() - before);
    let many = vec!["1"; 201].join(", ");
    let error = database.query(FULL, &format!("select {many}"), vec![]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Statement, "{error}");
    assert_eq!(database.query(FULL, "select 1", vec![]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn long_functions_end_in_time() {
    let limits = Limits { timeout: Duration::from_millis(500), connections_max: 1, ..Limits::default() };
    let (_folder, database) = database(limits);
    let text = "replace(hex(zeroblob(1000000)), '0', 'a')";
    let begun = Instant::now();
    for sql in [
        format!("select instr({text}, substr({text}, 1, 1000000) || 'b')"),
        format!("select length(replace({text}, substr({text}, 1, 1000000) || 'b', 'c'))"),
        format!("select length(trim({text}, 'b' || {text} || 'c'))"),
        format!(
            "with recursive n (i) as (select 1 union all select i + 1 from n) select sum(length({text})) from n"
        ),
        format!("select {text} like '%{}%'", "a".repeat(250) + "b"),
    ] {
        let asked = database.query(FULL, &sql, vec![]);
        let _ = asked.await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_result_has_the_columns_of_its_table() {
    let (_folder, database) = database(Limits { connections_max: 1, ..Limits::default() });
    database.execute(FULL, "create table t (a)", vec![]).await.unwrap();
    for user in [FULL, READ] {
        assert_eq!(database.query(user, "select * from t", vec![]).await.unwrap().columns().len(), 1);
    }
    database.execute(FULL, "alter table t add column b", vec![]).await.unwrap();
    assert_eq!(database.query(READ, "select * from t", vec![]).await.unwrap().columns(), ["a", "b"]);
    database.execute(FULL, "insert into t values (1, 2)", vec![]).await.unwrap();
    database.query(READ, "select * from t", vec![]).await.unwrap();
    database.execute(FULL, "alter table t rename column b to c", vec![]).await.unwrap();
    database.execute(FULL, "alter table t add column d default 3", vec![]).await.unwrap();
    let mut rows = database.query(READ, "select * from t", vec![]).await.unwrap();
    assert_eq!(rows.columns(), ["a", "c", "d"]);
    assert_eq!(rows.next(), Some(vec![1.into(), 2.into(), 3.into()]));
}

fn migrations(files: &[(&str, &str)]) -> Folder {
    let migration = |(index, (name, sql)): (usize, &(&str, &str))| Migration {
        number: index as u32 + 1,
        name: (*name).into(),
        file: PathBuf::from(format!("{:04}_{name}.sql", index + 1)),
        sql: (*sql).into(),
        sha256: format!("{sql:?}"),
    };
    Folder { migrations: files.iter().enumerate().map(migration).collect() }
}

#[test]
fn migrations_are_applied_once_and_whole() {
    let (_folder, database) = database(Limits::default());
    let notes = (
        "notes",
        "create table notes (id integer primary key, t text);\ninsert into notes (t) values ('a; b');\n",
    );
    assert_eq!(database.migrate(&migrations(&[notes])), Ok(1));
    assert_eq!(database.migrate(&migrations(&[notes])), Ok(0));
    for (bad, wanted) in [
        (
            "create table more (a);\n\ninsert into nowhere values (1);",
            "0002_bad.sql:3: does not apply: no such table: nowhere",
        ),
        (
            "create table more (a);\n-- two\n  insert into notes (id) values (1);",
            "0002_bad.sql:3: does not apply: UNIQUE",
        ),
        ("create table more (a);\nselec 1", "0002_bad.sql:2: does not apply: near \"selec\""),
        ("create table more (a);\ncommit;", "0002_bad.sql:2: does not apply: the statement is not allowed"),
        (
            "create table more (a);\ndelete from wasmux_migrations",
            "0002_bad.sql:2: does not apply: the statement is not",
        ),
        ("pragma journal_mode = delete", "0002_bad.sql:1: does not apply: the statement is not allowed"),
        (
            "create index i on wasmux_migrations (name)",
            "0002_bad.sql:1: does not apply: the statement is not allowed",
        ),
        (
            "alter table notes rename to wasmux_migrations",
            "0002_bad.sql:1: does not apply: there is already another table",
        ),
    ] {
        let error = database.migrate(&migrations(&[notes, ("bad", bad)])).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let more = ("more", "create table more (a); -- the end");
    assert_eq!(database.migrate(&migrations(&[notes, more])), Ok(1));
    let changed = database.migrate(&migrations(&[notes, ("more", "create table other (a)")])).unwrap_err();
    assert!(changed.to_string().starts_with("0002_more.sql: the file was changed"), "{changed}");
    let lost = database.migrate(&migrations(&[notes])).unwrap_err();
    assert!(lost.to_string().starts_with("migration 2 (more) was applied"), "{lost}");
}
