//! Databases over the life of a deployment: migrations, hosts that are killed, mistakes in routes.toml.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use super::{FORMS, GRANT, TABLE, count, run, site};
use crate::support::Site;

#[test]
fn migrations_are_applied_once_and_refused_with_their_place() {
    let site = site(GRANT, "");
    // Looking is not touching.
    assert!(site.run(&["check"]).status.success());
    assert!(!site.path(".wasmux").exists());
    let server = site.serve();
    server.log.wait_for(&["[sql.app]: 1 migrations applied"]);
    assert_eq!(run(&server, FORMS[0], &json!([["execute", "INSERT INTO t VALUES (1, 'kept')"]])), json!([1]));
    let write = |name: &str, text: &str| std::fs::write(server.site.path(name), text).unwrap();
    let reload = |wanted: &str, times: usize| {
        server.signal("HUP");
        server.log.wait_for_many(wanted, times);
    };
    write(
        "migrations/0002_more.sql",
        "ALTER TABLE t ADD COLUMN n BIGINT;\n\nINSERT INTO nowhere VALUES (1);\n",
    );
    reload("not reloaded: 1 problem; deployment 1 goes on", 1);
    server.log.wait_for(&[
        "routes.toml:3: [sql.app] `migrations`: ",
        "0002_more.sql:3: does not apply: no such table: nowhere",
    ]);
    assert_eq!(count(&server), 1);
    write("migrations/0002_more.sql", "ALTER TABLE t ADD COLUMN n BIGINT;\n");
    reload("reloaded: 2 routes, 2 handlers, deployment 1", 1);
    assert_eq!(run(&server, FORMS[1], &json!([["query", "SELECT v, n FROM t"]])), json!([[["kept", null]]]));
    write("migrations/0001_t.sql", "CREATE TABLE other (id BIGINT);");
    reload("not reloaded: 1 problem; deployment 1 goes on", 2);
    server.log.wait_for(&["0001_t.sql: the file was changed after it was applied"]);
    write("migrations/0001_t.sql", TABLE);
    write("migrations/0004_gap.sql", "");
    reload("not reloaded: 1 problem; deployment 1 goes on", 3);
    server.log.wait_for(&["0004_gap.sql: migration 0003 is missing in front of this one"]);
    let check = server.site.run(&["check"]);
    assert!(String::from_utf8_lossy(&check.stderr).contains("migration 0003 is missing"));
    std::fs::remove_file(server.site.path("migrations/0004_gap.sql")).unwrap();
    std::fs::remove_file(server.site.path("migrations/0002_more.sql")).unwrap();
    reload("not reloaded: 1 problem; deployment 1 goes on", 4);
    server.log.wait_for(&["migration 2 (more) was applied to the database, but is not in the folder"]);
}

/// Whether a row was written, and that said.
fn writes(stream: &mut TcpStream, host: &str, id: i64) -> bool {
    let insert = "INSERT INTO t VALUES ($1, 'x')";
    let body = json!([["begin"], ["execute", insert, id], ["commit"]]).to_string();
    let head = format!("POST /app HTTP/1.1\r\n{host}\r\nContent-Length: {}\r\n\r\n", body.len());
    if stream.write_all((head + &body).as_bytes()).is_err() {
        return false;
    }
    let wanted = json!(["begun", 1, "committed"]).to_string();
    let (mut got, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => got.extend_from_slice(&chunk[..count]),
            _ => return false,
        }
        if String::from_utf8_lossy(&got).contains(&wanted) {
            return true;
        }
        assert!(!String::from_utf8_lossy(&got).contains("error"), "{}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_host_is_killed() {
    let home = site(GRANT, "");
    let mut acknowledged = 0;
    for round in 0..4_i64 {
        let server = Site::at(&home.path("")).serve();
        let from = count(&server);
        assert!(from >= acknowledged, "round {round}: {from} of {acknowledged} are left");
        let written = std::thread::scope(|scope| {
            let write = |writer: i64| {
                let server = &server;
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(server.address()).unwrap();
                    let numbers = (0..).map(|number| round * 1_000_000 + writer * 100_000 + number);
                    let host = FORMS[(round % 2) as usize];
                    let written = numbers.take_while(|&id| {
                        let is_written = writes(&mut stream, host, id);
                        if writer == 0 && id % 100_000 == 20 {
                            server.signal("KILL"); // while the others write
                        }
                        is_written
                    });
                    written.count() as i64
                })
            };
            let threads: Vec<_> = (0..4).map(write).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i64>()
        });
        assert!(written >= 20, "{written}");
        acknowledged = from + written;
    }
    let left = count(&Site::at(&home.path("")).serve());
    assert!(left >= acknowledged, "{left} of {acknowledged} are left");
}

#[test]
fn mistakes_are_told_with_their_lines() {
    let text = r#"
[sql.one]
backend = "sqlit"
max_row = 1
[sql.two]
backend = "postgres://ann:hunter2@/x y:z"
[sql.three]
migrations = "none"
[sql.four]
backend = { env = "WASMUX_NOT_SET" }
[sql."a/b"]
backend = "sqlite"
timeout = "0s"
[sql.six]
backend = "postgres://ann:hunter2@db/x"
max_size = "1GiB"
[handlers.h]
wasm = "h.wat"
sql = ["on", "one"]
[handlers.i]
wasm = "h.wat"
sql = { one = { readonly = true }, two = 1 }
[sql.seven]
backend = 5
[sql.eight]
backend = "sqlite:///x.db"
[handlers.j]
wasm = "h.wat"
sql = ["one", "one"]
[routes]
"/" = "h"
"#;
    let output = Site::new(text).run(&["check"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    for said in [
        "routes.toml:3: `backend` must be \"sqlite\", \"postgres://…\" or { env = \"NAME\" } (did you mean `sqlite`?)",
        "routes.toml:4: unknown key `max_row` in [sql.one] (did you mean `max_rows`?)",
        "routes.toml:6: `backend` is no URL of a PostgreSQL database; write postgres://USER:PASSWORD@HOST:PORT/NAME",
        "routes.toml:7: [sql.three] needs `backend`",
        "routes.toml:8: `migrations`: the folder ",
        "routes.toml:10: `backend`: the environment variable WASMUX_NOT_SET is not set",
        "routes.toml:11: [sql.a/b]: the name must be 1 to 64 letters",
        "routes.toml:13: `timeout` must be longer than nothing",
        "routes.toml:16: `max_size` is for `backend = \"sqlite\"`",
        "routes.toml:19: `sql` names the database `on`, which is not defined: there is no [sql.on] (did you mean `one`?)",
        "routes.toml:22: unknown key `readonly` in `one` of [handlers.i] (did you mean `read_only`?)",
        "routes.toml:22: `two` in [handlers.i] must be a table such as { read_only = true }, but is a TOML integer",
        "routes.toml:24: `backend` must be \"sqlite\", \"postgres://…\" or { env = \"NAME\" }",
        "routes.toml:26: `backend` is no URL of a PostgreSQL database",
        "; or \"sqlite\", whose file is in `state`",
        "routes.toml:29: `sql` names the database `one` twice",
    ] {
        assert!(errors.contains(said), "{said}\n{errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
}
