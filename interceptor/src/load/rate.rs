//! The request rate of one route: a ring of one-second buckets that every core adds to without a lock.
//!
//! Owned by the route's state, added to once per matched arrival, read when a scaler connects and wants the arrivals of
//! the window so far. Bounded by the window; a route that never saw a request has no ring at all.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The window of a route that names none.
pub const DEFAULT_RATE_WINDOW: Duration = Duration::from_mins(1);

/// The longest window kept, 8 bytes per second and route.
pub const MAX_RATE_WINDOW: Duration = Duration::from_hours(1);

/// Arrivals by second, for the length of the window and the second still running.
#[derive(Debug)]
pub struct RateRing {
    /// What the seconds are counted from; the same for every ring of a process is convenient, not necessary.
    origin: Instant,
    /// How many seconds are kept: the window's, and the running one.
    len: u32,
    /// Bucket `second % len`, allocated by the first arrival.
    buckets: OnceLock<Box<[Bucket]>>,
}

/// A second and its arrivals in one word, so that the turn of a bucket from an old second to a new one is one exchange:
/// the second in the upper half, the count in the lower. A bucket never used reads as "second 0, no arrivals".
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

impl RateRing {
    /// A ring for `window`, which is clamped to [1 s, [`MAX_RATE_WINDOW`]] and rounded up to whole seconds.
    pub fn new(window: Duration, origin: Instant) -> Self {
        let window = window.clamp(Duration::from_secs(1), MAX_RATE_WINDOW);
        let seconds = window.as_secs() as u32 + u32::from(window.subsec_nanos() > 0);
        Self {
            origin,
            len: seconds + 1,
            buckets: OnceLock::new(),
        }
    }

    /// How many seconds are kept, the running one included.
    pub fn len_seconds(&self) -> u32 {
        self.len
    }

    /// Counts one arrival at `now`.
    pub fn add(&self, now: Instant) {
        let second = self.second(now);
        let buckets = self
            .buckets
            .get_or_init(|| (0..self.len).map(|_| Bucket::default()).collect());
        if let Some(bucket) = buckets.get((second % self.len) as usize) {
            bucket.add(second);
        }
    }

    /// Arrivals by second, newest first, beginning with the second that `now` lies in. Trailing zeros are left out.
    pub fn arrivals(&self, now: Instant) -> Vec<u32> {
        let Some(buckets) = self.buckets.get() else {
            return Vec::new();
        };
        let newest = self.second(now);
        let oldest = newest.saturating_sub(self.len - 1);
        let mut arrivals: Vec<u32> = (oldest..=newest)
            .rev()
            .map(|second| {
                buckets
                    .get((second % self.len) as usize)
                    .map_or(0, |bucket| bucket.count(second))
            })
            .collect();
        let used = arrivals
            .iter()
            .rposition(|&count| count > 0)
            .map_or(0, |last| last + 1);
        arrivals.truncate(used);
        arrivals
    }

    /// Whole seconds since the origin. 32 bits last 136 years.
    fn second(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_secs() as u32
    }
}

impl Bucket {
    /// Relaxed throughout: the word is all there is, nothing else is published through it.
    fn add(&self, second: u32) {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            let (held, count) = unpack(current);
            let next = match held.cmp(&second) {
                std::cmp::Ordering::Equal => pack(second, count.saturating_add(1)),
                std::cmp::Ordering::Less => pack(second, 1),
                // The caller's clock reading is older than the whole ring: that second is out of the window.
                std::cmp::Ordering::Greater => return,
            };
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(seen) => current = seen,
            }
        }
    }

    fn count(&self, second: u32) -> u32 {
        let (held, count) = unpack(self.0.load(Ordering::Relaxed));
        if held == second { count } else { 0 }
    }
}

