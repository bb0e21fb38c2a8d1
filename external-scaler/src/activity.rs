//! How long a route stays active after its last request.
//!
//! KEDA polls; a request that came and went between two polls must still be seen by the second, so activity lingers for
//! one polling interval. An HTTPScaledObject's interval is known. That of a ScaledObject which a user wrote for an
//! InterceptorRoute is not, and is learned from KEDA's own calls.

use std::time::Duration;

use crate::picture::Moment;

/// KEDA's own default polling interval, until something better is known.
pub(crate) const INITIAL: Duration = Duration::from_secs(30);
/// Bounds of what is learned.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Calls closer together than this belong to one poll: KEDA asks once per metric.
const SAME_POLL: Duration = Duration::from_millis(500);

/// A poll comes a little late: KEDA's timer starts before its work. Without this much more, one request in a thousand
/// would fall between two polls.
const LONGEST_MARGIN: Duration = Duration::from_millis(500);

/// How long a route stays active after its last request, where KEDA polls every `interval`.
pub(crate) fn linger(interval: Duration) -> Duration {
    interval + (interval / 20).min(LONGEST_MARGIN)
}

/// How many gaps are looked at.
const KEPT: usize = 5;

/// Learns KEDA's polling interval from the times of its `IsActive` calls.
///
/// At zero replicas only the poll calls, and the gap is the interval, or a multiple of it when KEDA spreads its calls over
/// several scaler replicas. Above zero the HPA's queries call too, so a gap there is a lower bound: it can lengthen
/// the interval but not shorten it. Of the last gaps the second shortest is taken: a multiple does not stretch it, and
/// neither does one early call (KEDA starts over when the ScaledObject changes) cut it short.
#[derive(Debug, Default)]
pub(crate) struct PollingGap {
    last_call: Option<Moment>,
    gaps: [Option<Duration>; KEPT],
    next: usize,
    learned: Option<Duration>,
}

impl PollingGap {
    /// A call came in; `at_zero` if the target has no ready endpoint.
    pub(crate) fn called(&mut self, now: Moment, at_zero: bool) {
        let Some(last) = self.last_call else {
            self.last_call = Some(now);
            return;
        };
        let gap = now.since(last);
        if gap < SAME_POLL {
            return;
        }
        self.last_call = Some(now);
        if gap > LONGEST {
            // KEDA was away.
            return;
        }
        if at_zero {
            if let Some(slot) = self.gaps.get_mut(self.next) {
                *slot = Some(gap);
            }
            self.next = (self.next + 1) % KEPT;
            self.learned = second_shortest(&self.gaps).or(self.learned);
        } else if gap > self.interval() {
            self.learned = Some(gap);
        }
    }

    /// The interval as far as it is known.
    pub(crate) fn interval(&self) -> Duration {
        self.learned.unwrap_or(INITIAL).clamp(SHORTEST, LONGEST)
    }
}

/// Of at least three gaps; fewer say too little.
fn second_shortest(gaps: &[Option<Duration>]) -> Option<Duration> {
    let mut known: Vec<Duration> = gaps.iter().copied().flatten().collect();
    known.sort_unstable();
    if known.len() < 3 {
        return None;
    }
    known.get(1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: &[f64], at_zero: bool) -> Duration {
        let mut gap = PollingGap::default();
        let mut now = 0.0;
        gap.called(Moment::from_millis(0), at_zero);
        for step in seconds {
            now += step;
            gap.called(Moment::from_millis((now * 1000.0) as i64), at_zero);
        }
        gap.interval()
    }

    #[test]
    fn begins_with_kedas_default() {
        assert_eq!(after(&[], true), INITIAL);
        assert_eq!(after(&[5.0, 5.0], true), INITIAL, "two gaps say too little");
    }

    #[test]
    fn learns_from_calls_at_zero() {
        let cases: &[(&str, &[f64], f64)] = &[
            ("steady", &[5.0, 5.0, 5.0], 5.0),
            ("one early call", &[60.0, 60.0, 7.0, 60.0, 60.0], 60.0),
            ("two metrics per poll", &[5.0, 0.01, 4.99, 0.01, 4.99, 0.01], 5.0),
            ("spread over replicas", &[15.0, 30.0, 15.0, 45.0, 15.0], 15.0),
            ("KEDA was away", &[10.0, 10.0, 10.0, 3600.0, 10.0], 10.0),
            ("clamped", &[0.6, 0.6, 0.6], 1.0),
        ];
        for (name, seconds, expected) in cases {
            let learned = after(seconds, true);
            let difference = (learned.as_secs_f64() - expected).abs();
            assert!(difference < 0.02, "{name}: expected {expected}, got {learned:?}");
        }
    }

    #[test]
    fn calls_above_zero_lengthen_but_never_shorten() {
        assert_eq!(after(&[15.0, 15.0, 15.0, 15.0], false), INITIAL);
        assert_eq!(after(&[120.0], false), Duration::from_mins(2));
    }
}
