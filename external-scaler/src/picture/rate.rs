//! A route's request rate: arrivals in a ring of buckets, merged over all interceptors.
//!
//! The ring is merged, not kept per interceptor: what an interceptor that has since gone received was received all the
//! same, and its share must not vanish from the average the moment it leaves.

use std::time::Duration;

use super::moment::Moment;

/// Most buckets per ring, so that the longest window costs no more than half a kilobyte. A longer window gets wider
/// buckets: its average moves slowly anyway.
const MAX_BUCKETS: i64 = 120;

/// A route known for less time than this is averaged over this much (or its window, if that is shorter). Without a floor
/// a burst of 100 requests in a route's first second would read as 100 per second and scale far too wide.
const SHORTEST_AVERAGE: Duration = Duration::from_secs(10);

/// A window and the step in which it slides, both within `rouse_api`'s bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateWindow {
    /// The time that the average is taken over.
    pub(crate) window: Duration,
    /// The step in which the window slides.
    pub(crate) granularity: Duration,
}

impl RateWindow {
    fn bucket_millis(self) -> i64 {
        let window = whole_seconds(self.window).max(1);
        let narrowest = (window + MAX_BUCKETS - 1) / MAX_BUCKETS;
        whole_seconds(self.granularity).clamp(narrowest, window) * 1000
    }

    fn buckets(self) -> i64 {
        let (window, bucket) = (whole_seconds(self.window).max(1) * 1000, self.bucket_millis());
        (window + bucket - 1) / bucket
    }
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX / 1000)
}

/// Arrivals over the last window. Bounded by [`MAX_BUCKETS`].
#[derive(Debug)]
pub(crate) struct RateRing {
    shape: RateWindow,
    bucket_millis: i64,
    /// One more than the window holds: the oldest leaves it bit by bit, not at once.
    buckets: Box<[u32]>,
    /// The number, counted from the epoch, of the newest bucket in the ring.
    newest: i64,
    /// Since when all arrivals are known.
    known_since: Moment,
}

impl RateRing {
    pub(crate) fn new(shape: RateWindow, now: Moment) -> Self {
        let bucket_millis = shape.bucket_millis();
        Self {
            shape,
            bucket_millis,
            buckets: vec![0; (shape.buckets() + 1) as usize].into_boxed_slice(),
            newest: now.millis().div_euclid(bucket_millis),
            known_since: now,
        }
    }

    /// The same arrivals over another window.
    pub(crate) fn reshape(&mut self, shape: RateWindow, now: Moment) {
        if shape == self.shape {
            return;
        }
        let mut other = Self::new(shape, now);
        other.known_since = self.known_since;
        let len = self.len();
        for number in (self.newest - len + 1)..=self.newest {
            let count = self.get(number);
            if count > 0 {
                let middle = Moment::from_millis(number * self.bucket_millis + self.bucket_millis / 2);
                other.add(middle.min(now), u64::from(count));
            }
        }
        *self = other;
    }

    /// Counts `count` arrivals at `at`. What is older than the ring is left out.
    pub(crate) fn add(&mut self, at: Moment, count: u64) {
        let number = at.millis().div_euclid(self.bucket_millis);
        self.advance(number);
        if number > self.newest - self.len() {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let place = self.place(number);
            if let Some(bucket) = self.buckets.get_mut(place) {
                *bucket = bucket.saturating_add(count);
            }
        }
    }

    /// Counts the newest `limit` arrivals of an interceptor's own ring of seconds, newest first.
    pub(crate) fn add_seconds(&mut self, now: Moment, seconds: &[u32], limit: u64) {
        let mut left = limit;
        for (age, &count) in (0..).zip(seconds) {
            if left == 0 {
                break;
            }
            let taken = u64::from(count).min(left);
            if taken > 0 {
                self.add(now.minus(Duration::from_secs(age)), taken);
            }
            left -= taken;
        }
    }

    /// Says that the arrivals since `moment` are all known.
    pub(crate) fn known_since(&mut self, moment: Moment) {
        self.known_since = self.known_since.min(moment);
    }

    /// Requests per second.
    ///
    /// The sum over the window is divided by the window, also right after an idle time: then the average *is* low, and
    /// the concurrency metric is the one that reacts to a burst. Only while less than a window is known (a new route)
    /// it is divided by what is known, so that traffic that moved here from another route is not underrated for a
    /// whole window; but never by less than [`SHORTEST_AVERAGE`].
    pub(crate) fn average(&self, now: Moment) -> f64 {
        let bucket = self.bucket_millis;
        let current = now.millis().div_euclid(bucket);
        let oldest = current - self.len() + 1;
        let whole: u64 = ((oldest + 1)..=current)
            .map(|number| u64::from(self.get(number)))
            .sum();
        let outside = now.millis().rem_euclid(bucket) as f64 / bucket as f64;
        let sum = whole as f64 + f64::from(self.get(oldest)) * (1.0 - outside);

        let window = Duration::from_millis((bucket * (self.len() - 1)).unsigned_abs());
        let known = now.since(self.known_since).max(SHORTEST_AVERAGE);
        sum / window.min(known).as_secs_f64()
    }

    /// For how long a ring goes on mattering after its last arrival.
    pub(crate) fn reach(&self) -> Duration {
        Duration::from_millis((self.bucket_millis * self.len()).unsigned_abs())
    }

