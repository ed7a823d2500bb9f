//! What the cluster holds, read in one go.

use sdk::api::clock;
use sdk::api::kubernetes::{Selection, Server, servers};
use sdk::json::At;
use sdk::kubernetes::{Cluster, Object};
use sdk::{Answers, Failure, FailureKind, HostInfo, Problem, refused};
use serde_json::Value;

use crate::budgets::{self, Budget};
use crate::nodes::{self, Node, Volumes};
use crate::pods::{self, Pod};
use crate::workloads::{self, Workload};

/// Everything that decides how a drain would go.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The Pods are those of some nodes only.
    pub(crate) partial: bool,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) volumes: Volumes,
}

impl View {
    /// Reads the whole cluster.
    pub(crate) fn read(cluster: Cluster<'_>) -> Result<Self, Failure> {
        let select = |api_version: &str, kind: &str| cluster.select(api_version, kind, None, "");
        let mut selections = vec![
            select("v1", "Node"),
            select("v1", "Pod"),
            select("policy/v1", "PodDisruptionBudget"),
            select("v1", "PersistentVolumeClaim"),
            select("v1", "PersistentVolume"),
        ];
        selections.extend(workloads::KINDS.map(|(version, kind)| select(version, kind)));
        let mut lists = cluster.lists(selections, &fields())?.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let (nodes, pods, budgets, claims, volumes) = (next(), next(), next(), next(), next());
        let workloads = workloads::KINDS.into_iter().flat_map(|(_, kind)| Workload::all(kind, &next())).collect();
        Ok(Self {
            partial: false,
            nodes: nodes.iter().map(Node::of).collect(),
            pods: pods.iter().map(Pod::of).collect(),
            budgets: budgets.iter().map(Budget::of).collect(),
            workloads,
            volumes: Volumes::of_objects(&claims, &volumes),
        })
    }

    /// Reads whether things work: Nodes, workloads, and which Pods run where. Where the hosts are the smaller part of the
    /// cluster's Nodes, the Pods are those of their Nodes: a gate between batches is asked as often as there are batches.
    pub(crate) fn of_health(cluster: Cluster<'_>, hosts: &[HostInfo]) -> Result<Self, Failure> {
        let mut selections = vec![cluster.select("v1", "Node", None, "")];
        selections.extend(workloads::KINDS.map(|(version, kind)| cluster.select(version, kind, None, "")));
        let keep = [&nodes::HEALTH_FIELDS[..], &workloads::HEALTH_FIELDS].concat();
        let mut lists = cluster.lists(selections, &keep)?.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let nodes: Vec<Node> = next().iter().map(Node::of).collect();
        let workloads = workloads::KINDS.into_iter().flat_map(|(_, kind)| Workload::all(kind, &next())).collect();
        let is_asked = |node: &&Node| hosts.iter().any(|host| node_name(host) == node.name);
        let few = hosts.len() * 2 < nodes.len();
        let selections = if few {
            nodes.iter().filter(is_asked).map(|node| pods_on(cluster, &node.name)).collect()
        } else {
            vec![cluster.select("v1", "Pod", None, "")]
        };
        let pods = cluster.lists(selections, &pods::PLACEMENT_FIELDS)?;
        Ok(Self {
            partial: few,
            pods: pods.iter().flatten().map(Pod::of).collect(),
            nodes,
            workloads,
            ..Self::default()
        })
    }

    /// Reads what a drain of one node depends on.
    pub(crate) fn of_node(cluster: Cluster<'_>, node: &str) -> Result<Self, Failure> {
        let budgets = cluster.select("policy/v1", "PodDisruptionBudget", None, "");
        let mut lists = cluster.lists(vec![pods_on(cluster, node), budgets], &fields())?.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        Ok(Self {
            pods: next().iter().map(Pod::of).collect(),
            budgets: next().iter().map(Budget::of).collect(),
            partial: true,
            ..Self::default()
        })
    }
}

/// The Pods of one node.
pub(crate) fn pods_on(cluster: Cluster<'_>, node: &str) -> Selection {
    Selection { fields: format!("spec.nodeName={node}"), ..cluster.select("v1", "Pod", None, "") }
}

