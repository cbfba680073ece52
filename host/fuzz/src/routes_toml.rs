//! Any text of a routes.toml: no panic, the same problems each time, and each of them in a line that is there.

use std::path::Path;

use wasmux::config::Config;

/// Longer texts are cut, in bytes: what is looked for fits into less.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Input: the text; bytes that are not UTF-8 are replaced.
pub fn routes_toml(input: &[u8]) {
    let text = String::from_utf8_lossy(&input[..input.len().min(TEXT_BYTES_MAX)]);
    // A folder that is not there: nothing that a path names exists.
    let file = Path::new("/nonexistent/wasmux/routes.toml");
    let (config, problems) = Config::parse(file, &text);
    let problems = problems.into_sorted();
    let lines = text.matches('\n').count() + 1;
    for problem in &problems {
        assert!((1..=lines).contains(&problem.line), "line {} of {lines}: {problem}", problem.line);
        assert!(!problem.message.is_empty(), "{problem:?}");
        assert!(problem.message.len() <= 1_000 + 4 * text.len(), "{} bytes", problem.message.len());
    }
    assert!(!config.servers.is_empty() || !problems.is_empty(), "there is a server, or a reason");
    for server in &config.servers {
        assert!(server.routes < config.tables.len(), "each has its routes");
    }
    for table in &config.tables {
        assert!(table.mux.iter().all(|(_, &index)| index < table.routes.len()), "each pattern has a route");
    }

    let (again, same) = Config::parse(file, &text);
    assert_eq!(same.into_sorted(), problems);
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
}
