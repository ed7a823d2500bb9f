//! Pods, and what a drain does with each.

use sdk::json::At;
use sdk::kubernetes::Object;
use serde_json::Value;

use crate::quantity::Resources;
use crate::selectors::{Labels, text_map};

/// Kinds whose Pods come back by themselves.
pub(crate) const MANAGERS: [&str; 5] = ["ReplicationController", "ReplicaSet", "Job", "DaemonSet", "StatefulSet"];

/// Fields of a Pod that are looked at.
pub(crate) const FIELDS: [&str; 13] = [
    "/metadata/labels",
    "/metadata/annotations/kubernetes.io~1config.mirror",
    "/metadata/ownerReferences",
    "/metadata/deletionTimestamp",
    "/spec/nodeName",
    "/spec/nodeSelector",
    "/spec/affinity/nodeAffinity",
    "/spec/tolerations",
    "/spec/volumes",
    "/spec/containers",
    "/spec/initContainers",
    "/spec/overhead",
    "/status/phase",
];

/// Those of them by which it is seen whose Pod runs where.
pub(crate) const PLACEMENT_FIELDS: [&str; 5] = [
    "/metadata/labels/pod-template-hash",
    "/metadata/annotations/kubernetes.io~1config.mirror",
    "/metadata/ownerReferences",
    "/spec/nodeName",
    "/status/phase",
];

/// What a drain does with a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is evicted and comes back elsewhere.
    Evicted,
    /// A DaemonSet puts it on every node, cordoned or not.
    DaemonSet,
    /// The kubelet runs it from a file; the API server only mirrors it.
    Mirror,
    /// It has ended, well or badly.
    Finished,
    /// Nothing would bring it back.
    Unmanaged,
}

/// What is known of a Pod.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: Option<String>,
    pub(crate) labels: Labels,
    /// Kind and name of the controller that owns it.
    pub(crate) owner: Option<(String, String)>,
    pub(crate) mirror: bool,
    pub(crate) finished: bool,
    pub(crate) requests: Resources,
    /// Names of its emptyDir volumes.
    pub(crate) empty_dirs: Vec<String>,
    /// Names of the claims it mounts.
    pub(crate) claims: Vec<String>,
    pub(crate) node_selector: Labels,
    /// Required node affinity.
    pub(crate) affinity: Option<Value>,
    pub(crate) tolerations: Vec<Value>,
}

impl Pod {
    /// Reads a Pod of which at least [`FIELDS`] or [`PLACEMENT_FIELDS`] are known.
    pub(crate) fn of(object: &Object) -> Self {
        let body = &object.body;
        let volumes = body.items("/spec/volumes");
        let name = object.id.name.clone();
        Self {
            namespace: object.id.namespace.clone().unwrap_or_default(),
            uid: object.id.uid.clone(),
            node: body.text("/spec/nodeName").filter(|node| !node.is_empty()).map(Into::into),
            labels: text_map(body, "/metadata/labels"),
            owner: body.items("/metadata/ownerReferences").iter().find(|owner| owner.is_true("/controller")).map(
                |owner| {
                    (
                        owner.text("/kind").unwrap_or_default().to_owned(),
                        owner.text("/name").unwrap_or_default().to_owned(),
                    )
                },
            ),
            mirror: body.text("/metadata/annotations/kubernetes.io~1config.mirror").is_some(),
            finished: matches!(body.text("/status/phase"), Some("Succeeded" | "Failed")),
            requests: body.get("spec").map(Resources::of_pod).unwrap_or_default(),
            empty_dirs: volumes
                .iter()
                .filter(|volume| volume.get("emptyDir").is_some())
                .filter_map(|volume| volume.text("/name").map(Into::into))
                .collect(),
            claims: volumes
                .iter()
                .filter_map(|volume| match volume.text("/persistentVolumeClaim/claimName") {
                    Some(claim) => Some(claim.to_owned()),
                    // A generic ephemeral volume has a claim named after the Pod and itself.
                    None => volume.get("ephemeral").and_then(|_| Some(format!("{name}-{}", volume.text("/name")?))),
                })
                .collect(),
            node_selector: text_map(body, "/spec/nodeSelector"),
            affinity: body
                .pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution")
                .cloned(),
            tolerations: body.items("/spec/tolerations").to_vec(),
            name,
        }
    }

