//! Where a part of Rouse stands in its life. One writer, any number of readers that can wait for a phase, so that a
//! shutdown can be followed and tested.

use std::fmt;

use tokio::sync::watch;

/// A part's life, in the order in which it passes; a phase may be skipped and none comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not everything is there yet.
    Starting,
    /// Serving.
    Ready,
    /// No longer ready, still accepting, until the word has spread.
    ShutdownDelay,
    /// Accepting nothing new; what was accepted is being finished.
    Draining,
    /// The drain deadline is over; what is left is being cut off.
    ForcedClose,
    /// Nothing is left.
    Terminated,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::ShutdownDelay => "shutdown delay",
            Self::Draining => "draining",
            Self::ForcedClose => "forced close",
            Self::Terminated => "terminated",
        })
    }
}

/// Reads the phase: `*watch.borrow()`, or `watch.wait_for(|phase| *phase >= Phase::Draining).await`.
///
/// Phases are ordered, and a waiter that sleeps through one sees only the next: wait with `>=`.
pub type PhaseWatch = watch::Receiver<Phase>;

/// Sets the phase. Has one owner.
#[derive(Debug)]
pub struct PhaseSender {
    tx: watch::Sender<Phase>,
}

/// A new life, at [`Phase::Starting`].
pub fn channel() -> (PhaseSender, PhaseWatch) {
    let (tx, rx) = watch::channel(Phase::Starting);
    (PhaseSender { tx }, rx)
}

impl PhaseSender {
    /// Moves on to `phase`. A life never goes back: an earlier phase is ignored. Says whether the phase changed.
    pub fn set(&self, phase: Phase) -> bool {
        let changed = self.tx.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
        if changed {
            tracing::debug!(%phase, "phase");
        }
        changed
    }

    /// The phase now.
    pub fn get(&self) -> Phase {
        *self.tx.borrow()
    }

    /// Another reader.
    pub fn watch(&self) -> PhaseWatch {
        self.tx.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_never_goes_back() {
        let (sender, watch) = channel();
        assert_eq!(*watch.borrow(), Phase::Starting);
        assert!(sender.set(Phase::Draining));
        assert!(!sender.set(Phase::Ready), "a late ready must not undo a drain");
        assert!(!sender.set(Phase::Draining));
        assert_eq!(*watch.borrow(), Phase::Draining);
    }

    #[tokio::test]
    async fn a_waiter_that_slept_through_a_phase_still_ends() {
        let (sender, mut watch) = channel();
        sender.set(Phase::Ready);
        sender.set(Phase::Terminated);
        let seen = *watch.wait_for(|phase| *phase >= Phase::Draining).await.unwrap();
        assert_eq!(seen, Phase::Terminated);
    }
}
