//! Asks upstreams from time to time how they are.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use tokio::time::{Instant, MissedTickBehavior};

use super::balance::Upstream;
use super::{nothing, outgoing};
use crate::outbound::{Call, Client};
use crate::upstream::HealthCheck;

/// Asks all of them, each at its own pace, for as long as this is run.
pub(super) async fn watch(upstreams: Vec<Arc<Upstream>>, check: HealthCheck, client: Client) {
    let mut all = tokio::task::JoinSet::new();
    for upstream in upstreams {
        all.spawn(watch_one(upstream, check.clone(), client.clone()));
    }
    while all.join_next().await.is_some() {}
}

async fn watch_one(upstream: Arc<Upstream>, check: HealthCheck, client: Client) {
    let mut ticks = tokio::time::interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        upstream.set_health(ask(&upstream, &check, &client).await);
    }
}

async fn ask(upstream: &Upstream, check: &HealthCheck, client: &Client) -> Result<(), String> {
    let path = PathAndQuery::try_from(check.path.as_str()).map_err(|error| error.to_string())?;
    let uri = upstream.uri(&path).map_err(|error| error.to_string())?;
    let call = Call {
        deadline: Some(Instant::now() + check.timeout),
        unix_socket: upstream.unix_socket(),
        ..Call::default()
    };
    let request = outgoing(&Method::GET, &uri, HeaderMap::new(), nothing());
    match client.send(request, call).await {
        Ok(response) if matches!(response.status().as_u16(), 200..=399) => Ok(()),
        Ok(response) => Err(format!("it answers {} to {}", response.status().as_u16(), check.path)),
        Err(error) => Err(crate::error::chain(&error)),
    }
}
