//! Which processors a process may use. A process keeps what it was started with, so a thread narrows itself, starts the
//! process, and widens itself again.

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the current thread, and what it starts from now on, to `cpus`.
pub(crate) fn pin(cpus: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).with_context(|| format!("keep to the processors {cpus:?}"))
}

/// The processors that this thread may use.
pub(crate) fn allowed() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("read the processors allowed")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Runs `start` kept to `cpus`.
pub(crate) fn pinned<T>(cpus: &[usize], start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let before = allowed()?;
    pin(cpus)?;
    let started = start();
    pin(&before)?;
    started
}
