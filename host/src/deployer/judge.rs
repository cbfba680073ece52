//! Whether a canary is worse than the version beside it, looked at every second.

use std::time::{Duration, Instant};

use super::{Change, Deployer};
use crate::config::CanaryConfig;
use crate::handler::Counted;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// For a judgement of its latency a version has to have had so many times the requests.
const LATENCY_REQUESTS: u64 = 5;

/// Why a canary is worse than the version that there was, if it is.
#[must_use]
pub(super) fn worse(config: &CanaryConfig, [stable, canary]: [Counted; 2]) -> Option<String> {
    if canary.requests < config.min_requests {
        return None;
    }
    let percent = |counted: Counted| counted.failures as f64 * 100.0 / counted.requests.max(1) as f64;
    let (here, there) = (percent(canary), percent(stable));
    if here > there + config.errors_percent {
        return Some(format!(
            "{here:.1} % of {} requests failed, of the version before {there:.1} % of {}",
            canary.requests, stable.requests
        ));
    }
    // Of too few requests the slowest twentieth are those that had its code loaded.
    if stable.requests.min(canary.requests) < config.min_requests * LATENCY_REQUESTS {
        return None;
    }
    let (stable, canary) = stable.p95.zip(canary.p95)?;
    let limit = stable.mul_f64(1.0 + config.latency_percent / 100.0);
    // Latency is counted in classes, each twice the one before: the next class alone says nothing.
    (canary > limit && canary > stable * 2)
        .then(|| format!("95 % of its requests take up to {canary:?}, of the version before {stable:?}"))
}

impl Deployer {
    /// Looks after canaries, for as long as the process serves.
    pub async fn judge(self) {
        let mut since = (0, Instant::now());
        loop {
            tokio::time::sleep(INTERVAL).await;
            let (record, deployment) = (self.record(), self.deployment());
            let (Some(canary), Some(counted)) = (&record.canary, deployment.counted()) else { continue };
            if since.0 != record.number {
                since = (record.number, Instant::now());
            }
            let change = match worse(deployment.canary_config(), counted) {
                Some(why) => Change::Verdict(why),
                None => {
                    let wait = canary.promote_after_s.map(Duration::from_secs);
                    let is_due = wait.is_some_and(|wait| since.1.elapsed() >= wait);
                    // Without requests it has shown nothing.
                    if !is_due || counted[1].requests < deployment.canary_config().min_requests {
                        continue;
                    }
                    Change::Promote
                }
            };
            if let Change::Verdict(why) = &change {
                tracing::warn!(
                    handler = &*canary.handler,
                    version = canary.module.version(),
                    "the canary is worse: {why}"
                );
            }
            // What went wrong is in the log; the next look tries again.
            let _ = self.change(change).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64, failures: u64, p95_ms: u64) -> Counted {
        Counted { requests, failures, p95: Some(Duration::from_millis(p95_ms)) }
    }

    #[test]
    fn errors_and_latency_are_compared() {
        let config = CanaryConfig { min_requests: 20, errors_percent: 2.0, latency_percent: 50.0 };
        let judge = |stable, canary| worse(&config, [stable, canary]);
        assert_eq!(judge(counted(1000, 0, 1), counted(19, 19, 64)), None, "too early");
        assert_eq!(judge(counted(1000, 10, 1), counted(100, 3, 1)), None, "within the margin");
        let why = judge(counted(1000, 10, 1), counted(100, 4, 1)).unwrap();
        assert!(why.starts_with("4.0 % of 100 requests failed"), "{why}");
        assert_eq!(judge(counted(1000, 0, 8), counted(100, 0, 16)), None, "the next class");
        assert!(judge(counted(1000, 0, 8), counted(100, 0, 32)).unwrap().contains("95 %"));
        assert_eq!(judge(counted(99, 0, 8), counted(100, 0, 32)), None, "nothing to compare it with");
        assert_eq!(judge(counted(1000, 0, 8), counted(99, 0, 32)), None, "its first ones are slow");
        assert!(judge(counted(0, 0, 0), counted(20, 20, 1)).is_some());
    }
}
