//! KEDA's part of scaling: between zero and one (or the minimum).
//!
//! Pure: time and answers come in, numbers of replicas come out. Active means leave zero; inactive for a cooldown period
//! means go back. KEDA looks only at its polls, so its last replica lives up to a polling interval too long; here the end
//! of the cooldown is a moment of its own to look at ([`Cooldown::expiry`]), and the bound is kept without drift.

use std::time::Duration;

use tokio::time::Instant;

/// The bounds and the periods of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `replicas.min`.
    pub min: u32,
    /// `replicas.max`.
    pub max: u32,
    /// `scaledownPeriod`: how long the last replicas outlive the last activity.
    pub cooldown: Duration,
    /// `initialCooldownPeriod`: the same for a workload that has never been active.
    pub initial_cooldown: Duration,
}

/// The activity of one route.
#[derive(Debug)]
pub struct Cooldown {
    limits: Limits,
    created: Instant,
    last_active: Option<Instant>,
}

impl Cooldown {
    /// A route that exists from now on.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            created: Instant::now(),
            last_active: None,
        }
    }

    /// Takes an answer about activity. Gives the number of replicas to go to, if another than `current`.
    pub fn observe(&mut self, is_active: bool, current: u32) -> Option<u32> {
        let now = Instant::now();
        if is_active {
            self.last_active = Some(now);
            return (current == 0).then(|| self.limits.min.max(1));
        }
        if self.expiry(current).is_some_and(|expiry| expiry <= now) {
            return Some(0);
        }
        (current < self.limits.min).then_some(self.limits.min)
    }

    /// Whether there was any activity so far.
    pub fn has_been_active(&self) -> bool {
        self.last_active.is_some()
    }

    /// When the replicas may go to zero unless something happens; `None` when they may not at all.
    pub fn expiry(&self, current: u32) -> Option<Instant> {
        if current == 0 || self.limits.min > 0 {
            return None;
        }
        Some(match self.last_active {
            Some(last_active) => last_active + self.limits.cooldown,
            None => self.created + self.limits.initial_cooldown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn limits(min: u32) -> Limits {
        Limits {
            min,
            max: 5,
            cooldown: Duration::from_mins(1),
            initial_cooldown: Duration::ZERO,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn activity_leaves_zero_and_the_cooldown_leads_back() {
        let mut cooldown = Cooldown::new(limits(0));
        assert_eq!(cooldown.observe(false, 0), None);
        assert_eq!(cooldown.observe(true, 0), Some(1));
        advance(Duration::from_secs(30)).await;
        assert_eq!(cooldown.observe(true, 1), None);
        let expiry = cooldown.expiry(1).unwrap();
        assert_eq!(expiry, Instant::now() + Duration::from_mins(1));
        advance(Duration::from_millis(59_999)).await;
        assert_eq!(cooldown.observe(false, 3), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(cooldown.observe(false, 3), Some(0));
        assert_eq!(cooldown.expiry(0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minimum_is_kept_and_never_left_for_zero() {
        let mut cooldown = Cooldown::new(limits(2));
        assert_eq!(cooldown.observe(false, 0), Some(2));
        assert_eq!(cooldown.observe(true, 0), Some(2));
        advance(Duration::from_hours(1)).await;
        assert_eq!(cooldown.observe(false, 2), None);
        assert_eq!(cooldown.expiry(2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_were_never_asked_for_go_after_the_initial_cooldown() {
        let mut at_once = Cooldown::new(limits(0));
        assert_eq!(at_once.observe(false, 2), Some(0));
        let mut later = Cooldown::new(Limits {
            initial_cooldown: Duration::from_secs(30),
            ..limits(0)
        });
        assert_eq!(later.observe(false, 2), None);
        advance(Duration::from_secs(30)).await;
        assert_eq!(later.observe(false, 2), Some(0));
    }
}
