//! How long a replica that ended waits before it starts again.
//!
//! The kubelet's shape (the first restart at once, then doubling to five minutes, forgotten after ten minutes of running)
//! with a first pause of one second instead of ten: a developer who has just mended the program is waiting.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// A replica that ran this long has a clean record.
const FORGIVEN_AFTER: Duration = Duration::from_mins(10);

/// The record of one replica.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    ends: u32,
}

impl BackOff {
    /// The pause after an end, given how long the replica had run.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= FORGIVEN_AFTER {
            self.ends = 0;
        }
        let pause = match self.ends {
            0 => Duration::ZERO,
            ends => FIRST_PAUSE
                .saturating_mul(2_u32.saturating_pow(ends - 1))
                .min(LONGEST_PAUSE),
        };
        self.ends = self.ends.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_five_minutes_and_are_forgotten_after_ten() {
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..12)
            .map(|_| back_off.after(Duration::from_millis(3)).as_secs())
            .collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off.after(Duration::from_mins(10)), Duration::ZERO);
        assert_eq!(back_off.after(Duration::ZERO), Duration::from_secs(1));
    }
}
