//! Nodes, and which Pods could run where.

use std::collections::BTreeMap;

use sdk::json::At;
use sdk::kubernetes::Object;
use serde_json::Value;

use crate::cordon;
use crate::pods::Pod;
use crate::quantity::Resources;
use crate::selectors::{Labels, node_terms_admit, text_map};

/// Fields of a Node that are looked at.
pub(crate) const FIELDS: [&str; 8] = [
    "/metadata/labels",
    cordon::MARKED,
    "/spec/unschedulable",
    "/spec/taints",
    "/status/conditions",
    "/status/allocatable",
    "/status/addresses",
    "/status/nodeInfo/kubeletVersion",
];

/// Those of them by which it is seen whether a Node works.
pub(crate) const HEALTH_FIELDS: [&str; 3] = [cordon::MARKED, "/status/conditions", "/status/nodeInfo/kubeletVersion"];

/// What is known of a Node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) unschedulable: bool,
    /// Runner took it out of service and has not brought it back.
    pub(crate) marked: bool,
    pub(crate) kubelet: String,
    labels: Labels,
    taints: Vec<Value>,
    allocatable: Resources,
    pods: u64,
}

impl Node {
    /// Reads a Node of which at least [`FIELDS`] or [`HEALTH_FIELDS`] are known.
    pub(crate) fn of(object: &Object) -> Self {
        let body = &object.body;
        Self {
            name: object.id.name.clone(),
            ready: sdk::rollout::is_ready(body),
            unschedulable: body.is_true("/spec/unschedulable"),
            marked: cordon::Mark::on(body).is_some(),
            kubelet: body.text("/status/nodeInfo/kubeletVersion").unwrap_or_default().to_owned(),
            labels: text_map(body, "/metadata/labels"),
            taints: body.items("/spec/taints").to_vec(),
            allocatable: Resources::of(body.pointer("/status/allocatable")),
            pods: body
                .pointer("/status/allocatable/pods")
                .and_then(crate::quantity::parse)
                .map_or(DEFAULT_PODS, |thousandths| thousandths / 1000),
        }
    }

    /// Whether new Pods can come here.
    pub(crate) fn takes_pods(&self) -> bool {
        self.ready && !self.unschedulable
    }

    /// Whether a Pod's own rules let it run here, room and cordon aside.
    fn admits(&self, pod: &Pod, volumes: &Volumes) -> bool {
        let labels = &self.labels;
        pod.node_selector.iter().all(|(name, value)| labels.get(name) == Some(value))
            && pod.affinity.as_ref().is_none_or(|required| node_terms_admit(required, &self.name, labels))
            && self.taints.iter().all(|taint| is_tolerated(taint, &pod.tolerations))
            && volumes.of(pod).all(|required| node_terms_admit(required, &self.name, labels))
    }
}

/// Pods a kubelet takes unless told otherwise.
const DEFAULT_PODS: u64 = 110;

/// CEL over a Node: it is there and ready.
pub(crate) const READY: &str = "object != null && has(object.status.conditions) && \
     object.status.conditions.exists(c, c.type == \"Ready\" && c.status == \"True\")";

/// The address by which people know a node.
pub(crate) fn internal_ip(body: &Value) -> Option<&str> {
    body.items("/status/addresses")
        .iter()
        .find(|address| address.text("/type") == Some("InternalIP"))
        .and_then(|address| address.text("/address"))
}

fn is_tolerated(taint: &Value, tolerations: &[Value]) -> bool {
    let effect = taint.text("/effect").unwrap_or_default();
    // A cordon shows as a taint too; whether a node is cordoned is asked apart.
    if effect == "PreferNoSchedule" || taint.text("/key") == Some("node.kubernetes.io/unschedulable") {
        return true;
    }
    tolerations.iter().any(|toleration| {
        let key = toleration.text("/key").unwrap_or_default();
        let for_effect = toleration.text("/effect").is_none_or(|wanted| wanted.is_empty() || wanted == effect);
        let for_key = match toleration.text("/operator") {
            Some("Exists") => key.is_empty() || taint.text("/key") == Some(key),
            _ => {
                taint.text("/key") == Some(key)
                    && taint.text("/value").unwrap_or_default() == toleration.text("/value").unwrap_or_default()
            }
        };
        for_effect && for_key
    })
}

/// Where the volumes behind claims can be mounted.
#[derive(Debug, Default)]
pub(crate) struct Volumes(BTreeMap<(String, String), Value>);

