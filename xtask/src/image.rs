//! `cargo xtask image`: the container image as a file, made without a container engine.
//!
//! The image is one program on an empty root: static, so that it needs no library, and run by a user that is nobody. No
//! certificates are in it, because the one TLS server that Rouse talks to, the API server, is trusted by the certificate that the
//! kubelet mounts; no `/tmp`, because nothing is written.

mod archive;
mod layer;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use self::archive::{Archive, Image};
use crate::workspace::{Workspace, say};

const REPOSITORY: &str = "ghcr.io/rouse-proxy/rouse";

/// The image under whose name the user's manifests run an application; the demo application answers the same endpoints.
const PODINFO: &str = "ghcr.io/stefanprodan/podinfo:6.7.1";

/// What to build and where to put it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image's tag. The workspace's version when unset.
    #[arg(long)]
    tag: Option<String>,
    /// Put the demo application in under podinfo's name as well, for machines that cannot pull it.
    #[arg(long)]
    podinfo: bool,
    /// Where to write the archive. Beside the build when unset.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Use this program in place of building one. It has to be static.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Build with this cargo profile: `release`, or `dist` for shipping, which takes longer.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds the program, writes the archive and says how to load it.
pub(crate) fn run(workspace: &Workspace, args: Args) -> anyhow::Result<ExitCode> {
    let program = match args.program {
        Some(program) => program,
        None => build(workspace, &args.profile)?,
    };
    let bytes = fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    ensure_static(&bytes).with_context(|| format!("look at {}", program.display()))?;

    let tag = args.tag.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    let name = format!("{REPOSITORY}:{tag}");
    let mut images = vec![Image {
        name: name.clone(),
        entrypoint: vec!["/rouse".to_owned()],
        command: Vec::new(),
        ports: vec![8080, 8081, 9090],
        version: tag,
    }];
    if args.podinfo {
        images.push(Image {
            name: PODINFO.to_owned(),
            entrypoint: ["/rouse", "demo-app", "--host=0.0.0.0", "--port=9898"]
                .map(str::to_owned)
                .to_vec(),
            command: Vec::new(),
            ports: vec![9898],
            version: "6.7.1".to_owned(),
        });
    }
    let output = args
        .output
        .unwrap_or_else(|| workspace.target().join("image/rouse.tar"));
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let layer = layer::of_program("rouse", &bytes).context("make the layer")?;
    let archive = Archive::new(layer, &images).context("make the archive")?;
    fs::write(&output, archive.bytes()).with_context(|| format!("write {}", output.display()))?;
    tell(&output, &images, archive.bytes().len())?;
    Ok(ExitCode::SUCCESS)
}

fn tell(output: &Path, images: &[Image], size: usize) -> anyhow::Result<()> {
    let file = output.display();
    say(format_args!(
        "{file}: {:.1} MiB, an OCI and Docker archive of",
        size as f64 / f64::from(1 << 20)
    ))?;
    for image in images {
        say(format_args!("  {}", image.name))?;
    }
    say(format_args!(
        "load it with one of\n  \
         kind load image-archive {file}\n  \
         k3d image import {file}\n  \
         minikube image load {file}\n  \
         docker load --input {file}\n  \
         ctr --namespace k8s.io images import {file}"
    ))
}

/// The static program, in a target folder of its own: its flags are others than those of every other build.
fn build(workspace: &Workspace, profile: &str) -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = workspace.target().join("image");
    let mut cargo = workspace.cargo(["build", "--locked", "--package", "rouse", "--target", &target]);
    cargo
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // Lines of the source are worth little in an image, and a third of its size.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    let status = cargo.status().context("run cargo")?;
    anyhow::ensure!(status.success(), "build rouse: {status}");
    // Cargo's own name for the folder of this one profile.
    let profile = if profile == "dev" { "debug" } else { profile };
    Ok(folder.join(target).join(profile).join("rouse"))
}

/// A program that asks for an interpreter would not start on an empty root. ELF says so in a program header of type 3.
fn ensure_static(program: &[u8]) -> anyhow::Result<()> {
    const INTERPRETER: u32 = 3;
    let number = |offset: usize, length: usize| -> anyhow::Result<u64> {
        let bytes = program.get(offset..offset + length).context("it ends early")?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    anyhow::ensure!(
        program.starts_with(b"\x7fELF\x02\x01"),
        "it is no 64-bit ELF program"
    );
    let (offset, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in 0..count {
        let at = usize::try_from(offset + header * size).context("it is too large")?;
        anyhow::ensure!(
            number(at, 4)? != u64::from(INTERPRETER),
            "it is linked dynamically: build it with `-C target-feature=+crt-static`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_interpreter_is_refused() {
        // Whatever runs this test is linked dynamically, as cargo does by default.
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = ensure_static(&this).unwrap_err();
        assert!(error.to_string().contains("dynamically"), "{error}");
        assert!(ensure_static(b"#!/bin/sh\n").is_err());
    }
}
