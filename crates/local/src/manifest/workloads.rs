//! From a Deployment to what its replicas execute, where they listen and how they are asked whether they are ready.
//!
//! A replica runs one program: its pod's first container. `rouse local` has no images, so the program comes from
//! `--run IMAGE=COMMAND`, from the container's own `command` and `args`, or, for podinfo, from the demo app.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1 as core;

use super::error::{DocumentRef, ManifestError};
use super::probes::probe_of;
use super::reader::Located;
use crate::endpoints::ServiceBinding;
use crate::replica::command::{CommandTemplate, EnvValue};
use crate::replica::probe::Probes;
use crate::replica::{ContainerPort, ReplicaTemplate};

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
const CONTAINER: &str = "spec.template.spec.containers[0]";

/// A Deployment, ready to be run.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What its replicas have in common.
    pub template: Arc<ReplicaTemplate>,
    /// How many run to begin with.
    pub replicas: u32,
    /// The Services that select its replicas.
    pub services: Arc<[ServiceBinding]>,
}

/// `--run IMAGE=COMMAND`: what to execute where a container has this image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOverride {
    image: String,
    words: Vec<String>,
}

impl FromStr for RunOverride {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (image, command) = text.split_once('=').ok_or("expected IMAGE=COMMAND")?;
        if image.trim().is_empty() {
            return Err("the image is missing before `=`".to_owned());
        }
        let words = shlex::split(command).ok_or("a quote in the command is not closed")?;
        if words.is_empty() {
            return Err("the command is missing after `=`".to_owned());
        }
        Ok(Self {
            image: image.trim().to_owned(),
            words,
        })
    }
}

impl RunOverride {
    /// Whether it is meant for `image`; one without tag and digest is meant for all of them.
    fn matches(&self, image: &str) -> bool {
        self.image == image || self.image == repository(image)
    }
}

/// A warning for each override that no container's image matches: a slip of the pen would otherwise run something else.
pub(super) fn unmatched(overrides: &[RunOverride], deployments: &[Located<Deployment>]) -> Vec<String> {
    let images: Vec<&str> = deployments
        .iter()
        .filter_map(|deployment| {
            deployment
                .object
                .spec
                .as_ref()?
                .template
                .spec
                .as_ref()?
                .containers
                .first()
        })
        .filter_map(|container| container.image.as_deref())
        .collect();
    overrides
        .iter()
        .filter(|run| !images.iter().any(|image| run.matches(image)))
        .map(|run| {
            format!(
                "--run {}=…: no Deployment's first container has this image; they have {}",
                run.image,
                images.join(", ")
            )
        })
        .collect()
}

/// An image without its tag and its digest. A colon before the last slash is a registry's port.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let name_start = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(name_start..).and_then(|name| name.find(':')) {
        Some(colon) => image.get(..name_start + colon).unwrap_or(image),
        None => image,
    }
}

fn is_podinfo(image: &str) -> bool {
    repository(image).rsplit('/').next() == Some("podinfo")
}

/// Reads one Deployment. Every fault goes to `errors`, what is left out to `notices`.
pub(super) struct WorkloadReader<'a> {
    pub(super) at: &'a DocumentRef,
    pub(super) overrides: &'a [RunOverride],
    /// The program and first words of the demo app.
    pub(super) demo_app: &'a [String],
    pub(super) errors: &'a mut Vec<ManifestError>,
    pub(super) notices: &'a mut Vec<String>,
}

