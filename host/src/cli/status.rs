//! `wasmux status`: what a server serves and how it does, once or as a table that stays up to date.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::admin::{Failed, ServerArg, run};
use super::deploy::origin;
use super::{OK, PROBLEMS, fail, is_heard, print};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// `wasmux status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show it again every second, until interrupted
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    server: ServerArg,
}

pub(super) fn status(args: &StatusArgs) -> ExitCode {
    let client = match args.server.client() {
        Ok(client) => client,
        Err(failed) => return fail(failed),
    };
    let on_terminal = std::io::stdout().is_terminal();
    let shown = run(async {
        loop {
            let answer = client.ask(Method::GET, "/v1/status", Vec::new()).await?;
            match (args.server.json, args.watch && on_terminal) {
                (true, _) => print(&answer),
                // Home, nothing of the one before, and the text, whose long lines the terminal cuts.
                (false, true) => print(format_args!("\x1b[H\x1b[J\x1b[?7l{}\x1b[?7h", table(&answer))),
                (false, false) => print(table(&answer)),
            }
            if !args.watch || !is_heard() {
                return Ok(());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    match shown {
        Ok(()) => OK,
        Err(Failed::Down(message)) => {
            super::eprint(format_args!("wasmux: {message}"));
            ExitCode::from(PROBLEMS)
        }
        Err(failed) => fail(failed),
    }
}

fn table(status: &Value) -> String {
    let deployment = &status["deployment"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut page = format!(
        "wasmux {}, process {}, {}; deployment {} ({})\n",
        text(&status["version"]),
        status["process"],
        text(&status["status"]),
        deployment["number"],
        origin(deployment)
    );
    let handlers = status["handlers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let widest = handlers.iter().map(|handler| text(&handler["handler"]).len()).max().unwrap_or(0).max(7);
    let heads =
        "version       requests   failed  running  waiting    memory        cpu  errors and limits hit";
    let _ = writeln!(page, "\n{:<widest$}  {heads}", "handler");
    for handler in handlers {
        let used = &handler["use"];
        let limits = used["limits"].as_object().into_iter().flatten();
        let limits = limits.chain(handler["errors"].as_object().into_iter().flatten());
        let limits: Vec<_> = limits.map(|(name, hits)| format!("{name} {hits}")).collect();
        let memory = used["memory_bytes"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
        let cpu = used["cpu_ms"].as_u64().unwrap_or(0) as f64 / 1e3;
        let own = &handler["version"];
        let (in_force, others): (Vec<_>, Vec<_>) = handler["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .partition(|version| version["version"] == *own);
        let count = |version: Option<&&Value>, key: &str| {
            version.and_then(|version| version[key].as_u64()).unwrap_or(0)
        };
        let _ = writeln!(
            page,
            "{:<widest$}  {:<12}  {:>8}  {:>7}  {:>7}  {:>7}  {memory:>5.1} MiB  {cpu:>7.1} s  {}",
            text(&handler["handler"]),
            text(own),
            count(in_force.first(), "requests"),
            count(in_force.first(), "failures"),
            used["running"].as_u64().unwrap_or(0),
            used["waiting"].as_u64().unwrap_or(0),
            limits.join(", ")
        );
        // A canary, or one that still has requests at work.
        for other in others {
            let (version, [requests, failures]) =
                (text(&other["version"]), ["requests", "failures"].map(|key| count(Some(&other), key)));
            let _ = writeln!(page, "{:<widest$}  {version:<12}  {requests:>8}  {failures:>7}", "");
        }
    }
    page += &routes(&status["servers"]);
    if let Some(canary) = status["canary"].as_object() {
        let side = |name: &str| {
            let side = &canary[name];
            let p95 = side["p95_ms"].as_f64().map_or_else(|| "-".to_owned(), |p95| format!("{p95} ms"));
            format!(
                "{} requests, {} failed, {} given up, p95 {p95}",
                side["requests"], side["failures"], side["given_up"]
            )
        };
        let _ = writeln!(
            page,
            "\ncanary {} {} gets {} %: {}\nversion before: {}",
            text(&canary["handler"]),
            text(&canary["version"]),
            canary["share_percent"],
            side("canary"),
            side("stable")
        );
    }
    page.trim_end().to_owned()
}

/// The routes of all servers, one a line.
fn routes(servers: &Value) -> String {
    let all = servers.as_object().into_iter().flatten().flat_map(|(server, routes)| {
        routes.as_array().into_iter().flatten().map(move |route| {
            let text = |key: &str| route[key].as_str().unwrap_or_default();
            (server, text("pattern"), text("handler"))
        })
    });
    let all: Vec<_> = all.collect();
    let width = |of: fn(&(&String, &str, &str)) -> usize| all.iter().map(of).max().unwrap_or(0);
    let (widest, longest) = (width(|route| route.0.len()).max(6), width(|route| route.1.len()).max(5));
    let mut text = format!("\n{:<widest$}  {:<longest$}  handler\n", "server", "route");
    for (server, pattern, handler) in &all {
        let _ = writeln!(text, "{server:<widest$}  {pattern:<longest$}  {handler}");
    }
    text
}