impl Volumes {
    /// Puts claims and the volumes they are bound to together; only volumes tied to nodes matter.
    pub(crate) fn of_objects(claims: &[Object], volumes: &[Object]) -> Self {
        let tied: BTreeMap<&str, &Value> = volumes
            .iter()
            .filter_map(|volume| Some((volume.id.name.as_str(), volume.body.pointer("/spec/nodeAffinity/required")?)))
            .collect();
        let by_claim = claims.iter().filter_map(|claim| {
            let required = *tied.get(claim.body.text("/spec/volumeName")?)?;
            Some(((claim.id.namespace.clone()?, claim.id.name.clone()), required.clone()))
        });
        Self(by_claim.collect())
    }

    fn of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Value> {
        pod.claims.iter().filter_map(|claim| self.0.get(&(pod.namespace.clone(), claim.clone())))
    }
}

/// Pods that can only run on one of the nodes, with its name.
pub(crate) fn pinned<'a>(nodes: &'a [Node], evicted: &[&'a Pod], volumes: &Volumes) -> Vec<(&'a Pod, &'a str)> {
    if nodes.len() < 2 {
        return Vec::new();
    }
    evicted
        .iter()
        .filter_map(|pod| {
            let mut admitting = nodes.iter().filter(|node| node.admits(pod, volumes));
            match (admitting.next(), admitting.next()) {
                (Some(only), None) => Some((*pod, only.name.as_str())),
                _ => None,
            }
        })
        .collect()
}

/// The room that Nodes have left.
#[derive(Debug)]
pub(crate) struct Room<'a>(Vec<(&'a Node, Resources, u64)>);