impl WorkloadReader<'_> {
    /// What the replicas have in common. `service_ports` are the container ports that Services send to, the route's
    /// first; `runs` says whether a replica can ever be wanted.
    pub(super) fn template(
        &mut self,
        deployment: &Deployment,
        service_ports: &[u16],
        runs: bool,
    ) -> Option<ReplicaTemplate> {
        let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
        let container = pod.containers.first()?;
        let name = deployment.metadata.name.clone().unwrap_or_default();
        self.notice_what_is_left_out(&name, pod);
        let faults = self.errors.len();
        let probes = self.probes(&name, container);
        let command = self.command(&name, container, runs);
        if self.errors.len() > faults {
            return None;
        }
        let grace = pod
            .termination_grace_period_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        Some(ReplicaTemplate {
            namespace: deployment.metadata.namespace.clone().unwrap_or_default().into(),
            deployment: name.into(),
            command: command?,
            ports: ports(container, service_ports, &probes),
            probes,
            grace: grace.map_or(DEFAULT_GRACE, Duration::from_secs),
        })
    }

    fn notice_what_is_left_out(&mut self, name: &str, pod: &core::PodSpec) {
        let mut notice = |what: String| {
            let line = format!("{}: Deployment {name}: {what}", self.at);
            self.notices.push(line);
        };
        for container in pod.containers.iter().skip(1) {
            notice(format!(
                "container {} is not run: a replica here is its first container",
                container.name
            ));
        }
        for container in pod.init_containers.iter().flatten() {
            notice(format!("init container {} is not run", container.name));
        }
        let lifecycle = pod
            .containers
            .first()
            .and_then(|container| container.lifecycle.as_ref());
        if lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some() || lifecycle.post_start.is_some()) {
            notice("lifecycle hooks are not run".to_owned());
        }
        if pod
            .containers
            .first()
            .is_some_and(|container| container.env_from.is_some())
        {
            notice("envFrom is ignored: ConfigMaps and Secrets are not read".to_owned());
        }
    }

    fn command(&mut self, name: &str, container: &core::Container, runs: bool) -> Option<CommandTemplate> {
        let image = container.image.as_deref().unwrap_or_default();
        let own = container.command.as_deref().unwrap_or_default();
        let is_demo = is_podinfo(image) && own.first().is_none_or(|program| program.ends_with("podinfo"));
        let mut directory = None;
        let words = if let Some(found) = self.overrides.iter().find(|found| found.matches(image)) {
            found.words.clone()
        } else if is_demo {
            let address = ["--host", "{host}", "--port", "{port}"].map(str::to_owned);
            self.demo_app.iter().cloned().chain(address).collect()
        } else if own.is_empty() {
            if runs {
                let shown = if image.is_empty() { "IMAGE" } else { image };
                self.errors.push(ManifestError::field(
                    self.at,
                    format!("{CONTAINER}.command"),
                    format!(
                        "Deployment {name}: images are not run here; add `command` to the container, or run with \
                         --run '{shown}=PROGRAM --port {{port}}'"
                    ),
                ));
                return None;
            }
            // Never executed; the Deployment stays at zero.
            vec![image.to_owned()]
        } else {
            directory = container
                .working_dir
                .as_deref()
                .filter(|path| !path.is_empty())
                .map(PathBuf::from);
            own.iter()
                .chain(container.args.iter().flatten())
                .cloned()
                .collect()
        };
        Some(CommandTemplate {
            words,
            env: self.variables(name, container),
            directory,
        })
    }

    fn variables(&mut self, name: &str, container: &core::Container) -> Vec<(String, EnvValue)> {
        let mut variables = Vec::new();
        for variable in container.env.iter().flatten() {
            let from = variable.value_from.as_ref();
            let field = from
                .and_then(|from| from.field_ref.as_ref())
                .map(|field| field.field_path.as_str());
            let value = match (from, field) {
                (None, _) => EnvValue::Literal(variable.value.clone().unwrap_or_default()),
                (_, Some("metadata.name")) => EnvValue::PodName,
                (_, Some("metadata.namespace")) => EnvValue::Namespace,
                (_, Some("status.podIP" | "status.hostIP")) => EnvValue::Host,
                _ => {
                    self.notices.push(format!(
                        "{}: Deployment {name}: variable {} is not set: only values and the pod's name, namespace \
                         and address are known here",
                        self.at, variable.name
                    ));
                    continue;
                }
            };
            variables.push((variable.name.clone(), value));
        }
        variables
    }

    fn probes(&mut self, name: &str, container: &core::Container) -> Probes {
        let mut read = |kind: &str, probe: &Option<core::Probe>| {
            let probe = probe.as_ref()?;
            match probe_of(probe, container) {
                Ok(probe) => Some(probe),
                Err((field, message)) => {
                    let field = format!("{CONTAINER}.{kind}{field}");
                    self.errors.push(ManifestError::field(
                        self.at,
                        field,
                        format!("Deployment {name}: {message}"),
                    ));
                    None
                }
            }
        };
        Probes {
            startup: read("startupProbe", &container.startup_probe),
            readiness: read("readinessProbe", &container.readiness_probe),
            liveness: read("livenessProbe", &container.liveness_probe),
        }
    }
}

