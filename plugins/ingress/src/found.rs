//! What is there of the controller.

use runner_plugin_sdk::api::kubernetes::{ObjectRef, Selection};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::{Cluster, Object};
use runner_plugin_sdk::nodes::{self, Node};
use runner_plugin_sdk::objects::Objects;
use runner_plugin_sdk::rollout::{is_ready, match_labels};
use runner_plugin_sdk::{Finding, Inputs, Invocation, Problem, finding, images};
use serde_json::Value;

/// Name of the workload, its account, its rights and its Service.
pub(crate) const NAME: &str = "traefik";
/// Name of the configuration.
pub(crate) const CONFIG: &str = "traefik-config";
/// Key of the configuration's text.
pub(crate) const CONFIG_KEY: &str = "traefik.yml";
/// API version of roles.
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";
/// API version of classes.
pub(crate) const NETWORKING: &str = "networking.k8s.io/v1";
/// By which all objects of the controller are found, those of other releases too.
const SELECTOR: &str = "app.kubernetes.io/name=traefik";

/// The controller's objects in a cluster, its Pods, and the cluster's nodes.
pub(crate) struct Found<'a> {
    pub(crate) cluster: Cluster<'a>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) objects: Objects<'a>,
    pods: Vec<Object>,
}

impl<'a> Found<'a> {
    pub(crate) fn read(invocation: &'a Invocation, namespace: &str, class: &str) -> Result<Self, Problem> {
        let cluster = Cluster(invocation.cluster()?);
        let nodes = nodes::list(cluster, &invocation.target.hosts)?;
        let objects = Objects::read(cluster, &names(cluster, namespace, class), selections(cluster, namespace))?;
        let pods = match objects.find("DaemonSet", NAME) {
            Some(workload) => {
                let selection = cluster.select("v1", "Pod", Some(namespace), &match_labels(workload));
                cluster.list(selection, &["/spec/nodeName", "/status/conditions"])?
            }
            None => Vec::new(),
        };
        Ok(Self { cluster, nodes, objects, pods })
    }

    /// The workload.
    pub(crate) fn daemon_set(&self) -> Option<&Value> {
        self.objects.find("DaemonSet", NAME)
    }

    /// Nodes that run the controller, and whether a Pod is ready there.
    pub(crate) fn serving(&self) -> Vec<(&Node, bool)> {
        let pods_of = |node: &Node| {
            let on_node = |pod: &&Object| pod.body.text("/spec/nodeName") == Some(node.name.as_str());
            let ready: Vec<bool> = self.pods.iter().filter(on_node).map(|pod| is_ready(&pod.body)).collect();
            (!ready.is_empty()).then(|| ready.contains(&true))
        };
        self.nodes.iter().filter_map(|node| Some((node, pods_of(node)?))).collect()
    }

    /// Images that hosts of nodes that run the controller do not have.
    pub(crate) fn missing_images(&self, wanted: &[String]) -> Result<Vec<Finding>, Problem> {
        let hosts: Vec<String> = self.serving().into_iter().filter_map(|(node, _)| node.host.clone()).collect();
        let missing = images::missing(&hosts, wanted)?;
        let finding = |(host, image): (String, String)| {
            finding("image-missing", host.as_str(), format!("host {host} does not have image {image}"))
        };
        Ok(missing.into_iter().map(finding).collect())
    }
}

/// The workload alone, where nothing else is asked.
pub(crate) fn daemon_set(invocation: &Invocation, namespace: &str) -> Result<Option<Value>, Problem> {
    let cluster = Cluster(invocation.cluster()?);
    let found = cluster.get(&[cluster.namespaced("apps/v1", "DaemonSet", namespace, NAME)])?;
    Ok(found.into_iter().flatten().next().map(|object| object.body))
}

/// Version of a workload: the tag of Traefik's image.
pub(crate) fn version(daemon_set: &Value) -> Option<&str> {
    daemon_set.text("/spec/template/spec/containers/0/image").and_then(images::tag)
}

fn names(cluster: Cluster<'_>, namespace: &str, class: &str) -> Vec<ObjectRef> {
    vec![
        cluster.global("v1", "Namespace", namespace),
        cluster.namespaced("v1", "ServiceAccount", namespace, NAME),
        cluster.global(RBAC, "ClusterRole", NAME),
        cluster.global(RBAC, "ClusterRoleBinding", NAME),
        cluster.global(NETWORKING, "IngressClass", class),
        cluster.namespaced("v1", "ConfigMap", namespace, CONFIG),
        cluster.namespaced("v1", "Service", namespace, NAME),
        cluster.namespaced("apps/v1", "DaemonSet", namespace, NAME),
    ]
}

fn selections(cluster: Cluster<'_>, namespace: &str) -> Vec<Selection> {
    let inside = [("v1", "ServiceAccount"), ("v1", "ConfigMap"), ("v1", "Service"), ("apps/v1", "DaemonSet")];
    let outside = [(RBAC, "ClusterRole"), (RBAC, "ClusterRoleBinding"), (NETWORKING, "IngressClass")];
    let inside = inside.map(|(version, kind)| cluster.select(version, kind, Some(namespace), SELECTOR));
    let outside = outside.map(|(version, kind)| cluster.select(version, kind, None, SELECTOR));
    inside.into_iter().chain(outside).collect()
}
