//! A new deployment in place of the one in force, while it serves.
//!
//! Invariant: what is not good as a whole changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{Config, ListenAddr, Problem, ProblemKind, Problems, ProcessConfig, ServerConfig};
use crate::deployment::{self, Deployment};
use crate::guest::GuestEngine;
use crate::resources::Resources;

/// Where a deployment comes from, as the command line says; each reload looks there again.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A routes.toml.
    File(PathBuf),
    /// One module or crate, on `/`.
    Module(PathBuf),
}

/// What is served.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it comes from.
    pub origin: Origin,
    /// Addresses that replace those of the file, unless empty.
    pub listen: Vec<ListenAddr>,
}

impl Source {
    /// Reads the configuration. With any problem it must not be served.
    ///
    /// # Errors
    /// When there is nothing to read.
    pub fn read(&self) -> Result<(Config, Problems), Problem> {
        let (mut config, problems) = match &self.origin {
            Origin::File(file) => Config::read(file),
            Origin::Module(module) => (Config::for_module(module)?, Problems::new(module, "")),
        };
        if let Err(message) = config.listen_elsewhere(&self.listen) {
            problems.add_at_line(ProblemKind::BadValue, 1, message);
        }
        Ok((config, problems))
    }
}

/// Builds all that a configuration names, and applies its migrations if nothing is in the way.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub fn build(
    config: &Config,
    problems: Problems,
    engine: &GuestEngine,
    resources: &Resources,
) -> Result<Deployment, Vec<Problem>> {
    let deployment = Deployment::build(config, engine, resources, &problems);
    // Last of all: it is the only thing that cannot be taken back.
    if deployment.is_some() && problems.is_empty() {
        deployment::migrate(config, resources, &problems);
    }
    let problems = problems.into_sorted();
    deployment.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Replaces the deployment in force.
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    engine: GuestEngine,
    resources: Resources,
    /// The settings that this process was started with.
    running: (ProcessConfig, Vec<ServerConfig>),
    in_force: Arc<ArcSwap<Deployment>>,
    /// Counts deployments, from 1.
    number: u64,
}

impl Reloader {
    /// For a process that was started with `running` and serves `in_force`, deployment 1.
    #[must_use]
    pub fn new(
        source: Source,
        (engine, resources): (GuestEngine, Resources),
        running: (ProcessConfig, Vec<ServerConfig>),
        in_force: Arc<ArcSwap<Deployment>>,
    ) -> Self {
        Self { source, engine, resources, running, in_force, number: 1 }
    }

    /// Reads and builds everything again and puts it in force, or says why not.
    pub async fn reload(&mut self) {
        let (source, engine, resources) = (self.source.clone(), self.engine.clone(), self.resources.clone());
        let load = move || {
            let (config, problems) = source.read().map_err(|problem| vec![problem])?;
            build(&config, problems, &engine, &resources).map(|deployment| (config, deployment))
        };
        // Reading, compiling and cargo take their time, which must not be that of requests.
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok((config, deployment))) => self.put_in_force(&config, deployment),
            Ok(Err(problems)) => {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                let (count, plural) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
                tracing::error!("not reloaded: {count} problem{plural}; deployment {} goes on", self.number);
            }
            Err(error) => tracing::error!("not reloaded: {error}; deployment {} goes on", self.number),
        }
    }

    fn put_in_force(&mut self, config: &Config, deployment: Deployment) {
        let before = self.in_force.swap(Arc::new(deployment));
        // Its code and its idle instances take a while to go, which with one thread would be everybody's.
        tokio::task::spawn_blocking(move || drop(before));
        self.number += 1;
        tracing::info!("reloaded: {}, deployment {}", config.summary(), self.number);
        let (process, servers) = &self.running;
        let fixed = config.fixed_differences(process, servers);
        if !fixed.is_empty() {
            tracing::warn!(
                "changed, but a reload does not change it: {}; restart, or upgrade with SIGUSR2",
                fixed.join(", ")
            );
        }
    }
}