/// The container's ports: those that Services send to first, then those it declares, then those its probes ask. Without
/// any there is one all the same, so that `{port}` means something.
fn ports(container: &core::Container, service_ports: &[u16], probes: &Probes) -> Vec<ContainerPort> {
    let declared = container
        .ports
        .iter()
        .flatten()
        .filter_map(|port| u16::try_from(port.container_port).ok());
    let probed = [&probes.readiness, &probes.startup, &probes.liveness]
        .into_iter()
        .filter_map(|probe| probe.as_ref()?.action.port());
    let mut ports: Vec<ContainerPort> = Vec::new();
    for number in service_ports.iter().copied().chain(declared).chain(probed) {
        if ports.iter().all(|port| port.number != number) {
            ports.push(ContainerPort {
                name: port_name(container, number),
                number,
            });
        }
    }
    if ports.is_empty() {
        ports.push(ContainerPort {
            name: None,
            number: 0,
        });
    }
    ports
}

fn port_name(container: &core::Container, number: u16) -> Option<String> {
    let mut declared = container.ports.iter().flatten();
    declared
        .find(|port| port.container_port == i32::from(number))
        .and_then(|port| port.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_matches_with_or_without_its_tag() {
        let table: &[(&str, &str, bool)] = &[
            ("web", "web", true),
            ("web", "web:1.2", true),
            ("web:1.2", "web:1.2", true),
            ("web:1.3", "web:1.2", false),
            ("registry:5000/web", "registry:5000/web:1.2", true),
            ("registry:5000/web", "registry:5000/web", true),
            ("web", "registry:5000/web", false),
            ("ghcr.io/a/web", "ghcr.io/a/web@sha256:abc", true),
            ("ghcr.io/a/web", "ghcr.io/a/web:1@sha256:abc", true),
        ];
        for (given, image, expected) in table {
            let found = RunOverride {
                image: (*given).to_owned(),
                words: Vec::new(),
            };
            assert_eq!(found.matches(image), *expected, "{given} {image}");
        }
    }

    #[test]
    fn podinfo_is_known_by_the_end_of_its_repository() {
        assert!(is_podinfo("ghcr.io/stefanprodan/podinfo:6.7.1"));
        assert!(is_podinfo("podinfo"));
        assert!(!is_podinfo("ghcr.io/podinfo/web"));
        assert!(!is_podinfo("ghcr.io/a/my-podinfo"));
    }

    #[test]
    fn an_override_is_split_as_a_shell_would() {
        let found: RunOverride = "web:1=python3 -m 'http server' --bind={host} \"{port}\""
            .parse()
            .unwrap();
        assert_eq!(found.image, "web:1");
        assert_eq!(
            found.words,
            ["python3", "-m", "http server", "--bind={host}", "{port}"]
        );
        for (text, message) in [
            ("web", "expected IMAGE=COMMAND"),
            ("=app", "the image is missing before `=`"),
            ("web=", "the command is missing after `=`"),
            ("web=app 'x", "a quote in the command is not closed"),
        ] {
            assert_eq!(text.parse::<RunOverride>().unwrap_err(), message);
        }
    }
}
