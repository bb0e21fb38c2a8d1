//! What is taken out of Debian packages that are not installed: installed, they would start services of the machine's own.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use tokio::process::Command;

use super::{Parts, keep};
use crate::{command, places::Places, say::say};

const DOWNLOAD_BOUND: Duration = Duration::from_mins(10);
const LOOK_BOUND: Duration = Duration::from_secs(20);

/// A package, and the programs of it, each in its place in the package.
struct Package {
    name: &'static str,
    programs: &'static [(&'static str, &'static str)],
}

const PACKAGES: [Package; 1] = [Package {
    name: "prometheus",
    programs: &[("prometheus", "usr/bin/prometheus")],
}];

/// The file in an unpacked package that holds its version.
const VERSION: &str = "rouse-version";

pub(super) async fn provide(places: &Places, parts: &mut Parts) -> anyhow::Result<()> {
    for package in &PACKAGES {
        let place = places.cache().join(format!("debian-{}", package.name));
        if !place.exists() {
            unpack(package.name, &place).await?;
        }
        let version = fs::read_to_string(place.join(VERSION))
            .with_context(|| format!("read the version of {}", package.name))?;
        for (name, path) in package.programs {
            parts.add_program(name, place.join(path), version.trim());
        }
    }
    Ok(())
}

/// Downloads the release's version of a package and unpacks it.
async fn unpack(package: &str, place: &Path) -> anyhow::Result<()> {
    say(format_args!("apt-get download {package}"));
    let unfinished = place.with_added_extension(format!("{}.part", std::process::id()));
    let download = unfinished.with_added_extension("deb");
    fs::create_dir_all(&download).with_context(|| format!("make {}", download.display()))?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&download).args(arguments);
        apt
    };
    if command::run(&mut apt(&["download", "-q", package]), DOWNLOAD_BOUND)
        .await
        .is_err()
    {
        // A machine that was made from an image has no list of packages, or an old one.
        command::run(&mut apt(&["update", "-q"]), DOWNLOAD_BOUND).await?;
        command::run(&mut apt(&["download", "-q", package]), DOWNLOAD_BOUND).await?;
    }
    let mut files = fs::read_dir(&download).with_context(|| format!("list {}", download.display()))?;
    let file = files
        .next()
        .with_context(|| format!("apt-get left no package {package}"))??
        .path();
    let mut extract = Command::new("dpkg-deb");
    extract.arg("--extract").arg(&file).arg(&unfinished);
    command::run(&mut extract, DOWNLOAD_BOUND).await?;
    let mut version = Command::new("dpkg-deb");
    version.arg("--field").arg(&file).arg("Version");
    let version = command::run(&mut version, LOOK_BOUND).await?;
    fs::write(unfinished.join(VERSION), version).with_context(|| format!("note the version of {package}"))?;
    fs::remove_dir_all(&download).with_context(|| format!("remove {}", download.display()))?;
    keep(&unfinished, place)
}
