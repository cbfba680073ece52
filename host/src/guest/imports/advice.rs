//! Sentences about imports of components: who provides them, or could.

/// What every sentence about something that is linked and does nothing ends with.
macro_rules! refused {
    ($what:literal) => {
        concat!("wasmux: ", $what, ", refused at run time unless granted")
    };
}

/// The name of an interface, `namespace:package/interface@version`, in its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Name<'n> {
    /// Empty when the name is not one of an interface.
    namespace: &'n str,
    package: &'n str,
    interface: &'n str,
    version: Option<&'n str>,
}

impl<'n> Name<'n> {
    fn parse(text: &'n str) -> Self {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let Some((namespace, rest)) = path.split_once(':') else { return Self::default() };
        let Some((package, interface)) = rest.split_once('/') else { return Self::default() };
        Self { namespace, package, interface, version }
    }

    /// A version that was never final: `0.2.0-rc-2023-11-10`.
    fn is_draft(self) -> bool {
        self.version.is_some_and(|version| version.contains('-'))
    }

    fn is_of(self, line: &str) -> bool {
        self.version.is_some_and(|version| version.starts_with(line))
    }
}

/// Packages of WASI itself, all of which the host has in 0.2 and 0.3.
const WASI: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];

/// Who provides an import that the host has.
pub(in super::super) fn provider(name: &str) -> &'static str {
    let name = Name::parse(name);
    let is_p3 = name.is_of("0.3.");
    match (name.namespace, name.package, name.interface) {
        ("wasi", "http", "handler") => "the handler that `next` names",
        ("wasi", "http", "outgoing-handler") => refused!("wasi:http 0.2"),
        ("wasi", "http", "client") => refused!("wasi:http 0.3"),
        ("wasi", "http", _) if is_p3 => "wasmux: wasi:http 0.3",
        ("wasi", "http", _) => "wasmux: wasi:http 0.2",
        ("wasi", "sockets" | "filesystem", _) if is_p3 => refused!("WASI 0.3"),
        ("wasi", "sockets" | "filesystem", _) => refused!("WASI 0.2"),
        ("wasi", "keyvalue", _) => refused!("wasi:keyvalue 0.2.0-draft"),
        ("wasi", "config", _) => refused!("wasi:config 0.2.0-rc.1"),
        ("wasi", "logging", _) => "wasmux: the log",
        ("wasi", _, _) if is_p3 => "wasmux: WASI 0.3",
        ("wasi", _, _) => "wasmux: WASI 0.2",
        _ => "wasmux",
    }
}

/// The sentence for an import that nobody provides.
pub(in super::super) fn missing(name: &str) -> String {
    format!("it imports `{}`, which nobody provides: {}", printable(name), advice(name))
}

/// The sentence for an import that the host has in another form.
pub(in super::super) fn mismatch(name: &str, difference: &str) -> String {
    format!(
        "it imports `{}`, which is another one here ({}): build it again with the newest release of its SDK, or update \
         wasmux",
        printable(name),
        printable(difference)
    )
}

/// Text of a binary, which may be anybody's: in one line, and not too long.
pub(in super::super) fn printable(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let mut printable: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        printable.push('…');
    }
    printable.replace("\\'", "'").replace("\\\"", "\"")
}

/// Who could provide it, or what to do.
fn advice(text: &str) -> String {
    let name = Name::parse(text);
    let only = |who: &str| format!("only {who} has it; build the handler on wasi:http instead");
    let not_offered = |what: &str| {
        format!(
            "wasmux does not offer {what}; build it without, or compose it with a component that has it (`wac plug`)"
        )
    };
    match (name.namespace, name.package) {
        ("wasi", package) if WASI.contains(&package) => standard(name),
        ("wasi", "keyvalue") => other_draft("wasi:keyvalue", "0.2.0-draft: `store`, `atomics` and `batch`"),
        ("wasi", "config") => other_draft("wasi:config", "0.2.0-rc.1: `store`"),
        ("wasi", "logging") => other_draft("wasi:logging", "0.1.0-draft: `logging`"),
        ("wasi", "tls") => not_offered("TLS to guests"),
        ("wasi", "nn") => not_offered("machine learning"),
        ("wasi", "blobstore") => not_offered("object storage"),
        ("wasi", "messaging") => not_offered("messaging"),
        ("wasi", "otel") => not_offered("OpenTelemetry to guests"),
        ("wasi", package) => not_offered(&format!("wasi:{}", printable(package))),
        ("fermyon" | "spin", _) => only("Spin"),
        ("wasmcloud", _) => only("wasmCloud"),
        ("fastly", _) => only("Fastly Compute"),
        ("golem", _) => only("Golem"),
        ("wasmux", _) => "this host is too old for it, or the name is misspelt".to_owned(),
        ("", _) => {
            "it is not part of any interface; compose it with a component that exports it (`wac plug`)"
                .to_owned()
        }
        (namespace, package) => {
            let package = printable(&format!("{namespace}:{package}"));
            format!("`{package}` is no standard; compose it with the component that exports it (`wac plug`)")
        }
    }
}

fn other_draft(package: &str, known: &str) -> String {
    format!("of {package} wasmux has {known}; build it for that")
}

/// Advice for what belongs to WASI itself and is not there nevertheless.
fn standard(name: Name<'_>) -> String {
    let line = if name.is_of("0.3.") { "0.3" } else { "0.2" };
    let is_known = name.is_of("0.2.") || name.is_of("0.3.");
    match (name.package, name.interface) {
        _ if name.version.is_none() => {
            "it says no version, which is older than WASI 0.2; build it again with a newer SDK".to_owned()
        }
        _ if is_known && name.is_draft() => {
            let version = printable(name.version.unwrap_or_default());
            format!("{version} is a draft of what became WASI {line}; build it again with a newer SDK")
        }
        ("http", "handler") if is_known => {
            "it is the handler behind this one; name it with `next` in [handlers.NAME]".to_owned()
        }
        ("http", "incoming-handler") if is_known => {
            "a wasi:http 0.2 handler has no other behind it; build the middleware for wasi:http 0.3"
                .to_owned()
        }
        _ if is_known => format!("WASI {line} has no interface of this name"),
        _ => "wasmux has WASI 0.2 and 0.3; build it for one of them, or update wasmux".to_owned(),
    }
}

#[cfg(test)]
mod tests;
