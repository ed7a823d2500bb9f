//! The scheduler: which node a Pod goes to.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::controllers::Work;
use super::objects::{condition, controller, name_of, namespace_of, node_term, owner_term, set, text};
use super::quantity::milli_of;
use crate::backend::select::Labels;
use crate::backend::simulated::model::{Model, keys};
use crate::contract::Failure;

/// As many nodes that would do are compared; a large cluster is not looked through for each Pod.
const ENOUGH: usize = 32;
const NOT_READY: [&str; 3] =
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"];

/// What a Pod asks for or a node has, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resources {
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
    pub(crate) pods: u64,
}

impl Resources {
    fn of_pod(pod: &Value) -> Self {
        let mut all = Self { pods: 1000, ..Self::default() };
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            all.cpu += milli_of(container.pointer("/resources/requests/cpu"));
            all.memory += milli_of(container.pointer("/resources/requests/memory"));
        }
        all
    }

    fn of_node(node: &Value) -> Self {
        Self {
            cpu: milli_of(node.pointer("/status/allocatable/cpu")),
            memory: milli_of(node.pointer("/status/allocatable/memory")),
            pods: milli_of(node.pointer("/status/allocatable/pods")),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory, pods: self.pods + other.pods }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(other.cpu),
            memory: self.memory.saturating_sub(other.memory),
            pods: self.pods.saturating_sub(other.pods),
        }
    }
}

/// What the scheduler remembers of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeState {
    pub(crate) room: Resources,
    pub(crate) used: Resources,
    pub(crate) ready: bool,
    pub(crate) cordoned: bool,
    /// It has taints beside those of a cordon and of silence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tainted: bool,
}

fn node_key(cluster: &str, node: &str) -> String {
    format!("{}/node/{node}", keys::cluster(cluster))
}

/// Whether a Pod occupies its node.
fn occupies(pod: &Value) -> Option<(&str, Resources)> {
    let node = text(pod, "/spec/nodeName");
    let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    (!node.is_empty() && !ended).then(|| (node, Resources::of_pod(pod)))
}

