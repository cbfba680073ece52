//! SQL databases, from routes.toml to guests of both kinds: values, transactions, limits, grants, migrations, crashes.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use wasmux::sql::{Databases, Limits, Location, Settings};

use self::conformance::conforms;
use crate::support::guests::{component, guest_folder};
use crate::support::{Server, Site};

mod conformance;
mod deploys; // migrations, crashes, mistakes in routes.toml

/// What makes the table of most tests.
const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT);";

/// The guest `database` as a module on `/` and as a component for the host `component.test`, with these lines for each, and
/// the database `app` with these.
fn routes(grants: &str, database: &str) -> String {
    let (module, component) = (guest_folder("database"), component("database"));
    format!(
        "[sql.app]\nbackend = \"sqlite\"\nmigrations = \"migrations\"\n{database}\n\
         [handlers.module]\nwasm = {module:?}\n{grants}\n[handlers.component]\nwasm = {component:?}\n{grants}\n\
         [routes]\n\"/\" = \"module\"\n\"component.test/\" = \"component\"\n"
    )
}

fn site(grants: &str, database: &str) -> Site {
    static BUILT: OnceLock<()> = OnceLock::new();
    let site = Site::new(&routes(grants, database)).file("migrations/0001_t.sql", TABLE);
    // While it is built nobody waits for it to listen.
    BUILT.get_or_init(|| {
        let built = site.run(&["build"]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    site
}

const GRANT: &str = "sql = [\"app\"]";

/// Fields of requests that reach the two.
const FORMS: [&str; 2] = ["Host: module.test", "Host: component.test"];

fn run(server: &Server, host: &str, steps: &Value) -> Value {
    let response = server.request("POST", "/app", &[host], steps.to_string().as_bytes());
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{steps}: {response:?}"))
}

/// What kind of error a step has failed with.
fn kind(told: &Value) -> &str {
    told["error"].as_str().unwrap_or_else(|| panic!("no error: {told}"))
}

fn count(server: &Server) -> i64 {
    run(server, FORMS[0], &json!([["query", "SELECT count(*) FROM t"]]))[0][0][0].as_i64().unwrap()
}

/// The same table that PostgreSQL is held to.
#[test]
fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { timeout: Duration::from_secs(60), ..Limits::default() };
    let location = Location::Sqlite(folder.path().join("app.sqlite"));
    let database = Databases::default().open(&Settings { name: "app".into(), location, limits }).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(conforms(&database, "blob"));
}

#[test]
fn values_and_transactions_reach_both_kinds_of_guest() {
    let server = site(GRANT, "").serve();
    let injection = "x'); DROP TABLE t; --";
    let steps = json!([
        ["execute", "DELETE FROM t"],
        ["execute", "INSERT INTO t VALUES ($1, $2)", 1, injection],
        ["query", "SELECT id, v FROM t WHERE v = $1", injection],
        ["query", "SELECT $1, $2, $3, $4, $5", null, 0.5, "Ä", [0, 255], true],
        ["query", "SELECT 1 WHERE 1 = 0"],
        ["execute", "INSERT INTO t VALUES (1, 'again')"],
        ["begin"],
        ["execute", "INSERT INTO t VALUES (2, 'a'), (3, 'b')"],
        ["begin"],
        ["query", "SELECT count(*) FROM t"],
        ["commit"],
        ["begin"],
        ["execute", "DELETE FROM t"],
        ["rollback"],
        ["begin"],
        ["execute", "DELETE FROM t"],
        ["execute", "INSERT INTO nowhere VALUES (1)"],
        ["query", "SELECT count(*) FROM t"],
        ["commit"],
        ["query", "SELECT id FROM t ORDER BY id"],
        ["query", "SELECT 1; SELECT 2"],
        ["query", "ATTACH 'routes.toml' AS other"],
        ["query", "SELECT $1"],
    ]);
    for host in FORMS {
        let told = run(&server, host, &steps);
        let told: Vec<_> = told.as_array().unwrap().iter().map(|it| it.get("error").unwrap_or(it)).collect();
        let wanted = json!([
            told[0],
            1,
            [[1, injection]],
            [[null, 0.5, "Ä", { "blob": [0, 255] }, 1]],
            [],
            "Unique",
            "begun",
            2,
            "Transaction",
            [[3]],
            "committed",
            "begun",
            3,
            "rolled back",
            "begun",
            3,
            "Statement",
            "Transaction",
            "Transaction",
            [[1], [2], [3]],
            "Statement",
            "Denied",
            "Parameters",
        ]);
        assert_eq!(json!(told), wanted, "{host}");
    }
}

#[test]
fn many_and_large_rows_come_whole() {
    let server = site(GRANT, "").serve();
    let numbers =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i, $2 FROM n";
    for host in FORMS {
        let told = run(
            &server,
            host,
            &json!([["query", numbers, 5000, "x".repeat(100)], ["query", "SELECT $1", { "repeat": 300_000 }]]),
        );
        let rows = told[0].as_array().unwrap();
        assert!(rows.len() == 5000 && rows.iter().zip(1..).all(|(row, number)| row[0] == number), "{host}");
        assert_eq!(told[1][0][0].as_str().unwrap().len(), 300_000, "{host}");
    }
}

#[test]
fn limits_are_kept_and_said() {
    let limits =
        "max_rows = 10\nmax_bytes = \"64KiB\"\ntimeout = \"300ms\"\nmax_connections = 1\nmax_size = \"1MiB\"";
    let server = site(GRANT, limits).serve();
    let numbers =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n";
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    for host in FORMS {
        let told = run(
            &server,
            host,
            &json!([
                ["query", numbers, 10],
                ["query", numbers, 11],
                ["query", "SELECT printf('%.70000c', 'x')"],
                ["query", endless],
                ["execute", "INSERT INTO t VALUES (7, zeroblob(1000000)), (8, zeroblob(1000000))"],
                ["query", "SELECT count(*) FROM t"],
            ]),
        );
        assert_eq!(told[0].as_array().unwrap().len(), 10);
        assert_eq!(
            [1, 2, 3, 4].map(|step| kind(&told[step])),
            ["TooLarge", "TooLarge", "Timeout", "Full"],
            "{told}"
        );
        assert_eq!(told[5], json!([[0]]), "the only reader is free, and nothing has changed");
    }
    for said in
        ["more rows than `max_rows`, 10", "larger than `max_bytes`, 65536 bytes", "its `timeout` has passed"]
    {
        server.log.wait_for(&["WARN", "sql: ", said]);
    }
}

#[test]
fn sqlite_has_so_much_memory_and_no_more() {
    let server = site(GRANT, "max_bytes = \"16MiB\"\ntimeout = \"60s\"").serve();
    let hungry = format!("SELECT {}", ["hex(randomblob(8000000))"; 100].join(", "));
    let told = run(&server, FORMS[0], &json!([["query", hungry], ["query", "SELECT 1"]]));
    assert_eq!((kind(&told[0]), &told[1]), ("TooLarge", &json!([[1]])), "{told}");
    server.log.wait_for(&["WARN", "sql: SQLite has no memory left for it", "512 MiB"]);
}

#[test]
fn what_a_request_leaves_open_ends_with_it() {
    let server = site(
        &format!("{GRANT}\nlimits = {{ timeout = \"1s\" }}"),
        "timeout = \"30s\"\ntransaction_timeout = \"60s\"",
    )
    .serve();
    let insert = json!(["execute", "INSERT INTO t VALUES (1, 'left')"]);
    for host in FORMS {
        for end in ["", "trap", "spin"] {
            let steps = json!([["begin"], insert, [end]]);
            let response = server.request("POST", "/app", &[host], steps.to_string().as_bytes());
            assert_eq!(
                response.status,
                match end {
                    "trap" => 500,
                    "spin" => 504,
                    _ => 200,
                },
                "{host} {end}"
            );
            // The writer is free for the next, at once.
            let started = Instant::now();
            assert_eq!(
                run(&server, host, &json!([["execute", "DELETE FROM t"]])),
                json!([0]),
                "{host} {end}"
            );
            assert!(started.elapsed() < Duration::from_secs(10), "{host} {end}");
        }
    }
    // A statement that runs when its request's time is up.
    let endless =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT i, '' FROM n";
    for host in FORMS {
        let steps = json!([["execute", endless]]).to_string();
        assert_eq!(server.request("POST", "/app", &[host], steps.as_bytes()).status, 504);
        assert_eq!(run(&server, host, &json!([["execute", "DELETE FROM t"]])), json!([0]));
    }
}

#[test]
fn warm_instances_keep_nothing_either() {
    for isolation in ["request", "reuse"] {
        let server = site(&format!("{GRANT}\nisolation = \"{isolation}\""), "").serve();
        for host in FORMS {
            for _ in 0..3 {
                let told =
                    run(&server, host, &json!([["begin"], ["execute", "INSERT INTO t VALUES (1, 'left')"]]));
                assert_eq!(told, json!(["begun", 1]), "{isolation} {host}");
            }
        }
        assert_eq!(count(&server), 0);
    }
}

#[test]
fn read_only_grants_and_missing_ones() {
    let server = site("sql = { app = { read_only = true } }", "").serve();
    for host in FORMS {
        let told = run(
            &server,
            host,
            &json!([
                ["query", "SELECT count(*) FROM t"],
                ["execute", "INSERT INTO t VALUES (1, 'a')"],
                ["query", "INSERT INTO t VALUES (1, 'a') RETURNING id"],
                ["begin"],
                ["execute", "DELETE FROM t"],
            ]),
        );
        assert_eq!((&told[0], &told[3]), (&json!([[0]]), &json!("begun")));
        assert_eq!([1, 2, 4].map(|step| kind(&told[step])), ["Denied"; 3], "{told}");
    }
    server.log.wait_for(&["WARN", "sql: the statement would change something, but the grant is `read_only`"]);

    let site = site("", "");
    let output = site.run(&["check"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let sentence = "it imports `wasmux:sql/1`, which it was not granted: grant it a database, `sql = [\"NAME\"]`, in [handlers.module]";
    assert!(errors.contains("handler `module`") && errors.contains(sentence), "{errors}");
    let alone = format!("[handlers.c]\nwasm = {:?}\n[routes]\n\"/\" = \"c\"\n", component("database"));
    let server = Site::new(&alone).serve();
    assert_eq!(kind(&run(&server, FORMS[1], &json!([]))[0]), "Denied");
    server.log.wait_for(&["WARN", "the database `app` was refused: it is not granted to this handler"]);
    let other = routes(GRANT, "").replace("sql.app]", "sql.other]").replace("[\"app\"]", "[\"other\"]");
    let server = Site::new(&other).file("migrations/0001_t.sql", TABLE).serve();
    for host in FORMS {
        assert_eq!(kind(&run(&server, host, &json!([]))[0]), "Denied");
    }
}