fn pack(second: u32, count: u32) -> u64 {
    u64::from(second) << 32 | u64::from(count)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn at(origin: Instant, millis: u64) -> Instant {
        origin + Duration::from_millis(millis)
    }

    #[test]
    fn a_ring_without_arrivals_allocates_nothing_and_reads_empty() {
        let origin = Instant::now();
        let ring = RateRing::new(WINDOW, origin);

        assert_eq!(ring.arrivals(at(origin, 9_000)), Vec::<u32>::new());
        assert!(
            ring.buckets.get().is_none(),
            "a ring was allocated for an idle route"
        );
    }

    #[test]
    fn arrivals_are_read_newest_second_first() {
        let origin = Instant::now();
        let ring = RateRing::new(WINDOW, origin);

        for millis in [100, 900, 2_000, 2_001, 2_999, 3_000] {
            ring.add(at(origin, millis));
        }

        assert_eq!(ring.arrivals(at(origin, 3_500)), [1, 3, 0, 2]);
        assert_eq!(ring.arrivals(at(origin, 4_000)), [0, 1, 3, 0, 2]);
    }

    #[test]
    fn the_whole_window_is_kept_besides_the_running_second_and_no_more() {
        let origin = Instant::now();
        let ring = RateRing::new(WINDOW, origin);
        ring.add(at(origin, 0));

        assert_eq!(ring.arrivals(at(origin, 5_999)), [0, 0, 0, 0, 0, 1]);
        assert_eq!(ring.arrivals(at(origin, 6_000)), Vec::<u32>::new());
    }

    #[test]
    fn a_bucket_forgets_the_second_it_held_a_round_ago() {
        let origin = Instant::now();
        let ring = RateRing::new(WINDOW, origin);

        ring.add(at(origin, 1_000));
        ring.add(at(origin, 1_000));
        ring.add(at(origin, 7_000));

        assert_eq!(ring.arrivals(at(origin, 7_000)), [1]);
    }

    #[test]
    fn an_arrival_older_than_the_ring_does_not_spoil_a_newer_second() {
        let origin = Instant::now();
        let ring = RateRing::new(WINDOW, origin);

        ring.add(at(origin, 7_000));
        ring.add(at(origin, 1_000));

        assert_eq!(ring.arrivals(at(origin, 7_000)), [1]);
    }

    #[test]
    fn windows_are_clamped_and_rounded_up_to_seconds() {
        let origin = Instant::now();
        for (window, expected) in [
            (Duration::ZERO, 2),
            (Duration::from_millis(1_500), 3),
            (Duration::from_mins(1), 61),
            (Duration::from_secs(1_000_000), 3_601),
        ] {
            assert_eq!(
                RateRing::new(window, origin).len_seconds(),
                expected,
                "{window:?}"
            );
        }
    }

    #[test]
    fn no_arrival_is_lost_when_cores_add_at_once() {
        const THREADS: u32 = 4;
        const EACH: u32 = 20_000;
        let origin = Instant::now();
        let ring = RateRing::new(WINDOW, origin);

        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for nth in 0..EACH {
                        ring.add(at(origin, u64::from(nth % 4) * 1_000));
                    }
                });
            }
        });

        let total: u32 = ring.arrivals(at(origin, 3_999)).iter().sum();
        assert_eq!(total, THREADS * EACH);
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_a_map_of_seconds(
            window in 1_u64..20,
            steps in prop::collection::vec((0_u64..4_000, 1_u32..4), 0..200),
        ) {
            let origin = Instant::now();
            let ring = RateRing::new(Duration::from_secs(window), origin);
            let mut by_second: HashMap<u64, u32> = HashMap::new();
            let mut now = 0;
            for (step, count) in steps {
                now += step;
                for _ in 0..count {
                    ring.add(at(origin, now));
                    *by_second.entry(now / 1_000).or_default() += 1;
                }
                let newest = now / 1_000;
                let mut expected: Vec<u32> = (newest.saturating_sub(window)..=newest)
                    .rev()
                    .map(|second| by_second.get(&second).copied().unwrap_or(0))
                    .collect();
                while expected.last() == Some(&0) {
                    expected.pop();
                }
                prop_assert_eq!(ring.arrivals(at(origin, now)), expected);
            }
        }
    }
}
