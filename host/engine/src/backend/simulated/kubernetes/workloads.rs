//! Deployments, ReplicaSets, ReplicationControllers and Jobs.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::objects::{condition, name_of, namespace_of, number, owner_reference, owner_term, set, text, uid_of, unset};
use crate::backend::simulated::model::Model;
use crate::contract::Failure;

const HASH: &str = "pod-template-hash";
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";
/// ReplicaSets without Pods that a Deployment keeps.
const HISTORY: i64 = 10;

/// Whether a Pod is Ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == "True"
}

/// Whether a Pod ran to its end.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// A short hash of a template, such as Kubernetes puts into names.
pub(crate) fn template_hash(template: &Value) -> String {
    let mut canonical = template.clone();
    unset(&mut canonical, "/metadata/creationTimestamp");
    hex::encode(&Sha256::digest(sorted(&canonical).to_string().as_bytes())[..5])
}

/// With the keys of all objects sorted: the order in which fields were written says nothing.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            let sorted_fields = names.into_iter().map(|name| (name.clone(), sorted(&fields[name])));
            Value::Object(sorted_fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// A number or a percentage of `of`, rounded up or down.
pub(crate) fn share(value: Option<&Value>, default: &str, of: i64, up: bool) -> i64 {
    let text = match value {
        Some(Value::Number(number)) => return number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => text.as_str(),
        _ => default,
    };
    match text.trim_end_matches('%').parse::<i64>() {
        Ok(percent) if text.ends_with('%') => (percent * of + if up { 99 } else { 0 }) / 100,
        Ok(count) => count,
        Err(_) => 0,
    }
}

/// A Pod from a template, owned by `owner`.
pub(crate) fn pod_from(owner: &Value, template: &Value, labels: &[(&str, &str)]) -> Value {
    let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
    unset(&mut metadata, "/creationTimestamp");
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
        "status": {"phase": "Pending"},
    });
    set(&mut pod, "/metadata/namespace", namespace_of(owner).into());
    set(&mut pod, "/metadata/generateName", format!("{}-", name_of(owner)).into());
    set(&mut pod, "/metadata/ownerReferences", json!([owner_reference(owner)]));
    for (name, value) in labels {
        set(&mut pod, &format!("/metadata/labels/{}", name.replace('/', "~1")), (*value).into());
    }
    pod
}

