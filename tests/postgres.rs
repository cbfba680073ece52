//! SQL on a real PostgreSQL, whose URL is in `WASMUX_TEST_POSTGRES`. No part of the first suite, which needs no servers:
//! `tests/peers/postgres` starts one and runs these.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmux::sql::{
    Access, Database, Databases, ErrorKind, Folder, Limits, Location, Migration, Settings, User, Value,
};

use self::conformance::conforms;

#[path = "sql/conformance.rs"]
mod conformance;

const FULL: User<'static> = User { name: "tests", access: Access::Full };
const READ: User<'static> = User { name: "tests", access: Access::ReadOnly };

const NEEDS_SERVER: &str = "WASMUX_TEST_POSTGRES is the URL of a server";

fn database(limits: Limits) -> Arc<Database> {
    let url = std::env::var("WASMUX_TEST_POSTGRES").expect(NEEDS_SERVER);
    let location = Location::from_url(&url).unwrap();
    Databases::default().open(&Settings { name: "app".into(), location, limits }).unwrap()
}

async fn ask(database: &Database, sql: &str) -> Vec<Vec<Value>> {
    database.query(FULL, sql, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error}")).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[tokio::test]
async fn postgres_conforms() {
    conforms(&database(Limits::default()), "bytea").await;
}

#[tokio::test]
async fn types_are_what_the_table_says() {
    let database = database(Limits::default());
    for (sql, wanted) in [
        ("true", Value::Integer(1)),
        ("(-5)::int2", Value::Integer(-5)),
        ("7::int4", Value::Integer(7)),
        ("0.5::float4", Value::Real(0.5)),
        ("'x'::varchar(3)", text("x")),
        ("'x'::char(3)", text("x  ")),
        ("'x'::name", text("x")),
        ("'\\x00ff'::bytea", Value::Blob(vec![0, 255])),
        ("12345.678::numeric", text("12345.678")),
        ("0.000012::numeric", text("0.000012")),
        ("-1e20::numeric", text("-100000000000000000000")),
        ("'NaN'::numeric", text("NaN")),
        ("'{\"a\": 1}'::json", text("{\"a\": 1}")),
        ("'{\"a\":1}'::jsonb", text("{\"a\": 1}")),
        ("'0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f'::uuid", text("0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f")),
        ("'2024-02-29'::date", text("2024-02-29")),
        ("'0044-03-15 BC'::date", text("0044-03-15 BC")),
        ("'infinity'::date", text("infinity")),
        ("'12:34:56.789'::time", text("12:34:56.789")),
        ("'1969-07-20 20:17:40.5'::timestamp", text("1969-07-20 20:17:40.5")),
        ("'1969-07-20 20:17:40+02'::timestamptz", text("1969-07-20 18:17:40+00")),
        ("null::int4", Value::Null),
        ("pg_sleep(0)", text("")),
    ] {
        assert_eq!(ask(&database, &format!("select {sql}")).await, [[wanted.clone()]], "{sql}");
        // As PostgreSQL itself writes it, and as it reads it.
        if let Value::Text(_) = &wanted
            && sql.contains("::")
        {
            let ty = sql.rsplit("::").next().unwrap();
            let same = format!("select $1::{ty}::text = ({sql})::text");
            let rows = database.query(FULL, &same, vec![wanted]).await;
            assert_eq!(
                rows.unwrap_or_else(|error| panic!("{same}: {error}")).next(),
                Some(vec![Value::Integer(1)]),
                "{same}"
            );
        }
    }
    let refused = database.query(FULL, "select array[1]", vec![]).await.unwrap_err();
    assert!(refused.message.contains("::text"), "{refused}");
    for (sql, value) in [
        ("select $1::int2", Value::Integer(40_000)),
        ("select $1::int4", text("x")),
        ("select $1::int4", Value::Blob(vec![1])),
    ] {
        let error = database.query(FULL, sql, vec![value]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Parameters, "{sql}: {error}");
    }
}

#[tokio::test]
async fn limits_are_kept_and_connections_come_back() {
    let limits = Limits {
        rows_max: 100,
        bytes_max: 10_000,
        timeout: Duration::from_secs(2),
        connections_max: 1,
        ..Limits::default()
    };
    let database = database(limits);
    for (sql, kind) in [
        ("select generate_series(1, 101)", ErrorKind::Rows),
        ("select repeat('x', 20000)", ErrorKind::Bytes),
        ("select pg_sleep(60)", ErrorKind::Timeout),
        (
            "with recursive n (i) as (select 1 union all select i from n) select count(*) from n",
            ErrorKind::Timeout,
        ),
    ] {
        assert_eq!(database.query(FULL, sql, vec![]).await.unwrap_err().kind, kind, "{sql}");
    }
    // A caller that goes away: the server is told, and the only connection is free again.
    let gone = database.query(FULL, "select pg_sleep(60), 'gone'", vec![]);
    assert!(tokio::time::timeout(Duration::from_millis(200), gone).await.is_err());
    let running = "select count(*) from pg_stat_activity where query like 'select pg_sleep(60), ''gone''%' and state = 'active'";
    let ended = async { while ask(&database, running).await != [[Value::Integer(0)]] {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the statement is cancelled");
    // A transaction that is dropped gives its locks back.
    ask(&database, "drop table if exists held").await;
    ask(&database, "create table held (a int)").await;
    let begun = database.begin(FULL).await.unwrap();
    begun.execute("lock table held", vec![]).await.unwrap();
    drop(begun);
    ask(&database, "drop table held").await;
}

#[tokio::test]
async fn sessions_are_clean_and_connections_are_made_again() {
    let database = database(Limits { connections_max: 1, ..Limits::default() });
    ask(&database, "select set_config('search_path', 'nowhere', false)").await;
    assert_eq!(ask(&database, "show search_path").await, [[text("\"$user\", public")]]);
    ask(&database, "select pg_advisory_lock(7)").await;
    assert_eq!(
        ask(&database, "select count(*) from pg_locks where locktype = 'advisory'").await,
        [[Value::Integer(0)]]
    );
    for denied in ["set search_path = x", "listen x", "copy pg_class to '/tmp/x'", "discard all"] {
        let error = database.execute(FULL, denied, vec![]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{denied}");
    }
    let error = database.query(FULL, "select pg_terminate_backend(pg_backend_pid())", vec![]).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(ask(&database, "select 1").await, [[Value::Integer(1)]]);
    let nobody = Location::from_url("postgres://ann:hunter2@127.0.0.1:1/x").unwrap();
    let settings = Settings { name: "gone".into(), location: nobody, limits: Limits::default() };
    let error =
        Databases::default().open(&settings).unwrap().query(FULL, "select 1", vec![]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(!error.message.contains("hunter2") && error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn no_user_finds_what_another_one_left() {
    let database = database(Limits { connections_max: 1, ..Limits::default() });
    ask(&database, "drop table if exists kept").await;
    ask(&database, "create table kept as select 1 as a").await;
    let select = "select a from kept where a = $1::int";
    let selected = |user| database.query(user, select, vec![Value::Integer(1)]);
    let victim = User { name: "victim", access: Access::Full };
    let poison = "do $$ declare s text; begin deallocate all; for s in select 's' || i from generate_series(0, 20) i loop execute \
                  'prepare ' || s || '(int) as delete from kept where a = $1 returning a'; end loop; end $$";
    for _ in 0..3 {
        assert_eq!(selected(victim).await.unwrap().len(), 1);
        assert_eq!(selected(READ).await.unwrap().len(), 1);
        database.execute(READ, poison, vec![]).await.unwrap();
    }
    // Not even a later request of the same user.
    database.execute(victim, poison, vec![]).await.unwrap();
    let names = "select count(*) from pg_prepared_statements where from_sql";
    for user in [victim, READ, FULL] {
        assert_eq!(database.query(user, names, vec![]).await.unwrap().next(), Some(vec![Value::Integer(0)]));
        assert_eq!(selected(user).await.unwrap().len(), 1);
    }
    // Without statements that it has prepared, a session is of no more use, and is not used any more.
    let gone = "do $$ begin execute 'deallocate all'; end $$";
    database.execute(victim, gone, vec![]).await.unwrap();
    let _ = selected(victim).await;
    assert_eq!(selected(victim).await.unwrap().len(), 1);
    assert_eq!(ask(&database, "select count(*) from kept").await, [[Value::Integer(1)]]);
    for sql in ["lock table kept", "notify x"] {
        assert_eq!(database.execute(READ, sql, vec![]).await.unwrap_err().kind, ErrorKind::Denied, "{sql}");
    }
}

/// The most memory that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn what_is_too_large_is_never_taken() {
    let database = database(Limits { timeout: Duration::from_secs(30), ..Limits::default() });
    for sql in [
        "select repeat('x', 300000000)",
        "do $$ begin raise exception '%', repeat('x', 200000000); end $$",
        "do $$ begin raise notice '%', repeat('x', 200000000); end $$",
    ] {
        let error = database.query(FULL, sql, vec![]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Bytes, "{sql}: {error}");
    }
    assert_eq!(ask(&database, "select length(repeat('x', 4000000))").await, [[Value::Integer(4_000_000)]]);
    assert!(peak_kib() < 150 << 10, "{} KiB", peak_kib());
}

#[tokio::test]
async fn tables_may_change() {
    let database = database(Limits { connections_max: 1, ..Limits::default() });
    ask(&database, "drop table if exists changing").await;
    ask(&database, "create table changing as select 1 as a").await;
    let select = "select * from changing";
    for (number, user) in [FULL, READ, FULL].into_iter().enumerate() {
        let [number, ty] = [&["0", "1", "2"], &["text", "varchar", "text"]].map(|all| all[number]);
        database.query(user, select, vec![]).await.unwrap();
        let begun = database.begin(user).await.unwrap();
        begun.query(select, vec![]).await.unwrap();
        begun.commit().await.unwrap();
        // By somebody of whom the host does not hear.
        let add = format!("alter table changing add column c{number} int");
        self::database(Limits::default()).execute(FULL, &add, vec![]).await.unwrap();
        let rows = database.query(user, select, vec![]).await.unwrap();
        assert_eq!(rows.columns().last(), Some(&format!("c{number}")));
        let retype = format!("alter table changing alter column a type {ty}");
        self::database(Limits::default()).execute(FULL, &retype, vec![]).await.unwrap();
        let begun = database.begin(user).await.unwrap();
        assert_eq!(begun.query(select, vec![]).await.unwrap_err().kind, ErrorKind::Busy);
        drop(begun);
        let begun = database.begin(user).await.unwrap();
        assert_eq!(begun.query(select, vec![]).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_role_of_the_url_comes_back() {
    let url = std::env::var("WASMUX_TEST_POSTGRES").expect(NEEDS_SERVER);
    let location = Location::from_url(&format!("{url}&options=-c%20role%3Dpg_monitor")).unwrap();
    let settings = Settings { name: "app".into(), location, limits: Limits::default() };
    let database = Databases::default().open(&settings).unwrap();
    for _ in 0..3 {
        let role = ask(&database, "select current_user::text, set_config('role', 'none', false)").await;
        assert_eq!(role[0][0], text("pg_monitor"));
    }
}

#[tokio::test]
async fn locks_end_with_their_request() {
    let [database, other] = [(); 2].map(|()| database(Limits::default()));
    let taken = "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711";
    ask(&database, "select pg_advisory_lock(4711)").await;
    let begun = database.begin(FULL).await.unwrap();
    begun.query("select pg_advisory_lock(4711)", vec![]).await.unwrap_or_default();
    drop(begun);
    let freed = async { while ask(&other, taken).await != [[Value::Integer(0)]] {} };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("the lock is given back");
}

#[test]
fn a_migration_says_who_is_in_its_way() {
    let url = std::env::var("WASMUX_TEST_POSTGRES").expect(NEEDS_SERVER);
    let impatient = format!("{url}&options=-c%20lock_timeout%3D300");
    let settings = |url: &str| Settings {
        name: "app".into(),
        location: Location::from_url(url).unwrap(),
        limits: Limits::default(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = runtime.block_on(async {
        let begun = database(Limits::default()).begin(FULL).await.unwrap();
        begun.query("select pg_advisory_xact_lock(7310868735423116600)", vec![]).await.unwrap();
        begun
    });
    let waiting = Databases::default().open(&settings(&impatient)).unwrap();
    let error = waiting.migrate(&Folder::default()).unwrap_err().to_string();
    assert!(
        error.contains("lock_timeout") && error.contains("pid ") && error.contains("`wasmux` of"),
        "{error}"
    );
    runtime.block_on(async { drop(begun) });
}

#[test]
fn migrations_are_applied_once_and_whole() {
    let migration = |number: u32, sql: &str| Migration {
        number,
        name: "m".into(),
        file: PathBuf::from(format!("{number:04}_m.sql")),
        sql: sql.into(),
        sha256: format!("{sql:?}"),
    };
    let database = database(Limits::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(ask(&database, "drop table if exists pets"));
    // By its name nobody may.
    let reset = "do $$ begin execute 'drop table if exists wasmux' || '_migrations'; end $$";
    runtime.block_on(ask(&database, reset));
    let first = migration(1, "create table pets (id int primary key);\ninsert into pets values (1), (2);");
    let folder = |second: Option<Migration>| Folder {
        migrations: [first.clone()].into_iter().chain(second).collect(),
    };
    assert_eq!(database.migrate(&folder(None)), Ok(1));
    assert_eq!(database.migrate(&folder(None)), Ok(0));
    for (bad, wanted) in [
        ("create table more (a int);\n\nselec 1", "0002_m.sql:3: does not apply: syntax error"),
        (
            "create table more (a int);\ninsert into pets values (1)",
            "0002_m.sql: does not apply: duplicate key",
        ),
        (
            "create table more (a int); commit; create table again (a int); drop table more, again",
            "0002_m.sql: does not apply: it ends",
        ),
    ] {
        let error = database.migrate(&folder(Some(migration(2, bad)))).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let dumped = "set statement_timeout = 0; select pg_catalog.set_config('search_path', '', false); set role pg_monitor; \
                  reset role; drop table public.pets";
    assert_eq!(database.migrate(&folder(Some(migration(2, dumped)))), Ok(1));
    let error = database.migrate(&folder(Some(migration(2, "select 1")))).unwrap_err();
    assert!(error.to_string().starts_with("0002_m.sql: the file was changed"), "{error}");
}
