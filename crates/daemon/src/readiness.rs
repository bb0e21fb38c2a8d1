//! Whether a part may be sent work. Everything that must happen first holds a named [`Blocker`]; when the last one is gone
//! the part is ready, until it drains. `/readyz` and the log name what is still missing.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

/// One part's readiness. Cheap to clone; all clones are the same readiness.
///
/// Without a blocker it is ready: make the blockers before anybody can ask.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What has not happened yet, in the order in which it was announced.
    pending: Vec<&'static str>,
    draining: bool,
    remarks: Vec<Remark>,
}

/// Says what works worse than it should, if anything.
#[derive(Clone)]
struct Remark(Arc<dyn Fn() -> Option<String> + Send + Sync>);

impl fmt::Debug for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remark")
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.pending.is_empty() && !self.draining
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready, with nothing to wait for.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }

    /// Keeps the part from being ready until the blocker is dropped.
    pub fn block(&self, name: &'static str) -> Blocker {
        self.state.send_modify(|state| state.pending.push(name));
        Blocker {
            readiness: self.clone(),
            name,
        }
    }

    /// Lets `remark` add to the text of every report what works worse than it should. It changes nothing about being
    /// ready: who serves from the last good state is to be sent work. It is called for each report, so it must be quick,
    /// and must not use the readiness itself.
    pub fn remark(&self, remark: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.state
            .send_modify(|state| state.remarks.push(Remark(Arc::new(remark))));
    }

    /// Never ready again: the part is going away.
    pub fn drain(&self) {
        self.state.send_modify(|state| state.draining = true);
    }

    /// Whether the part may be sent work.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// What it still waits for.
    pub fn pending(&self) -> Vec<&'static str> {
        self.state.borrow().pending.clone()
    }

    /// Ends when the part is ready; never, if it drains first.
    pub async fn ready(&self) {
        let mut state = self.state.subscribe();
        if state.wait_for(State::is_ready).await.is_err() {
            // The sender lives as long as `self`.
            std::future::pending::<()>().await;
        }
    }

    /// The answer of `/readyz`: whether ready, and one line of text.
    pub fn report(&self) -> Report {
        let state = self.state.borrow();
        Report {
            is_ready: state.is_ready(),
            draining: state.draining,
            pending: state.pending.clone(),
            remarks: state.remarks.iter().filter_map(|remark| (remark.0)()).collect(),
        }
    }
}

/// Readiness at one moment; displays as one line.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whether the part may be sent work.
    pub is_ready: bool,
    draining: bool,
    pending: Vec<&'static str>,
    /// What works worse than it should.
    remarks: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.draining {
            f.write_str("draining")?;
        } else if self.pending.is_empty() {
            f.write_str("ready")?;
        } else {
            write!(f, "waiting for {}", self.pending.join(", "))?;
        }
        if !self.remarks.is_empty() {
            write!(f, "; degraded: {}", self.remarks.join("; "))?;
        }
        Ok(())
    }
}

/// Something that must happen before the part is ready. Dropping it says that it has.
#[derive(Debug)]
#[must_use = "dropping a blocker says that what it stands for has happened"]
pub struct Blocker {
    readiness: Readiness,
    name: &'static str,
}

impl Blocker {
    /// It has happened.
    pub fn ready(self) {}
}

impl Drop for Blocker {
    fn drop(&mut self) {
        let mut left = 0;
        self.readiness.state.send_modify(|state| {
            // Of several blockers with one name it does not matter which goes.
            if let Some(place) = state.pending.iter().position(|name| *name == self.name) {
                state.pending.remove(place);
            }
            left = state.pending.len();
        });
        if left == 0 {
            tracing::debug!(done = self.name, "ready");
        } else {
            tracing::debug!(done = self.name, pending = ?self.readiness.pending(), "not ready yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn ready_when_the_last_blocker_is_gone() {
        let readiness = Readiness::new();
        let routes = readiness.block("routes");
        let endpoints = readiness.block("endpoints");
        assert_eq!(readiness.report().to_string(), "waiting for routes, endpoints");
        routes.ready();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.pending(), ["endpoints"]);
        drop(endpoints);
        assert!(readiness.is_ready());
        assert_eq!(readiness.report().to_string(), "ready");
    }

    #[test]
    fn two_blockers_of_one_name_both_count() {
        let readiness = Readiness::new();
        let first = readiness.block("peer");
        let second = readiness.block("peer");
        drop(first);
        assert_eq!(readiness.pending(), ["peer"]);
        drop(second);
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_remark_is_told_and_changes_nothing() {
        let readiness = Readiness::new();
        let remark = Arc::new(parking_lot::Mutex::new(None));
        let told = Arc::clone(&remark);
        readiness.remark(move || told.lock().clone());
        assert_eq!(readiness.report().to_string(), "ready");
        *remark.lock() = Some("no word for 70s".to_owned());
        assert!(readiness.is_ready());
        assert_eq!(readiness.report().to_string(), "ready; degraded: no word for 70s");
        let _blocker = readiness.block("routes");
        assert_eq!(
            readiness.report().to_string(),
            "waiting for routes; degraded: no word for 70s"
        );
    }

    #[test]
    fn a_drain_is_final() {
        let readiness = Readiness::new();
        let blocker = readiness.block("routes");
        readiness.drain();
        assert_eq!(readiness.report().to_string(), "draining");
        drop(blocker);
        assert!(!readiness.is_ready());
    }

    #[test]
    fn a_waiter_is_woken_by_the_last_blocker_only() {
        let readiness = Readiness::new();
        let (routes, endpoints) = (readiness.block("routes"), readiness.block("endpoints"));
        let mut waiter = task::spawn(readiness.ready());
        assert_pending!(waiter.poll());
        drop(routes);
        assert_pending!(waiter.poll());
        drop(endpoints);
        assert!(waiter.is_woken());
        assert_ready!(waiter.poll());
    }
}
