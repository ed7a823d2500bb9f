//! What is there of Prometheus in the cluster.

use runner_plugin_sdk::api::kubernetes::{ObjectRef, Selection};
use runner_plugin_sdk::json::At;
use runner_plugin_sdk::kubernetes::{Cluster, Object};
use runner_plugin_sdk::objects::{Objects, Release, Surplus};
use runner_plugin_sdk::rollout::Workload;
use runner_plugin_sdk::{Failure, Finding, Findings, Inputs, Invocation, Problem, finding, images, nodes, refused};
use serde_json::Value;

use crate::parameters::Place;

/// API version of roles.
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Prometheus' objects in a cluster.
pub(crate) struct Found<'a> {
    pub(crate) cluster: Cluster<'a>,
    pub(crate) place: Place<'a>,
    pub(crate) objects: Objects<'a>,
}

impl<'a> Found<'a> {
    pub(crate) fn read(invocation: &'a Invocation, place: Place<'a>) -> Result<Self, Problem> {
        let cluster = Cluster(invocation.cluster()?);
        let workload = stateful_set(cluster, place);
        let body = cluster.get(std::slice::from_ref(&workload))?.pop().flatten();
        let mut names = vec![workload];
        if let Some(object) = &body {
            names.extend(references(cluster, place.namespace, &object.body));
        }
        Ok(Self { cluster, place, objects: Objects::read(cluster, &names, selections(cluster, place))? })
    }

    /// The workload, when there is one.
    pub(crate) fn workload(&self) -> Option<&Value> {
        self.objects.find("StatefulSet", self.place.name)
    }

    /// The workload; refused where there is none.
    pub(crate) fn installed(&self) -> Result<&Value, Problem> {
        self.workload().ok_or_else(|| {
            let Place { namespace, name, .. } = self.place;
            let message = format!("there is no StatefulSet {namespace}/{name}");
            refused("not-installed", format!("{namespace}/{name}"), message)
        })
    }

    /// Version of the workload: the tag of its image.
    pub(crate) fn version(&self) -> Option<&str> {
        images::tag(image(self.workload()?, self.place.container)?)
    }

    /// Pods of the namespace that mount the claim and that the StatefulSet does not own: they would not go with it.
    pub(crate) fn foreign_pods(&self) -> Result<Vec<Finding>, Failure> {
        let selection = self.cluster.select("v1", "Pod", Some(self.place.namespace), "");
        let keep = ["/metadata/ownerReferences", "/spec/volumes", "/status/phase"];
        let pods = self.cluster.list(selection, &keep)?;
        Ok(foreign(self.place, &pods))
    }

    /// Puts objects in place of those that are there, and follows the rollout to its end.
    pub(crate) fn bring(&self, objects: &[Value], take_over: &[String], surplus: &Surplus) -> Result<bool, Failure> {
        let release = Release {
            objects,
            take_over,
            workload: (Workload::StatefulSet, self.place.namespace, self.place.name),
            seconds: self.place.rollout_seconds,
        };
        release.bring(self.cluster, surplus)
    }

    /// What of images no node has is a finding; what only some have not is a warning.
    pub(crate) fn images(&self, invocation: &Invocation, wanted: &[String]) -> Result<Availability, Failure> {
        let nodes = nodes::list(self.cluster, &invocation.target.hosts)?;
        let hosts = nodes::hosts(&nodes);
        Ok(availability(&hosts, images::missing(&hosts, wanted)?))
    }
}

/// Where images are not.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Availability {
    /// On no node.
    pub(crate) nowhere: Vec<Finding>,
    /// On some nodes.
    pub(crate) partly: Vec<Finding>,
}

pub(crate) fn availability(hosts: &[String], missing: Vec<(String, String)>) -> Availability {
    let mut found = Availability::default();
    let mut images: Vec<&String> = missing.iter().map(|(_, image)| image).collect();
    images.sort();
    images.dedup();
    for image in images {
        let without: Vec<&str> =
            missing.iter().filter(|(_, missing)| missing == image).map(|(host, _)| host.as_str()).collect();
        if without.len() == hosts.len() {
            let message = format!("no node has image {image}");
            found.nowhere.push(finding("image-missing", image.as_str(), message));
        } else {
            let message =
                format!("image {image} is not on {}: a Pod that starts there has to fetch it", without.join(", "));
            found.partly.push(finding("image-missing", image.as_str(), message));
        }
    }
    found
}

