//! The images that nodes need, made here: no registry is reached. Each is one program on an empty root.

mod archive;
mod rouse;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

pub use self::{
    archive::{File, Image, write},
    rouse::Program,
};
use crate::{checksum, command, parts::Parts, places::Places};

const COMPILE_BOUND: Duration = Duration::from_mins(2);

/// What holds a pod's namespaces.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10";
/// The image of the user's manifests, which here holds the demo application: it answers as podinfo does.
pub const PODINFO: &str = "ghcr.io/stefanprodan/podinfo:6.7.1";
const CORE_DNS: &str = "registry.k8s.io/coredns/coredns";

/// The archives of the images, for `ctr images import`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Images {
    /// For every node: what holds a pod's namespaces.
    pub pause: PathBuf,
    /// The cluster's DNS.
    pub dns: PathBuf,
    /// KEDA's three.
    pub keda: Vec<PathBuf>,
    /// Rouse, and the demo application under the name of podinfo.
    pub rouse: PathBuf,
}

impl Images {
    /// Makes what is not in the cache. Rouse is built each time, unless a program is given: cargo knows what has changed.
    pub async fn provide(places: &Places, parts: &Parts, program: &Program) -> anyhow::Result<Self> {
        let pause = compile_pause(places).await?;
        let keda = [
            ("keda-operator", "keda"),
            ("keda-adapter", "keda-adapter"),
            ("keda-webhooks", "keda-admission-webhooks"),
        ];
        let keda = keda
            .into_iter()
            .map(|(part, program)| {
                let image = Image::of_program(&keda_image(parts, part)?, parts.program(part)?, program);
                // Cron triggers name time zones, which Go looks for on the machine unless it is told of a file.
                archive_once(
                    places,
                    &image.with_file(parts.folder("time-zones")?, "time-zones.zip", "ZONEINFO"),
                )
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            pause: archive_once(places, &Image::of_program(PAUSE, &pause, "pause"))?,
            dns: archive_of(places, parts, "coredns", &dns_image(parts)?, "coredns")?,
            keda,
            rouse: rouse::provide(places, program).await?,
        })
    }

    /// What a node needs on which only applications run.
    pub fn for_applications(&self) -> Vec<PathBuf> {
        vec![self.pause.clone(), self.rouse.clone()]
    }

    /// Everything.
    pub fn all(&self) -> Vec<PathBuf> {
        let mut all = self.for_applications();
        all.push(self.dns.clone());
        all.extend(self.keda.iter().cloned());
        all
    }
}

/// The name of CoreDNS's image.
pub fn dns_image(parts: &Parts) -> anyhow::Result<String> {
    Ok(format!("{CORE_DNS}:v{}", parts.version("coredns")?))
}

/// The official name of one of KEDA's images, by the part that it is made of.
pub fn keda_image(parts: &Parts, part: &str) -> anyhow::Result<String> {
    let name = match part {
        "keda-operator" => "keda",
        "keda-adapter" => "keda-metrics-apiserver",
        "keda-webhooks" => "keda-admission-webhooks",
        other => anyhow::bail!("{other} is none of KEDA's"),
    };
    Ok(format!("ghcr.io/kedacore/{name}:{}", parts.version(part)?))
}

/// The archive of an image whose only content is a part of the cluster. Cached: the part's path says what it is.
pub fn archive_of(
    places: &Places,
    parts: &Parts,
    part: &str,
    image: &str,
    program: &str,
) -> anyhow::Result<PathBuf> {
    archive_once(places, &Image::of_program(image, parts.program(part)?, program))
}

/// The archive of an image. Cached, under the paths of what is in it.
pub(crate) fn archive_once(places: &Places, image: &Image) -> anyhow::Result<PathBuf> {
    let directory = places.cache().join("images");
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let archive = directory.join(format!("{}.tar", image.key()));
    if !archive.exists() {
        write(&archive, std::slice::from_ref(image))?;
    }
    Ok(archive)
}

async fn compile_pause(places: &Places) -> anyhow::Result<PathBuf> {
    let source = places.go_modules().join("pause.rs");
    let text = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
    let program = places.cache().join(format!("pause-{}", checksum::short(&text)));
    if program.exists() {
        return Ok(program);
    }
    let unfinished = program.with_added_extension(format!("{}.part", std::process::id()));
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args([
        "--edition",
        "2024",
        "-O",
        "-C",
        "target-feature=+crt-static",
        "-C",
        "strip=symbols",
        "-o",
    ]);
    rustc.arg(&unfinished).arg(&source);
    command::run(&mut rustc, COMPILE_BOUND).await?;
    keep(&unfinished, &program)?;
    Ok(program)
}

fn keep(made: &Path, place: &Path) -> anyhow::Result<()> {
    fs::rename(made, place).with_context(|| format!("move {} to {}", made.display(), place.display()))
}
