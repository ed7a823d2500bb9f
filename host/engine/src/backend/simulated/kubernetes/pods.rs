//! Kubelets: Pods on their nodes.

use serde_json::{Value, json};

use super::controllers::Work;
use super::objects::{condition, is_ending, name_of, namespace_of, node_term, set, text, uid_of, unset};
use super::workloads::is_ready;
use crate::backend::simulated::model::{Model, Scope, keys};
use crate::backend::simulated::pattern::glob;
use crate::contract::Failure;
use runner_types::simulated::{PodEvent, PodMoment};

/// Whether and how a Pod runs.
enum Health {
    Ready,
    NotReady(String),
    Crashing(String),
}

impl Model<'_> {
    /// Looks at a Pod as scheduler and kubelet do.
    pub(crate) fn look_at_pod(&mut self, cluster: &str, key: &str) -> Result<(), Failure> {
        let Some(pod) = self.object_at(key)? else {
            return Ok(());
        };
        let node = text(&pod, "/spec/nodeName").to_owned();
        if node.is_empty() {
            return match is_ending(&pod) {
                true => self.end_pod(cluster, &pod),
                false => self.schedule(cluster, pod),
            };
        }
        let Some(state) = self.node_state(cluster, &node)? else {
            // Its node is gone, and it with it.
            return match self.controlled(cluster)? {
                true => self.end_pod(cluster, &pod),
                false => Ok(()),
            };
        };
        if !state.ready {
            return match is_ready(&pod) {
                true => self.lose_pod(cluster, pod),
                false => Ok(()),
            };
        }
        if is_ending(&pod) {
            return self.end_pod(cluster, &pod);
        }
        match text(&pod, "/status/phase") {
            "" | "Pending" => self.start_pod(cluster, pod, &node),
            "Running" => self.watch_pod(cluster, pod, &node),
            _ => Ok(()),
        }
    }

    /// Lets the kubelet of a node look at all its Pods.
    pub(crate) fn node_changed(&mut self, cluster: &str, node: &str) -> Result<(), Failure> {
        for key in self.tx.indexed(&node_term(cluster, node)) {
            self.work.insert(Work::Pod { cluster: cluster.to_owned(), key });
        }
        Ok(())
    }

    /// Looks once more at Pods that are not ready: what they wait for may have come.
    pub(crate) fn look_at_unready(&mut self, cluster: &str, namespace: Option<&str>) -> Result<(), Failure> {
        let prefix = match namespace {
            Some(namespace) => format!("{}Pod/{namespace}/", keys::objects(cluster)),
            None => format!("{}Pod/", keys::objects(cluster)),
        };
        for (key, fact) in self.tx.below(&prefix) {
            if !fact.contains("\"type\":\"Ready\",\"status\":\"True\"") {
                self.work.insert(Work::Pod { cluster: cluster.to_owned(), key });
            }
        }
        Ok(())
    }

    /// Notes that a host was rebooted: Pods of its node were started anew.
    pub(crate) fn host_rebooted(&mut self, host: &str) -> Result<(), Failure> {
        let Some(facts) = self.host(host)? else {
            return Ok(());
        };
        let (Some(cluster), Some(node)) = (facts.cluster, facts.node) else {
            return Ok(());
        };
        for (key, mut pod) in self.indexed(&node_term(&cluster, &node))? {
            if text(&pod, "/status/phase") == "Running" {
                set(&mut pod, "/status/phase", "Pending".into());
                unset(&mut pod, "/status/conditions");
                self.store_object(&cluster, pod)?;
                self.work.insert(Work::Pod { cluster: cluster.clone(), key });
            }
        }
        Ok(())
    }

    fn end_pod(&mut self, cluster: &str, pod: &Value) -> Result<(), Failure> {
        if !text(pod, "/spec/nodeName").is_empty() && text(pod, "/status/phase") == "Running" {
            self.pod_moment(cluster, pod, PodMoment::Stop)?;
        }
        self.drop_object(cluster, "Pod", namespace_of(pod), name_of(pod))?;
        Ok(())
    }

    /// The node's kubelet went silent: the node controller says that the Pod is not ready.
    fn lose_pod(&mut self, cluster: &str, mut pod: Value) -> Result<(), Failure> {
        if !self.controlled(cluster)? {
            return Ok(());
        }
        let conditions = conditions(false, "NodeNotReady", "the node's kubelet does not answer", &self.seconds());
        set(&mut pod, "/status/conditions", conditions);
        self.store_object(cluster, pod)?;
        Ok(())
    }

    fn start_pod(&mut self, cluster: &str, mut pod: Value, node: &str) -> Result<(), Failure> {
        let crashed = self.pod_moment(cluster, &pod, PodMoment::Start)?;
        let health = match crashed {
            Some(message) => Health::Crashing(message),
            None => self.health(cluster, &pod)?,
        };
        let started = self.seconds();
        set(&mut pod, "/status/phase", "Running".into());
        set(&mut pod, "/status/startTime", started.into());
        let ip = self.pod_ip(cluster, &pod, node)?;
        if let Some(host) = self.internal_ip(cluster, node)? {
            set(&mut pod, "/status/hostIP", host.into());
        }
        set(&mut pod, "/status/podIPs", json!([{"ip": ip}]));
        set(&mut pod, "/status/podIP", ip.into());
        set(&mut pod, "/status/qosClass", "Burstable".into());
        if text(&pod, "/spec/restartPolicy") == "OnFailure" || text(&pod, "/spec/restartPolicy") == "Never" {
            return self.finish_pod(cluster, pod, &health);
        }
        self.report_pod(cluster, pod, &health, true)
    }

    /// A Pod that is to run to its end does so at once.
    fn finish_pod(&mut self, cluster: &str, mut pod: Value, health: &Health) -> Result<(), Failure> {
        let (phase, code) = match health {
            Health::Crashing(_) => ("Failed", 1),
            Health::Ready | Health::NotReady(_) => ("Succeeded", 0),
        };
        set(&mut pod, "/status/phase", phase.into());
        let now = self.seconds();
        let statuses =
            container_statuses(&pod, false, |_| json!({"terminated": {"exitCode": code, "finishedAt": now}}), 0);
        set(&mut pod, "/status/containerStatuses", statuses);
        set(&mut pod, "/status/conditions", conditions(false, "PodCompleted", "", &now));
        self.store_object(cluster, pod)?;
        Ok(())
    }

    fn watch_pod(&mut self, cluster: &str, pod: Value, node: &str) -> Result<(), Failure> {
        let crashing = pod.pointer("/status/containerStatuses/0/state/waiting").is_some();
        if crashing {
            return self.start_pod(cluster, pod, node);
        }
        let health = self.health(cluster, &pod)?;
        self.report_pod(cluster, pod, &health, false)
    }

    /// Writes a Pod's status, if it is another one.
    fn report_pod(&mut self, cluster: &str, mut pod: Value, health: &Health, fresh: bool) -> Result<(), Failure> {
        let ready = matches!(health, Health::Ready);
        if !fresh && ready == is_ready(&pod) && !matches!(health, Health::Crashing(_)) && image_is(&pod) {
            return Ok(());
        }
        let now = self.seconds();
        let (reason, message) = match health {
            Health::Ready => ("", ""),
            Health::NotReady(message) | Health::Crashing(message) => ("ContainersNotReady", message.as_str()),
        };
        let before = pod.clone();
        let conditions = conditions(ready, reason, message, &now);
        if condition(&pod, "Ready") != if ready { "True" } else { "False" } || fresh {
            set(&mut pod, "/status/conditions", conditions);
        }
        let state = |started: &str| match health {
            Health::Crashing(message) => {
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}})
            }
            Health::Ready | Health::NotReady(_) => json!({"running": {"startedAt": started}}),
        };
        let restarts = u64::from(matches!(health, Health::Crashing(_)));
        let statuses = container_statuses(&pod, ready, |_| state(&now), restarts);
        let crashed = pod.pointer("/status/containerStatuses") == Some(&statuses);
        set(&mut pod, "/status/containerStatuses", statuses);
        if crashed && matches!(health, Health::Crashing(_)) {
            // It fails just as it did before.
            let conditions = before.pointer("/status/conditions").cloned();
            set(&mut pod, "/status/conditions", conditions.unwrap_or_default());
            set(&mut pod, "/status/startTime", before.pointer("/status/startTime").cloned().unwrap_or_default());
        }
        if pod != before {
            self.store_object(cluster, pod)?;
        }
        Ok(())
    }

    fn pod_events(&self, pod: &Value) -> Vec<(String, PodEvent)> {
        let labels = pod.pointer("/metadata/labels");
        let has = |name: &str, value: &str| labels.and_then(|l| l.get(name)).and_then(Value::as_str) == Some(value);
        let mut events = Vec::new();
        for behaviours in &self.rules.behaviours {
            for event in &behaviours.pods {
                if glob(&event.namespace, namespace_of(pod)) && event.labels.iter().all(|(n, v)| has(n, v)) {
                    events.push((behaviours.component.clone(), event.clone()));
                }
            }
        }
        events
    }

    fn pod_scope(&self, cluster: &str, component: &str, pod: &Value) -> Result<Scope, Failure> {
        let node = text(pod, "/spec/nodeName");
        let host = self.tx.get::<String>(&keys::node_host(cluster, node))?;
        let mut scope = Scope::on(component, host.as_deref());
        scope.cluster = Some(cluster.to_owned());
        scope.set("pod", pod.clone());
        Ok(scope)
    }

    /// Applies the behaviours of a moment; answers the message of one that fails.
    fn pod_moment(&mut self, cluster: &str, pod: &Value, moment: PodMoment) -> Result<Option<String>, Failure> {
        for (component, event) in self.pod_events(pod) {
            if !event.on.contains(&moment) {
                continue;
            }
            let scope = self.pod_scope(cluster, &component, pod)?;
            if !self.when(&scope, event.when.as_deref())? {
                continue;
            }
            if let Some(message) = &event.fails {
                return self.render(&scope, message).map(Some);
            }
            self.nested(name_of(pod), |model| model.apply_changes(&scope, &event.sets))?;
        }
        Ok(None)
    }

    fn health(&self, cluster: &str, pod: &Value) -> Result<Health, Failure> {
        for (component, event) in self.pod_events(pod) {
            let Some(ready) = &event.ready else { continue };
            let scope = self.pod_scope(cluster, &component, pod)?;
            if self.when(&scope, event.when.as_deref())? && !self.when(&scope, Some(ready))? {
                return self.render(&scope, &event.message).map(Health::NotReady);
            }
        }
        Ok(Health::Ready)
    }

    fn internal_ip(&self, cluster: &str, node: &str) -> Result<Option<String>, Failure> {
        let node = self.object(cluster, "Node", "", node)?.unwrap_or_default();
        let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
        let mut addresses = addresses.into_iter().flatten();
        let internal = addresses.find(|address| text(address, "/type") == "InternalIP");
        Ok(internal.map(|address| text(address, "/address").to_owned()))
    }

    /// The address that a Pod has or gets: its node's on the host network, else one of its node's range.
    fn pod_ip(&mut self, cluster: &str, pod: &Value, node: &str) -> Result<String, Failure> {
        let known = text(pod, "/status/podIP");
        if !known.is_empty() {
            return Ok(known.to_owned());
        }
        if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
            return Ok(self.internal_ip(cluster, node)?.unwrap_or_default());
        }
        let object = self.object(cluster, "Node", "", node)?.unwrap_or_default();
        let range = text(&object, "/spec/podCIDR");
        let range = if range.is_empty() { "10.244.0.0/24" } else { range };
        let base = range.split('/').next().unwrap_or_default();
        let start = base.rsplit_once('.').map_or("10.244.0", |(start, _)| start).to_owned();
        let key = format!("{}/addresses/{node}", keys::cluster(cluster));
        let mut last: u64 = self.tx.get(&key)?.unwrap_or(1);
        for _ in 0..253 {
            last = if last >= 254 { 2 } else { last + 1 };
            let ip = format!("{start}.{last}");
            if self.pod_at(cluster, &ip)?.is_none() {
                self.tx.set(&key, &last)?;
                return Ok(ip);
            }
        }
        Ok(format!("{start}.254"))
    }
}