    /// What a drain does with it. `managers` are the kinds whose Pods come back.
    pub(crate) fn fate(&self, managers: &[String]) -> Fate {
        if self.mirror {
            return Fate::Mirror;
        }
        if self.finished {
            return Fate::Finished;
        }
        match &self.owner {
            Some((kind, _)) if !managers.iter().any(|manager| manager == kind) => Fate::Unmanaged,
            Some((kind, _)) if kind == "DaemonSet" => Fate::DaemonSet,
            Some(_) => Fate::Evicted,
            None => Fate::Unmanaged,
        }
    }

    /// `namespace/name`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The refusal of Pods that nothing would bring back, in the words that operators know.
pub(crate) fn unmanaged_message<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<String> {
    let mut names: Vec<String> = pods.into_iter().map(|pod| format!("'{} in {}'", pod.name, pod.namespace)).collect();
    if names.is_empty() {
        return None;
    }
    names.sort();
    Some(format!("Non managed pod exists [{}]", names.join(", ")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sdk::api::kubernetes::Identity;
    use serde_json::json;

    /// A Pod from its manifest.
    pub(crate) fn pod(body: Value) -> Pod {
        let id = Identity {
            namespace: Some(body.text("/metadata/namespace").unwrap_or("shop").to_owned()),
            name: body.text("/metadata/name").unwrap_or("web-1").to_owned(),
            uid: "u".into(),
            resource_version: "1".into(),
        };
        Pod::of(&Object { id, body })
    }

    /// An owner reference of a controller.
    pub(crate) fn owned(kind: &str) -> Value {
        json!([{"kind": "Other", "name": "not-it"}, {"kind": kind, "name": "web", "controller": true}])
    }

    pub(crate) fn managers() -> Vec<String> {
        MANAGERS.map(str::to_owned).to_vec()
    }

    #[test]
    fn each_pod_has_its_fate() {
        let with = |metadata: Value, phase: &str| {
            pod(json!({"metadata": metadata, "status": {"phase": phase}})).fate(&managers())
        };
        for kind in ["ReplicationController", "ReplicaSet", "Job", "StatefulSet"] {
            assert_eq!(with(json!({"ownerReferences": owned(kind)}), "Running"), Fate::Evicted, "{kind}");
        }
        assert_eq!(with(json!({"ownerReferences": owned("DaemonSet")}), "Running"), Fate::DaemonSet);
        assert_eq!(with(json!({"ownerReferences": owned("CloneSet")}), "Running"), Fate::Unmanaged);
        assert_eq!(with(json!({}), "Running"), Fate::Unmanaged);
        assert_eq!(with(json!({}), "Pending"), Fate::Unmanaged);
        assert_eq!(with(json!({}), "Succeeded"), Fate::Finished);
        assert_eq!(with(json!({}), "Failed"), Fate::Finished);
        assert_eq!(with(json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), "Running"), Fate::Mirror);
        let owner_without_control = json!({"ownerReferences": [{"kind": "ReplicaSet", "name": "x"}]});
        assert_eq!(with(owner_without_control, "Running"), Fate::Unmanaged);
    }

    #[test]
    fn more_managers_can_be_named() {
        let clone = pod(json!({"metadata": {"ownerReferences": owned("CloneSet")}}));
        let mut managers = managers();
        managers.push("CloneSet".into());
        assert_eq!(clone.fate(&managers), Fate::Evicted);
    }

    #[test]
    fn the_refusal_is_the_known_one() {
        let pods = [
            pod(json!({"metadata": {"name": "pod-name2", "namespace": "namespace2"}})),
            pod(json!({"metadata": {"name": "pod-name1", "namespace": "namespace1"}})),
        ];
        assert_eq!(
            unmanaged_message(&pods).as_deref(),
            Some("Non managed pod exists ['pod-name1 in namespace1', 'pod-name2 in namespace2']")
        );
        assert_eq!(unmanaged_message(&[]), None);
    }

    #[test]
    fn volumes_are_told_apart() {
        let pod = pod(json!({"metadata": {"name": "db-0"}, "spec": {"nodeName": "", "volumes": [
            {"name": "cache", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "db"}},
            {"name": "scratch", "ephemeral": {}}, {"name": "c", "configMap": {"name": "c"}}]}}));
        assert_eq!(pod.empty_dirs, ["cache"]);
        assert_eq!(pod.claims, ["db", "db-0-scratch"]);
        assert_eq!(pod.node, None);
    }
}
