//! `wasmux routes` and `wasmux routes explain`: what the mux knows. Loads no wasm.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use wasmux_mux::{Found, Target};

use super::{ExplainArgs, OK, RoutesArgs, RoutesCommand, fail, print, read_config};
use crate::config::{Config, RouteConfig, RouteTable, RouteTarget, ServerConfig, did_you_mean};
use crate::guest::Isolation;

pub(super) fn run(args: RoutesArgs) -> ExitCode {
    let config = match read_config(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let servers = match servers(&config, args.server.as_deref()) {
        Ok(servers) => servers,
        Err(message) => return fail(message),
    };
    match args.command {
        None => list(&config, &servers),
        Some(RoutesCommand::Explain(explained)) => explain(&explained, &config, &servers),
    }
}

/// The servers that are asked about: all, or the one of this name. Never empty.
fn servers<'c>(config: &'c Config, name: Option<&str>) -> Result<Vec<&'c ServerConfig>, String> {
    let asked: Vec<_> =
        config.servers.iter().filter(|server| name.is_none_or(|name| server.name == name)).collect();
    match name {
        Some(name) if asked.is_empty() => {
            let hint = did_you_mean(name, config.servers.iter().map(|server| server.name.as_str()));
            Err(format!("{} has no server `{name}` that listens{hint}", config.file.display()))
        }
        _ => Ok(asked),
    }
}

/// One table; with several servers, the first column says whose route it is.
fn list(config: &Config, servers: &[&ServerConfig]) -> ExitCode {
    let mut rows = vec![["SERVER", "PATTERN", "HANDLER", "LIMITS"].map(str::to_owned)];
    for server in servers {
        rows.extend(config.table_of(server).routes.iter().map(|route| {
            let name = server.name.clone();
            [name, route.pattern.clone(), chain(config, route), limits(config, route)]
        }));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (server, pattern, handler) = (width(0), width(1), width(2));
    for [name, a, b, c] in &rows {
        let name = if servers.len() > 1 { format!("{name:server$}  ") } else { String::new() };
        print(format!("{name}{a:pattern$}  {b:handler$}  {c}").trim_end());
    }
    OK
}

fn handler_name(config: &Config, route: &RouteConfig) -> String {
    match &route.target {
        Some(RouteTarget::Handler(index)) => config.handlers[*index].settings.name.clone(),
        Some(RouteTarget::Respond(respond)) => format!("(respond {})", respond.status.as_u16()),
        Some(RouteTarget::Redirect(redirect)) => {
            format!(
                "(redirect {} {})",
                redirect.status.as_u16(),
                String::from_utf8_lossy(redirect.location.as_bytes())
            )
        }
        Some(RouteTarget::Files(files)) => format!("(files {})", files.folder.display()),
        Some(RouteTarget::Proxy(proxy)) => {
            let names: Vec<_> = proxy.upstreams.iter().map(|upstream| &*upstream.name).collect();
            format!("(proxy {})", names.join(" "))
        }
        None => "?".to_owned(),
    }
}

/// A handler and those behind it, in the order in which a request comes by.
fn chain(config: &Config, route: &RouteConfig) -> String {
    let first = handler_name(config, route);
    let Some(RouteTarget::Handler(index)) = &route.target else { return first };
    let behind = std::iter::successors(config.handlers[*index].next, |&index| config.handlers[index].next);
    behind.fold(first, |names, index| format!("{names} → {}", config.handlers[index].settings.name))
}

fn limits(config: &Config, route: &RouteConfig) -> String {
    let Some(RouteTarget::Handler(index)) = &route.target else { return String::new() };
    let settings = &config.handlers[*index].settings;
    let limits = &settings.limits;
    let size = |bytes: u64| match bytes {
        b if b >= 1 << 30 && b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => format!("{b}B"),
    };
    let concurrency = limits.concurrency.map_or(String::new(), |count| format!(", concurrency {count}"));
    let isolation = match &settings.isolation {
        Isolation::Request => "",
        Isolation::Reuse(_) => ", isolation reuse",
        Isolation::Concurrent(..) => ", isolation concurrent",
    };
    format!(
        "timeout {}, cpu {}, memory {}, request {}, response {}{concurrency}{isolation}",
        humantime::format_duration(limits.timeout),
        humantime::format_duration(limits.cpu),
        size(limits.memory_bytes_max),
        size(limits.request_body_bytes_max),
        size(limits.response_body_bytes_max)
    )
}

/// A request to be explained.
#[derive(Debug, Deserialize)]
struct Question {
    method: String,
    target: String,
    #[serde(default)]
    host: String,
}

/// What becomes of it; what does not apply is left out.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
}

fn explain(args: &ExplainArgs, config: &Config, servers: &[&ServerConfig]) -> ExitCode {
    let (Some(method), Some(target)) = (&args.method, &args.url) else {
        return explain_lines(config, servers);
    };
    let question = Question { method: method.clone(), target: target.clone(), host: args.host.clone() };
    for server in servers {
        let table = config.table_of(server);
        let outcome = outcome(config, table, &question);
        if args.json {
            print_json(&outcome);
            continue;
        }
        if servers.len() > 1 {
            print(format_args!("server {}:", server.name));
        }
        let handler = outcome.handler.map_or(String::new(), |handler| format!(" → {handler}"));
        match Target::parse(method, target) {
            Ok(parsed) => {
                print(format_args!("{}{handler}", table.mux.explain(&parsed.request(method, &args.host))))
            }
            Err(error) => print(format_args!("400: {error}")),
        }
        for (name, value) in &outcome.values {
            print(format_args!("  {name} = {value:?}"));
        }
    }
    OK
}

fn explain_lines(config: &Config, servers: &[&ServerConfig]) -> ExitCode {
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let question = match line
            .map_err(|error| error.to_string())
            .and_then(|line| serde_json::from_str::<Question>(&line).map_err(|error| error.to_string()))
        {
            Ok(question) => question,
            Err(error) => {
                let wanted = r#"{"method":"GET","target":"/path","host":"localhost"}"#;
                return fail(format_args!("standard input, line {}: {error}; write {wanted}", number + 1));
            }
        };
        for server in servers {
            print_json(&outcome(config, config.table_of(server), &question));
        }
    }
    OK
}

fn print_json(outcome: &Outcome) -> ExitCode {
    match serde_json::to_string(outcome) {
        Ok(json) => print(json),
        Err(error) => return fail(error),
    }
    OK
}

fn outcome(config: &Config, table: &RouteTable, question: &Question) -> Outcome {
    let Ok(target) = Target::parse(&question.method, &question.target) else {
        return Outcome { status: 400, ..Outcome::default() };
    };
    match table.mux.find(&target.request(&question.method, &question.host)) {
        Found::Match(found) => Outcome {
            status: 200,
            pattern: Some(found.pattern().as_str().to_owned()),
            values: found
                .values()
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(&value).into_owned()))
                .collect(),
            handler: Some(handler_name(config, &table.routes[*found.value()])),
            ..Outcome::default()
        },
        Found::Redirect(redirect) => {
            Outcome { status: 307, location: Some(redirect.location().to_owned()), ..Outcome::default() }
        }
        Found::MethodNotAllowed(allow) => {
            Outcome { status: 405, allow: Some(allow.to_string()), ..Outcome::default() }
        }
        Found::NotFound => Outcome { status: 404, ..Outcome::default() },
        Found::BadRequest => Outcome { status: 400, ..Outcome::default() },
    }
}