/// Pods of a selection.
pub(crate) fn pods(cluster: Cluster<'_>, selection: Selection) -> Result<Vec<Pod>, Failure> {
    Ok(cluster.list(selection, &pods::FIELDS)?.iter().map(Pod::of).collect())
}

/// All Nodes.
pub(crate) fn nodes(cluster: Cluster<'_>) -> Result<Vec<Node>, Failure> {
    let selection = cluster.select("v1", "Node", None, "");
    Ok(cluster.list(selection, &nodes::FIELDS)?.iter().map(Node::of).collect())
}

/// All workloads that are followed.
pub(crate) fn workloads(cluster: Cluster<'_>) -> Result<Vec<Workload>, Failure> {
    let selections = workloads::KINDS.map(|(version, kind)| cluster.select(version, kind, None, "")).to_vec();
    let lists = cluster.lists(selections, &workloads::FIELDS)?;
    Ok(workloads::KINDS.into_iter().zip(lists).flat_map(|((_, kind), list)| Workload::all(kind, &list)).collect())
}

/// The API server.
pub(crate) fn server(cluster: Cluster<'_>) -> Result<Server, Failure> {
    servers(&[cluster.0.to_owned()]).one()
}

/// CoreDNS, where the cluster has it under the name that everybody gives it.
pub(crate) fn coredns(cluster: Cluster<'_>) -> Result<Option<Object>, Failure> {
    let at = cluster.namespaced("apps/v1", "Deployment", "kube-system", "coredns");
    Ok(cluster.get(&[at])?.into_iter().flatten().next())
}

/// The tag of the image of a workload's first container.
pub(crate) fn image_version(body: &Value) -> Option<&str> {
    sdk::images::tag(body.text("/spec/template/spec/containers/0/image")?)
}

/// Milliseconds until an API server that did not answer is asked again.
const PAUSE: u32 = 2000;

/// Repeats what an API server did not answer, as one does while it restarts.
pub(crate) fn steadily<T>(seconds: u32, mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let begun = clock::elapsed();
    loop {
        match ask() {
            Err(failure)
                if failure.kind == FailureKind::Unreachable
                    && clock::elapsed().saturating_sub(begun) < seconds.saturating_mul(1000) =>
            {
                clock::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Name of the Node that a host is: as the inventory says, else that of the host.
pub(crate) fn node_name(host: &HostInfo) -> &str {
    host.node.as_deref().unwrap_or(&host.name)
}

/// A Node as it is now.
pub(crate) fn node(cluster: Cluster<'_>, name: &str) -> Result<Option<Object>, Failure> {
    let found = cluster.get(&[cluster.global("v1", "Node", name)])?;
    Ok(found.into_iter().flatten().next())
}

/// The Node of a host; refused where the cluster has none.
pub(crate) fn node_of(cluster: Cluster<'_>, host: &HostInfo) -> Result<Object, Problem> {
    let name = node_name(host);
    node(cluster, name)?.ok_or_else(|| {
        let message = format!(
            "host {} should be node {name}, and the cluster has no such node: the inventory says by `node` which it is",
            host.name
        );
        refused("no-such-node", name, message)
    })
}

fn fields() -> Vec<&'static str> {
    let mut fields = [&pods::FIELDS[..], &nodes::FIELDS, &budgets::FIELDS, &workloads::FIELDS].concat();
    fields.extend(["/spec/volumeName", "/spec/nodeAffinity"]);
    fields.sort_unstable();
    fields.dedup();
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tag_of_an_image_is_its_version() {
        let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
        assert_eq!(image_version(&image("registry.k8s.io/coredns/coredns:v1.12.0")), Some("v1.12.0"));
        assert_eq!(image_version(&image("host:5000/coredns:1.11@sha256:00")), Some("1.11"));
        assert_eq!(image_version(&image("host:5000/coredns")), None);
        assert_eq!(image_version(&json!({})), None);
    }

    #[test]
    fn no_field_is_asked_for_twice() {
        let fields = fields();
        assert!(fields.contains(&"/spec/selector") && fields.contains(&"/spec/nodeName"));
        assert!(fields.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