/// Layouts that this plugin does not know, by name.
pub(crate) fn check_layout(place: Place<'_>, workload: &Value, findings: &mut Findings) {
    let at = format!("{}/{}", place.namespace, place.name);
    if let Some(owner) = workload.items("/metadata/ownerReferences").first() {
        let message = format!(
            "StatefulSet {at} belongs to {} {}, which would undo what is done to it",
            owner.text("/kind").unwrap_or("?"),
            owner.text("/name").unwrap_or("?"),
        );
        findings.add("owned-by-operator", at.as_str(), message);
    }
    if image(workload, place.container).is_none() {
        let message = format!("StatefulSet {at} has no container {}", place.container);
        findings.add("no-container", at.as_str(), message);
    }
    if !claims(workload, place.name).contains(&place.claim.to_owned()) {
        let message = format!("StatefulSet {at} does not mount claim {}", place.claim);
        findings.add("no-claim", at.as_str(), message);
    }
}

/// Claims that a StatefulSet's first Pod mounts.
fn claims(workload: &Value, name: &str) -> Vec<String> {
    let volumes = workload.items("/spec/template/spec/volumes").iter();
    let named = volumes.filter_map(|volume| volume.text("/persistentVolumeClaim/claimName"));
    let templates = workload.items("/spec/volumeClaimTemplates").iter();
    let made = templates.filter_map(|template| template.text("/metadata/name"));
    named.map(str::to_owned).chain(made.map(|template| format!("{template}-{name}-0"))).collect()
}

/// Image of a container.
pub(crate) fn image<'a>(workload: &'a Value, container: &str) -> Option<&'a str> {
    let containers = workload.items("/spec/template/spec/containers");
    containers.iter().find(|found| found.text("/name") == Some(container))?.text("/image")
}

/// The StatefulSet's reference.
pub(crate) fn stateful_set(cluster: Cluster<'_>, place: Place<'_>) -> ObjectRef {
    cluster.namespaced("apps/v1", "StatefulSet", place.namespace, place.name)
}

/// What a workload reads and is reached by.
fn references(cluster: Cluster<'_>, namespace: &str, workload: &Value) -> Vec<ObjectRef> {
    let at = |kind: &str, name: &str| cluster.namespaced("v1", kind, namespace, name);
    let volumes = workload.items("/spec/template/spec/volumes").iter();
    let mut found: Vec<ObjectRef> =
        volumes.filter_map(|volume| volume.text("/configMap/name")).map(|name| at("ConfigMap", name)).collect();
    found.extend(workload.text("/spec/serviceName").filter(|name| !name.is_empty()).map(|name| at("Service", name)));
    let account = workload.text("/spec/template/spec/serviceAccountName");
    // Every namespace has an account `default`, which belongs to nobody.
    found.extend(account.filter(|name| *name != "default").map(|name| at("ServiceAccount", name)));
    found
}

fn selections(cluster: Cluster<'_>, place: Place<'_>) -> Vec<Selection> {
    let here = |api: &str, kind: &str| cluster.select(api, kind, Some(place.namespace), place.selector);
    vec![
        here("v1", "ServiceAccount"),
        cluster.select(RBAC, "ClusterRole", None, place.selector),
        cluster.select(RBAC, "ClusterRoleBinding", None, place.selector),
        here("v1", "ConfigMap"),
        here("v1", "Service"),
        here("apps/v1", "StatefulSet"),
    ]
}

/// CEL over `objects`, the Pods of a namespace: none that still runs mounts the claim.
pub(crate) fn claim_is_free(claim: &str) -> String {
    format!(
        "objects.all(p, (has(p.status) && has(p.status.phase) && p.status.phase in ['Succeeded', 'Failed']) || \
         !has(p.spec.volumes) || !p.spec.volumes.exists(v, has(v.persistentVolumeClaim) && \
         v.persistentVolumeClaim.claimName == '{claim}'))"
    )
}

/// Whether a Pod that has not ended mounts the claim.
pub(crate) fn mounts(pod: &Value, claim: &str) -> bool {
    let ended = matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed"));
    let mut volumes = pod.items("/spec/volumes").iter();
    !ended && volumes.any(|volume| volume.text("/persistentVolumeClaim/claimName") == Some(claim))
}

