//! A histogram without a lock: one atomic per bucket and one for the sum.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the request's duration, in milliseconds: the add-on's, which end at 10 s, and on to the longest
/// response header timeout.
pub(super) const REQUEST_BOUNDS: &[u64] = &[
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 30_000, 60_000, 120_000,
    300_000,
];

/// Upper bounds of a hold, in milliseconds: from a process that starts to a node that has to come.
pub(super) const HOLD_BOUNDS: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 60_000, 120_000, 180_000, 360_000,
];

/// Upper bounds of a connect, in milliseconds: within a cluster one takes well under the first.
pub(super) const CONNECT_BOUNDS: &[u64] = &[1, 5, 25, 100, 500, 1_000];

/// Durations by bucket.
#[derive(Debug)]
pub(super) struct Histogram {
    /// In milliseconds, ascending.
    bounds: &'static [u64],
    /// One per bound and one above the last. Relaxed everywhere: a scrape may see an observation's bucket and not its sum.
    buckets: Box<[AtomicU64]>,
    /// In microseconds: 64 bits last half a century at a thousand observed seconds per second.
    sum: AtomicU64,
}

/// A histogram's values at one moment, as the encoder wants them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HistogramValues {
    pub(super) sum: f64,
    pub(super) count: u64,
    /// Upper bound in seconds, and how many lie between the last bound and this one.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| bound * 1_000 < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many were observed.
    pub(super) fn count(&self) -> u64 {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn values(&self) -> HistogramValues {
        let bounds = self.bounds.iter().map(|&bound| bound as f64 / 1_000.0);
        let buckets: Vec<_> = bounds
            .chain([f64::INFINITY])
            .zip(&self.buckets)
            .map(|(bound, bucket)| (bound, bucket.load(Ordering::Relaxed)))
            .collect();
        HistogramValues {
            sum: self.sum.load(Ordering::Relaxed) as f64 / 1_000_000.0,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::new(&[5, 10]);
        for micros in [0, 5_000, 5_001, 10_000, 10_001, u64::MAX / 2] {
            histogram.observe(Duration::from_micros(micros));
        }

        let values = histogram.values();
        assert_eq!(values.buckets, [(0.005, 2), (0.01, 2), (f64::INFINITY, 2)]);
        assert_eq!((values.count, histogram.count()), (6, 6));
    }

    #[test]
    fn the_sum_is_in_seconds() {
        let histogram = Histogram::new(&[5, 10]);
        for _ in 0..3 {
            histogram.observe(Duration::from_millis(500));
        }

        assert!((histogram.values().sum - 1.5).abs() < 1e-9);
    }
}
