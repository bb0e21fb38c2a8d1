//! Whether what one object says of another is so: selectors, ports, accounts, roles.

use anyhow::Context as _;
use serde_json::Value;

use super::objects::{Objects, describe, environment, list, text};

/// Checks every object of the kinds that refer to others.
pub(super) fn check(objects: &Objects) -> anyhow::Result<()> {
    for object in objects.iter() {
        match text(object, "/kind") {
            "Deployment" => deployment(objects, object),
            "Service" => service(objects, object),
            "PodDisruptionBudget" => selects_pods(objects, object, "/spec/selector/matchLabels").map(drop),
            "NetworkPolicy" => network_policy(objects, object),
            "PodMonitor" => {
                let pods = selects_pods(objects, object, "/spec/selector/matchLabels")?;
                has_port(pods, text(object, "/spec/podMetricsEndpoints/0/port"))
            }
            "ServiceMonitor" => service_monitor(objects, object),
            "RoleBinding" | "ClusterRoleBinding" => binding(objects, object),
            "ScaledObject" => scaled_object(objects, object),
            "HTTPScaledObject" => http_scaled_object(objects, object),
            _ => Ok(()),
        }
        .with_context(|| describe(object))?;
    }
    Ok(())
}

fn deployment(objects: &Objects, deployment: &Value) -> anyhow::Result<()> {
    let labels = deployment
        .pointer("/spec/template/metadata/labels")
        .unwrap_or(&Value::Null);
    let selector = deployment
        .pointer("/spec/selector/matchLabels")
        .unwrap_or(&Value::Null);
    anyhow::ensure!(
        is_subset(selector, labels),
        "does not select its own pods: {selector} in {labels}"
    );
    let pod = "/spec/template/spec";
    let account = text(deployment, &format!("{pod}/serviceAccountName"));
    anyhow::ensure!(
        account.is_empty()
            || objects
                .find("ServiceAccount", text(deployment, "/metadata/namespace"), account)
                .is_some(),
        "there is no ServiceAccount {account}"
    );
    for probe in ["livenessProbe", "readinessProbe"] {
        let port = deployment.pointer(&format!("{pod}/containers/0/{probe}/httpGet/port"));
        if let Some(port) = port.and_then(Value::as_str) {
            has_port(deployment, port).context(probe)?;
        }
    }
    if let Some(service) = environment(deployment, "KEDA_HTTP_SCALER_TARGET_ADMIN_SERVICE") {
        let namespace =
            environment(deployment, "KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE").unwrap_or_default();
        let port = environment(deployment, "KEDA_HTTP_SCALER_TARGET_ADMIN_PORT").unwrap_or_default();
        serves(objects, namespace, service, port)?;
    }
    Ok(())
}

fn service(objects: &Objects, service: &Value) -> anyhow::Result<()> {
    let pods = selects_pods(objects, service, "/spec/selector")?;
    for port in list(service, "/spec/ports") {
        match &port["targetPort"] {
            Value::String(name) => has_port(pods, name)?,
            number => anyhow::ensure!(
                container_ports(pods).any(|port| port["containerPort"] == *number),
                "no container has port {number}"
            ),
        }
    }
    Ok(())
}

fn network_policy(objects: &Objects, policy: &Value) -> anyhow::Result<()> {
    let pods = selects_pods(objects, policy, "/spec/podSelector/matchLabels")?;
    for rule in list(policy, "/spec/ingress") {
        for port in list(rule, "/ports") {
            has_port(pods, text(port, "/port"))?;
        }
    }
    Ok(())
}

