//! The load balancer that a cloud would give each Service of type LoadBalancer.
//!
//! Every such Service gets an address of 10.76.0.0/24 in its status. In the control plane's room the way to that address
//! leads to the nodes on which the Service has ready endpoints, and only to them: Envoy Gateway's Services say
//! `externalTrafficPolicy: Local`, so another node would drop what comes from outside. kube-proxy does the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use anyhow::Context as _;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::cluster::OwnCluster;

/// The addresses that are given out: .1 and on.
const RANGE: [u8; 3] = [10, 76, 0];

/// Gives every Service of type LoadBalancer its address and the way to it. To be called again when endpoints have moved.
pub(super) async fn balance(client: &Client, own: &OwnCluster) -> anyhow::Result<()> {
    let control = own.control();
    let nodes = own.nodes()?.into_iter();
    let nodes = nodes
        .map(|node| (node.name().to_owned(), node.index().address()))
        .collect();
    let services: Api<Service> = Api::all(client.clone());
    let mut found: Vec<_> = services
        .list(&ListParams::default())
        .await
        .context("list Services")?
        .items;
    found.retain(wants_address);
    // The oldest first: a Service keeps its address whatever comes after it.
    let mut taken: BTreeSet<_> = found.iter().filter_map(address).collect();
    for service in found {
        let assigned = match address(&service) {
            Some(assigned) => assigned,
            None => assign(client, &service, &mut taken).await?,
        };
        let ways = ways(client, &service, &nodes).await?;
        control.shell(&route(assigned, &ways)).await?;
    }
    Ok(())
}

fn wants_address(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
}

/// The address that a Service has.
pub(super) fn address(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service
        .status
        .as_ref()?
        .load_balancer
        .as_ref()?
        .ingress
        .as_ref()?;
    ingress.first()?.ip.as_ref()?.parse().ok()
}

async fn assign(
    client: &Client,
    service: &Service,
    taken: &mut BTreeSet<Ipv4Addr>,
) -> anyhow::Result<Ipv4Addr> {
    let [a, b, c] = RANGE;
    let free = (1..=254)
        .map(|last| Ipv4Addr::new(a, b, c, last))
        .find(|one| !taken.contains(one));
    let assigned = free.context("every load balancer address is taken")?;
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let status =
        json!({ "status": { "loadBalancer": { "ingress": [{ "ip": assigned, "ipMode": "VIP" }] } } });
    services
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .with_context(|| format!("give Service {namespace}/{name} an address"))?;
    taken.insert(assigned);
    Ok(assigned)
}

/// The addresses of the nodes with ready endpoints of a Service.
async fn ways(
    client: &Client,
    service: &Service,
    nodes: &BTreeMap<String, Ipv4Addr>,
) -> anyhow::Result<BTreeSet<Ipv4Addr>> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let slices = slices.list(&of_service).await.context("list EndpointSlices")?;
    Ok(slices
        .items
        .iter()
        .flat_map(ready_nodes)
        .filter_map(|node| nodes.get(node).copied())
        .collect())
}

fn ready_nodes(slice: &EndpointSlice) -> impl Iterator<Item = &String> {
    let is_ready = |conditions: Option<bool>| conditions.unwrap_or(true);
    slice
        .endpoints
        .iter()
        .filter(move |endpoint| {
            is_ready(
                endpoint
                    .conditions
                    .as_ref()
                    .and_then(|conditions| conditions.ready),
            )
        })
        .filter_map(|endpoint| endpoint.node_name.as_ref())
}

/// A script that leads `address` over these nodes; over none, it is refused at once.
fn route(address: Ipv4Addr, ways: &BTreeSet<Ipv4Addr>) -> String {
    if ways.is_empty() {
        return format!("ip route replace unreachable {address}/32");
    }
    let hops: Vec<_> = ways.iter().map(|way| format!(" nexthop via {way}")).collect();
    format!("ip route replace {address}/32{}", hops.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_with_ready_endpoints_are_on_the_way() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {},
            "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["10.78.1.2"], "nodeName": "a", "conditions": { "ready": true } },
                { "addresses": ["10.78.2.2"], "nodeName": "b", "conditions": { "ready": false } },
                { "addresses": ["10.78.3.2"], "nodeName": "c", "conditions": {} },
            ],
        }))
        .unwrap();
        assert_eq!(ready_nodes(&slice).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn the_way_leads_over_every_node_or_is_closed() {
        let address = Ipv4Addr::new(10, 76, 0, 1);
        let ways = [Ipv4Addr::new(10, 77, 0, 11), Ipv4Addr::new(10, 77, 0, 12)].into();
        assert_eq!(
            route(address, &ways),
            "ip route replace 10.76.0.1/32 nexthop via 10.77.0.11 nexthop via 10.77.0.12"
        );
        assert_eq!(
            route(address, &BTreeSet::new()),
            "ip route replace unreachable 10.76.0.1/32"
        );
    }

    #[test]
    fn an_assigned_address_is_read_back() {
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": "x" },
            "spec": { "type": "LoadBalancer" },
            "status": { "loadBalancer": { "ingress": [{ "ip": "10.76.0.9" }] } },
        }))
        .unwrap();
        assert!(wants_address(&service));
        assert_eq!(address(&service), Some(Ipv4Addr::new(10, 76, 0, 9)));
        assert!(!wants_address(&Service::default()));
    }
}
