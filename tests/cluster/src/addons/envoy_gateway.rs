//! Envoy Gateway as its users install it: its own chart, with its certificate job, controller and data plane as pods.
//!
//! What differs from an installation with a registry:
//! * The chart in the Go module is the unreleased one: it has no `values.yaml` but a template of one with the image in
//!   blanks, which a release fills in. So the harness fills them in.
//! * The images are made here and carry the official names. The controller is static. Envoy comes from the Python package
//!   index and is linked against the C library, so its image brings that along. The gateway asks for Envoy 1.37.2; the index
//!   has 1.37.0 of that line, which goes by the name that is asked for.
//! * The image has no `/var/lib/eg`, so the controller logs once that it has no cache for Wasm modules, and goes on.
//!
//! The gateway gives its data plane an address only when a load balancer does: see [`super::load_balancer`].

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{import, installed, linked, load_balancer, ours};
use crate::{
    cluster::{Cluster, FIRST_NODE},
    images::Image,
    parts::Parts,
    wait,
};

/// Where controller and data plane run, whichever namespace a Gateway is in.
pub const NAMESPACE: &str = "envoy-gateway-system";
/// The Helm release.
pub const RELEASE: &str = "eg";
/// The groups of its definitions, and of the Gateway API's.
pub const GROUPS: [&str; 2] = ["gateway.networking.k8s.io", "gateway.envoyproxy.io"];
/// The chart among the [folders](Parts::folder).
const CHART: &str = "envoy-gateway-chart";
/// The Go package with the controller's defaults, among the folders.
const API: &str = "envoy-gateway-api";
const ADDRESS_BOUND: Duration = Duration::from_mins(2);

/// The name of the image that the chart installs, by its version.
fn controller_image(parts: &Parts) -> anyhow::Result<String> {
    Ok(format!(
        "docker.io/envoyproxy/gateway:v{}",
        parts.version("envoy-gateway")?
    ))
}

/// The image of the controller, which is also the shutdown manager beside each Envoy and the job that makes certificates.
fn controller(parts: &Parts) -> anyhow::Result<Image> {
    Ok(Image::of_program(
        &controller_image(parts)?,
        parts.program("envoy-gateway")?,
        "usr/local/bin/envoy-gateway",
    ))
}

/// The image of the data plane, under the name that the controller asks for.
async fn proxy(parts: &Parts) -> anyhow::Result<Image> {
    let defaults = parts.folder(API)?.join("shared_types.go");
    let text = fs::read_to_string(&defaults).with_context(|| format!("read {}", defaults.display()))?;
    let name =
        default_proxy_image(&text).with_context(|| format!("{} names no image", defaults.display()))?;
    linked::image(name, parts.program("gateway-envoy")?, "usr/local/bin/envoy").await
}

/// The image that the controller gives its data plane where nobody asks for another.
fn default_proxy_image(source: &str) -> Option<&str> {
    let (_, value) = source.split_once("DefaultEnvoyProxyImage = \"")?;
    value.split('"').next()
}

/// Installs it; a Gateway is the user's to make. With it come the definitions of Gateway API.
pub async fn install(cluster: &Cluster) -> anyhow::Result<()> {
    let own = ours(cluster)?;
    let parts = cluster.parts();
    let started = Instant::now();
    import(own, &[controller(parts)?, proxy(parts).await?]).await?;
    let chart = parts.folder(CHART)?;
    let template = chart.join("values.tmpl.yaml");
    let text = fs::read_to_string(&template).with_context(|| format!("read {}", template.display()))?;
    let values = own.places().state().join("envoy-gateway-values.yaml");
    fs::write(&values, fill_in(&text, &controller_image(parts)?)?)
        .with_context(|| format!("write {}", values.display()))?;
    let placement = own.places().state().join("envoy-gateway-placement.yaml");
    fs::write(&placement, placed_on(FIRST_NODE).to_string())
        .with_context(|| format!("write {}", placement.display()))?;
    let (chart, values, placement) = (
        chart.display().to_string(),
        values.display().to_string(),
        placement.display().to_string(),
    );
    let install = [
        "upgrade",
        "--install",
        RELEASE,
        &chart,
        "--values",
        &values,
        "--values",
        &placement,
    ];
    let wait = [
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "3m",
    ];
    cluster.helm(install.into_iter().chain(wait)).await?;
    installed("Envoy Gateway", parts.version("envoy-gateway")?, started);
    Ok(())
}

