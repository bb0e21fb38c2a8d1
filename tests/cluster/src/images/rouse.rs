//! Rouse's own image, and the same program as the demo application: what `cargo xtask image` makes.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::process::Command;

use crate::{command, places::Places, say::say};

const BUILD_BOUND: Duration = Duration::from_hours(1);

/// The archive of both images, under a name of this cluster's: another may be of another clone.
pub(super) async fn provide(places: &Places, profile: &str) -> anyhow::Result<PathBuf> {
    let directory = places.cache().join("images");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let archive = directory.join(format!("rouse-{}.tar", places.name()));
    say(format_args!("cargo xtask image --podinfo --profile {profile}"));
    let mut image = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    image
        .current_dir(places.workspace())
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "xtask",
            "--",
            "image",
            "--podinfo",
            "--profile",
            profile,
        ])
        .arg("--output")
        .arg(&archive);
    command::run(&mut image, BUILD_BOUND).await?;
    Ok(archive)
}
