//! What a running process cannot change: a file that is read again may say otherwise, and its author should hear of it.

use super::server::title;
use super::{Config, MAIN_SERVER, ProcessConfig, ServerConfig};

impl Config {
    /// The settings that differ from those a process runs with, of those that it cannot change: `threads of [server]`.
    #[must_use]
    pub fn fixed_differences(&self, process: &ProcessConfig, servers: &[ServerConfig]) -> Vec<String> {
        let main = title(MAIN_SERVER);
        let mut found: Vec<_> =
            process_keys(process, &self.process).map(|key| format!("{key} of {main}")).collect();
        if process.tracing != self.process.tracing {
            found.push("[tracing]".to_owned());
        }
        for new in &self.servers {
            match servers.iter().find(|running| running.name == new.name) {
                Some(running) => found
                    .extend(server_keys(running, new).map(|key| format!("{key} of {}", title(&new.name)))),
                None => found.push(format!("{}, which is new", title(&new.name))),
            }
        }
        let gone = servers.iter().filter(|running| self.servers.iter().all(|new| new.name != running.name));
        found.extend(gone.map(|server| format!("{}, which is gone", title(&server.name))));
        found
    }
}

// Field by field, so that a new one is not forgotten.

fn process_keys(one: &ProcessConfig, other: &ProcessConfig) -> impl Iterator<Item = &'static str> {
    let ProcessConfig {
        threads,
        access_log,
        shutdown_timeout,
        upgrade_timeout,
        max_connections,
        max_connections_per_peer,
        instances,
        resident_handlers,
        guest_memory_bytes_max,
        stack_bytes_max,
        compile_timeout: _,
        compile_memory_bytes_max: _,
        cache: _, // each deployment looks at it
        state,
        deployments,
        admin,
        tracing: _, // no key of [server]
    } = one;
    let same = [
        ("threads", *threads == other.threads),
        ("access_log", *access_log == other.access_log),
        ("shutdown_timeout", *shutdown_timeout == other.shutdown_timeout),
        ("upgrade_timeout", *upgrade_timeout == other.upgrade_timeout),
        ("max_connections", *max_connections == other.max_connections),
        ("max_connections_per_peer", *max_connections_per_peer == other.max_connections_per_peer),
        ("instances", *instances == other.instances),
        ("resident_handlers", *resident_handlers == other.resident_handlers),
        ("guest_memory", *guest_memory_bytes_max == other.guest_memory_bytes_max),
        ("stack", *stack_bytes_max == other.stack_bytes_max),
        ("state", *state == other.state),
        ("deployments", *deployments == other.deployments),
        ("admin", *admin == other.admin),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key)
}

fn server_keys(one: &ServerConfig, other: &ServerConfig) -> impl Iterator<Item = &'static str> {
    let ServerConfig {
        name: _,
        listen,
        tls,
        read_header_timeout,
        read_timeout,
        write_timeout,
        idle_timeout,
        tls_handshake_timeout,
        stall_timeout,
        max_header_bytes,
        routes: _, // part of each deployment
    } = one;
    let same = [
        ("listen", *listen == other.listen),
        ("tls", *tls == other.tls),
        ("read_header_timeout", *read_header_timeout == other.read_header_timeout),
        ("read_timeout", *read_timeout == other.read_timeout),
        ("write_timeout", *write_timeout == other.write_timeout),
        ("idle_timeout", *idle_timeout == other.idle_timeout),
        ("tls_handshake_timeout", *tls_handshake_timeout == other.tls_handshake_timeout),
        ("stall_timeout", *stall_timeout == other.stall_timeout),
        ("max_header_bytes", *max_header_bytes == other.max_header_bytes),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let (config, problems) = Config::parse(Path::new("routes.toml"), text);
        assert_eq!(problems.into_sorted(), []);
        config
    }

    #[test]
    fn differences_are_named() {
        let tls = "tls = { certificates = [{ cert = \"a\", key = \"b\" }] }";
        let running = format!("[server]\nlisten = \":1\"\n{tls}\n[servers.a]\nlisten = \":2\"\n[routes]\n");
        let found = |new: &str| {
            let running = config(&running);
            config(new).fixed_differences(&running.process, &running.servers)
        };
        // The same files on other lines, another cache and other routes are no difference.
        let moved = format!(
            "[routes]\n\"/\" = {{ respond = \"\" }}\n[server]\ncache = \"off\"\n{tls}\nlisten = \":1\"\n[servers.a]\nlisten = \":2\"\n"
        );
        assert_eq!(found(&moved), Vec::<String>::new());
        assert_eq!(
            found(
                "[server]\nlisten = \":1\"\nthreads = 7\nidle_timeout = \"off\"\n[servers.b]\nlisten = \":2\"\n[routes]\n"
            ),
            [
                "threads of [server]",
                "tls of [server]",
                "idle_timeout of [server]",
                "[servers.b], which is new",
                "[servers.a], which is gone"
            ]
        );
    }
}
