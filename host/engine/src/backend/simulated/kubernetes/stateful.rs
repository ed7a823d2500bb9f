//! StatefulSets: Pods with numbers, one after the other.

use serde_json::{Value, json};

use super::objects::{name_of, namespace_of, number, set, text, unset};
use super::workloads::{is_finished, is_ready, pod_from, template_hash};
use crate::backend::simulated::model::Model;
use crate::contract::Failure;

impl Model<'_> {
    /// Brings a StatefulSet one step further: missing Pods upwards, surplus and outdated ones downwards.
    pub(crate) fn roll_stateful(&mut self, cluster: &str, owner: Value) -> Result<(), Failure> {
        let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
        let hash = format!("{}-{}", name_of(&owner), template_hash(&template));
        let wanted = number(&owner, "/spec/replicas").unwrap_or(1);
        let first = number(&owner, "/spec/ordinals/start").unwrap_or(0);
        let parallel = text(&owner, "/spec/podManagementPolicy") == "Parallel";
        let by_hand = text(&owner, "/spec/updateStrategy/type") == "OnDelete";
        let partition = number(&owner, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let mut changed = false;
        for ordinal in first..first + wanted {
            let name = format!("{}-{ordinal}", name_of(&owner));
            match self.object(cluster, "Pod", namespace_of(&owner), &name)? {
                None => {
                    self.claims_of(cluster, &owner, ordinal)?;
                    self.numbered_pod(cluster, &owner, &template, &hash, ordinal)?;
                    changed = true;
                }
                Some(pod) if is_finished(&pod) => {
                    self.delete_object(cluster, "Pod", namespace_of(&pod), name_of(&pod))?;
                    changed = true;
                }
                Some(pod) if is_ready(&pod) || parallel => continue,
                Some(_) => {}
            }
            if !parallel {
                break;
            }
        }
        if !changed {
            self.shrink_or_update(cluster, &owner, &hash, first, wanted, if by_hand { i64::MAX } else { partition })?;
        }
        self.stateful_status(cluster, &owner, &hash)
    }

    fn shrink_or_update(
        &mut self,
        cluster: &str,
        owner: &Value,
        hash: &str,
        first: i64,
        wanted: i64,
        partition: i64,
    ) -> Result<(), Failure> {
        let prefix = format!("{}-", name_of(owner));
        let mut pods: Vec<(i64, Value)> = self
            .pods_of(cluster, owner)?
            .into_iter()
            .filter_map(|pod| Some((name_of(&pod).strip_prefix(&prefix)?.parse().ok()?, pod)))
            .collect();
        pods.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        for (ordinal, pod) in &pods {
            let surplus = *ordinal >= first + wanted || *ordinal < first;
            let outdated = text(pod, "/metadata/labels/controller-revision-hash") != hash && *ordinal >= partition;
            if surplus || outdated {
                self.delete_object(cluster, "Pod", namespace_of(pod), name_of(pod))?;
                return Ok(());
            }
            if !is_ready(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes the claims that a StatefulSet's Pod has of its own.
    fn claims_of(&mut self, cluster: &str, owner: &Value, ordinal: i64) -> Result<(), Failure> {
        let templates = owner.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        for template in templates.cloned().into_iter().flatten() {
            let name = format!("{}-{}-{ordinal}", name_of(&template), name_of(owner));
            if self.object(cluster, "PersistentVolumeClaim", namespace_of(owner), &name)?.is_some() {
                continue;
            }
            let mut claim = template.clone();
            set(&mut claim, "/apiVersion", "v1".into());
            set(&mut claim, "/kind", "PersistentVolumeClaim".into());
            set(&mut claim, "/metadata/name", name.into());
            set(&mut claim, "/metadata/namespace", namespace_of(owner).into());
            self.insert_object(cluster, claim)?;
        }
        Ok(())
    }

    fn numbered_pod(
        &mut self,
        cluster: &str,
        owner: &Value,
        template: &Value,
        hash: &str,
        ordinal: i64,
    ) -> Result<(), Failure> {
        let name = format!("{}-{ordinal}", name_of(owner));
        let labels = [("controller-revision-hash", hash), ("statefulset.kubernetes.io/pod-name", name.as_str())];
        let mut pod = pod_from(owner, template, &labels);
        unset(&mut pod, "/metadata/generateName");
        set(&mut pod, "/metadata/name", name.as_str().into());
        set(&mut pod, "/spec/hostname", name.as_str().into());
        let templates = owner.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        let mut volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        for claim in templates.into_iter().flatten() {
            let volume = name_of(claim);
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": format!("{volume}-{name}")}}));
        }
        if !volumes.is_empty() {
            set(&mut pod, "/spec/volumes", volumes.into());
        }
        self.insert_object(cluster, pod)?;
        Ok(())
    }

    fn stateful_status(&mut self, cluster: &str, owner: &Value, hash: &str) -> Result<(), Failure> {
        let pods = self.pods_of(cluster, owner)?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let is_updated = |pod: &&Value| text(pod, "/metadata/labels/controller-revision-hash") == hash;
        let updated = pods.iter().filter(is_updated).count();
        let wanted = number(owner, "/spec/replicas").unwrap_or(1);
        let complete = i64::try_from(updated) == Ok(wanted);
        let before = text(owner, "/status/currentRevision");
        let current = if complete || before.is_empty() { hash } else { before };
        let status = json!({
            "observedGeneration": number(owner, "/metadata/generation"),
            "replicas": pods.len(),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": if complete { updated } else { pods.len() - updated },
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": hash,
        });
        self.store_status(cluster, owner, status)
    }
}
