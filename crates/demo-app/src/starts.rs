//! How often the application was started: for one that is to crash a few times before it is up, as a pod does that waits in
//! CrashLoopBackOff. The count is a file's lines, which outlive the process.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
};

/// Appends a line for this process and counts the lines that are there then: 1 at the first start.
pub(crate) fn record(path: &Path) -> io::Result<u64> {
    let mut record = File::options().create(true).read(true).append(true).open(path)?;
    record.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    record.rewind()?;
    let mut starts = String::new();
    record.read_to_string(&mut starts)?;
    Ok(starts.lines().count() as u64)
}
