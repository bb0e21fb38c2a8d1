//! The process as the operating system sees it: its limit of open files, and its own metrics.

use std::{
    fmt::{self, Debug},
    io,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{metrics::Metrics, telemetry};

/// Raises the soft limit of open files to the hard limit: a proxy has two sockets per request, and the soft limit is kept
/// low (1,024) only for programs that use `select`. Returns the limit now in force, `None` if there is none.
///
/// Child processes inherit it.
pub fn raise_file_limit() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        )?;
    }
    Ok(limit.maximum)
}

/// Registers the process's own metrics, under the names that every Prometheus client library uses.
pub fn register(metrics: &Metrics) {
    metrics.register(|registry| {
        registry.register_collector(Box::new(ProcessCollector {
            started: SystemTime::now(),
        }));
    });
}

/// Reads the values when they are scraped. What this system does not tell is left out.
#[derive(Debug)]
struct ProcessCollector {
    started: SystemTime,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name, help, value: Option<f64>| match value {
            Some(value) => encode(&mut encoder, name, help, &ConstGauge::new(value)),
            None => Ok(()),
        };
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).ok();
        gauge(
            "process_start_time_seconds",
            "Start of the process since the Unix epoch",
            started.map(|since| since.as_secs_f64()),
        )?;
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            resident_bytes().map(|bytes| bytes as f64),
        )?;
        gauge(
            "process_open_fds",
            "Open file descriptors",
            open_files().map(|count| count as f64),
        )?;
        gauge(
            "process_max_fds",
            "Most file descriptors that may be open",
            getrlimit(Resource::Nofile).current.map(|limit| limit as f64),
        )?;
        encode(
            &mut encoder,
            "process_cpu_seconds",
            "CPU time spent, user and system",
            &ConstCounter::new(cpu_time().as_secs_f64()),
        )?;
        encode(
            &mut encoder,
            "process_panics",
            "Panics caught; each cost one connection or task",
            &ConstCounter::new(telemetry::panics()),
        )
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Resident memory, from `/proc`; `None` where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_files() -> Option<usize> {
    // One less: the directory itself is open while it is read.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// CPU time of the whole process, user and system.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_file_limit_becomes_the_hard_one() {
        let raised = raise_file_limit().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raised, limit.maximum);
    }

    #[test]
    fn the_process_metrics_carry_values() {
        let metrics = Metrics::new();
        register(&metrics);
        let text = metrics.encode();
        for name in [
            "process_start_time_seconds ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_cpu_seconds_total ",
        ] {
            let value: f64 = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("{name}is missing from\n{text}"))
                .parse()
                .unwrap();
            assert!(value > 0.0, "{name}{value}");
        }
        assert!(text.contains("process_panics_total "), "{text}");
    }
}
