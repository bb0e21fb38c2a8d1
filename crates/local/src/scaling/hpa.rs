//! The horizontal pod autoscaler's part of scaling: between one (or the minimum) and the maximum.
//!
//! Pure arithmetic on time, the current number and the metrics: `ceil(value / target)` for a target per replica, nothing
//! within a tolerance of a tenth, the greatest of several metrics, scaling out by at most the whole number or four
//! replicas in 15 s, and scaling in only to the greatest recommendation of the last five minutes. Zero is not its
//! business: there it rests, as the real one does.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const TOLERANCE: f64 = 0.1;
const SCALE_OUT_PERIOD: Duration = Duration::from_secs(15);
const SCALE_OUT_REPLICAS: u32 = 4;
const SCALE_IN_STABILIZATION: Duration = Duration::from_mins(5);

/// A metric's value, summed over the workload, and its target for each replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// The value now.
    pub value: f64,
    /// What one replica is to carry.
    pub target: f64,
}

/// The autoscaler of one workload. Its memory is bounded by its two windows: one entry for each evaluation and change.
#[derive(Debug)]
pub struct Hpa {
    min: u32,
    max: u32,
    recommendations: VecDeque<(Instant, u32)>,
    changes: VecDeque<(Instant, i64)>,
}

impl Hpa {
    /// An autoscaler between these bounds; a minimum of zero means one here.
    pub fn new(min: u32, max: u32) -> Self {
        let max = max.max(1);
        Self {
            min: min.clamp(1, max),
            max,
            recommendations: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// The number of replicas to go to; `current` when nothing is to change.
    pub fn evaluate(&mut self, current: u32, metrics: &[Measurement]) -> u32 {
        let now = Instant::now();
        forget(&mut self.recommendations, now, SCALE_IN_STABILIZATION);
        forget(&mut self.changes, now, SCALE_OUT_PERIOD);
        if current == 0 || metrics.is_empty() {
            return current;
        }
        let desired = if current < self.min || current > self.max {
            current.clamp(self.min, self.max)
        } else {
            let proposed = metrics
                .iter()
                .map(|metric| propose(current, *metric))
                .max()
                .unwrap_or(current);
            let stable = self.stabilize(now, current, proposed);
            self.limit(current, stable)
        };
        if desired != current {
            self.changes
                .push_back((now, i64::from(desired) - i64::from(current)));
        }
        desired
    }

    /// Scaling in waits until no recommendation of the window asks for more.
    fn stabilize(&mut self, now: Instant, current: u32, proposed: u32) -> u32 {
        if self.recommendations.is_empty() {
            self.recommendations.push_back((now, current));
        }
        let highest = self
            .recommendations
            .iter()
            .map(|(_, recommended)| *recommended)
            .max()
            .unwrap_or(current);
        self.recommendations.push_back((now, proposed));
        if proposed >= current {
            proposed
        } else {
            current.min(highest.max(proposed))
        }
    }

    fn limit(&self, current: u32, desired: u32) -> u32 {
        if desired <= current {
            return desired.max(self.min);
        }
        let changed: i64 = self.changes.iter().map(|(_, change)| change).sum();
        let at_period_start = u32::try_from((i64::from(current) - changed).max(0)).unwrap_or(u32::MAX);
        let by_percent = at_period_start.saturating_mul(2);
        let by_replicas = at_period_start.saturating_add(SCALE_OUT_REPLICAS);
        let allowed = by_percent.max(by_replicas).max(current).min(self.max);
        desired.min(allowed)
    }
}

fn propose(current: u32, metric: Measurement) -> u32 {
    if !metric.value.is_finite() || metric.target.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
        return current;
    }
    let usage = metric.value / (metric.target * f64::from(current));
    if (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&usage) {
        return current;
    }
    // Saturates; a value below zero gives zero.
    (metric.value / metric.target).ceil() as u32
}

fn forget<T>(entries: &mut VecDeque<(Instant, T)>, now: Instant, window: Duration) {
    while entries
        .front()
        .is_some_and(|(time, _)| now.duration_since(*time) >= window)
    {
        entries.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn metric(value: f64, target: f64) -> Vec<Measurement> {
        vec![Measurement { value, target }]
    }

    #[tokio::test(start_paused = true)]
    async fn one_evaluation_follows_the_arithmetic() {
        // min, max, current, value, target, expected
        let table: &[(u32, u32, u32, f64, f64, u32)] = &[
            (0, 5, 1, 500.0, 100.0, 5),
            (0, 3, 1, 500.0, 100.0, 3),
            (0, 100, 1, 100.0, 100.0, 1),
            (0, 100, 1, 110.0, 100.0, 1),
            (0, 100, 1, 110.1, 100.0, 2),
            (0, 100, 10, 1100.0, 100.0, 10),
            (0, 100, 10, 1101.0, 100.0, 12),
            (0, 100, 1, 10_000.0, 100.0, 5),
            (0, 100, 20, 10_000.0, 100.0, 40),
            (0, 100, 0, 500.0, 100.0, 0),
            (2, 5, 1, 0.0, 100.0, 2),
            (0, 5, 9, 0.0, 100.0, 5),
            (0, 5, 3, 0.0, 100.0, 3),
            (0, 5, 3, 900.0, 0.0, 3),
            (0, 5, 3, f64::NAN, 10.0, 3),
        ];
        for (min, max, current, value, target, expected) in table {
            let mut hpa = Hpa::new(*min, *max);
            assert_eq!(
                hpa.evaluate(*current, &metric(*value, *target)),
                *expected,
                "min {min} max {max} current {current} value {value} target {target}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_greatest_of_several_metrics_counts() {
        let mut hpa = Hpa::new(0, 10);
        let metrics = [
            Measurement {
                value: 5.0,
                target: 10.0,
            },
            Measurement {
                value: 25.0,
                target: 10.0,
            },
        ];
        assert_eq!(hpa.evaluate(1, &metrics), 3);
        assert_eq!(hpa.evaluate(3, &[]), 3, "without metrics nothing changes");
    }

    #[tokio::test(start_paused = true)]
    async fn scaling_out_is_limited_within_fifteen_seconds() {
        let mut hpa = Hpa::new(0, 100);
        let demand = metric(10_000.0, 100.0);
        assert_eq!(hpa.evaluate(1, &demand), 5);
        advance(Duration::from_secs(1)).await;
        assert_eq!(hpa.evaluate(5, &demand), 5);
        advance(Duration::from_secs(14)).await;
        assert_eq!(hpa.evaluate(5, &demand), 10);
        advance(Duration::from_secs(15)).await;
        assert_eq!(hpa.evaluate(10, &demand), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn scaling_in_waits_for_five_quiet_minutes() {
        let mut hpa = Hpa::new(0, 10);
        assert_eq!(hpa.evaluate(1, &metric(500.0, 100.0)), 5);
        let mut second = 0;
        let current = loop {
            advance(Duration::from_secs(1)).await;
            second += 1;
            let desired = hpa.evaluate(5, &metric(0.0, 100.0));
            if desired != 5 {
                break desired;
            }
            assert!(second < 400, "never scaled in");
        };
        assert_eq!((second, current), (300, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn scaling_in_stops_at_the_greatest_recent_recommendation() {
        let mut hpa = Hpa::new(0, 10);
        hpa.evaluate(1, &metric(500.0, 100.0));
        advance(Duration::from_secs(200)).await;
        assert_eq!(hpa.evaluate(5, &metric(300.0, 100.0)), 5);
        advance(Duration::from_secs(100)).await;
        assert_eq!(hpa.evaluate(5, &metric(0.0, 100.0)), 3);
    }
}
