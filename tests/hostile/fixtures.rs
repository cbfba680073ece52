//! The hostile guests of `tests/guests/hostile`: a frame for each ABI, and what they do in it.

use std::path::PathBuf;

use crate::support::Site;
use crate::support::guests::{component, root};

/// The contracts between host and guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    Module,
    P2,
    P3,
}

impl Abi {
    pub(crate) const ALL: [Self; 3] = [Self::Module, Self::P2, Self::P3];

    /// The name of its frame.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Module => "serve_http",
            Self::P2 => "p2",
            Self::P3 => "p3",
        }
    }

    /// What its requests may share.
    pub(crate) const fn isolations(self) -> &'static [&'static str] {
        match self {
            Self::Module | Self::P2 => &["request", "reuse"],
            Self::P3 => &["request", "reuse", "concurrent"],
        }
    }
}

/// What only needs a core module, and so is the same on every ABI.
pub(crate) const COMPUTING: [&str; 14] = [
    "copy",
    "divide",
    "fill",
    "loop",
    "memory_beg",
    "memory_grow",
    "recurse",
    "start_grow",
    "start_loop",
    "start_trap",
    "storm",
    "table_beg",
    "table_fill",
    "table_grow",
];

/// What needs the interfaces; the other ABIs have guests in Rust for it.
const MODULES: [&str; 8] =
    ["bad_headers", "endless", "headers", "headers_600", "hello", "log_flood", "sleep", "trickle"];

/// A guest as text: the part `name` in the frame of `abi`.
pub(crate) fn text(abi: Abi, name: &str) -> String {
    let read = |name: &str| {
        let path = root().join(format!("tests/guests/hostile/{name}.wat"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    // Behind it the frame goes on, and the part may end with a comment.
    read(abi.name()).replace("HERE)", &format!("\n{})", read(name)))
}

/// The guest in Rust that does what its query says.
pub(crate) fn rust_guest(abi: Abi) -> PathBuf {
    component(if abi == Abi::P2 { "proxy" } else { "trouble" })
}

/// A site where every one of them has a handler for each isolation, at `/ABI/ISOLATION/NAME`, with `settings` in
/// `[server]`, and further `handlers` and `routes`. What the guests in Rust do is named by the last segment too.
pub(crate) fn site(settings: &str, defaults: &str, handlers: &str, routes: &str) -> Site {
    let mut handlers = format!("[server]\n{settings}\n[defaults]\n{defaults}\n[handlers]\n{handlers}\n");
    let mut routes = format!("[routes]\n\"/fixed\" = {{ respond = \"fixed\\n\" }}\n{routes}\n");
    let mut files = Vec::new();
    for abi in Abi::ALL {
        let names = COMPUTING.iter().chain(MODULES.iter().filter(|_| abi == Abi::Module));
        for name in names {
            let file = format!("{}-{name}.wat", abi.name());
            for isolation in abi.isolations() {
                let handler = format!("{}-{isolation}-{name}", abi.name());
                handlers
                    .push_str(&format!("{handler} = {{ wasm = \"{file}\", isolation = \"{isolation}\" }}\n"));
                routes.push_str(&format!("\"/{}/{isolation}/{name}\" = \"{handler}\"\n", abi.name()));
            }
            files.push((file, text(abi, name)));
        }
    }
    for (abi, name) in [(Abi::P2, "proxy"), (Abi::P3, "trouble")] {
        let wasm = rust_guest(abi);
        for isolation in abi.isolations() {
            let handler = format!("{name}-{isolation}");
            handlers.push_str(&format!("{handler} = {{ wasm = {wasm:?}, isolation = \"{isolation}\" }}\n"));
            routes.push_str(&format!("\"/{}/{isolation}/{name}\" = \"{handler}\"\n", abi.name()));
        }
    }
    let site = Site::new(&(handlers + &routes));
    files.into_iter().fold(site, |site, (name, text)| site.file(&name, text))
}

/// Where a guest is asked to do what `name` says.
pub(crate) fn target(abi: Abi, isolation: &str, name: &str) -> String {
    let computes = COMPUTING.contains(&name);
    let end = match abi {
        Abi::Module => name.to_owned(),
        _ if computes => name.to_owned(),
        Abi::P2 => format!("proxy?fault={name}"),
        Abi::P3 => format!("trouble?do={name}&n=10240"),
    };
    format!("/{}/{isolation}/{end}", abi.name())
}