impl<'a> Room<'a> {
    /// What is left on each Node that takes Pods.
    pub(crate) fn of(nodes: &'a [Node], pods: &[Pod]) -> Self {
        let mut taken: BTreeMap<&str, (Resources, u64)> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !pod.finished) {
            let (resources, count) = taken.entry(pod.node.as_deref().unwrap_or_default()).or_default();
            *resources += pod.requests;
            *count += 1;
        }
        let left = nodes.iter().filter(|node| node.takes_pods()).map(|node| {
            let (resources, count) = taken.get(node.name.as_str()).copied().unwrap_or_default();
            (node, node.allocatable.without(resources), node.pods.saturating_sub(count))
        });
        Self(left.collect())
    }

    /// Pods that would find no place, were only their node drained. The largest are placed first, each on the first
    /// node that has room for it.
    pub(crate) fn homeless<'p>(&self, drained: &str, mut leaving: Vec<&'p Pod>, volumes: &Volumes) -> Vec<&'p Pod> {
        let mut others: Vec<_> = self.0.iter().filter(|(node, ..)| node.name != drained).copied().collect();
        leaving.sort_by(|one, other| other.requests.cmp(&one.requests).then_with(|| one.title().cmp(&other.title())));
        leaving
            .into_iter()
            .filter(|pod| {
                let home = others
                    .iter_mut()
                    .find(|(node, room, slots)| *slots > 0 && room.covers(pod.requests) && node.admits(pod, volumes));
                match home {
                    Some((_, room, slots)) => {
                        *room = room.without(pod.requests);
                        *slots -= 1;
                        false
                    }
                    None => true,
                }
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pods::tests::{owned, pod};
    use sdk::api::kubernetes::Identity;
    use serde_json::json;

    fn object(name: &str, namespace: Option<&str>, body: Value) -> Object {
        let id = Identity {
            namespace: namespace.map(Into::into),
            name: name.into(),
            uid: "n".into(),
            resource_version: "1".into(),
        };
        Object { id, body }
    }

    /// A ready node of that many processors with a host name label.
    pub(crate) fn node(name: &str, cpu: &str) -> Node {
        Node::of(&object(
            name,
            None,
            json!({
                "metadata": {"labels": {"kubernetes.io/hostname": name}},
                "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.33.13"},
                           "allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "10"}},
            }),
        ))
    }

    pub(crate) fn running(name: &str, on: &str, cpu: &str, mut spec: Value) -> Pod {
        spec.put("/nodeName", json!(on));
        spec.put("/containers", json!([{"resources": {"requests": {"cpu": cpu}}}]));
        pod(json!({"metadata": {"name": name, "ownerReferences": owned("ReplicaSet")}, "spec": spec}))
    }

    fn homeless_of(drained: &str, nodes: &[Node], pods: &[Pod]) -> Vec<String> {
        let leaving: Vec<&Pod> = pods.iter().filter(|pod| pod.node.as_deref() == Some(drained)).collect();
        let homeless = Room::of(nodes, pods).homeless(drained, leaving, &Volumes::default());
        homeless.iter().map(|pod| pod.name.clone()).collect()
    }

    #[test]
    fn pods_tied_to_one_node_are_found() {
        let nodes = [node("n1", "2"), node("n2", "2")];
        let tied = running("tied", "n1", "1", json!({"nodeSelector": {"kubernetes.io/hostname": "n1"}}));
        let free = running("free", "n1", "1", json!({}));
        let lost = running("lost", "n1", "1", json!({"nodeSelector": {"none": "x"}}));
        let pods = [&tied, &free, &lost];
        let found = pinned(&nodes, &pods, &Volumes::default());
        assert_eq!(found.iter().map(|(pod, node)| (pod.name.as_str(), *node)).collect::<Vec<_>>(), [("tied", "n1")]);
        assert!(pinned(&nodes[..1], &pods, &Volumes::default()).is_empty());
    }

    #[test]
    fn a_local_volume_ties_a_pod() {
        let claims = [
            object("data", Some("shop"), json!({"spec": {"volumeName": "pv-1"}})),
            object("x", Some("shop"), json!({"spec": {"volumeName": "nfs"}})),
        ];
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}]});
        let volumes = [
            object("pv-1", None, json!({"spec": {"nodeAffinity": {"required": required}}})),
            object("nfs", None, json!({"spec": {}})),
        ];
        let volumes = Volumes::of_objects(&claims, &volumes);
        let nodes = [node("n1", "2"), node("n2", "2")];
        let mount = |claim: &str| json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]});
        let (local, remote) = (running("db-0", "n2", "1", mount("data")), running("db-1", "n2", "1", mount("x")));
        let found = pinned(&nodes, &[&local, &remote], &volumes);
        assert_eq!(found.iter().map(|(pod, node)| (pod.name.as_str(), *node)).collect::<Vec<_>>(), [("db-0", "n2")]);
    }

    #[test]
    fn taints_keep_pods_out_unless_tolerated() {
        let mut tainted = node("n2", "2");
        tainted.taints = vec![json!({"key": "dedicated", "value": "db", "effect": "NoSchedule"})];
        let admits = |tolerations: Value| {
            tainted.admits(&running("p", "n1", "1", json!({"tolerations": tolerations})), &Volumes::default())
        };
        assert!(!admits(json!([])));
        assert!(admits(json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}])));
        assert!(admits(json!([{"operator": "Exists"}])));
        assert!(admits(json!([{"key": "dedicated", "operator": "Exists"}])));
        assert!(!admits(json!([{"key": "dedicated", "value": "web"}])));
        assert!(!admits(json!([{"key": "dedicated", "value": "db", "effect": "NoExecute"}])));
    }

    #[test]
    fn what_fits_nowhere_else_is_named() {
        let nodes = [node("n1", "2"), node("n2", "2"), node("n3", "1")];
        let pods = [
            running("big", "n1", "1500m", json!({})),
            running("small", "n1", "500m", json!({})),
            running("tiny", "n1", "100m", json!({})),
            running("there", "n2", "500m", json!({})),
        ];
        assert_eq!(homeless_of("n1", &nodes, &pods), Vec::<String>::new());
        assert_eq!(homeless_of("n1", &nodes[..2], &pods), ["small", "tiny"]);
        assert_eq!(homeless_of("n1", &nodes[..1], &pods).len(), 3);
    }

    #[test]
    fn cordoned_and_full_nodes_are_no_room() {
        let mut cordoned = node("n2", "2");
        cordoned.unschedulable = true;
        let pods = [running("p", "n1", "100m", json!({}))];
        assert_eq!(homeless_of("n1", &[node("n1", "2"), cordoned], &pods), ["p"]);
        let mut full = node("n2", "2");
        full.pods = 1;
        let pods = [running("p", "n1", "100m", json!({})), running("q", "n2", "100m", json!({}))];
        assert_eq!(homeless_of("n1", &[node("n1", "2"), full], &pods), ["p"]);
    }

    #[test]
    fn people_know_a_node_by_its_internal_address() {
        let body = json!({"status": {"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}]}});
        assert_eq!(internal_ip(&body), Some("10.0.0.1"));
        assert_eq!(internal_ip(&json!({})), None);
    }
}
