//! What the kernel knows of a process.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;

/// Processor time that a process and its threads have used, user and system; its children are not counted.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).context("read the process's processor time")?;
    parse_cpu_ticks(&stat)
        .map(|ticks| Duration::from_secs(1) * ticks / rustix::param::clock_ticks_per_second() as u32)
        .context("read utime and stime of /proc/PID/stat")
}

/// utime and stime are the 14th and 15th field; the second, the program's name, may hold spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(ticks()? + ticks()?)
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's memory")?;
    let kib = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .context("read VmRSS of /proc/PID/status")?;
    Ok(kib * 1024)
}

pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_an_awkward_program_name() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194304 100 0 0 0 120 34 5 6 20 0 1 0 123 456 789";
        assert_eq!(parse_cpu_ticks(stat), Some(154));
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(resident_bytes(std::process::id()).expect("VmRSS") > 100_000);
    }
}
