//! Workloads: whether they have the Pods they want, where those run, and whether a budget protects them.

use std::collections::BTreeMap;

use sdk::json::At;
use sdk::kubernetes::Object;
use serde_json::Value;

use crate::budgets::Budget;
use crate::pods::Pod;
use crate::selectors::{Labels, text_map};

/// Kinds of workload that are followed, with their API version.
pub(crate) const KINDS: [(&str, &str); 5] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "ReplicationController"),
];

/// Fields of a workload that are looked at.
pub(crate) const FIELDS: [&str; 7] = [
    "/metadata/ownerReferences",
    "/spec/replicas",
    "/spec/selector",
    "/spec/template/metadata/labels",
    "/status/readyReplicas",
    "/status/numberReady",
    "/status/desiredNumberScheduled",
];

/// Those of them by which it is seen whether a workload works.
pub(crate) const HEALTH_FIELDS: [&str; 5] = [
    "/metadata/ownerReferences",
    "/spec/replicas",
    "/status/readyReplicas",
    "/status/numberReady",
    "/status/desiredNumberScheduled",
];

/// What is known of a workload.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    labels: Labels,
    wanted: i64,
    ready: i64,
}

impl Workload {
    /// The workloads of a list of this kind. What another one controls, as a Deployment its ReplicaSets, is followed
    /// there.
    pub(crate) fn all(kind: &'static str, objects: &[Object]) -> Vec<Self> {
        let is_own = |object: &&Object| {
            !object.body.items("/metadata/ownerReferences").iter().any(|owner| owner["controller"] == true)
        };
        objects.iter().filter(is_own).map(|object| Self::of(kind, object)).collect()
    }

    /// Reads a workload of which at least [`FIELDS`] or [`HEALTH_FIELDS`] are known.
    pub(crate) fn of(kind: &'static str, object: &Object) -> Self {
        let body = &object.body;
        let (wanted, ready) = match kind {
            "DaemonSet" => {
                (body.number("/status/desiredNumberScheduled").unwrap_or(0), body.number("/status/numberReady"))
            }
            _ => (body.number("/spec/replicas").unwrap_or(1), body.number("/status/readyReplicas")),
        };
        Self {
            kind,
            namespace: object.id.namespace.clone().unwrap_or_default(),
            name: object.id.name.clone(),
            labels: text_map(body, "/spec/template/metadata/labels"),
            wanted,
            ready: ready.unwrap_or(0),
        }
    }

    /// `Kind namespace/name`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }

    /// Whether as many Pods are ready as there should be.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready >= self.wanted
    }

    /// The same, where so many nodes are known to be away: a DaemonSet cannot be ready there.
    pub(crate) fn is_ready_but_for(&self, away: usize) -> bool {
        let away = if self.kind == "DaemonSet" { i64::try_from(away).unwrap_or(i64::MAX) } else { 0 };
        self.ready.saturating_add(away) >= self.wanted
    }

    /// `2/3 ready`.
    pub(crate) fn count(&self) -> String {
        format!("{}/{} ready", self.ready, self.wanted)
    }
}

/// Workloads whose Pods a drain evicts and that no budget protects.
pub(crate) fn unprotected<'a>(workloads: &'a [Workload], budgets: &[Budget]) -> Vec<&'a Workload> {
    workloads
        .iter()
        .filter(|workload| workload.kind != "DaemonSet" && workload.wanted > 0)
        .filter(|workload| !budgets.iter().any(|budget| budget.covers(&workload.namespace, &workload.labels)))
        .collect()
}

/// CEL over the list of a kind: each has its ready count, those left out aside.
pub(crate) fn ready_condition(kind: &str, left_out: &[&Workload]) -> String {
    let names: Vec<String> = left_out
        .iter()
        .filter(|workload| workload.kind == kind)
        .map(|workload| Value::String(format!("{}/{}", workload.namespace, workload.name)).to_string())
        .collect();
    let ready = match kind {
        "DaemonSet" => {
            "has(o.status) && has(o.status.desiredNumberScheduled) && (o.status.desiredNumberScheduled == 0 || \
             (has(o.status.numberReady) && o.status.numberReady >= o.status.desiredNumberScheduled))"
        }
        _ => {
            "(has(o.spec.replicas) && o.spec.replicas == 0) || (has(o.status) && has(o.status.readyReplicas) && \
             o.status.readyReplicas >= (has(o.spec.replicas) ? o.spec.replicas : 1))"
        }
    };
    let controlled = "(has(o.metadata.ownerReferences) && o.metadata.ownerReferences.exists(r, has(r.controller) && \
                      r.controller))";
    if names.is_empty() {
        return format!("objects.all(o, {controlled} || {ready})");
    }
    let names = names.join(", ");
    format!("objects.all(o, {controlled} || (o.metadata.namespace + \"/\" + o.metadata.name) in [{names}] || {ready})")
}

/// Nodes in one line; more are counted.
const SHOWN: usize = 40;

