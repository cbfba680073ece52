//! A run of cargo whose words are passed on to standard error, and kept.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anstream::adapter::strip_str;
use serde_json::Value;

use super::{BuildError, Package, Run, binary_in, cargo_build};

/// What is kept of what cargo and the compiler say, in bytes; standard error has all of it.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A run, and what was said.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) ran: Run,
    /// The compiler's errors, each with the manifest of the package that it is in. Plain text.
    pub(super) errors: Vec<(PathBuf, String)>,
    /// What cargo itself says. Plain text.
    pub(super) said: String,
}

/// Builds packages of one workspace. `is_quiet`: cargo does not say what it is at.
pub(super) fn run(
    target: &str,
    workspace: &Path,
    packages: &[Package],
    is_quiet: bool,
) -> Result<Heard, BuildError> {
    let has_colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let mut command = cargo_build(target, workspace, packages);
    if is_quiet {
        command.arg("--quiet");
    }
    match has_colour {
        true => command.args(["--color=always", "--message-format=json-diagnostic-rendered-ansi"]),
        false => command.args(["--color=never", "--message-format=json"]),
    };
    let failed = |error: io::Error| BuildError::Cargo(format!("cannot start cargo: {error}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let listening = std::thread::Builder::new().spawn(move || err.map(pass_on).unwrap_or_default());
    let (mut binaries, mut errors, mut length) = (Vec::new(), Vec::new(), 0);
    for line in lines(out.into_iter()) {
        let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
        binaries.extend(binary_in(&message));
        let Some((manifest, rendered, is_error)) = diagnostic(&message) else { continue };
        let _ = io::stderr().write_all(rendered.as_bytes());
        if is_error && length < TEXT_BYTES_MAX {
            let text = cut(strip_str(rendered).to_string());
            length += text.len();
            errors.push((manifest, text));
        }
    }
    let status = child.wait().map_err(failed)?;
    let said = listening.map_err(failed)?.join().unwrap_or_default();
    Ok(Heard { ran: Run { success: status.success(), binaries }, errors, said })
}

/// The lines of a stream, for as long as it can be read.
fn lines(stream: impl Iterator<Item = impl Read>) -> impl Iterator<Item = Vec<u8>> {
    stream.flat_map(|stream| BufReader::new(stream).split(b'\n').map_while(Result::ok))
}

/// Writes to standard error what comes, as it comes; and answers with its beginning.
fn pass_on(stream: impl Read) -> String {
    let mut text = String::new();
    for mut line in lines(std::iter::once(stream)) {
        line.push(b'\n');
        let _ = io::stderr().write_all(&line);
        if text.len() < TEXT_BYTES_MAX {
            text += &strip_str(&String::from_utf8_lossy(&line)).to_string();
        }
    }
    // Before it stands what cargo was at.
    let start = text.find("\nerror").map_or(0, |newline| newline + 1);
    cut(text.split_off(start))
}

/// A message of the compiler: the manifest of the package, how it is shown, and whether it is an error. The one that only counts
/// those before it is none.
fn diagnostic(message: &Value) -> Option<(PathBuf, &str, bool)> {
    if message["reason"] != "compiler-message" {
        return None;
    }
    let (manifest, message) = (message["manifest_path"].as_str().unwrap_or_default(), &message["message"]);
    let (level, text) = (message["level"].as_str()?, message["message"].as_str()?);
    let is_count = text.starts_with("aborting due to")
        || text.ends_with("emitted") && message["spans"] == Value::Array(vec![]);
    let manifest = Path::new(manifest).canonicalize().unwrap_or_else(|_| manifest.into());
    (!is_count).then_some((manifest, message["rendered"].as_str()?, level.starts_with("error")))
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str("…\n");
    }
    text
}