/// Takes it away with its definitions and those of the Gateway API, and with these every object of theirs. Nothing happens where
/// it is not there.
pub async fn remove(cluster: &Cluster) -> anyhow::Result<()> {
    let uninstall = ["uninstall", RELEASE, "--namespace", NAMESPACE];
    cluster
        .helm(uninstall.into_iter().chain(["--ignore-not-found", "--wait"]))
        .await?;
    let definitions = cluster.definitions_of(&GROUPS).await?;
    if definitions.is_empty() {
        return Ok(());
    }
    let delete = [
        "delete",
        "customresourcedefinitions",
        "--ignore-not-found",
        "--timeout=2m",
    ];
    let definitions = definitions.iter().map(String::as_str);
    cluster
        .kubectl(delete.into_iter().chain(definitions))
        .await
        .map(drop)
}

/// Waits until a Gateway is programmed, and gives the address of its port.
pub async fn address(
    cluster: &Cluster,
    namespace: &str,
    gateway: &str,
    port: u16,
) -> anyhow::Result<SocketAddr> {
    let kind = ("gateway.networking.k8s.io/v1", "Gateway");
    cluster
        .wait_for_condition(kind, (namespace, gateway), ("Programmed", "True"), ADDRESS_BOUND)
        .await?;
    let services: Api<Service> = Api::namespaced(cluster.client(), NAMESPACE);
    let labels = format!(
        "gateway.envoyproxy.io/owning-gateway-namespace={namespace},gateway.envoyproxy.io/owning-gateway-name={gateway}"
    );
    let found = services
        .list(&ListParams::default().labels(&labels))
        .await
        .context("find the Gateway's Service")?;
    let address = found.items.iter().find_map(load_balancer::address);
    let address = SocketAddr::from((address.context("the Gateway's Service has no address")?, port));
    // The way there is made a moment after the address is given.
    wait::until(
        &format!("Gateway {namespace}/{gateway} accepts connections at {address}"),
        ADDRESS_BOUND,
        async || {
            tokio::net::TcpStream::connect(address).await?;
            wait::done(())
        },
    )
    .await?;
    Ok(address)
}

/// Values that keep everything on the one node that has the images, the data plane included.
fn placed_on(node: &str) -> Value {
    let selector = json!({ "kubernetes.io/hostname": node });
    json!({
        "deployment": { "pod": { "nodeSelector": selector } },
        "certgen": { "job": { "nodeSelector": selector } },
        "config": {
            "envoyGateway": {
                "envoyProxy": {
                    "provider": {
                        "type": "Kubernetes",
                        "kubernetes": { "envoyDeployment": { "pod": { "nodeSelector": selector } } },
                    },
                },
            },
        },
    })
}

fn fill_in(template: &str, image: &str) -> anyhow::Result<String> {
    let values = template
        .replace("${GatewayImage}", image)
        .replace("${GatewayImagePullPolicy}", "IfNotPresent");
    anyhow::ensure!(
        !values.contains("${"),
        "the chart's values have a blank that is not known"
    );
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blanks_are_filled_in() {
        let template = "image: ${GatewayImage}\npullPolicy: ${GatewayImagePullPolicy}\n";
        assert_eq!(
            fill_in(template, "example.test/gateway:v1").unwrap(),
            "image: example.test/gateway:v1\npullPolicy: IfNotPresent\n"
        );
        assert!(fill_in("image: ${Other}", "x").is_err());
    }

    #[test]
    fn the_data_planes_image_is_read_from_the_source() {
        let source = "\t// DefaultEnvoyProxyImage is the default\n\tDefaultEnvoyProxyImage = \"example.test/envoy:v1\"\n";
        assert_eq!(default_proxy_image(source), Some("example.test/envoy:v1"));
        assert_eq!(default_proxy_image("const Other = \"x\""), None);
    }
}
