//! Where deployments come from, as the command line says.

use std::fmt;
use std::path::PathBuf;

use super::Refused;
use crate::config::{Config, ListenAddr, ProblemKind, Problems};

/// What the command line names.
#[derive(Clone, Debug)]
pub enum From {
    /// A routes.toml.
    File(PathBuf),
    /// One module or crate, on `/`.
    Module(PathBuf),
}

/// What is served; each reload looks there again.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it comes from.
    pub from: From,
    /// Addresses that replace those of the file, unless empty.
    pub listen: Vec<ListenAddr>,
}

impl Source {
    /// The text of the file, as it is now; empty for a module.
    ///
    /// # Errors
    /// When there is nothing to read.
    pub fn text(&self) -> Result<String, Refused> {
        match &self.from {
            From::Module(module) => match Config::for_module(module) {
                Ok(_) => Ok(String::new()),
                Err(problem) => Err(Refused::Problems(vec![problem])),
            },
            From::File(file) => std::fs::read_to_string(file)
                .map_err(|error| Refused::Problems(vec![Config::unreadable(file, &error)])),
        }
    }

    /// The configuration that this text means. With any problem it must not be served.
    #[must_use]
    pub fn parse(&self, text: &str) -> (Config, Problems) {
        let (mut config, problems) = match &self.from {
            From::File(file) => Config::parse(file, text),
            From::Module(module) => {
                let problems = Problems::new(module, "");
                let config = Config::for_module(module).unwrap_or_else(|problem| {
                    problems.add_at_line(problem.kind, problem.line, problem.message);
                    Config::empty(module)
                });
                (config, problems)
            }
        };
        if let Err(message) = config.listen_elsewhere(&self.listen) {
            problems.add_at_line(ProblemKind::BadValue, 1, message);
        }
        (config, problems)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (From::File(path) | From::Module(path)) = &self.from;
        write!(f, "{}", path.display())
    }
}
