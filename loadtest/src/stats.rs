//! Percentiles of what was measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A set of durations, summed up. In milliseconds, because that is what the tables show.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Durations {
    pub(crate) count: usize,
    pub(crate) min_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Durations {
    /// `None` of an empty set.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<_> = durations.into_iter().collect();
        sorted.sort_unstable();
        let ms = |quantile: f64| Some(at_quantile(&sorted, quantile)?.as_secs_f64() * 1e3);
        Some(Self {
            count: sorted.len(),
            min_ms: ms(0.0)?,
            p50_ms: ms(0.5)?,
            p95_ms: ms(0.95)?,
            p99_ms: ms(0.99)?,
            max_ms: ms(1.0)?,
        })
    }

    /// The cells of a table's row: count, min, p50, p95, p99, max.
    pub(crate) fn cells(&self) -> [String; 6] {
        let ms = |value: f64| format!("{value:.2}");
        [
            self.count.to_string(),
            ms(self.min_ms),
            ms(self.p50_ms),
            ms(self.p95_ms),
            ms(self.p99_ms),
            ms(self.max_ms),
        ]
    }
}

/// The smallest, the middle and the largest of a few rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of an empty set.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Self {
            min: at_quantile(&sorted, 0.0)?,
            median: at_quantile(&sorted, 0.5)?,
            max: at_quantile(&sorted, 1.0)?,
        })
    }
}

/// The nearest rank: a value that was measured, never one between two.
fn at_quantile<T: Copy>(sorted: &[T], quantile: f64) -> Option<T> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let durations = Durations::of((1..=200).rev().map(Duration::from_millis)).expect("not empty");
        assert_eq!(
            durations.cells(),
            ["200", "1.00", "100.00", "190.00", "198.00", "200.00"]
        );
        assert_eq!(Durations::of([]), None);
    }

    #[test]
    fn the_median_of_one_value_is_that_value() {
        assert_eq!(
            Spread::of([1.5]),
            Some(Spread {
                min: 1.5,
                median: 1.5,
                max: 1.5
            })
        );
    }
}
