//! `GET /v1/status`: what the process serves, and how its handlers do.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Admin;

impl Admin {
    /// What each version has served, by handler, of those that some deployment in use has.
    fn versions(&self) -> BTreeMap<Arc<str>, Vec<Value>> {
        let mut counted = BTreeMap::<_, (u64, u64)>::new();
        for (key, stats) in self.deployer.maker().resources.registry().routes_in_use() {
            let (requests, failures) = stats.requests();
            let sum = counted.entry((key.handler, key.version)).or_default();
            *sum = (sum.0 + requests, sum.1 + failures);
        }
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        for ((handler, version), (requests, failures)) in counted {
            let version = json!({ "version": &*version, "requests": requests, "failures": failures });
            versions.entry(handler).or_default().push(version);
        }
        versions
    }

    /// What the process serves, and how it does.
    pub(super) fn status(&self) -> Value {
        let (record, deployment) = (self.deployer.record(), self.deployer.deployment());
        let shares = self.deployer.maker().engine.ledger().shares();
        let mut versions = self.versions();
        let stats = self.deployer.maker().resources.registry().handlers();
        let handlers: Vec<_> = record
            .modules
            .iter()
            .map(|(name, module)| {
                let share = shares.iter().find(|(known, _)| **known == **name).map(|(_, share)| share);
                let versions = versions.remove(&**name).unwrap_or_default();
                let errors = stats.iter().filter(|(known, _)| **known == **name);
                let errors: BTreeMap<_, _> = errors.flat_map(|(_, stats)| stats.errors()).collect();
                let errors: BTreeMap<_, _> = errors.into_iter().filter(|(_, count)| *count > 0).collect();
                json!({ "handler": name, "version": module.version(), "versions": versions, "errors": errors,
                        "use": share.map(|share| share.used()) })
            })
            .collect();
        let servers: BTreeMap<_, _> = deployment
            .routes()
            .map(|(server, routes)| {
                let route = |(pattern, handler)| json!({ "pattern": pattern, "handler": handler });
                (server.to_owned(), routes.into_iter().map(route).collect::<Vec<_>>())
            })
            .collect();
        let canary = record.canary.as_ref().zip(deployment.counted()).map(|(canary, counted)| {
            let [stable, tried] = counted.map(|counted| {
                json!({ "requests": counted.requests, "failures": counted.failures,
                        "given_up": counted.given_up, "p95_ms": counted.p95().map(|p95| p95.as_secs_f64() * 1e3) })
            });
            json!({ "handler": canary.handler, "version": canary.module.version(),
                    "share_percent": f64::from(canary.share) / 100.0, "stable": stable, "canary": tried })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process": std::process::id(),
            "status": if self.draining.get() { "draining" } else { "ready" },
            "deployment": &*record,
            "handlers": handlers,
            "servers": servers,
            "canary": canary,
        })
    }
}
