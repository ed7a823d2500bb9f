//! Nodes of a cluster, and the hosts of the inventory they run on.

use serde_json::Value;

use crate::json::At;
use crate::kubernetes::Cluster;
use crate::{Failure, HostInfo};

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Host of the step on which it runs; none: it is not among them.
    pub host: Option<String>,
    /// The address people know it by.
    pub internal_ip: Option<String>,
    /// Its kubelet says Ready.
    pub ready: bool,
    /// It is cordoned.
    pub unschedulable: bool,
    /// The part of the Pod network that is its own.
    pub pod_cidr: Option<String>,
    /// Version of its kubelet.
    pub kubelet: Option<String>,
}

/// All Nodes of a cluster, in the API server's order, each with its host.
pub fn list(cluster: Cluster<'_>, hosts: &[HostInfo]) -> Result<Vec<Node>, Failure> {
    let keep = ["/spec/podCIDR", "/spec/unschedulable", "/status/addresses", "/status/conditions", "/status/nodeInfo"];
    let nodes = cluster.list(cluster.select("v1", "Node", None, ""), &keep)?;
    Ok(nodes.iter().map(|node| read(&node.id.name, &node.body, hosts)).collect())
}

/// Hosts of those Nodes that have one.
pub fn hosts(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(|node| node.host.clone()).collect()
}

fn read(name: &str, body: &Value, hosts: &[HostInfo]) -> Node {
    let address = |wanted: &str| {
        let mut addresses = body.items("/status/addresses").iter();
        addresses.find(|address| address.text("/type") == Some(wanted)).and_then(|address| address.text("/address"))
    };
    let host = hosts
        .iter()
        .find(|host| host.node.as_deref() == Some(name))
        .or_else(|| hosts.iter().find(|host| host.node.is_none() && host.name == name));
    Node {
        name: name.to_owned(),
        host: host.map(|host| host.name.clone()),
        internal_ip: address("InternalIP").map(Into::into),
        ready: crate::rollout::is_ready(body),
        unschedulable: body.is_true("/spec/unschedulable"),
        pod_cidr: body.text("/spec/podCIDR").map(Into::into),
        kubelet: body.text("/status/nodeInfo/kubeletVersion").map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn host(name: &str, node: Option<&str>) -> HostInfo {
        HostInfo {
            name: name.into(),
            address: "127.0.0.1".into(),
            node: node.map(Into::into),
            groups: vec![],
            variables: "{}".into(),
        }
    }

    #[test]
    fn a_node_finds_its_host_by_the_name_the_inventory_gives_it() {
        let hosts = [host("a", Some("n1")), host("n2", None), host("n3", Some("other"))];
        let body = json!({
            "spec": {"podCIDR": "10.244.1.0/24"},
            "status": {"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.5"}],
                       "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let node = read("n1", &body, &hosts);
        assert_eq!((node.host.as_deref(), node.internal_ip.as_deref()), (Some("a"), Some("10.0.0.5")));
        assert!(node.ready && !node.unschedulable);
        assert_eq!(read("n2", &json!({}), &hosts).host.as_deref(), Some("n2"));
        assert_eq!(read("n3", &json!({}), &hosts).host, None);
    }
}
