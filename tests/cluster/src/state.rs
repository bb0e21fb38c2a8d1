//! Removing what a cluster kept on disk.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use crate::wait;

const REMOVE_BOUND: Duration = Duration::from_mins(1);

/// Removes a directory whose processes have been killed: the kernel may hold the mounts in it for a moment.
pub(crate) async fn remove_directory(directory: &Path) -> anyhow::Result<()> {
    wait::until(
        &format!("{} is gone", directory.display()),
        REMOVE_BOUND,
        async || match fs::remove_dir_all(directory) {
            Ok(()) => wait::done(()),
            Err(error) if error.kind() == ErrorKind::NotFound => wait::done(()),
            Err(error) => wait::not_yet(error.to_string()),
        },
    )
    .await
}