fn foreign(place: Place<'_>, pods: &[Object]) -> Vec<Finding> {
    let own = |pod: &Value| {
        let mut owners = pod.items("/metadata/ownerReferences").iter();
        owners.any(|owner| owner.text("/kind") == Some("StatefulSet") && owner.text("/name") == Some(place.name))
    };
    pods.iter()
        .filter(|pod| mounts(&pod.body, place.claim) && !own(&pod.body))
        .map(|pod| {
            let subject = format!("{}/{}", place.namespace, pod.id.name);
            let message = format!(
                "Pod {subject} mounts claim {} and does not belong to StatefulSet {}: it would write into the volume \
                 while that is replaced",
                place.claim, place.name
            );
            finding("foreign-pod", subject, message)
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::parameters::Backout;
    use runner_plugin_sdk::api::kubernetes::Identity;
    use serde_json::json;

    pub(crate) fn backout() -> Backout {
        let value = json!({"url": "http://p:9090", "volume-host": "storage-1", "volume-path": "/srv/volume"});
        serde_json::from_value(value).unwrap()
    }

    pub(crate) fn workload() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "prometheus", "namespace": "monitoring"},
            "spec": {
                "replicas": 1, "serviceName": "prometheus",
                "template": {"spec": {
                    "serviceAccountName": "prometheus",
                    "containers": [{"name": "reloader", "image": "r:1"}, {"name": "prometheus", "image": "q.io/p/prometheus:v2.42.0"}],
                    "volumes": [{"name": "config", "configMap": {"name": "prometheus-config"}},
                                {"name": "data", "persistentVolumeClaim": {"claimName": "prometheus-data"}}],
                }},
            },
        })
    }

    fn pod(name: &str, claim: &str, owner: Option<&str>, phase: &str) -> Object {
        let owners: Vec<Value> = owner.into_iter().map(|name| json!({"kind": "StatefulSet", "name": name})).collect();
        let id = Identity {
            namespace: Some("monitoring".into()),
            name: name.into(),
            uid: name.into(),
            resource_version: "1".into(),
        };
        let body = json!({"metadata": {"ownerReferences": owners}, "status": {"phase": phase},
                          "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": claim}}]}});
        Object { id, body }
    }

    #[test]
    fn a_pod_of_somebody_elses_that_mounts_the_claim_is_named() {
        let pods = [
            pod("prometheus-0", "prometheus-data", Some("prometheus"), "Running"),
            pod("debug", "prometheus-data", None, "Running"),
            pod("done", "prometheus-data", None, "Succeeded"),
            pod("other", "other-data", None, "Running"),
        ];
        let parameters = backout();
        let findings = foreign(parameters.place(), &pods);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].subject, "monitoring/debug");
    }

    #[test]
    fn what_a_workload_reads_belongs_to_it() {
        let names: Vec<String> = references(Cluster("main"), "monitoring", &workload())
            .into_iter()
            .map(|object| format!("{} {}", object.kind.name, object.name))
            .collect();
        assert_eq!(names, ["ConfigMap prometheus-config", "Service prometheus", "ServiceAccount prometheus"]);
    }

    #[test]
    fn a_layout_that_is_not_known_is_refused_by_name() {
        let parameters = backout();
        let codes = |workload: &Value| {
            let mut findings = Findings::new();
            check_layout(parameters.place(), workload, &mut findings);
            findings.into_warnings().into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(&workload()), Vec::<String>::new());
        let mut owned = workload();
        owned.put("/metadata/ownerReferences", json!([{"kind": "Prometheus", "name": "k8s"}]));
        assert_eq!(codes(&owned), ["owned-by-operator"]);
        let mut other = workload();
        other.put("/spec/template/spec/volumes", json!([]));
        other.put("/spec/template/spec/containers/1/name", json!("prom"));
        assert_eq!(codes(&other), ["no-container", "no-claim"]);
        other.put("/spec/volumeClaimTemplates", json!([{"metadata": {"name": "data"}}]));
        assert_eq!(claims(&other, "prometheus"), ["data-prometheus-0"]);
    }

    #[test]
    fn an_image_that_no_node_has_stands_in_the_way() {
        let hosts = ["a".to_owned(), "b".to_owned()];
        let missing = |host: &str, image: &str| (host.to_owned(), image.to_owned());
        let found = availability(&hosts, vec![missing("a", "x:1"), missing("a", "y:1"), missing("b", "y:1")]);
        assert_eq!(found.nowhere.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["y:1"]);
        assert_eq!(found.partly.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["x:1"]);
    }
}