fn service_monitor(objects: &Objects, monitor: &Value) -> anyhow::Result<()> {
    let selector = monitor
        .pointer("/spec/selector/matchLabels")
        .unwrap_or(&Value::Null);
    let mut services = objects
        .of_kind("Service")
        .filter(|service| is_subset(selector, &service["metadata"]["labels"]));
    let service = services.next().context("selects no Service")?;
    anyhow::ensure!(services.next().is_none(), "selects more than one Service");
    let port = text(monitor, "/spec/endpoints/0/port");
    anyhow::ensure!(
        list(service, "/spec/ports")
            .iter()
            .any(|known| text(known, "/name") == port),
        "{} has no port {port}",
        describe(service)
    );
    Ok(())
}

fn binding(objects: &Objects, binding: &Value) -> anyhow::Result<()> {
    let namespace = text(binding, "/metadata/namespace");
    let (kind, role) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
    objects
        .find(kind, namespace, role)
        .with_context(|| format!("there is no {kind} {role}"))?;
    for subject in list(binding, "/subjects") {
        let (namespace, name) = (text(subject, "/namespace"), text(subject, "/name"));
        objects
            .find("ServiceAccount", namespace, name)
            .with_context(|| format!("there is no ServiceAccount {namespace}/{name}"))?;
    }
    Ok(())
}

fn scaled_object(objects: &Objects, object: &Value) -> anyhow::Result<()> {
    let namespace = text(object, "/metadata/namespace");
    let target = text(object, "/spec/scaleTargetRef/name");
    objects
        .find("Deployment", namespace, target)
        .with_context(|| format!("there is no Deployment {target}"))?;
    let address = text(object, "/spec/triggers/0/metadata/scalerAddress");
    let (host, port) = address
        .split_once(':')
        .with_context(|| format!("{address} has no port"))?;
    let (service, namespace) = host
        .split_once('.')
        .with_context(|| format!("{address} has no namespace"))?;
    serves(objects, namespace, service, port)
}

fn http_scaled_object(objects: &Objects, object: &Value) -> anyhow::Result<()> {
    let namespace = text(object, "/metadata/namespace");
    let target = text(object, "/spec/scaleTargetRef/name");
    objects
        .find("Deployment", namespace, target)
        .with_context(|| format!("there is no Deployment {target}"))?;
    let port = object
        .pointer("/spec/scaleTargetRef/port")
        .map(ToString::to_string);
    let service = text(object, "/spec/scaleTargetRef/service");
    serves(objects, namespace, service, &port.unwrap_or_default())
}

/// Whether there is a Service with this port.
fn serves(objects: &Objects, namespace: &str, service: &str, port: &str) -> anyhow::Result<()> {
    let object = objects
        .find("Service", namespace, service)
        .with_context(|| format!("there is no Service {namespace}/{service}"))?;
    anyhow::ensure!(
        list(object, "/spec/ports")
            .iter()
            .any(|known| known["port"].as_u64() == port.parse().ok()),
        "{} has no port {port}",
        describe(object)
    );
    Ok(())
}

/// The one Deployment whose pods a selector meets.
fn selects_pods<'a>(objects: &'a Objects, object: &Value, pointer: &str) -> anyhow::Result<&'a Value> {
    let selector = object.pointer(pointer).context("selects nothing")?;
    let mut deployments = objects.of_kind("Deployment").filter(|deployment| {
        deployment["metadata"]["namespace"] == object["metadata"]["namespace"]
            && is_subset(selector, &deployment["spec"]["template"]["metadata"]["labels"])
    });
    let found = deployments.next().context("selects no Deployment's pods")?;
    anyhow::ensure!(
        deployments.next().is_none(),
        "selects the pods of more than one Deployment"
    );
    Ok(found)
}

fn has_port(deployment: &Value, name: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        container_ports(deployment).any(|port| text(port, "/name") == name),
        "{} has no port called {name}",
        describe(deployment)
    );
    Ok(())
}

fn container_ports(deployment: &Value) -> impl Iterator<Item = &Value> {
    list(deployment, "/spec/template/spec/containers")
        .iter()
        .flat_map(|container| list(container, "/ports"))
}

fn is_subset(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|selector| {
        !selector.is_empty()
            && selector
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value))
    })
}
