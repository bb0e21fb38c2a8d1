//! The first process of a room: covers what the room may not share, then reaps whatever ends.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use rustix::{
    io::Errno,
    process::{WaitOptions, wait},
};

use crate::places::COVERED;

/// The file that says that the room may be used.
pub(super) const READY: &str = "room.ready";

/// Runs as the first process of a room until it is killed.
pub fn init(directory: &Path) -> anyhow::Result<()> {
    for covered in COVERED {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "mode=755", "room", covered])
            .status()
            .context("run mount")?;
        anyhow::ensure!(mounted.success(), "cover {covered}: {mounted}");
    }
    fs::create_dir_all("/run/lock").context("make /run/lock")?;
    // With a child that never ends there is always one to wait for.
    let mut forever = Command::new("sleep")
        .arg("infinity")
        .stdin(Stdio::null())
        .spawn()
        .context("start a child to wait for")?;
    fs::write(directory.join(READY), "").context("say that the room is ready")?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                forever.kill().context("end the child")?;
                return Err(error).context("wait for a child");
            }
        }
    }
}
