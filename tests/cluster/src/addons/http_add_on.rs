//! The KEDA HTTP Add-on, for the cases that upgrade from it: its own programs as images, and a Helm chart of it.
//!
//! The chart's repository cannot be reached, so the chart is made here, of the manifests in the add-on's Go module (`config/`),
//! which say what its containers, rights and Services are. What an upgrade turns on is as in the released chart, 0.11 to 0.15,
//! and not as in the manifests:
//! * the definitions are templates, behind the value `crds.install`, without the annotation that would keep them;
//! * the names of Deployments and ServiceAccounts, and ClusterRoles named after the release;
//! * the labels that Deployments and Services select by;
//! * at least two interceptors here (there are three in the released chart), one of each of the others.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::{import, ours};
use crate::{
    cluster::{Cluster, FIRST_NODE},
    command,
    images::Image,
    parts::Parts,
};

/// What its chart is called, and its objects begin with.
pub const CHART: &str = "keda-add-ons-http";
/// Its Deployments.
pub const DEPLOYMENTS: [&str; 3] = crate::rouse::DEPLOYMENTS;
/// The finalizer that its operator puts on every HTTPScaledObject.
pub const FINALIZER: &str = "httpscaledobject.http.keda.sh";

const RENDER_BOUND: Duration = Duration::from_secs(30);
const COMPONENTS: [&str; 3] = ["operator", "interceptor", "scaler"];
/// Interceptors at least.
const INTERCEPTORS: u32 = 2;

/// Puts its images on the first node and its chart into a directory; gives the chart's path and the add-on's version.
pub async fn provide(cluster: &Cluster, directory: &Path) -> anyhow::Result<(PathBuf, String)> {
    let own = ours(cluster)?;
    let parts = Parts::provide_add_on(own.places()).await?;
    let version = parts.version("http-add-on-operator")?.to_owned();
    let mut images = Vec::new();
    for component in COMPONENTS {
        let program = parts.program(&format!("http-add-on-{component}"))?;
        images.push(Image::of_program(&image(component, &version), program, component));
    }
    import(own, &images).await?;
    let mut kustomize = Command::new(cluster.parts().program("kubectl")?);
    let config = parts.folder("http-add-on-config")?.join("default");
    kustomize.arg("kustomize").arg(&config);
    let manifests = command::run(&mut kustomize, RENDER_BOUND).await?;
    let chart = directory.join(CHART);
    for (file, text) in chart_files(&manifests, &version)? {
        let path = chart.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&chart)).context("make the chart's directory")?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok((chart, version))
}

/// The official name of an image.
fn image(component: &str, version: &str) -> String {
    format!("ghcr.io/kedacore/http-add-on-{component}:{version}")
}

/// The chart, as paths and texts.
fn chart_files(manifests: &str, version: &str) -> anyhow::Result<[(&'static str, String); 4]> {
    anyhow::ensure!(
        !manifests.contains("{{"),
        "the manifests would be taken for templates"
    );
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).context("read the manifests")?;
    let (mut definitions, mut objects) = (Vec::new(), Vec::new());
    for mut document in documents {
        if document["kind"] == "CustomResourceDefinition" {
            definitions.push(yaml(&document)?);
        } else {
            as_released(&mut document, version)?;
            objects.push(yaml(&document)?);
        }
    }
    anyhow::ensure!(
        definitions.len() == 2 && !objects.is_empty(),
        "{} definitions and {} objects in the manifests",
        definitions.len(),
        objects.len()
    );
    let about = json!({ "apiVersion": "v2", "name": CHART, "version": version, "appVersion": version });
    let definitions = definitions.join("\n---\n");
    Ok([
        ("Chart.yaml", about.to_string()),
        ("values.yaml", json!({ "crds": { "install": true } }).to_string()),
        (
            "templates/crds.yaml",
            format!("{{{{- if .Values.crds.install }}}}\n{definitions}\n{{{{- end }}}}\n"),
        ),
        ("templates/objects.yaml", objects.join("\n---\n")),
    ])
}

/// As people read it who ask Helm for the release's manifest.
fn yaml(document: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(document).context("write a manifest")
}

