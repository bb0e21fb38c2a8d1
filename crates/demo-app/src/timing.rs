//! Moments of this process, on a clock that every process of the machine shares.

use std::sync::{Arc, OnceLock};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds on `CLOCK_MONOTONIC`, which runs alike for all processes since the machine started.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The moments that this process has seen so far. A clone is another handle on the same moments.
#[derive(Debug, Clone)]
pub struct Timing {
    shared: Arc<Moments>,
}

/// In [`monotonic_ns`].
#[derive(Debug)]
struct Moments {
    started: u64,
    listened: OnceLock<u64>,
    first_byte: OnceLock<u64>,
}

/// What `/timing` answers. Times are [`monotonic_ns`]; what has not happened yet is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimingReport {
    /// The process's id.
    pub pid: u32,
    /// When the application began to run.
    pub started_ns: u64,
    /// When `listen()` returned.
    pub listened_ns: Option<u64>,
    /// When the first byte of the first request that is work, not a probe, was read.
    pub first_byte_ns: Option<u64>,
    /// When this report was made.
    pub now_ns: u64,
}

impl Timing {
    pub(crate) fn start() -> Self {
        let shared = Moments {
            started: monotonic_ns(),
            listened: OnceLock::new(),
            first_byte: OnceLock::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn listened(&self) {
        self.shared.listened.get_or_init(monotonic_ns);
    }

    /// A request that is work was read beginning at `first_byte_ns`; only the first is kept.
    pub(crate) fn request_arrived(&self, first_byte_ns: u64) {
        self.shared.first_byte.get_or_init(|| first_byte_ns);
    }

    /// The moments as they are now.
    pub fn report(&self) -> TimingReport {
        TimingReport {
            pid: std::process::id(),
            started_ns: self.shared.started,
            listened_ns: self.shared.listened.get().copied(),
            first_byte_ns: self.shared.first_byte.get().copied(),
            now_ns: monotonic_ns(),
        }
    }
}