/// Where Pods run: `node-1: 3 (shop/web 2, shop/db 1); node-2: …`, Pods of DaemonSets and finished ones left out.
pub(crate) fn placement(pods: &[Pod]) -> String {
    let mut nodes: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.finished && !pod.mirror) {
        let (kind, owner) = match &pod.owner {
            Some((kind, name)) => (kind.as_str(), name.as_str()),
            None => ("Pod", pod.name.as_str()),
        };
        if kind == "DaemonSet" {
            continue;
        }
        // A ReplicaSet is named after its Deployment and the hash of its template.
        let template = pod.labels.get("pod-template-hash").filter(|_| kind == "ReplicaSet");
        let name = template.and_then(|hash| owner.strip_suffix(&format!("-{hash}"))).unwrap_or(owner);
        let node = pod.node.as_deref().unwrap_or("(nowhere)");
        *nodes.entry(node).or_default().entry(format!("{}/{name}", pod.namespace)).or_default() += 1;
    }
    let more = nodes.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = nodes
        .iter()
        .take(SHOWN)
        .map(|(node, workloads)| {
            let each: Vec<String> = workloads.iter().map(|(name, count)| format!("{name} {count}")).collect();
            format!("{node}: {} ({})", workloads.values().sum::<u32>(), each.join(", "))
        })
        .collect();
    if more > 0 {
        lines.push(format!("{more} more nodes"));
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budgets::tests::budget;
    use crate::pods::tests::pod;
    use sdk::api::kubernetes::Identity;
    use serde_json::json;

    impl Workload {
        /// `shop/x` with so many Pods wanted and ready.
        pub(crate) fn with(kind: &'static str, wanted: i64, ready: i64) -> Self {
            let body = json!({"spec": {"replicas": wanted}, "status": {
                "readyReplicas": ready, "desiredNumberScheduled": wanted, "numberReady": ready}});
            workload(kind, "x", body)
        }
    }

    fn workload(kind: &'static str, name: &str, body: Value) -> Workload {
        let id = Identity {
            namespace: Some("shop".into()),
            name: name.into(),
            uid: "w".into(),
            resource_version: "1".into(),
        };
        Workload::of(kind, &Object { id, body })
    }

    fn labelled(name: &str, replicas: i64) -> Workload {
        workload(
            "Deployment",
            name,
            json!({"spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}}}}}),
        )
    }

    #[test]
    fn readiness_counts_what_is_wanted() {
        for (kind, body, ready) in [
            ("Deployment", json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 3}}), true),
            ("Deployment", json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}), false),
            ("Deployment", json!({"spec": {"replicas": 0}}), true),
            ("StatefulSet", json!({"spec": {}, "status": {}}), false),
            ("DaemonSet", json!({"status": {"desiredNumberScheduled": 2, "numberReady": 2}}), true),
            ("DaemonSet", json!({"status": {"desiredNumberScheduled": 2, "numberReady": 1}}), false),
        ] {
            assert_eq!(workload(kind, "x", body.clone()).is_ready(), ready, "{kind} {body}");
        }
        let half = workload("Deployment", "x", json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}));
        assert_eq!((half.title(), half.count()), ("Deployment shop/x".to_owned(), "2/3 ready".to_owned()));
    }

    #[test]
    fn workloads_without_a_budget_are_found() {
        let workloads = [
            labelled("web", 2),
            labelled("db", 1),
            labelled("off", 0),
            workload("DaemonSet", "agent", json!({"status": {"desiredNumberScheduled": 2}})),
        ];
        let found = unprotected(&workloads, &[budget("web", json!({"spec": {"minAvailable": 1}}))]);
        assert_eq!(found.iter().map(|workload| workload.name.as_str()).collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn what_another_workload_controls_is_followed_there() {
        let set = |name: &str, owners: Value| {
            let id = Identity { namespace: None, name: name.into(), uid: "w".into(), resource_version: "1".into() };
            Object { id, body: json!({"metadata": {"ownerReferences": owners}, "spec": {"replicas": 2}}) }
        };
        let owner = json!([{"kind": "Deployment", "name": "web", "controller": true}]);
        let found = Workload::all("ReplicaSet", &[set("web-5d9", owner), set("own", json!([]))]);
        assert_eq!(
            found.iter().map(|workload| (workload.name.as_str(), workload.is_ready())).collect::<Vec<_>>(),
            [("own", false)]
        );
    }

    #[test]
    fn what_was_not_ready_before_is_left_out() {
        let web = labelled("web", 2);
        assert!(!ready_condition("Deployment", &[]).contains(" in ["));
        assert!(ready_condition("Deployment", &[&web]).contains("in [\"shop/web\"]"));
        assert!(!ready_condition("DaemonSet", &[&web]).contains("shop/web"));
    }

    #[test]
    fn placement_counts_by_node_and_workload() {
        let at = |node: &str, kind: &str, owner: &str, hash: &str| {
            let mut body = json!({"metadata": {"ownerReferences": [{"kind": kind, "name": owner, "controller": true}]}, "spec": {"nodeName": node}});
            if !hash.is_empty() {
                body.put("/metadata/labels/pod-template-hash", json!(hash));
            }
            pod(body)
        };
        let mut done = at("n1", "Job", "job", "");
        done.finished = true;
        let pods = [
            at("n1", "ReplicaSet", "web-5d9", "5d9"),
            at("n1", "ReplicaSet", "web-5d9", "5d9"),
            at("n2", "ReplicaSet", "web-5d9", "5d9"),
            at("n2", "StatefulSet", "db", ""),
            at("n2", "DaemonSet", "agent", ""),
            done,
        ];
        assert_eq!(placement(&pods), "n1: 2 (shop/web 2); n2: 2 (shop/db 1, shop/web 1)");
        assert_eq!(placement(&[]), "");
    }
}
