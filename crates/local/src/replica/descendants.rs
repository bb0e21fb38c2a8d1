//! Finds processes in `/proc`: those below a process, and those that carry a mark in their environment.
//!
//! Called by the shim for its own tree, and by `rouse local` for a tree whose shim was killed. Where there is no
//! `/proc` both find nothing, and only process groups are killed.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{Pid, Signal};

/// The variable that marks all processes of one replica.
pub(super) const MARK: &str = "ROUSE_LOCAL_REPLICA";

/// The live processes below `root`, itself and zombies excluded.
pub(super) fn of(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    for pid in all() {
        if let Some((parent, is_zombie)) = parent_of(pid) {
            children.entry(parent).or_default().push((pid, is_zombie));
        }
    }
    let mut found = Vec::new();
    let mut pending = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = pending.pop() {
        // Removed as they are visited, so a process id that was used twice during the walk cannot make a circle.
        for (pid, is_zombie) in children.remove(&parent).unwrap_or_default() {
            pending.push(pid);
            if !is_zombie {
                found.extend(Pid::from_raw(pid));
            }
        }
    }
    found
}

/// The processes whose environment at their start had [`MARK`] set to `mark`, as far as we may look.
pub(super) fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let own = rustix::process::getpid().as_raw_nonzero().get();
    all()
        .filter(|pid| *pid != own)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == wanted.as_bytes())
            })
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// SIGKILL; a process that has gone meanwhile is what was wanted.
pub(super) fn kill(pid: Pid) {
    if let Err(error) = rustix::process::kill_process(pid, Signal::KILL) {
        tracing::debug!(pid = pid.as_raw_nonzero().get(), %error, "kill");
    }
}

fn all() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            std::str::from_utf8(entry.ok()?.file_name().as_bytes())
                .ok()?
                .parse()
                .ok()
        })
}

/// The parent's id, and whether the process is dead and only waits to be reaped. The second field of `stat`, the
/// program's name, may hold anything, so the fields are counted from its last parenthesis.
fn parent_of(pid: i32) -> Option<(i32, bool)> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((parent, state == "Z" || state == "X"))
}