/// A condition of a status.
pub(crate) fn state(kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

fn replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

fn count(object: &Value, field: &str) -> i64 {
    number(object, &format!("/status/{field}")).unwrap_or(0)
}

impl Model<'_> {
    /// Brings a Deployment's ReplicaSets one step further.
    pub(crate) fn roll_deployment(&mut self, cluster: &str, deployment: Value) -> Result<(), Failure> {
        let sets = self.replica_sets(cluster, &deployment)?;
        let template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
        let hash = template_hash(&template);
        let (new, old): (Vec<Value>, Vec<Value>) =
            sets.into_iter().partition(|set| text(set, &format!("/metadata/labels/{HASH}")) == hash);
        let Some(new) = new.into_iter().next() else {
            return self.new_replica_set(cluster, &deployment, &template, &hash, &old);
        };
        let wanted = replicas(&deployment);
        let recreate = text(&deployment, "/spec/strategy/type") == "Recreate";
        let surge = share(deployment.pointer("/spec/strategy/rollingUpdate/maxSurge"), "25%", wanted, true);
        let mut unavailable =
            share(deployment.pointer("/spec/strategy/rollingUpdate/maxUnavailable"), "25%", wanted, false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let old_wanted: i64 = old.iter().map(replicas).sum();
        let old_there: i64 = old.iter().map(|set| count(set, "replicas")).sum();
        let new_wanted = replicas(&new);
        if deployment.pointer("/spec/paused").and_then(Value::as_bool) != Some(true) {
            let goal = match recreate {
                true if old_wanted > 0 || old_there > 0 => new_wanted.min(0),
                true => wanted,
                false => wanted.min(new_wanted.max(wanted + surge - old_wanted)),
            };
            if goal != new_wanted {
                self.scale(cluster, &new, goal)?;
            }
            let available =
                count(&new, "availableReplicas") + old.iter().map(|s| count(s, "availableReplicas")).sum::<i64>();
            let mut spare = match recreate {
                true => old_wanted,
                false => (available - (wanted - unavailable)).max(0),
            };
            for set in &old {
                let (have, ready) = (replicas(set), count(set, "availableReplicas"));
                // Pods that are not ready are no loss.
                let go = (have - ready).max(0) + spare.min(ready);
                spare -= spare.min(ready);
                if go.min(have) > 0 {
                    self.scale(cluster, set, have - go.min(have))?;
                }
            }
        }
        self.prune_history(cluster, &deployment, &old)?;
        self.deployment_status(cluster, &deployment, &new, &old)
    }

    fn replica_sets(&self, cluster: &str, deployment: &Value) -> Result<Vec<Value>, Failure> {
        let owned = self.indexed(&owner_term(cluster, uid_of(deployment)))?;
        let mut sets: Vec<Value> = owned
            .into_iter()
            .map(|(_, object)| object)
            .filter(|object| text(object, "/kind") == "ReplicaSet")
            .collect();
        sets.sort_by_key(revision);
        Ok(sets)
    }

    fn new_replica_set(
        &mut self,
        cluster: &str,
        deployment: &Value,
        template: &Value,
        hash: &str,
        old: &[Value],
    ) -> Result<(), Failure> {
        let revision = old.iter().map(revision).max().unwrap_or(0) + 1;
        let mut template = template.clone();
        set(&mut template, &format!("/metadata/labels/{HASH}"), hash.into());
        let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_default();
        set(&mut selector, &format!("/matchLabels/{HASH}"), hash.into());
        let labels = template.pointer("/metadata/labels").cloned();
        let replica_set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name_of(deployment)),
                "namespace": namespace_of(deployment),
                "labels": labels,
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        });
        self.insert_object(cluster, replica_set)?;
        Ok(())
    }

    fn scale(&mut self, cluster: &str, replica_set: &Value, to: i64) -> Result<(), Failure> {
        let mut replica_set = replica_set.clone();
        set(&mut replica_set, "/spec/replicas", to.into());
        self.store_object(cluster, replica_set)?;
        Ok(())
    }

    fn prune_history(&mut self, cluster: &str, deployment: &Value, old: &[Value]) -> Result<(), Failure> {
        let keep = number(deployment, "/spec/revisionHistoryLimit").unwrap_or(HISTORY);
        let empty: Vec<&Value> = old.iter().filter(|set| replicas(set) == 0 && count(set, "replicas") == 0).collect();
        let surplus = empty.len().saturating_sub(usize::try_from(keep).unwrap_or(0));
        for set in empty.into_iter().take(surplus) {
            self.drop_object(cluster, "ReplicaSet.apps", namespace_of(set), name_of(set))?;
        }
        Ok(())
    }

    fn deployment_status(
        &mut self,
        cluster: &str,
        deployment: &Value,
        new: &Value,
        old: &[Value],
    ) -> Result<(), Failure> {
        let sum = |field: &str| count(new, field) + old.iter().map(|set| count(set, field)).sum::<i64>();
        let wanted = replicas(deployment);
        let available = sum("availableReplicas");
        let unavailable =
            share(deployment.pointer("/spec/strategy/rollingUpdate/maxUnavailable"), "25%", wanted, false);
        let updated = count(new, "replicas");
        let complete = updated == wanted && available == wanted && sum("replicas") == wanted;
        let progress = match complete {
            true => state("Progressing", true, "NewReplicaSetAvailable", "ReplicaSet has successfully progressed."),
            false => state("Progressing", true, "ReplicaSetUpdated", "ReplicaSet is progressing."),
        };
        let enough = available >= wanted - unavailable;
        let reason = if enough { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
        let mut status = json!({
            "observedGeneration": number(deployment, "/metadata/generation"),
            "replicas": sum("replicas"),
            "updatedReplicas": updated,
            "readyReplicas": sum("readyReplicas"),
            "availableReplicas": available,
            "conditions": [state("Available", enough, reason, ""), progress],
        });
        if available < wanted {
            status["unavailableReplicas"] = (wanted - available).into();
        }
        let mut known = deployment.clone();
        let current = text(new, REVISION).to_owned();
        if text(&known, REVISION) != current {
            set(&mut known, REVISION, current.into());
            set(&mut known, "/status", status);
            self.store_object(cluster, known)?;
            return Ok(());
        }
        self.store_status(cluster, deployment, status)
    }

    /// Keeps as many Pods of a ReplicaSet or ReplicationController as it asks for.
    pub(crate) fn keep_replicas(&mut self, cluster: &str, set: Value) -> Result<(), Failure> {
        let wanted = usize::try_from(replicas(&set)).unwrap_or(0);
        let mut pods: Vec<Value> = self.pods_of(cluster, &set)?;
        pods.retain(|pod| !is_finished(pod));
        let template = set.pointer("/spec/template").cloned().unwrap_or_default();
        if pods.len() < wanted {
            for _ in pods.len()..wanted {
                let pod = pod_from(&set, &template, &[]);
                self.insert_object(cluster, pod)?;
            }
            return Ok(());
        }
        if pods.len() > wanted {
            // The least valuable first: not ready, then the youngest.
            pods.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(created(pod))));
            for pod in pods.iter().take(pods.len() - wanted) {
                self.delete_object(cluster, "Pod", namespace_of(pod), name_of(pod))?;
            }
            return Ok(());
        }
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let status = json!({
            "observedGeneration": number(&set, "/metadata/generation"),
            "replicas": pods.len(),
            "fullyLabeledReplicas": pods.len(),
            "readyReplicas": ready,
            "availableReplicas": ready,
        });
        self.store_status(cluster, &set, status)
    }

    /// Starts a Job's Pods and counts those that ran to their end.
    pub(crate) fn run_job(&mut self, cluster: &str, job: Value) -> Result<(), Failure> {
        let wanted = usize::try_from(number(&job, "/spec/completions").unwrap_or(1)).unwrap_or(1);
        let limit = usize::try_from(number(&job, "/spec/backoffLimit").unwrap_or(6)).unwrap_or(0);
        let pods = self.pods_of(cluster, &job)?;
        let phase = |wanted: &str| pods.iter().filter(|pod| text(pod, "/status/phase") == wanted).count();
        let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
        let active = pods.len() - succeeded - failed;
        if succeeded + active < wanted
            && failed <= limit
            && job.pointer("/spec/suspend").and_then(Value::as_bool) != Some(true)
        {
            let template = job.pointer("/spec/template").cloned().unwrap_or_default();
            let pod = pod_from(
                &job,
                &template,
                &[("job-name", name_of(&job)), ("batch.kubernetes.io/job-name", name_of(&job))],
            );
            self.insert_object(cluster, pod)?;
            return Ok(());
        }
        let mut status = Map::new();
        status.insert("active".to_owned(), active.into());
        status.insert("succeeded".to_owned(), succeeded.into());
        status.insert("failed".to_owned(), failed.into());
        if succeeded >= wanted {
            status.insert("conditions".to_owned(), json!([state("Complete", true, "CompletionsReached", "")]));
        } else if failed > limit {
            status.insert("conditions".to_owned(), json!([state("Failed", true, "BackoffLimitExceeded", "")]));
        }
        self.store_status(cluster, &job, Value::Object(status))
    }
}

fn revision(set: &Value) -> i64 {
    text(set, REVISION).parse().unwrap_or(0)
}

fn created(pod: &Value) -> (String, i64) {
    let version = text(pod, "/metadata/resourceVersion").parse().unwrap_or(0);
    (text(pod, "/metadata/creationTimestamp").to_owned(), version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(share(Some(&json!("25%")), "", 3, true), 1);
        assert_eq!(share(Some(&json!("25%")), "", 3, false), 0);
        assert_eq!(share(Some(&json!(2)), "", 3, false), 2);
        assert_eq!(share(None, "50%", 4, false), 2);
        assert_eq!(share(Some(&json!("x")), "", 4, false), 0);
    }

    #[test]
    fn the_order_of_fields_is_not_in_the_hash() {
        let a = json!({"spec": {"a": 1, "b": [{"x": 1, "y": 2}]}});
        let b = json!({"spec": {"b": [{"y": 2, "x": 1}], "a": 1}});
        assert_eq!(template_hash(&a), template_hash(&b));
        assert_ne!(template_hash(&a), template_hash(&json!({})));
    }
}
