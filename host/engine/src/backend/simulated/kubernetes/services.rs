//! Services and their EndpointSlices.

use serde_json::{Value, json};

use super::objects::{is_ending, label_term, name_of, namespace_of, owner_reference, set, text, uid_of};
use super::workloads::{is_finished, is_ready};
use crate::backend::select::Labels;
use crate::backend::simulated::model::{Model, keys};
use crate::contract::Failure;

impl Model<'_> {
    /// Pods of a namespace that labels select.
    pub(crate) fn selected_pods(&self, cluster: &str, namespace: &str, labels: &Labels) -> Result<Vec<Value>, Failure> {
        let pods = match labels.certain() {
            Some((name, value)) => {
                let found = self.indexed(&label_term(cluster, namespace, name, value))?;
                found.into_iter().map(|(_, pod)| pod).collect()
            }
            None => self.objects(cluster, "Pod", namespace)?,
        };
        Ok(pods.into_iter().filter(|pod: &Value| labels.fit(pod.pointer("/metadata/labels"))).collect())
    }

    /// Brings the EndpointSlices of a namespace's Services up to date.
    pub(crate) fn follow_services(&mut self, cluster: &str, namespace: &str) -> Result<(), Failure> {
        for service in self.objects(cluster, "Service", namespace)? {
            let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else {
                continue;
            };
            if selector.is_empty() {
                continue;
            }
            let pods = self.selected_pods(cluster, namespace, &Labels::of_map(selector))?;
            let endpoints: Vec<Value> = pods
                .iter()
                .filter(|pod| !text(pod, "/status/podIP").is_empty() && !is_finished(pod))
                .map(|pod| {
                    json!({
                        "addresses": [text(pod, "/status/podIP")],
                        "conditions": {"ready": is_ready(pod), "serving": is_ready(pod), "terminating": is_ending(pod)},
                        "nodeName": text(pod, "/spec/nodeName"),
                        "targetRef": {"kind": "Pod", "name": name_of(pod), "namespace": namespace, "uid": uid_of(pod)},
                    })
                })
                .collect();
            self.store_slice(cluster, &service, endpoints)?;
        }
        Ok(())
    }

    fn store_slice(&mut self, cluster: &str, service: &Value, endpoints: Vec<Value>) -> Result<(), Failure> {
        let namespace = namespace_of(service);
        let name = format!("{}-{}", name_of(service), uid_of(service).get(..5).unwrap_or("slice"));
        let ports = service.pointer("/spec/ports").and_then(Value::as_array);
        let ports: Vec<Value> = ports
            .into_iter()
            .flatten()
            .map(|port| {
                let target = port.get("targetPort").filter(|target| target.is_number());
                json!({
                    "name": text(port, "/name"),
                    "port": target.or_else(|| port.get("port")),
                    "protocol": port.get("protocol").cloned().unwrap_or_else(|| "TCP".into()),
                })
            })
            .collect();
        let kind = "EndpointSlice.discovery.k8s.io";
        let there = self.tx.get::<Value>(&keys::object(cluster, kind, namespace, &name))?;
        let mut slice = match there {
            Some(there) => there,
            None => {
                let new = json!({
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": name,
                        "namespace": namespace,
                        "labels": {"kubernetes.io/service-name": name_of(service)},
                        "ownerReferences": [owner_reference(service)],
                    },
                    "addressType": "IPv4",
                });
                self.insert_object(cluster, new)?
            }
        };
        let before = slice.clone();
        set(&mut slice, "/endpoints", endpoints.into());
        set(&mut slice, "/ports", ports.into());
        if slice != before {
            self.store_object(cluster, slice)?;
        }
        Ok(())
    }
}