impl Model<'_> {
    /// What the scheduler remembers of a node.
    pub(crate) fn node_state(&self, cluster: &str, node: &str) -> Result<Option<NodeState>, Failure> {
        self.tx.get(&node_key(cluster, node))
    }

    /// Keeps count of what Pods occupy.
    pub(crate) fn account(
        &mut self,
        cluster: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<(), Failure> {
        let (before, after) = (before.and_then(occupies), after.and_then(occupies));
        if before == after {
            return Ok(());
        }
        if let Some((node, resources)) = before
            && let Some(mut state) = self.node_state(cluster, node)?
        {
            state.used = state.used.minus(resources);
            self.tx.set(&node_key(cluster, node), &state)?;
        }
        if let Some((node, resources)) = after
            && let Some(mut state) = self.node_state(cluster, node)?
        {
            state.used = state.used.plus(resources);
            self.tx.set(&node_key(cluster, node), &state)?;
        }
        Ok(())
    }

    /// Notes a Node that is another one than before.
    pub(crate) fn note_node(
        &mut self,
        cluster: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<(), Failure> {
        let Some(name) = after.or(before).map(name_of) else {
            return Ok(());
        };
        let key = node_key(cluster, name);
        match after {
            Some(node) => {
                let old = self.node_state(cluster, name)?.unwrap_or_default();
                let new = NodeState {
                    room: Resources::of_node(node),
                    used: old.used,
                    ready: condition(node, "Ready") == "True",
                    cordoned: node.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true),
                    tainted: !placement(node).1.is_empty(),
                };
                if new != old || before.is_none() {
                    self.tx.set(&key, &new)?;
                    self.work.insert(Work::Node { cluster: cluster.to_owned(), node: name.to_owned() });
                    self.work.insert(Work::Pending { cluster: cluster.to_owned() });
                }
            }
            None => {
                self.tx.remove(&key);
                self.work.insert(Work::Node { cluster: cluster.to_owned(), node: name.to_owned() });
            }
        }
        if before.map(placement) != after.map(placement) {
            let prefix = format!("{}DaemonSet.apps/", keys::objects(cluster));
            for (key, _) in self.tx.below(&prefix) {
                if self.is_wanted_otherwise(&key, before, after)? {
                    self.work.insert(Work::Owner { cluster: cluster.to_owned(), key });
                }
            }
            self.work.insert(Work::Pending { cluster: cluster.to_owned() });
        }
        Ok(())
    }

    /// Binds a Pod to a node, or says why there is none for it.
    pub(crate) fn schedule(&mut self, cluster: &str, mut pod: Value) -> Result<(), Failure> {
        if !self.scheduled(cluster)? {
            return Ok(());
        }
        match self.find_node(cluster, &pod)? {
            Ok(node) => {
                set(&mut pod, "/spec/nodeName", node.into());
                let scheduled = serde_json::json!([{"type": "PodScheduled", "status": "True"}]);
                set(&mut pod, "/status/conditions", scheduled);
            }
            Err(reason) => {
                let condition = serde_json::json!([{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason,
                }]);
                if pod.pointer("/status/conditions") == Some(&condition) {
                    return Ok(());
                }
                set(&mut pod, "/status/phase", "Pending".into());
                set(&mut pod, "/status/conditions", condition);
            }
        }
        self.store_object(cluster, pod)?;
        Ok(())
    }

    fn find_node(&mut self, cluster: &str, pod: &Value) -> Result<Result<String, String>, Failure> {
        if let Some(reason) = self.unbound_claim(cluster, pod)? {
            return Ok(Err(reason));
        }
        let siblings = self.siblings(cluster, pod)?;
        let volumes = self.volume_nodes(cluster, pod)?;
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        let mut best: Option<((usize, u64), String)> = None;
        let (mut looked, mut feasible) = (0, 0);
        let mut counters = self.counters(cluster)?;
        let prefix = format!("{}Node//", keys::objects(cluster));
        let first = format!("{prefix}{}", counters.last_node);
        // From where the last search ended, once around.
        let (mut after, mut wrapped) = (first.clone(), false);
        'search: loop {
            let page = self.tx.page(&prefix, &after, ENOUGH);
            if page.is_empty() {
                if wrapped {
                    break;
                }
                wrapped = true;
                after.clear();
                continue;
            }
            for (key, _) in page {
                if wrapped && key.as_ref() > first.as_str() {
                    break 'search;
                }
                after = key.to_string();
                looked += 1;
                let name = &key[prefix.len()..];
                if let Some(reason) = self.objection(cluster, pod, name, volumes.as_deref())? {
                    *reasons.entry(reason).or_default() += 1;
                    continue;
                }
                feasible += 1;
                let state = self.node_state(cluster, name)?.unwrap_or_default();
                let score = (siblings.get(name).copied().unwrap_or(0), state.used.pods);
                if best.as_ref().is_none_or(|(least, _)| score < *least) {
                    best = Some((score, name.to_owned()));
                }
                if feasible >= ENOUGH {
                    break 'search;
                }
            }
        }
        if best.is_some() {
            // Further on for the next Pod: what one node loses is not heaped on its neighbours.
            counters.last_node = after.get(prefix.len()..).unwrap_or_default().to_owned();
            self.tx.set(&keys::cluster(cluster), &counters)?;
        }
        Ok(match best {
            Some((_, node)) => Ok(node),
            None => {
                let reasons: Vec<String> = reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
                Err(format!("0/{} nodes are available: {}.", looked, reasons.join(", ")))
            }
        })
    }

    /// How many Pods of the same controller each node has.
    fn siblings(&self, cluster: &str, pod: &Value) -> Result<HashMap<String, usize>, Failure> {
        let mut count = HashMap::new();
        if let Some((_, _, uid)) = controller(pod) {
            for (_, sibling) in self.indexed(&owner_term(cluster, uid))? {
                let node = text(&sibling, "/spec/nodeName");
                if !node.is_empty() {
                    *count.entry(node.to_owned()).or_default() += 1;
                }
            }
        }
        Ok(count)
    }

    /// Why a node will not do.
    fn objection(
        &self,
        cluster: &str,
        pod: &Value,
        name: &str,
        volumes: Option<&[String]>,
    ) -> Result<Option<&'static str>, Failure> {
        let state = self.node_state(cluster, name)?.unwrap_or_default();
        if state.cordoned && !tolerates(pod, "node.kubernetes.io/unschedulable", "NoSchedule", "") {
            return Ok(Some("node(s) were unschedulable"));
        }
        if !state.ready {
            return Ok(Some("node(s) had untolerated taint(s)"));
        }
        let wanted = state.used.plus(Resources::of_pod(pod));
        if wanted.pods > state.room.pods {
            return Ok(Some("Too many pods"));
        }
        if wanted.cpu > state.room.cpu {
            return Ok(Some("Insufficient cpu"));
        }
        if wanted.memory > state.room.memory {
            return Ok(Some("Insufficient memory"));
        }
        if volumes.is_some_and(|nodes| nodes.iter().all(|node| node != name)) {
            return Ok(Some("node(s) had volume node affinity conflict"));
        }
        let choosy =
            pod.pointer("/spec/nodeSelector").is_some() || pod.pointer("/spec/affinity/nodeAffinity").is_some();
        if choosy || state.tainted {
            let node = self.object(cluster, "Node", "", name)?.unwrap_or_default();
            if !selects(pod, &node) {
                return Ok(Some("node(s) didn't match Pod's node affinity/selector"));
            }
            if untolerated(pod, &node, false) {
                return Ok(Some("node(s) had untolerated taint(s)"));
            }
        }
        if self.repelled(cluster, pod, name)? {
            return Ok(Some("node(s) didn't match pod anti-affinity rules"));
        }
        Ok(None)
    }

    /// Whether the Pod refuses to be on one node with a Pod that is there.
    fn repelled(&self, cluster: &str, pod: &Value, node: &str) -> Result<bool, Failure> {
        let pointer = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let Some(rules) = pod.pointer(pointer).and_then(Value::as_array) else {
            return Ok(false);
        };
        let there = self.indexed(&node_term(cluster, node))?;
        Ok(rules.iter().any(|rule| {
            text(rule, "/topologyKey") == "kubernetes.io/hostname"
                && Labels::of_object(rule.get("labelSelector")).is_some_and(|labels| {
                    there.iter().any(|(_, other)| {
                        namespace_of(other) == namespace_of(pod) && labels.fit(other.pointer("/metadata/labels"))
                    })
                })
        }))
    }
}