/// Gives an object of the manifests the names, labels and selectors of the released chart.
fn as_released(object: &mut Value, version: &str) -> anyhow::Result<()> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let component = object["metadata"]["labels"]["app.kubernetes.io/component"]
        .as_str()
        .with_context(|| format!("a {kind} is of no component"))?
        .to_owned();
    let selector = selector(&component);
    let mut labels = selector.clone();
    labels.insert("app.kubernetes.io/version".to_owned(), version.into());
    labels.insert("helm.sh/chart".to_owned(), format!("{CHART}-{version}").into());
    object["metadata"]["labels"] = labels.clone().into();
    match kind.as_str() {
        "Deployment" => {
            rename(&mut object["metadata"]["name"], deployment_name);
            let spec = &mut object["spec"];
            spec["selector"]["matchLabels"] = selector.into();
            if let (true, Some(spec)) = (component == "interceptor", spec.as_object_mut()) {
                spec.remove("replicas"); // its ScaledObject's
            }
            spec["template"]["metadata"]["labels"] = labels.into();
            let pod = &mut spec["template"]["spec"];
            rename(&mut pod["serviceAccountName"], account_name);
            pod["nodeSelector"] = json!({ "kubernetes.io/hostname": FIRST_NODE });
            pod["containers"][0]["image"] = image(&component, version).into();
            pod["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
        }
        "Service" => object["spec"]["selector"] = selector.into(),
        "ServiceAccount" => rename(&mut object["metadata"]["name"], account_name),
        "ScaledObject" => object["spec"]["minReplicaCount"] = INTERCEPTORS.into(),
        "ClusterRole" => rename(&mut object["metadata"]["name"], release_name),
        "ClusterRoleBinding" => {
            rename(&mut object["metadata"]["name"], release_name);
            rename(&mut object["roleRef"]["name"], release_name);
            rename(&mut object["subjects"][0]["name"], account_name);
        }
        "RoleBinding" => rename(&mut object["subjects"][0]["name"], account_name),
        _ => {}
    }
    Ok(())
}

/// What the released chart's Deployments and Services select by.
fn selector(component: &str) -> Map<String, Value> {
    [
        ("component", component),
        ("name", "http-add-on"),
        ("part-of", CHART),
        ("managed-by", "{{ .Release.Service }}"),
        ("instance", "{{ .Release.Name }}"),
    ]
    .into_iter()
    .map(|(label, value)| (format!("app.kubernetes.io/{label}"), value.into()))
    .collect()
}

fn rename(name: &mut Value, new: impl Fn(&str) -> String) {
    if let Some(old) = name.as_str() {
        *name = new(old).into();
    }
}

fn deployment_name(name: &str) -> String {
    match name.strip_prefix("keda-add-ons-http-") {
        Some("operator") => format!("{CHART}-controller-manager"),
        Some("scaler") => format!("{CHART}-external-scaler"),
        _ => name.to_owned(),
    }
}

fn account_name(name: &str) -> String {
    match name.strip_prefix("keda-add-ons-http-") {
        Some("operator") => CHART.to_owned(),
        Some("scaler") => format!("{CHART}-external-scaler"),
        _ => name.to_owned(),
    }
}

fn release_name(name: &str) -> String {
    name.replace("keda-add-ons-http-", "{{ .Release.Name }}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_become_the_released_chart() {
        let labels = "{app.kubernetes.io/component: scaler}";
        let manifests = format!(
            "kind: CustomResourceDefinition\nmetadata: {{name: a}}\n---\nkind: CustomResourceDefinition\nmetadata: {{name: b}}\n---\n\
             kind: Deployment\nmetadata:\n  name: keda-add-ons-http-scaler\n  labels: {labels}\nspec:\n  replicas: 1\n  template:\n    \
             spec:\n      serviceAccountName: keda-add-ons-http-scaler\n      containers: [image: 'ko://scaler']\n---\n\
             kind: ClusterRoleBinding\nmetadata:\n  name: keda-add-ons-http-scaler\n  labels: {labels}\nroleRef:\n  \
             name: keda-add-ons-http-scaler\nsubjects: [name: keda-add-ons-http-scaler]\n"
        );
        let [_, _, (_, definitions), (_, objects)] = chart_files(&manifests, "1.2.3").unwrap();
        assert!(
            definitions.starts_with("{{- if .Values.crds.install }}\n"),
            "{definitions}"
        );
        let objects: Vec<Value> = serde_saphyr::from_multiple(&objects).unwrap();
        let [deployment, binding] = objects.as_slice() else {
            panic!("{objects:?}");
        };
        assert_eq!(
            deployment["metadata"]["name"],
            "keda-add-ons-http-external-scaler"
        );
        let selected = &deployment["spec"]["selector"]["matchLabels"];
        assert_eq!(selected["app.kubernetes.io/name"], "http-add-on");
        assert_eq!(selected["app.kubernetes.io/instance"], "{{ .Release.Name }}");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(
            pod["containers"][0]["image"],
            "ghcr.io/kedacore/http-add-on-scaler:1.2.3"
        );
        assert_eq!(binding["roleRef"]["name"], "{{ .Release.Name }}-scaler");
        assert_eq!(
            binding["subjects"][0]["name"],
            "keda-add-ons-http-external-scaler"
        );
    }

    #[test]
    fn what_looks_like_a_template_is_refused() {
        assert!(chart_files("kind: ConfigMap\ndata: {a: '{{ b }}'}\n", "1.2.3").is_err());
    }
}
