//! What is there of flannel.

use runner_plugin_sdk::api::kubernetes::{ObjectRef, Selection};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::Cluster;
use runner_plugin_sdk::nodes::{self, Node};
use runner_plugin_sdk::objects::Objects;
use runner_plugin_sdk::{Finding, Inputs, Invocation, Problem, finding, images};
use serde_json::Value;

/// Name of the account and its rights, as flannel's own manifests have it.
pub(crate) const NAME: &str = "flannel";
/// Name of the configuration.
pub(crate) const CONFIG: &str = "kube-flannel-cfg";
/// Name of the workload.
pub(crate) const DAEMON_SET: &str = "kube-flannel-ds";
/// API version of roles.
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";
/// By which all objects of flannel are found, those of other releases too.
const SELECTOR: &str = "k8s-app=flannel";

/// Flannel's objects in a cluster, and the cluster's nodes.
pub(crate) struct Found<'a> {
    pub(crate) cluster: Cluster<'a>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) objects: Objects<'a>,
}

impl<'a> Found<'a> {
    pub(crate) fn read(invocation: &'a Invocation, namespace: &str) -> Result<Self, Problem> {
        let cluster = Cluster(invocation.cluster()?);
        let nodes = nodes::list(cluster, &invocation.target.hosts)?;
        let objects = Objects::read(cluster, &names(cluster, namespace), selections(cluster, namespace))?;
        Ok(Self { cluster, nodes, objects })
    }

    /// The workload.
    pub(crate) fn daemon_set(&self) -> Option<&Value> {
        self.objects.find("DaemonSet", DAEMON_SET)
    }

    /// The configuration.
    pub(crate) fn config(&self) -> Option<&Value> {
        self.objects.find("ConfigMap", CONFIG)
    }

    /// Hosts of the nodes.
    pub(crate) fn hosts(&self) -> Vec<String> {
        nodes::hosts(&self.nodes)
    }

    /// Nodes of which the step has no host: their files can be neither saved nor looked at.
    pub(crate) fn strangers(&self) -> Vec<Finding> {
        let strangers = self.nodes.iter().filter(|node| node.host.is_none());
        let message = |name: &str| format!("Node {name} is no host of this step; add it to the step's targets");
        strangers.map(|node| finding("node-without-host", node.name.as_str(), message(&node.name))).collect()
    }

    /// Images that hosts of nodes do not have.
    pub(crate) fn missing_images(&self, wanted: &[String]) -> Result<Vec<Finding>, Problem> {
        let missing = images::missing(&self.hosts(), wanted)?;
        let finding = |(host, image): (String, String)| {
            finding("image-missing", host.as_str(), format!("host {host} does not have image {image}"))
        };
        Ok(missing.into_iter().map(finding).collect())
    }
}

/// The workload alone, where nothing else is asked.
pub(crate) fn daemon_set(invocation: &Invocation, namespace: &str) -> Result<Option<Value>, Problem> {
    let cluster = Cluster(invocation.cluster()?);
    let found = cluster.get(&[cluster.namespaced("apps/v1", "DaemonSet", namespace, DAEMON_SET)])?;
    Ok(found.into_iter().flatten().next().map(|object| object.body))
}

/// Version of a workload: the tag of flanneld's image.
pub(crate) fn version(daemon_set: &Value) -> Option<&str> {
    daemon_set.text("/spec/template/spec/containers/0/image").and_then(images::tag)
}

fn names(cluster: Cluster<'_>, namespace: &str) -> Vec<ObjectRef> {
    vec![
        cluster.global("v1", "Namespace", namespace),
        cluster.namespaced("v1", "ServiceAccount", namespace, NAME),
        cluster.global(RBAC, "ClusterRole", NAME),
        cluster.global(RBAC, "ClusterRoleBinding", NAME),
        cluster.namespaced("v1", "ConfigMap", namespace, CONFIG),
        cluster.namespaced("apps/v1", "DaemonSet", namespace, DAEMON_SET),
    ]
}

fn selections(cluster: Cluster<'_>, namespace: &str) -> Vec<Selection> {
    vec![
        cluster.select("v1", "ServiceAccount", Some(namespace), SELECTOR),
        cluster.select(RBAC, "ClusterRole", None, SELECTOR),
        cluster.select(RBAC, "ClusterRoleBinding", None, SELECTOR),
        cluster.select("v1", "ConfigMap", Some(namespace), SELECTOR),
        cluster.select("apps/v1", "DaemonSet", Some(namespace), SELECTOR),
    ]
}
