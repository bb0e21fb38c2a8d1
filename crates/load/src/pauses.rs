//! The pauses between attempts to reach an interceptor.

use std::time::Duration;

use ahash::RandomState;

/// Between attempts, doubling, jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Says how long to wait before the next attempt.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    random: RandomState,
    drawn: u64,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            next: FIRST_PAUSE,
            random: RandomState::new(),
            drawn: 0,
        }
    }
}

impl Pauses {
    /// Begins anew: the interceptor was heard.
    pub fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }

    /// Between half of the pause and the whole, so that those who listen to one interceptor do not come back in step.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        self.drawn += 1;
        let share = (self.random.hash_one(self.drawn) % 1000) as u32;
        pause / 2 + pause / 2 * share / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_and_begin_anew() {
        let mut pauses = Pauses::default();
        let drawn: Vec<Duration> = (0..10).map(|_| pauses.next_pause()).collect();
        for (place, pause) in drawn.iter().enumerate() {
            let whole = (FIRST_PAUSE * (1 << place)).min(LONGEST_PAUSE);
            assert!(
                *pause >= whole / 2 && *pause <= whole,
                "pause {place} of {whole:?} is {pause:?}"
            );
        }
        pauses.reset();
        assert!(pauses.next_pause() <= FIRST_PAUSE);
    }
}
