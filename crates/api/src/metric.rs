//! What a route is scaled on, with every default applied and every value within bounds, so that the interceptor (which
//! keeps the buckets) and the external scaler (which divides by the target) work from the same numbers.

use std::time::Duration;

use crate::{FieldError, FieldWarning, GoDuration};

/// The target value where an HTTPScaledObject names none.
pub const DEFAULT_TARGET: u32 = 100;

/// The window of a request rate where none is given.
pub const DEFAULT_WINDOW: GoDuration = GoDuration::from_secs(60);

/// The granularity of a request rate where none is given.
pub const DEFAULT_GRANULARITY: GoDuration = GoDuration::from_secs(1);

/// The shortest window: the interceptor counts in buckets of one second, and cannot look at less than one of them.
pub const MIN_WINDOW: Duration = Duration::from_secs(1);

/// The longest window. It bounds what a route costs: at most 3,600 one-second buckets. A longer average would also
/// take hours to notice that traffic has changed.
pub const MAX_WINDOW: Duration = Duration::from_hours(1);

/// The finest granularity: one bucket of the interceptor's.
pub const MIN_GRANULARITY: Duration = Duration::from_secs(1);

/// What a route is scaled on. Targets are at least 1; window and granularity are whole seconds, with
/// [`MIN_GRANULARITY`] ≤ granularity ≤ window and [`MIN_WINDOW`] ≤ window ≤ [`MAX_WINDOW`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Requests in flight and held.
    Concurrency {
        /// How many one replica should carry.
        target: u32,
    },
    /// Requests per second, averaged over a window. The granularity says in what steps the window slides; the unit
    /// is requests per second whatever it is.
    RequestRate {
        /// How many per second one replica should take.
        target: u32,
        /// The time that the average is taken over.
        window: Duration,
        /// The step in which the window slides.
        granularity: Duration,
    },
}

impl Metric {
    /// Scaling on concurrency, with the target brought within bounds.
    pub fn concurrency(target: i64) -> Self {
        Self::Concurrency {
            target: clamp_target(target),
        }
    }

    /// Scaling on the request rate, with everything brought within bounds.
    pub fn request_rate(target: i64, window: GoDuration, granularity: GoDuration) -> Self {
        let window = clamp_window(window);
        Self::RequestRate {
            target: clamp_target(target),
            window,
            granularity: clamp_granularity(granularity, window),
        }
    }

    /// What one replica should carry, in the metric's own unit.
    pub const fn target(&self) -> u32 {
        match *self {
            Self::Concurrency { target } | Self::RequestRate { target, .. } => target,
        }
    }
}

/// A target of zero or less is refused by validation; here it becomes 1, so that no consumer can divide by zero.
fn clamp_target(target: i64) -> u32 {
    u32::try_from(target.max(1)).unwrap_or(u32::MAX)
}

/// Go clients write `0s` for a field that they leave out, so that zero stands for the default.
fn clamp_window(window: GoDuration) -> Duration {
    let window = if window.is_zero() { DEFAULT_WINDOW } else { window };
    round_up_to_seconds(window.get()).clamp(MIN_WINDOW, MAX_WINDOW)
}

fn clamp_granularity(granularity: GoDuration, window: Duration) -> Duration {
    let granularity = if granularity.is_zero() {
        DEFAULT_GRANULARITY
    } else {
        granularity
    };
    round_up_to_seconds(granularity.get()).clamp(MIN_GRANULARITY, window)
}

fn round_up_to_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

/// Says at `path`, the request rate's, how the window and the granularity are served differently from how they are
/// written.
pub(crate) fn warn_request_rate(
    path: &str,
    window: GoDuration,
    granularity: GoDuration,
    warnings: &mut Vec<FieldWarning>,
) {
    let Metric::RequestRate {
        window: served_window,
        granularity: served_granularity,
        ..
    } = Metric::request_rate(1, window, granularity)
    else {
        return;
    };
    for (field, written, served, bounds) in [
        ("window", window, served_window, "whole seconds from 1s to 1h"),
        (
            "granularity",
            granularity,
            served_granularity,
            "whole seconds from 1s to the window",
        ),
    ] {
        if written.get() != served {
            let served = GoDuration::from(served);
            warnings.push(FieldWarning::new(
                format!("{path}.{field}"),
                format!("{written} is served as {served} ({bounds}; zero means the default)"),
            ));
        }
    }
}

/// Checks that a target is one that can be divided by.
pub(crate) fn check_target(path: &str, target: i64, errors: &mut Vec<FieldError>) {
    if target < 1 {
        errors.push(FieldError::new(path, format!("must be at least 1, not {target}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(window: &str, granularity: &str) -> (u64, u64) {
        let window = window.parse().expect(window);
        let granularity = granularity.parse().expect(granularity);
        match Metric::request_rate(1, window, granularity) {
            Metric::RequestRate {
                window, granularity, ..
            } => {
                assert_eq!((window.subsec_nanos(), granularity.subsec_nanos()), (0, 0));
                (window.as_secs(), granularity.as_secs())
            }
            Metric::Concurrency { .. } => panic!("a request rate was asked for"),
        }
    }

    #[test]
    fn window_and_granularity_are_brought_within_bounds() {
        let cases = [
            // As written.
            ("30s", "1s", (30, 1)),
            ("1m", "5s", (60, 5)),
            ("1h", "1h", (3_600, 3_600)),
            // Parts of a second.
            ("1m", "500ms", (60, 1)),
            ("1m", "1.5s", (60, 2)),
            ("1ns", "1ns", (1, 1)),
            ("59.1s", "1s", (60, 1)),
            // Zero is the default.
            ("0", "0", (60, 1)),
            ("0", "5s", (60, 5)),
            // Too long.
            ("1h0m1s", "1s", (3_600, 1)),
            ("1000000h", "1s", (3_600, 1)),
            ("1000000h", "1000000h", (3_600, 3_600)),
            (
                "2562047h47m16.854775807s",
                "2562047h47m16.854775807s",
                (3_600, 3_600),
            ),
            // The granularity never exceeds the window.
            ("10s", "1m", (10, 10)),
        ];
        for (window, granularity, expected) in cases {
            assert_eq!(
                rate(window, granularity),
                expected,
                "window {window}, granularity {granularity}"
            );
        }
    }

    #[test]
    fn a_target_is_never_zero_and_never_wraps() {
        for (target, expected) in [
            (-5, 1),
            (0, 1),
            (1, 1),
            (100, 100),
            (i64::MAX, u32::MAX),
            (i64::MIN, 1),
        ] {
            assert_eq!(Metric::concurrency(target).target(), expected, "{target}");
        }
    }

    #[test]
    fn says_what_is_served_differently_and_nothing_else() {
        let mut warnings = Vec::new();
        warn_request_rate(
            "rate",
            "30s".parse().expect("30s"),
            "1s".parse().expect("1s"),
            &mut warnings,
        );
        assert_eq!(warnings, []);

        warn_request_rate(
            "rate",
            "2h".parse().expect("2h"),
            "500ms".parse().expect("500ms"),
            &mut warnings,
        );
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "rate.window: 2h0m0s is served as 1h0m0s (whole seconds from 1s to 1h; zero means the default)",
                "rate.granularity: 500ms is served as 1s (whole seconds from 1s to the window; zero means the default)",
            ]
        );
    }
}
