//! DaemonSets: a Pod on every node that takes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::objects::{is_ending, name_of, namespace_of, number, set, text};
use super::schedule::{selects, untolerated};
use super::workloads::{is_finished, is_ready, pod_from, share, template_hash};
use crate::backend::simulated::model::{Model, keys};
use crate::contract::Failure;

const HASH: &str = "controller-revision-hash";
const TOLERATED: [&str; 6] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
];

fn pod_hash(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}

/// What a Pod adds to each of its DaemonSet's numbers.
fn weight(pod: Option<&Value>, hash: &str) -> [i64; 3] {
    match pod.filter(|pod| !is_ending(pod)) {
        Some(pod) => [1, i64::from(is_ready(pod)), i64::from(pod_hash(pod) == hash)],
        None => [0; 3],
    }
}

impl Model<'_> {
    /// Puts a DaemonSet's Pods where they belong and replaces outdated ones, as many at a time as it allows.
    pub(crate) fn roll_daemons(&mut self, cluster: &str, daemons: Value) -> Result<(), Failure> {
        let template = daemons.pointer("/spec/template").cloned().unwrap_or_default();
        let hash = template_hash(&template);
        let mut there: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for pod in self.pods_of(cluster, &daemons)? {
            there.entry(node_of(&pod)).or_default().push(pod);
        }
        let mut wanted = Vec::new();
        for name in self.node_names(cluster) {
            let node = self.object(cluster, "Node", "", &name)?.unwrap_or_default();
            let probe = daemon_pod(&daemons, &template, &hash, &name);
            if selects(&probe, &node) && !untolerated(&probe, &node, true) {
                wanted.push(name);
            }
        }
        for (node, pods) in &there {
            let surplus = usize::from(wanted.binary_search(node).is_ok());
            for pod in pods.iter().skip(surplus).chain(pods.iter().filter(|pod| is_finished(pod))) {
                self.delete_object(cluster, "Pod", namespace_of(pod), name_of(pod))?;
            }
        }
        let desired = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        self.roll_nodes(cluster, &daemons, &template, &hash, &wanted, &there)?;
        self.count_daemons(cluster, &daemons, &hash, desired)
    }

    fn roll_nodes(
        &mut self,
        cluster: &str,
        daemons: &Value,
        template: &Value,
        hash: &str,
        wanted: &[String],
        there: &BTreeMap<String, Vec<Value>>,
    ) -> Result<(), Failure> {
        let total = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        let by_hand = text(daemons, "/spec/updateStrategy/type") == "OnDelete";
        let allowed =
            share(daemons.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable"), "1", total, true).max(1);
        let ready = |node: &String| there.get(node).and_then(|pods| pods.first()).is_some_and(is_ready);
        let missing = wanted.iter().filter(|node| !ready(node)).count();
        let mut unavailable = i64::try_from(missing).unwrap_or(i64::MAX);
        for node in wanted {
            let pod = there.get(node).and_then(|pods| pods.iter().find(|pod| !is_finished(pod)));
            if let Some(pod) = pod {
                let outdated = pod_hash(pod) != hash && !by_hand;
                // One that is not available is replaced whatever the budget says.
                if !outdated || (is_ready(pod) && unavailable >= allowed) {
                    continue;
                }
                unavailable += i64::from(is_ready(pod));
                self.delete_object(cluster, "Pod", namespace_of(pod), name_of(pod))?;
                let key = keys::object(cluster, "Pod", namespace_of(pod), name_of(pod));
                self.look_at_pod(cluster, &key)?;
                if self.tx.has(&key) {
                    continue;
                }
            }
            let new = self.insert_object(cluster, daemon_pod(daemons, template, hash, node))?;
            let key = keys::object(cluster, "Pod", namespace_of(&new), name_of(&new));
            self.look_at_pod(cluster, &key)?;
            unavailable -= i64::from(self.object_at(&key)?.is_some_and(|pod| is_ready(&pod)));
        }
        Ok(())
    }

    fn count_daemons(&mut self, cluster: &str, daemons: &Value, hash: &str, desired: i64) -> Result<(), Failure> {
        let mut sum = [0; 3];
        for pod in self.pods_of(cluster, daemons)? {
            let weight = weight(Some(&pod), hash);
            sum.iter_mut().zip(weight).for_each(|(sum, weight)| *sum += weight);
        }
        let status = daemon_status(daemons, desired, sum, hash);
        self.store_status(cluster, daemons, status)
    }

    /// Keeps a DaemonSet's numbers right when one of its Pods changed, without looking at all of them; a Pod that is
    /// gone is replaced.
    pub(crate) fn daemon_pod_changed(
        &mut self,
        cluster: &str,
        key: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<(), Failure> {
        let Some(mut daemons) = self.object_at(key)? else {
            return Ok(());
        };
        let hash = text(&daemons, "/status/templateHash").to_owned();
        let (old, new) = (weight(before, &hash), weight(after, &hash));
        let node = after.or(before).map(node_of).unwrap_or_default();
        if after.is_none() {
            self.work.insert(super::controllers::Work::Daemon { cluster: cluster.to_owned(), key: key.into(), node });
        }
        if old == new || daemons.get("status").is_none() {
            return Ok(());
        }
        let field = |daemons: &Value, name: &str| number(daemons, &format!("/status/{name}")).unwrap_or(0);
        let mut sum = [
            field(&daemons, "currentNumberScheduled"),
            field(&daemons, "numberReady"),
            field(&daemons, "updatedNumberScheduled"),
        ];
        for (index, sum) in sum.iter_mut().enumerate() {
            *sum += new[index] - old[index];
        }
        let status = daemon_status(&daemons, field(&daemons, "desiredNumberScheduled"), sum, &hash);
        set(&mut daemons, "/status", status);
        // Its controller has nothing to do: only the count of what is there changed.
        let revision = self.raise_revision(cluster, 1)?;
        set(&mut daemons, "/metadata/resourceVersion", revision.to_string().into());
        self.tx.set(key, &daemons)
    }

    /// Whether a Node as it is now takes a DaemonSet's Pod and did not before, or the other way round. Other changes of a
    /// Node leave the DaemonSet as it is, and looking at all of its nodes for each would cost the more the more there are.
    pub(crate) fn is_wanted_otherwise(
        &self,
        key: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<bool, Failure> {
        let Some(daemons) = self.object_at(key)? else {
            return Ok(false);
        };
        let template = daemons.pointer("/spec/template").cloned().unwrap_or_default();
        let takes = |node: &Value| {
            let probe = daemon_pod(&daemons, &template, "", name_of(node));
            selects(&probe, node) && !untolerated(&probe, node, true)
        };
        Ok(before.is_some_and(takes) != after.is_some_and(takes))
    }

    /// Puts one node's Pod of a DaemonSet back.
    pub(crate) fn replace_daemon(&mut self, cluster: &str, key: &str, node: &str) -> Result<(), Failure> {
        let Some(daemons) = self.object_at(key)? else {
            return Ok(());
        };
        let template = daemons.pointer("/spec/template").cloned().unwrap_or_default();
        let hash = template_hash(&template);
        let probe = daemon_pod(&daemons, &template, &hash, node);
        let Some(object) = self.object(cluster, "Node", "", node)? else {
            return Ok(());
        };
        let there = self.indexed(&super::objects::node_term(cluster, node))?;
        let owned = |pod: &Value| {
            super::objects::controller(pod).is_some_and(|(_, _, uid)| uid == super::objects::uid_of(&daemons))
                && !is_ending(pod)
        };
        let occupied = there.iter().any(|(_, pod)| owned(pod));
        if is_ending(&daemons) || occupied || !selects(&probe, &object) || untolerated(&probe, &object, true) {
            return Ok(());
        }
        self.insert_object(cluster, probe)?;
        Ok(())
    }
}

fn node_of(pod: &Value) -> String {
    text(pod, "/spec/nodeName").to_owned()
}

fn daemon_status(daemons: &Value, desired: i64, [current, ready, updated]: [i64; 3], hash: &str) -> Value {
    let mut status = json!({
        "observedGeneration": number(daemons, "/metadata/generation"),
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": current,
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberAvailable": ready,
        "updatedNumberScheduled": updated,
        "templateHash": hash,
    });
    if ready < desired {
        status["numberUnavailable"] = (desired - ready).into();
    }
    status
}

fn daemon_pod(daemons: &Value, template: &Value, hash: &str, node: &str) -> Value {
    let mut pod = pod_from(daemons, template, &[(HASH, hash)]);
    set(&mut pod, "/spec/nodeName", node.into());
    let tolerations = pod.pointer("/spec/tolerations").and_then(Value::as_array);
    let mut tolerations = tolerations.cloned().unwrap_or_default();
    tolerations.extend(TOLERATED.iter().map(|key| {
        let effect =
            if key.ends_with("not-ready") || key.ends_with("unreachable") { "NoExecute" } else { "NoSchedule" };
        json!({"key": key, "operator": "Exists", "effect": effect})
    }));
    set(&mut pod, "/spec/tolerations", tolerations.into());
    pod
}
