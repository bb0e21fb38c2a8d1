//! What a probe asks and how its answers are counted; `prober.rs` does the asking.

use std::time::Duration;

/// How often a probe is repeated until it first succeeds. A kubelet's first probe may come a whole period late; here
/// nothing else waits for it, and the wake path is what this tool is for.
pub const FIRST_SUCCESS_INTERVAL: Duration = Duration::from_millis(5);

/// A probe of the manifest, its defaults filled in. `port` is the container's port number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub action: ProbeAction,
    /// Before the first probe. Only liveness obeys it: readiness is asked from the start (see
    /// [`FIRST_SUCCESS_INTERVAL`]), which can only make a replica Ready sooner.
    pub initial_delay: Duration,
    /// Between probes once it has succeeded. Kubernetes' default is 10 s.
    pub period: Duration,
    /// For one answer. Kubernetes' default is 1 s.
    pub timeout: Duration,
    /// Failures in a row that turn success into failure. Kubernetes' default is 3.
    pub failure_threshold: u32,
    /// Successes in a row that turn failure into success. Kubernetes' default is 1.
    pub success_threshold: u32,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction {
    /// `httpGet`: success is a status from 200 to 399.
    HttpGet {
        /// The container's port.
        port: u16,
        /// Path and query.
        path: String,
        /// Headers in the manifest's order.
        headers: Vec<(String, String)>,
    },
    /// `tcpSocket`: success is an accepted connection.
    TcpSocket {
        /// The container's port.
        port: u16,
    },
    /// `exec`: success is exit status 0.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

impl ProbeAction {
    /// The container's port that is asked, if any.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::HttpGet { port, .. } | Self::TcpSocket { port } => Some(*port),
            Self::Exec { .. } => None,
        }
    }
}

/// The probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// Must succeed once before the others begin.
    pub startup: Option<Probe>,
    /// Decides whether the replica is Ready.
    pub readiness: Option<Probe>,
    /// Restarts the replica when it fails.
    pub liveness: Option<Probe>,
}

/// The count of a probe's answers: a result stands until enough answers in a row contradict it.
#[derive(Debug, Clone)]
pub struct ProbeState {
    failure_threshold: u32,
    success_threshold: u32,
    succeeding: bool,
    has_succeeded: bool,
    contradictions: u32,
}

impl ProbeState {
    /// A state that begins with `succeeding` (liveness) or failing (readiness, startup).
    pub fn new(probe: &Probe, succeeding: bool) -> Self {
        Self {
            failure_threshold: probe.failure_threshold.max(1),
            success_threshold: probe.success_threshold.max(1),
            succeeding,
            has_succeeded: succeeding,
            contradictions: 0,
        }
    }

    /// Counts an answer. Gives the new result when it changes.
    pub fn observe(&mut self, success: bool) -> Option<bool> {
        self.has_succeeded |= success;
        if success == self.succeeding {
            self.contradictions = 0;
            return None;
        }
        self.contradictions += 1;
        let threshold = if success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        if self.contradictions < threshold {
            return None;
        }
        self.succeeding = success;
        self.contradictions = 0;
        Some(success)
    }

    /// The time from the start of one probe to the start of the next.
    pub fn interval(&self, probe: &Probe) -> Duration {
        if self.has_succeeded {
            probe.period
        } else {
            FIRST_SUCCESS_INTERVAL.min(probe.period)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(failure_threshold: u32, success_threshold: u32) -> Probe {
        Probe {
            action: ProbeAction::TcpSocket { port: 1 },
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failure_threshold,
            success_threshold,
        }
    }

    #[test]
    fn it_is_asked_every_five_milliseconds_until_it_first_succeeds() {
        let probe = probe(3, 1);
        let mut state = ProbeState::new(&probe, false);
        for _ in 0..10 {
            assert_eq!(state.observe(false), None);
            assert_eq!(state.interval(&probe), Duration::from_millis(5));
        }
        assert_eq!(state.observe(true), Some(true));
        assert_eq!(state.interval(&probe), Duration::from_secs(10));
        for _ in 0..3 {
            state.observe(false);
        }
        assert_eq!(
            state.interval(&probe),
            Duration::from_secs(10),
            "its own period, also when it fails again"
        );
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut state = ProbeState::new(&probe(3, 1), true);
        let answers = [false, false, true, false, false, false, false, true];
        let changes: Vec<_> = answers.into_iter().map(|answer| state.observe(answer)).collect();
        assert_eq!(
            changes,
            [None, None, None, None, None, Some(false), None, Some(true)]
        );
    }

    #[test]
    fn successes_count_only_in_a_row() {
        let mut state = ProbeState::new(&probe(1, 2), false);
        let answers = [true, false, true, true, true, false];
        let changes: Vec<_> = answers.into_iter().map(|answer| state.observe(answer)).collect();
        assert_eq!(changes, [None, None, None, Some(true), None, Some(false)]);
    }
}
