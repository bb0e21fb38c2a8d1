//! The addresses behind a Service: who the interceptors are.
//!
//! Every endpoint that a slice names counts, whatever its conditions. A draining interceptor is not ready and terminating,
//! and its requests keep applications up; one whose readiness fails may still be answering. One that is not there yet is
//! named as well, and whoever connects finds out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Feed, Freshness, Listed, Sink, Watches};

/// The label by which a slice names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The Service whose endpoints are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port of its endpoints. `None`: the only one, or the first.
    pub port: Option<PeerPort>,
}

/// A port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerPort {
    /// This one, whether the slices name it or not.
    Number(u16),
    /// The one that the Service gives this name.
    Name(String),
}

/// Neither a port's number nor its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of a port or its name")]
pub struct PeerPortError;

impl FromStr for PeerPort {
    type Err = PeerPortError;

    fn from_str(text: &str) -> Result<Self, PeerPortError> {
        if let Ok(number) = text.parse::<u64>() {
            return u16::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .map(Self::Number)
                .ok_or(PeerPortError);
        }
        let is_name = !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_name {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(PeerPortError)
        }
    }
}

impl fmt::Display for PeerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The addresses; `None` until they are known.
pub type Addresses = watch::Receiver<Option<Arc<BTreeSet<SocketAddr>>>>;

/// The endpoints of a Service, followed.
#[derive(Debug)]
pub struct Peers {
    /// Where they are.
    pub addresses: Addresses,
    /// How far that can be relied on: a watch that is dead tells of nobody who comes or goes.
    pub freshness: Freshness,
}

/// Follows the endpoints of `service` by its EndpointSlices. Readiness waits for the first list.
pub fn follow(watches: &mut Watches, service: &PeerService) -> Peers {
    let (sink, addresses) = PeerSink::new(service.port.clone());
    let feed = Feed::required("EndpointSlice")
        .only_in(service.namespace.as_str())
        .labelled(format!("{SERVICE_LABEL}={}", service.name));
    let freshness = watches.feed(feed, sink);
    Peers { addresses, freshness }
}

/// One endpoint: what tells that two addresses are the same pod, and the address.
type Endpoint = (String, SocketAddr);

#[derive(Debug)]
struct PeerSink {
    port: Option<PeerPort>,
    slices: Mutex<BTreeMap<String, Vec<Endpoint>>>,
    published: watch::Sender<Option<Arc<BTreeSet<SocketAddr>>>>,
}

impl PeerSink {
    fn new(port: Option<PeerPort>) -> (Self, Addresses) {
        let (published, addresses) = watch::channel(None);
        let sink = Self {
            port,
            slices: Mutex::default(),
            published,
        };
        (sink, addresses)
    }

    fn endpoints(&self, slice: &EndpointSlice) -> Vec<Endpoint> {
        let Some(port) = self.port_of(slice) else {
            return Vec::new();
        };
        slice
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
                let pod = endpoint.target_ref.as_ref();
                let pod = pod.and_then(|pod| pod.uid.clone().or_else(|| pod.name.clone()));
                Some((
                    pod.unwrap_or_else(|| address.to_string()),
                    SocketAddr::new(address, port),
                ))
            })
            .collect()
    }

    fn port_of(&self, slice: &EndpointSlice) -> Option<u16> {
        let mut ports = slice
            .ports
            .iter()
            .flatten()
            .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
        let number = match &self.port {
            Some(PeerPort::Number(number)) => return Some(*number),
            Some(PeerPort::Name(name)) => ports.find(|port| port.name.as_deref() == Some(name))?.port,
            None => ports.next()?.port,
        };
        u16::try_from(number?).ok().filter(|number| *number > 0)
    }

    /// Before the first list is complete nothing is told: part of the peers is worse than none.
    fn publish(&self, slices: &BTreeMap<String, Vec<Endpoint>>, is_complete: bool) {
        if !is_complete && self.published.borrow().is_none() {
            return;
        }
        // A pod with two addresses is one peer, at its IPv4 address.
        let mut pods: BTreeMap<&str, SocketAddr> = BTreeMap::new();
        for (pod, address) in slices.values().flatten() {
            let known = pods.entry(pod).or_insert(*address);
            if known.is_ipv6() && address.is_ipv4() {
                *known = *address;
            }
        }
        let addresses: BTreeSet<SocketAddr> = pods.into_values().collect();
        self.published.send_if_modified(|known| {
            let is_news = known.as_deref() != Some(&addresses);
            if is_news {
                *known = Some(Arc::new(addresses));
            }
            is_news
        });
    }
}

impl Sink<EndpointSlice> for PeerSink {
    fn apply(&self, slice: EndpointSlice) {
        let endpoints = self.endpoints(&slice);
        let mut slices = self.slices.lock();
        slices.insert(slice.metadata.name.unwrap_or_default(), endpoints);
        self.publish(&slices, false);
    }

    fn delete(&self, _: &str, name: &str) {
        let mut slices = self.slices.lock();
        slices.remove(name);
        self.publish(&slices, false);
    }

    fn reset(&self, within: Option<&str>, listed: &Listed) {
        let namespace = within.unwrap_or_default();
        let mut slices = self.slices.lock();
        slices.retain(|name, _| listed.contains(namespace, name));
        self.publish(&slices, true);
    }

    fn count(&self) -> usize {
        self.slices.lock().len()
    }
}

#[cfg(test)]
mod tests;
