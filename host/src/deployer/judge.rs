//! Whether a canary is worse than the version beside it, looked at every second.
//!
//! Both are judged by what they have done since the trial began, and by the latest minutes alone: the one sees what is rare, the
//! other what has begun late.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Change, Deployer};
use crate::config::CanaryConfig;
use crate::handler::Counted;
use crate::history::{Canary, Record};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The latest minutes are so many of these.
const PART: Duration = Duration::from_secs(10);
const PARTS: usize = 60;

/// For a judgement of its latency a version has to have had so many times the requests.
const LATENCY_REQUESTS: u64 = 5;

/// So many failures may be chance, whatever else is known.
const CHANCE: u64 = 2;

/// Standard deviations that a rate may be off from what was counted: 99 % are not.
const DEVIATIONS: f64 = 2.576;

/// Failures in percent that no version has in earnest: with more a canary is worse than one of which nothing is known.
const HOPELESS_PERCENT: f64 = 50.0;

/// The longest wait before a verdict that could not be put on record is tried again.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Between which rates, in percent, the true one lies when `count` of so many requests were seen (Wilson 1927).
fn bounds(count: u64, requests: u64) -> (f64, f64) {
    if requests == 0 {
        return (0.0, 100.0);
    }
    // What fails late was maybe asked for in another window.
    let (n, z2) = (requests as f64, DEVIATIONS * DEVIATIONS);
    let rate = (count as f64 / n).min(1.0);
    let middle = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let reach = DEVIATIONS / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    (100.0 * (middle - reach), 100.0 * (middle + reach))
}

/// Why a canary is worse than the version that there was, if it is.
#[must_use]
fn worse(config: &CanaryConfig, [stable, canary]: [Counted; 2]) -> Option<String> {
    if canary.requests < config.min_requests {
        return None;
    }
    let is_known = stable.requests >= config.min_requests;
    let exceeds = |here: u64, there: u64| {
        let limit = if is_known { bounds(there, stable.requests).1 } else { HOPELESS_PERCENT };
        here > CHANCE && bounds(here, canary.requests).0 > limit + config.errors_percent
    };
    let say = |what: &str, here: u64, there: u64| {
        let percent = |count: u64, of: &Counted| count as f64 * 100.0 / of.requests.max(1) as f64;
        format!(
            "{:.1} % of {} requests {what}, of the version before {:.1} % of {}",
            percent(here, &canary),
            canary.requests,
            percent(there, &stable),
            stable.requests
        )
    };
    if exceeds(canary.failures, stable.failures) {
        return Some(say("failed", canary.failures, stable.failures));
    }
    if exceeds(canary.given_up, stable.given_up) {
        return Some(say("were given up by their clients", canary.given_up, stable.given_up));
    }
    // Of too few requests the slowest twentieth are those that had its code loaded.
    if stable.requests.min(canary.requests) < config.min_requests * LATENCY_REQUESTS {
        return None;
    }
    let (here, there) = canary.p95().zip(stable.p95())?;
    let limit = there.as_secs_f64() * (1.0 + config.latency_percent / 100.0);
    // Latency is counted in classes, each twice the one before: the next class alone says nothing.
    if here.as_secs_f64() > limit && here > there * 2 {
        return Some(format!("95 % of its requests take up to {here:?}, of the version before {there:?}"));
    }
    None
}

/// What is known of a canary.
#[derive(Debug)]
struct Trial {
    /// The deployment that it is in.
    of: u64,
    /// What was counted at the beginning of each part of the latest minutes, the oldest first.
    parts: VecDeque<[Counted; 2]>,
    next_part: Instant,
    /// It is worse: why, and when that is put on record, after which wait.
    worse: Option<(String, Instant, Duration)>,
}

impl Trial {
    fn new(of: u64, now: Instant) -> Self {
        Self { of, parts: VecDeque::from([Default::default()]), next_part: now + PART, worse: None }
    }

    fn look(&mut self, config: &CanaryConfig, counted: [Counted; 2], now: Instant) -> Option<String> {
        let then = self.parts.front().copied().unwrap_or_default();
        if now >= self.next_part {
            self.next_part = now + PART;
            self.parts.push_back(counted);
            if self.parts.len() > PARTS {
                self.parts.pop_front();
            }
        }
        let latest = [counted[0].since(&then[0]), counted[1].since(&then[1])];
        worse(config, counted).or_else(|| worse(config, latest))
    }

    /// What is to be done now that it is known to be worse.
    fn verdict(&mut self, now: Instant) -> Option<Change> {
        let (why, when, wait) = self.worse.as_mut().filter(|(_, when, _)| now >= *when)?;
        *when = now + *wait;
        *wait = (*wait * 2).min(BACKOFF_MAX);
        Some(Change::Verdict { of: self.of, worse: Some(why.clone()) })
    }
}

/// Whether it has been on trial for as long as was wanted.
fn is_due(canary: &Canary, record: &Record) -> bool {
    let since = if canary.since == 0 { record.time } else { canary.since };
    canary.promote_after_s.is_some_and(|wait| Record::now().saturating_sub(since) >= wait)
}

