//! Addresses, and how rooms are wired: a bridge in the control plane's room, each node with a leg on it and a range of pod
//! addresses of its own behind it.
//!
//! | range | what |
//! |---|---|
//! | 10.77.0.0/24 | the bridge: .1 the control plane, .11 and on the nodes |
//! | 10.78.N.0/24 | pods of the node with index N |
//! | 10.96.0.0/16 | Services, .0.1 the API server, .0.10 DNS; reached from the control plane's room through the first node |

use std::net::Ipv4Addr;

use crate::room::Room;

/// The control plane's address: the API server's, and where requests of the tests come from.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Every pod address.
pub const PODS: &str = "10.78.0.0/16";
/// Every Service address.
pub const SERVICES: &str = "10.96.0.0/16";
/// The API server's own Service.
pub const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The cluster's DNS.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// A node's place on the network: 1 is the first node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(u8);

impl NodeIndex {
    /// The first node, which also carries traffic from the control plane's room to Services.
    pub const FIRST: Self = Self(1);
    /// How many nodes there is room for.
    pub const MAX: u8 = 200;

    /// The index, if it is one.
    pub fn new(index: u8) -> Option<Self> {
        (1..=Self::MAX).contains(&index).then_some(Self(index))
    }

    /// As a number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The node's address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.0)
    }

    /// The range of its pods' addresses.
    pub fn pods(self) -> String {
        format!("10.78.{}.0/24", self.0)
    }

    /// The name of its leg in the control plane's room.
    fn leg(self) -> String {
        format!("node{}", self.0)
    }
}

/// Gives the control plane's room its bridge.
pub(crate) async fn wire_control_plane(room: &Room) -> anyhow::Result<()> {
    let script = format!(
        "ip link set lo up
         ip link add nodes type bridge
         ip addr add {CONTROL_PLANE}/24 dev nodes
         ip link set nodes up
         ip route add default via {CONTROL_PLANE}
         echo 1 > /proc/sys/net/ipv4/ip_forward"
    );
    room.shell(&script).await.map(drop)
}

/// Gives a node's room its leg on the bridge, and the others the way to its pods.
pub(crate) async fn wire_node(control: &Room, node: &Room, index: NodeIndex) -> anyhow::Result<()> {
    let (leg, address, pods) = (index.leg(), index.address(), index.pods());
    let pid = node.init()?.pid();
    // A leg of an earlier node with this index goes with that node's room, but not at once.
    let mut script = format!(
        "ip link del {leg} 2>/dev/null || true
         ip link add {leg} type veth peer name eth0 netns {pid}
         ip link set {leg} master nodes up
         ip route replace {pods} via {address}\n"
    );
    if index == NodeIndex::FIRST {
        for word in ["ip route replace ", SERVICES, " via ", &address.to_string(), "\n"] {
            script.push_str(word);
        }
    }
    control.shell(&script).await?;
    let script = format!(
        "ip link set lo up
         ip addr add {address}/24 dev eth0
         ip link set eth0 up
         ip route add default via {CONTROL_PLANE}
         echo 1 > /proc/sys/net/ipv4/ip_forward
         echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables"
    );
    node.shell(&script).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_and_ranges_of_their_own() {
        assert_eq!(NodeIndex::FIRST.address(), Ipv4Addr::new(10, 77, 0, 11));
        assert_eq!(NodeIndex::FIRST.pods(), "10.78.1.0/24");
        let last = NodeIndex::new(NodeIndex::MAX).unwrap();
        assert_eq!(last.address(), Ipv4Addr::new(10, 77, 0, 210));
        assert_eq!(NodeIndex::new(0), None);
        assert_eq!(NodeIndex::new(NodeIndex::MAX + 1), None);
    }
}