/// Labels and taints of a Node: what decides which DaemonSets run there.
fn placement(node: &Value) -> (Option<&Value>, Vec<&Value>) {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    let taints = taints.into_iter().flatten();
    (node.pointer("/metadata/labels"), taints.filter(|taint| !NOT_READY.contains(&text(taint, "/key"))).collect())
}

/// Whether selector and required node affinity of a Pod fit a Node.
pub(crate) fn selects(pod: &Value, node: &Value) -> bool {
    let labels = node.pointer("/metadata/labels");
    if let Some(wanted) = pod.pointer("/spec/nodeSelector").and_then(Value::as_object)
        && !Labels::of_map(wanted).fit(labels)
    {
        return false;
    }
    let pointer = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    match pod.pointer(pointer).and_then(Value::as_array) {
        Some(terms) => terms.iter().any(|term| term_fits(term, node)),
        None => true,
    }
}

/// Whether one term of a node selector fits a Node.
pub(crate) fn term_fits(term: &Value, node: &Value) -> bool {
    let labels = Labels::of_object(Some(term)).unwrap_or_default();
    if !labels.fit(node.pointer("/metadata/labels")) {
        return false;
    }
    let fields = term.get("matchFields").and_then(Value::as_array);
    fields.into_iter().flatten().all(|field| {
        let values = field.get("values").and_then(Value::as_array);
        let named = values.is_some_and(|values| values.iter().any(|v| v.as_str() == Some(name_of(node))));
        text(field, "/key") == "metadata.name" && named == (text(field, "/operator") == "In")
    })
}

/// Whether a taint of a Node keeps a Pod away. Taints for nodes that are not ready count only if asked.
pub(crate) fn untolerated(pod: &Value, node: &Value, not_ready_too: bool) -> bool {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    taints.into_iter().flatten().any(|taint| {
        let (key, effect) = (text(taint, "/key"), text(taint, "/effect"));
        effect != "PreferNoSchedule"
            && (not_ready_too || !NOT_READY.contains(&key))
            && !tolerates(pod, key, effect, text(taint, "/value"))
    })
}

fn tolerates(pod: &Value, key: &str, effect: &str, value: &str) -> bool {
    let tolerations = pod.pointer("/spec/tolerations").and_then(Value::as_array);
    tolerations.into_iter().flatten().any(|toleration| {
        let wanted = text(toleration, "/key");
        let any_key = wanted.is_empty() && text(toleration, "/operator") == "Exists";
        let same_value = text(toleration, "/operator") == "Exists" || text(toleration, "/value") == value;
        let of_effect = matches!(text(toleration, "/effect"), "") || text(toleration, "/effect") == effect;
        (any_key || wanted == key) && same_value && of_effect
    })
}
