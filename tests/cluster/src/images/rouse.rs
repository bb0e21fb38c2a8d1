//! Rouse's own image: the program built without shared libraries, and the same program as the demo application.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::Command;

use super::{Image, PODINFO, write};
use crate::{command, places::Places, say::say};

const BUILD_BOUND: Duration = Duration::from_hours(1);

/// The name of Rouse's image without its tag, which is the workspace's version.
pub(super) const ROUSE: &str = "ghcr.io/rouse-proxy/rouse";

pub(super) async fn provide(places: &Places, profile: &str) -> anyhow::Result<PathBuf> {
    let program = build(places, profile).await?;
    let directory = places.cache().join("images");
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let archive = directory.join(format!("rouse-{}.tar", places.name()));
    let rouse = format!("{ROUSE}:{}", env!("CARGO_PKG_VERSION"));
    write(
        &archive,
        &[
            Image::of_program(&rouse, &program, "rouse"),
            Image::of_program(PODINFO, &program, "rouse").with_arguments(&["demo-app", "--host", "0.0.0.0"]),
        ],
    )?;
    Ok(archive)
}

/// Built for the gnu target with the C library in it, the program runs on an empty root and resolves the cluster's names.
async fn build(places: &Places, profile: &str) -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    say(format_args!(
        "cargo build --package rouse --profile {profile} --target {target}, static"
    ));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(places.workspace())
        .args([
            "build",
            "--locked",
            "--package",
            "rouse",
            "--profile",
            profile,
            "--target",
            &target,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    command::run(&mut cargo, BUILD_BOUND).await?;
    // This program is TARGET/debug/rouse-cluster, wherever the environment or cargo's configuration has put TARGET.
    let this = env::current_exe().context("find this program")?;
    let directory = this.ancestors().nth(2).context("find the target directory")?;
    let profile = if profile == "dev" { "debug" } else { profile };
    let program = directory.join(Path::new(&target)).join(profile).join("rouse");
    anyhow::ensure!(program.exists(), "cargo made no {}", program.display());
    Ok(program)
}