impl Deployer {
    /// Looks after canaries, for as long as the process serves.
    pub async fn judge(self) {
        let mut trial = Trial::new(0, Instant::now());
        loop {
            tokio::time::sleep(INTERVAL).await;
            // While nothing may be changed, nothing is judged either: that is for the process after this one.
            if self.is_open().is_err() {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| self.look(&mut trial, Instant::now()))) {
                Ok(None) => {}
                // What went wrong is in the log; a later look tries again.
                Ok(Some(change)) => drop(self.change(change).await),
                // A mistake of ours must not leave canaries without a judge.
                Err(_) => {
                    tracing::error!("judging a canary has failed; it is looked at anew");
                    trial = Trial::new(0, Instant::now());
                }
            }
        }
    }

    fn look(&self, trial: &mut Trial, now: Instant) -> Option<Change> {
        // In this order: who reads a new record sees its deployment, or a later one, of which no verdict is accepted.
        let (record, deployment) = (self.record(), self.deployment());
        let (canary, counted) = (record.canary.as_ref()?, deployment.counted()?);
        if trial.of != record.number {
            *trial = Trial::new(record.number, now);
        }
        let config = deployment.canary_config();
        if trial.worse.is_none()
            && let Some(why) = trial.look(config, counted, now)
        {
            // Its clients are served well from now on, whether that can be put on record or not.
            deployment.withdraw_canary();
            let version = canary.module.version();
            tracing::warn!(handler = &*canary.handler, version, "the canary is worse: {why}");
            trial.worse = Some((why, now, INTERVAL));
        }
        if trial.worse.is_some() {
            return trial.verdict(now);
        }
        // Without requests it has shown nothing.
        let is_due = is_due(canary, &record) && counted[1].requests >= config.min_requests;
        is_due.then_some(Change::Verdict { of: record.number, worse: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: CanaryConfig =
        CanaryConfig { min_requests: 20, errors_percent: 2.0, latency_percent: 50.0 };

    fn counted(requests: u64, failures: u64, p95_ms: u64) -> Counted {
        Counted::of(requests, failures, 0, Duration::from_millis(p95_ms))
    }

    #[test]
    fn errors_and_latency_are_compared() {
        let judge = |stable, canary| worse(&CONFIG, [stable, canary]);
        assert_eq!(judge(counted(1000, 0, 1), counted(19, 19, 60)), None, "too early");
        assert_eq!(judge(counted(1000, 10, 1), counted(100, 4, 1)), None, "may be chance");
        assert_eq!(judge(counted(10_000, 0, 1), counted(20, 2, 1)), None, "two are nothing");
        assert_eq!(judge(counted(10_000, 100, 1), counted(10_000, 250, 1)), None, "within the margin");
        let why = judge(counted(1000, 10, 1), counted(100, 15, 1)).unwrap();
        assert!(why.starts_with("15.0 % of 100 requests failed"), "{why}");
        assert_eq!(judge(counted(1000, 0, 7), counted(100, 0, 15)), None, "the next class");
        assert!(judge(counted(1000, 0, 7), counted(100, 0, 31)).unwrap().contains("95 %"));
        assert_eq!(judge(counted(99, 0, 7), counted(100, 0, 31)), None, "nothing to compare it with");
        assert_eq!(judge(counted(1000, 0, 7), counted(99, 0, 31)), None, "its first ones are slow");
        assert!(judge(counted(0, 0, 0), counted(20, 20, 1)).is_some(), "there is no need to compare");
        assert_eq!(judge(counted(0, 0, 0), counted(20, 10, 1)), None);
        let hangs = Counted::of(50, 0, 50, Duration::from_secs(1));
        let why = judge(counted(50, 0, 1), hangs).unwrap();
        assert!(why.contains("100.0 % of 50 requests were given up"), "{why}");
        let slow = CanaryConfig { latency_percent: 10_000.0, ..CONFIG };
        assert_eq!(worse(&slow, [counted(1000, 0, 100_000), counted(1000, 0, 200_000)]), None);
    }

    #[test]
    fn what_has_begun_late_is_seen() {
        let (begun, mut trial) = (Instant::now(), Trial::new(1, Instant::now()));
        let ago = |parts: u32| begun + PART * parts + INTERVAL;
        let good = [counted(100_000, 100, 1), counted(100_000, 100, 1)];
        for part in 1..=2 * PARTS as u32 {
            assert_eq!(trial.look(&CONFIG, good, ago(part)), None);
        }
        // Among all that went well it would be nothing.
        let bad = [counted(100_100, 100, 1), counted(100_100, 150, 1)];
        assert_eq!(worse(&CONFIG, bad), None);
        let why = trial.look(&CONFIG, bad, ago(2 * PARTS as u32 + 1)).unwrap();
        assert!(why.starts_with("50.0 % of 100"), "{why}");
    }

    #[test]
    fn a_verdict_is_tried_again_but_not_at_once() {
        let now = Instant::now();
        let mut trial = Trial { worse: Some(("so".to_owned(), now, INTERVAL)), ..Trial::new(7, now) };
        assert!(matches!(trial.verdict(now), Some(Change::Verdict { of: 7, worse: Some(_) })));
        assert!(trial.verdict(now + INTERVAL / 2).is_none() && trial.verdict(now + INTERVAL).is_some());
        assert!(trial.verdict(now + INTERVAL * 2).is_none() && trial.verdict(now + INTERVAL * 3).is_some());
        (0..100).for_each(|_| drop(trial.verdict(now + BACKOFF_MAX * 1000)));
        assert!(trial.worse.unwrap().2 <= BACKOFF_MAX);
    }
}
