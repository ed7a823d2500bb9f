//! Following a workload until every Pod of it is the new one and ready.

use serde_json::{Value, json};

use crate::api::kubernetes::ObjectRef;
use crate::json::At;
use crate::kubernetes::{Cluster, Object, describe_ref};
use crate::{Failure, FailureKind, problems::failure};

/// Kinds whose rollout can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

impl Workload {
    /// The kind's name.
    pub fn kind(self) -> &'static str {
        match self {
            Workload::DaemonSet => "DaemonSet",
            Workload::Deployment => "Deployment",
            Workload::StatefulSet => "StatefulSet",
        }
    }

    /// CEL over `object`: the controller has seen the latest change, and every Pod is of it and available.
    /// Counts of zero are left out by the API server, hence `has`.
    pub fn rolled_out(self) -> &'static str {
        match self {
            Workload::DaemonSet => {
                "object != null && has(object.status) && has(object.status.observedGeneration) && \
                 object.status.observedGeneration >= object.metadata.generation && \
                 has(object.status.desiredNumberScheduled) && (object.status.desiredNumberScheduled == 0 || \
                 (has(object.status.updatedNumberScheduled) && has(object.status.numberAvailable) && \
                 object.status.updatedNumberScheduled == object.status.desiredNumberScheduled && \
                 object.status.numberAvailable == object.status.desiredNumberScheduled))"
            }
            Workload::Deployment => {
                "object != null && has(object.status) && has(object.status.observedGeneration) && \
                 object.status.observedGeneration >= object.metadata.generation && \
                 (object.spec.replicas == 0 ? !has(object.status.replicas) || object.status.replicas == 0 : \
                 has(object.status.replicas) && has(object.status.updatedReplicas) && \
                 has(object.status.availableReplicas) && object.status.updatedReplicas == object.spec.replicas && \
                 object.status.replicas == object.spec.replicas && \
                 object.status.availableReplicas == object.spec.replicas)"
            }
            Workload::StatefulSet => {
                "object != null && has(object.status) && has(object.status.observedGeneration) && \
                 object.status.observedGeneration >= object.metadata.generation && \
                 (object.spec.replicas == 0 ? !has(object.status.replicas) || object.status.replicas == 0 : \
                 has(object.status.replicas) && has(object.status.readyReplicas) && \
                 object.status.replicas == object.spec.replicas && \
                 object.status.readyReplicas == object.spec.replicas && \
                 object.status.currentRevision == object.status.updateRevision)"
            }
        }
    }

    /// The merge patch on the status that makes the condition true, for plans.
    pub fn forecast(self, body: &Value) -> Value {
        let generation = body.number("/metadata/generation").unwrap_or(1);
        let replicas = body.number("/spec/replicas").unwrap_or(1);
        match self {
            Workload::DaemonSet => {
                let nodes = body.number("/status/desiredNumberScheduled").unwrap_or(0);
                json!({"status": {
                    "observedGeneration": generation, "desiredNumberScheduled": nodes, "currentNumberScheduled": nodes,
                    "updatedNumberScheduled": nodes, "numberAvailable": nodes, "numberReady": nodes,
                    "numberUnavailable": null,
                }})
            }
            Workload::Deployment => json!({"status": {
                "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas, "unavailableReplicas": null,
            }}),
            Workload::StatefulSet => json!({"status": {
                "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas, "currentReplicas": replicas,
                "currentRevision": body.text("/status/updateRevision"),
            }}),
        }
    }
}

impl Cluster<'_> {
    /// Follows a rollout to its end. When it does not end in time, the failure says which Pods are not ready and why,
    /// as far as the plugin may read Pods.
    pub fn rollout(&self, workload: Workload, namespace: &str, name: &str, seconds: u32) -> Result<Object, Failure> {
        let at = self.namespaced("apps/v1", workload.kind(), namespace, name);
        let Some(before) = self.get(std::slice::from_ref(&at))?.into_iter().flatten().next() else {
            return Err(failure(FailureKind::NotFound, describe_ref(&at), "there is nothing to roll out"));
        };
        let forecast = workload.forecast(&before.body);
        match self.wait_object(at.clone(), workload.rolled_out(), seconds, Some(forecast)) {
            Ok(Some(after)) => Ok(after),
            Ok(None) => Err(failure(FailureKind::NotFound, describe_ref(&at), "it went away while it rolled out")),
            Err(failure) if failure.kind == FailureKind::TimedOut => Err(self.explained(failure, &at, &before.body)),
            Err(failure) => Err(failure),
        }
    }

    fn explained(&self, mut failure: Failure, at: &ObjectRef, body: &Value) -> Failure {
        let selection = self.select("v1", "Pod", at.namespace.as_deref(), &match_labels(body));
        if let Ok(pods) = self.list(selection, &["/spec/nodeName", "/status"]) {
            let waiting: Vec<String> = pods.iter().filter_map(|pod| not_ready(&pod.id.name, &pod.body)).collect();
            if !waiting.is_empty() {
                failure.message = format!("{}; not ready: {}", failure.message, waiting.join("; "));
            }
        }
        failure
    }
}

/// A workload's `matchLabels` as a selector.
pub fn match_labels(workload: &Value) -> String {
    let labels = workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let terms: Vec<String> =
        labels.into_iter().flatten().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    terms.join(",")
}

/// Whether a Pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    pod.items("/status/conditions")
        .iter()
        .any(|condition| condition.text("/type") == Some("Ready") && condition.text("/status") == Some("True"))
}

/// What a Pod that is not ready is waiting for.
fn not_ready(name: &str, pod: &Value) -> Option<String> {
    if is_ready(pod) {
        return None;
    }
    let statuses = pod.items("/status/initContainerStatuses").iter().chain(pod.items("/status/containerStatuses"));
    let reason = statuses
        .filter_map(|status| status.text("/state/waiting/reason").or_else(|| status.text("/state/terminated/reason")))
        .find(|reason| *reason != "PodInitializing" && *reason != "Completed")
        .or_else(|| pod.text("/status/phase"))
        .unwrap_or("unknown");
    match pod.text("/spec/nodeName") {
        Some(node) => Some(format!("Pod {name} on {node}: {reason}")),
        None => Some(format!("Pod {name}: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_pod_says_why() {
        let pod = json!({
            "spec": {"nodeName": "node-1"},
            "status": {"phase": "Pending", "initContainerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}],
                       "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
        });
        assert_eq!(not_ready("p", &pod).as_deref(), Some("Pod p on node-1: ImagePullBackOff"));
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(not_ready("p", &ready), None);
        assert_eq!(not_ready("p", &json!({"status": {"phase": "Pending"}})).as_deref(), Some("Pod p: Pending"));
    }

    #[test]
    fn the_forecast_counts_what_is_wanted() {
        let body = json!({"metadata": {"generation": 4}, "spec": {"replicas": 3}, "status": {"updateRevision": "r2"}});
        let forecast = Workload::StatefulSet.forecast(&body);
        assert_eq!(forecast.number("/status/readyReplicas"), Some(3));
        assert_eq!(forecast.text("/status/currentRevision"), Some("r2"));
        assert_eq!(Workload::Deployment.forecast(&body).number("/status/observedGeneration"), Some(4));
    }

    #[test]
    fn labels_make_a_selector() {
        let body = json!({"spec": {"selector": {"matchLabels": {"app": "x", "tier": "y"}}}});
        assert_eq!(match_labels(&body), "app=x,tier=y");
    }
}
