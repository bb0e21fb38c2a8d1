//! Moments on the clock that all processes of the machine share, and how long things took by it.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, by which the demo application tells its moments too.
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// How long something took: of every hundred times 50, 90, 99 and all took no longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Percentiles {
    pub(super) p50: Duration,
    pub(super) p90: Duration,
    pub(super) p99: Duration,
    pub(super) most: Duration,
}

impl Percentiles {
    /// From the beginnings and the ends.
    pub(super) fn of(spans: impl Iterator<Item = (u64, u64)>) -> anyhow::Result<Self> {
        let mut times: Vec<_> = spans
            // What two processes see of one event may be a moment apart.
            .map(|(from, to)| Duration::from_nanos(to.saturating_sub(from)))
            .collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
            times.get(rank).copied().context("nothing was timed")
        };
        Ok(Self {
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            most: at(100)?,
        })
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, most] = [self.p50, self.p90, self.p99, self.most].map(|time| time.as_millis());
        write!(f, "{p50} ms | {p90} ms | {p99} ms | {most} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let ms = |ms: u64| ms * 1_000_000;
        let spans = (1..=100).rev().map(|time| (ms(1_000), ms(1_000 + time)));
        let times = Percentiles::of(spans).unwrap();
        assert_eq!(times.to_string(), "50 ms | 90 ms | 99 ms | 100 ms");
        let one = Percentiles::of([(ms(3), ms(10))].into_iter()).unwrap();
        assert_eq!(one.to_string(), "7 ms | 7 ms | 7 ms | 7 ms");
        Percentiles::of(std::iter::empty()).unwrap_err();
    }
}
