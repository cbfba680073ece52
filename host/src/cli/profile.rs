//! `wasmux profile`: samples a running server, host and guests, into a file for `go tool pprof` or a flame graph.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use http::Method;
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::admin::{Failed, ServerArg, run, with_progress};
use super::{OK, fail, print, write};

/// `wasmux profile`.
#[derive(Debug, Args)]
pub(super) struct ProfileArgs {
    /// Which one
    #[arg(value_name = "KIND", value_enum, default_value = "cpu")]
    kind: Kind,
    /// Only what this handler's guests compute
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// For how long: a number of seconds, up to 600
    #[arg(long, short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The file that is written; `-` is standard output. [default: KIND.pb.gz, or flame.html]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// What computes, for `go tool pprof`
    Cpu,
    /// The same as a page with a flame graph
    Flame,
    /// Who has memory
    Heap,
    /// What each thread is at
    Threads,
    /// Requests of guests
    Tasks,
}

impl Kind {
    fn is_sampled(self) -> bool {
        matches!(self, Self::Cpu | Self::Flame)
    }

    /// What the server calls it, and the file that it is written to if nothing else is said.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu => ("profile", "cpu.pb.gz"),
            Self::Flame => ("flame", "flame.html"),
            Self::Heap => ("heap", "heap.pb.gz"),
            Self::Threads => ("threads", "threads.pb.gz"),
            Self::Tasks => ("tasks", "tasks.pb.gz"),
        }
    }

    fn path(self, args: &ProfileArgs) -> String {
        let (name, _) = self.names();
        let mut path = format!("/debug/pprof/{name}");
        if self.is_sampled() {
            path += &format!("?seconds={}", args.seconds);
            if let Some(handler) = &args.handler {
                path += &format!("&handler={}", utf8_percent_encode(handler, NON_ALPHANUMERIC));
            }
        }
        path
    }
}

pub(super) fn profile(args: &ProfileArgs) -> ExitCode {
    let kind = args.kind;
    if args.handler.is_some() && !kind.is_sampled() {
        return fail("`--handler` is for cpu and flame");
    }
    let client = match args.server.client() {
        Ok(client) => client,
        Err(failed) => return fail(failed),
    };
    let what =
        if kind.is_sampled() { format!("sampling for {} s", args.seconds) } else { "asking".to_owned() };
    let conversation = async {
        let response = client.send(Method::GET, &kind.path(args), Vec::new()).await?;
        let body = response.into_body().collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| Failed::Other(error.to_string()))
    };
    let bytes = match run(with_progress(&what, conversation)) {
        Ok(bytes) => bytes,
        Err(failed) => return fail(failed),
    };
    let file = args.output.clone().unwrap_or_else(|| kind.names().1.into());
    if file.as_os_str() == "-" {
        write(&bytes);
        return OK;
    }
    if let Err(error) = std::fs::write(&file, &bytes) {
        return fail(format_args!("{}: {error}", file.display()));
    }
    let shown = file.display();
    if args.server.json {
        print(json!({ "file": shown.to_string(), "bytes": bytes.len() }));
    } else if kind == Kind::Flame {
        print(format_args!("{shown}: open it in a browser"));
    } else {
        print(format_args!("{shown}: go tool pprof -top {shown}"));
    }
    OK
}
