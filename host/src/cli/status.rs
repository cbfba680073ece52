//! `wasmux status`: what a server serves and how it does, once or as a table that stays up to date.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::admin::{Failed, ServerArg, run};
use super::deploy::origin;
use super::{OK, PROBLEMS, fail, print};

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
                // Home, the text, and nothing of the one before.
                (false, true) => print(format_args!("\x1b[H\x1b[J{}", table(&answer))),
                (false, false) => print(table(&answer)),
            }
            if !args.watch || std::io::stdout().flush().is_err() {
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
    let _ = writeln!(page, "\n{:<widest$}  version       running  waiting    memory  limits hit", "handler");
    for handler in handlers {
        let used = &handler["use"];
        let limits = used["limits"].as_object().into_iter().flatten();
        let limits: Vec<_> = limits.map(|(name, hits)| format!("{name} {hits}")).collect();
        let memory = used["memory_bytes"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
        let _ = writeln!(
            page,
            "{:<widest$}  {:<12}  {:>7}  {:>7}  {memory:>5.1} MiB  {}",
            text(&handler["handler"]),
            text(&handler["version"]),
            used["running"].as_u64().unwrap_or(0),
            used["waiting"].as_u64().unwrap_or(0),
            limits.join(", ")
        );
    }
    if let Some(canary) = status["canary"].as_object() {
        let side = |name: &str| {
            let side = &canary[name];
            format!(
                "{} requests, {} failed, {} given up, p95 {} ms",
                side["requests"], side["failures"], side["given_up"], side["p95_ms"]
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
