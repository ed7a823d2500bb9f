//! What the API server fills in when an object is created.

use serde_json::{Value, json};

use super::objects::{kind_of, set, text};
use crate::backend::simulated::model::Model;

impl Model<'_> {
    /// Fills in what the API server fills in.
    pub(crate) fn defaults(&self, object: &mut Value, unique: &str) {
        let absent = |object: &Value, pointer: &str| object.pointer(pointer).is_none();
        match kind_of(object).as_str() {
            "Deployment.apps" | "ReplicaSet.apps" | "StatefulSet.apps" | "ReplicationController"
                if absent(object, "/spec/replicas") =>
            {
                set(object, "/spec/replicas", 1.into());
            }
            "Service" => {
                if absent(object, "/spec/type") {
                    set(object, "/spec/type", "ClusterIP".into());
                }
                if absent(object, "/spec/clusterIP") && text(object, "/spec/type") != "ExternalName" {
                    let byte = |at: usize| u8::from_str_radix(unique.get(at..at + 2).unwrap_or("01"), 16).unwrap_or(1);
                    let ip = format!("10.96.{}.{}", byte(40), byte(42));
                    set(object, "/spec/clusterIPs", json!([ip]));
                    set(object, "/spec/clusterIP", ip.into());
                }
            }
            "Namespace" => {
                let name = text(object, "/metadata/name").to_owned();
                set(object, "/metadata/labels/kubernetes.io~1metadata.name", name.into());
                set(object, "/status/phase", "Active".into());
            }
            "Pod" => {
                if absent(object, "/spec/restartPolicy") {
                    set(object, "/spec/restartPolicy", "Always".into());
                }
                if absent(object, "/spec/terminationGracePeriodSeconds") {
                    set(object, "/spec/terminationGracePeriodSeconds", 30.into());
                }
                if absent(object, "/status/phase") {
                    set(object, "/status/phase", "Pending".into());
                }
            }
            "CustomResourceDefinition.apiextensions.k8s.io" => {
                let names = object.pointer("/spec/names").cloned().unwrap_or_default();
                set(
                    object,
                    "/status",
                    json!({
                        "acceptedNames": names,
                        "conditions": [
                            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
                            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
                        ],
                    }),
                );
            }
            "Job.batch" => self.label_job(object),
            _ => {}
        }
    }

    fn label_job(&self, job: &mut Value) {
        let name = text(job, "/metadata/name").to_owned();
        if job.pointer("/spec/selector").is_none() {
            set(job, "/spec/selector/matchLabels/batch.kubernetes.io~1job-name", name.into());
        }
        if text(job, "/spec/template/spec/restartPolicy").is_empty() {
            set(job, "/spec/template/spec/restartPolicy", "Never".into());
        }
    }
}