    fn len(&self) -> i64 {
        self.buckets.len().cast_signed() as i64
    }

    fn place(&self, number: i64) -> usize {
        number.rem_euclid(self.len()) as usize
    }

    /// What bucket `number` holds; nothing if it is not in the ring.
    fn get(&self, number: i64) -> u32 {
        if number > self.newest || number <= self.newest - self.len() {
            return 0;
        }
        self.buckets.get(self.place(number)).copied().unwrap_or(0)
    }

    /// Makes bucket `number` the newest, if it is newer.
    fn advance(&mut self, number: i64) {
        if number <= self.newest {
            return;
        }
        if number - self.newest >= self.len() {
            self.buckets.fill(0);
        } else {
            for passed in (self.newest + 1)..=number {
                let place = self.place(passed);
                if let Some(bucket) = self.buckets.get_mut(place) {
                    *bucket = 0;
                }
            }
        }
        self.newest = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(window: u64, granularity: u64) -> RateWindow {
        RateWindow {
            window: Duration::from_secs(window),
            granularity: Duration::from_secs(granularity),
        }
    }

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    /// A ring that has been watched for ever and saw nothing.
    fn idle(shape: RateWindow) -> RateRing {
        let mut ring = RateRing::new(shape, at(0));
        ring.known_since(at(-10_000_000));
        ring
    }

    #[track_caller]
    fn assert_near(value: f64, expected: f64) {
        assert!(
            (value - expected).abs() < 0.1,
            "expected about {expected}, got {value}"
        );
    }

    #[test]
    fn a_steady_rate_is_per_second_whatever_the_granularity() {
        for (span, granularity) in [
            (60, 1),
            (60, 5),
            (60, 60),
            (10, 1),
            (300, 1),
            (3600, 1),
            (3600, 3600),
            (1, 1),
        ] {
            let mut ring = idle(window(span, granularity));
            let end = span.cast_signed() * 20;
            for tenth in 0..end {
                ring.add(at(tenth * 100), 1);
                if tenth == end - 4 {
                    assert_near(ring.average(at(tenth * 100 + 99)), 10.0);
                }
            }
            assert_near(ring.average(at(end * 100 - 1)), 10.0);
        }
    }

    #[test]
    fn a_burst_after_an_idle_time_is_spread_over_the_window() {
        let mut ring = idle(window(60, 1));
        ring.add(at(100), 100);
        assert_near(ring.average(at(1000)), 100.0 / 60.0);
        assert_near(ring.average(at(59_000)), 100.0 / 60.0);
        assert_near(ring.average(at(62_000)), 0.0);
    }

    #[test]
    fn a_burst_in_a_new_routes_first_second_does_not_read_as_its_rate() {
        let mut ring = RateRing::new(window(60, 1), at(0));
        ring.add(at(100), 100);
        assert_near(ring.average(at(1000)), 10.0);
    }

    #[test]
    fn a_new_route_with_steady_traffic_is_not_underrated_for_a_whole_window() {
        let mut ring = RateRing::new(window(60, 1), at(0));
        for second in 0..15 {
            ring.add(at(second * 1000), 100);
        }
        assert_near(ring.average(at(15_000)), 100.0);
    }

    #[test]
    fn a_window_shorter_than_the_floor_is_divided_by_itself() {
        let mut ring = RateRing::new(window(2, 1), at(0));
        ring.add(at(500), 20);
        assert_near(ring.average(at(1000)), 10.0);
    }

    #[test]
    fn a_seeded_ring_has_the_true_average_at_once() {
        let mut ring = RateRing::new(window(60, 1), at(5));
        ring.known_since(at(5).minus(Duration::from_mins(1)));
        ring.add_seconds(at(5), &[7; 60], u64::MAX);
        assert_near(ring.average(at(5)), 7.0);
    }

    #[test]
    fn a_limited_seed_takes_the_newest_arrivals_only() {
        let mut ring = idle(window(60, 1));
        ring.add_seconds(at(30_000), &[2, 5, 5, 5], 4);
        assert_near(ring.average(at(30_000)), 4.0 / 60.0);
    }

    #[test]
    fn a_long_window_costs_no_more_than_the_bound() {
        for (span, granularity) in [(3600, 1), (3600, 3600), (121, 1), (60, 1)] {
            let ring = RateRing::new(window(span, granularity), at(0));
            assert!(
                ring.buckets.len() <= MAX_BUCKETS as usize + 1,
                "{span} {granularity}"
            );
        }
    }

    #[test]
    fn a_changed_window_keeps_the_arrivals() {
        let mut ring = idle(window(60, 1));
        for second in 0..60 {
            ring.add(at(second * 1000), 10);
        }
        ring.reshape(window(30, 1), at(60_000));
        assert_near(ring.average(at(60_000)), 10.0);
        ring.reshape(window(30, 10), at(60_000));
        assert_near(ring.average(at(60_000)), 10.0);
    }

    #[test]
    fn an_arrival_older_than_the_ring_is_left_out() {
        let mut ring = idle(window(10, 1));
        ring.add(at(100_000), 1);
        ring.add(at(50_000), 1000);
        assert_near(ring.average(at(100_000)), 0.1);
    }
}
