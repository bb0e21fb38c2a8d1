//! Rouse's own image, and the same program as the demo application: what `cargo xtask image` makes.

use std::{env, ffi::OsString, fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use tokio::process::Command;

use crate::{command, places::Places, say::say};

const BUILD_BOUND: Duration = Duration::from_hours(1);

/// Where the program in the image comes from.
#[derive(Debug, Clone)]
pub enum Program {
    /// It is built with this cargo profile.
    Build(String),
    /// It exists: a static binary.
    File(PathBuf),
}

impl Program {
    /// How `cargo xtask image` is told.
    fn arguments(&self) -> [OsString; 2] {
        match self {
            Self::Build(profile) => ["--profile".into(), profile.into()],
            Self::File(file) => ["--program".into(), file.into()],
        }
    }
}

/// The archive of both images, under a name of this cluster's: another may be of another clone.
pub(super) async fn provide(places: &Places, program: &Program) -> anyhow::Result<PathBuf> {
    let directory = places.cache().join("images");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let archive = directory.join(format!("rouse-{}.tar", places.name()));
    let [option, value] = program.arguments();
    say(format_args!(
        "cargo xtask image --podinfo {} {}",
        option.display(),
        value.display()
    ));
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
        ])
        .args([option, value])
        .arg("--output")
        .arg(&archive);
    command::run(&mut image, BUILD_BOUND).await?;
    Ok(archive)
}