/// Whether the container statuses show the images that the Pod asks for.
fn image_is(pod: &Value) -> bool {
    let images = |pointer: &str| -> Vec<String> {
        let list = pod.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().map(|c| text(c, "/image").to_owned()).collect()
    };
    images("/spec/containers") == images("/status/containerStatuses")
}

fn container_statuses(pod: &Value, ready: bool, state: impl Fn(&Value) -> Value, restarts: u64) -> Value {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let statuses = containers.into_iter().flatten().map(|container| {
        let image = text(container, "/image");
        json!({
            "name": text(container, "/name"),
            "image": image,
            "imageID": format!("sha256:{}", short_hash(image)),
            "containerID": format!("containerd://{}", short_hash(&format!("{}{}", uid_of(pod), text(container, "/name")))),
            "ready": ready,
            "started": ready,
            "restartCount": restarts,
            "state": state(container),
        })
    });
    Value::Array(statuses.collect())
}

fn short_hash(text: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text.as_bytes()))
}

fn conditions(ready: bool, reason: &str, message: &str, now: &str) -> Value {
    let one = |kind: &str, holds: bool| {
        let mut condition = json!({
            "type": kind,
            "status": if holds { "True" } else { "False" },
            "lastTransitionTime": now,
        });
        if !holds && !reason.is_empty() {
            condition["reason"] = reason.into();
            condition["message"] = message.into();
        }
        condition
    };
    json!([one("PodScheduled", true), one("Initialized", true), one("ContainersReady", ready), one("Ready", ready)])
}
