//! `wasmux logs`: the latest lines of a server's log, and those that come.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::admin::{Failed, ServerArg, run};
use super::{OK, fail, is_heard, print};
use crate::printable::{self, is_harmless};

/// `wasmux logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Go on with the lines that come, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only lines about this handler
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Only lines of this level and worse
    #[arg(long, value_parser = ["error", "warn", "info", "debug", "trace"], default_value = "trace", hide_default_value = true)]
    level: String,
    #[command(flatten)]
    server: ServerArg,
}

pub(super) fn logs(args: &LogsArgs) -> ExitCode {
    let mut path = format!("/v1/logs?follow={}&level={}", u8::from(args.follow), args.level);
    if let Some(handler) = &args.handler {
        path += &format!("&handler={}", utf8_percent_encode(handler, NON_ALPHANUMERIC));
    }
    let shown = args.server.client().and_then(|client| {
        run(async {
            let mut body = client.send(Method::GET, &path, Vec::new()).await?.into_body();
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Failed::Other(error.to_string()))?;
                rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    show(&line, args.server.json);
                }
                if !is_heard() {
                    break;
                }
            }
            Ok(())
        })
    });
    shown.map_or_else(fail, |()| OK)
}

fn show(line: &[u8], as_json: bool) {
    if as_json {
        return print(printable::json(String::from_utf8_lossy(line).trim_end().to_owned()));
    }
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let about = |key: &str| line[key].as_str().map(|value| format!(" {key}={value}")).unwrap_or_default();
    // What guests say is theirs: it must not drive the terminal.
    let message: String =
        text("message").chars().map(|c| if is_harmless(c) || c == '\t' { c } else { '�' }).collect();
    print(format_args!(
        "{} {:>5} {}: {message}{}{}",
        text("time"),
        text("level"),
        text("target"),
        about("handler"),
        about("request_id")
    ));
}
