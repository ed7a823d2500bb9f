//! All objects of one component in a cluster, so that a release replaces the one before it with nothing left behind.

use serde_json::Value;

use crate::api::kubernetes::{ObjectRef, Propagation, Selection};
use crate::api::progress;
use crate::json::{At, segment};
use crate::kubernetes::{Cluster, Object, describe_ref, portable, reference, same};
use crate::rollout::Workload;
use crate::{Failure, FailureKind, problems::failure};

/// Kinds that run Pods.
const WORKLOADS: [&str; 5] = ["DaemonSet", "Deployment", "StatefulSet", "Job", "CronJob"];

/// The objects of a component as they were found.
#[derive(Debug, Clone)]
pub struct Objects<'a> {
    cluster: Cluster<'a>,
    objects: Vec<Object>,
}

/// What is there and not wanted, by reference and uid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surplus {
    /// What runs Pods. To be removed before the wanted workload comes, where both would be in each other's way.
    pub workloads: Vec<(ObjectRef, String)>,
    /// What workloads read. To be removed when the wanted workload runs.
    pub others: Vec<(ObjectRef, String)>,
}

impl<'a> Objects<'a> {
    /// Reads objects by name, and with them those of the selections, which find what other releases brought.
    pub fn read(cluster: Cluster<'a>, names: &[ObjectRef], selections: Vec<Selection>) -> Result<Self, Failure> {
        let mut objects: Vec<Object> = cluster.get(names)?.into_iter().flatten().collect();
        for listed in cluster.lists(selections, &[])?.into_iter().flatten() {
            if !objects.iter().any(|object| object.id.uid == listed.id.uid) {
                objects.push(listed);
            }
        }
        Ok(Self { cluster, objects })
    }

    /// The object of that kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let mut bodies = self.objects.iter().map(|object| &object.body);
        bodies.find(|body| body.text("/kind") == Some(kind) && body.text("/metadata/name") == Some(name))
    }

    /// All of them that nothing else owns, ready to be applied again.
    pub fn portable(&self) -> Vec<Value> {
        self.free().map(|object| portable(&object.body)).collect()
    }

    /// What is there and not among the wanted ones. Objects that something owns belong to their owner, and what a wanted
    /// workload still reads stays.
    pub fn surplus(&self, wanted: &[Value]) -> Surplus {
        let references: Vec<ObjectRef> = wanted.iter().map(|body| reference(self.cluster.0, body)).collect();
        let configs: Vec<String> = wanted.iter().flat_map(configs).collect();
        let mut surplus = Surplus::default();
        for object in self.free() {
            let found = reference(self.cluster.0, &object.body);
            let read = found.kind.name == "ConfigMap" && configs.contains(&found.name);
            if read || references.iter().any(|wanted| same(wanted, &found)) {
                continue;
            }
            let list = if WORKLOADS.contains(&found.kind.name.as_str()) {
                &mut surplus.workloads
            } else {
                &mut surplus.others
            };
            list.push((found, object.id.uid.clone()));
        }
        surplus
    }

    fn free(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(|object| object.body.items("/metadata/ownerReferences").is_empty())
    }
}

/// ConfigMaps that a workload's Pods read.
fn configs(workload: &Value) -> Vec<String> {
    let spec = workload.pointer("/spec/template/spec").unwrap_or(&Value::Null);
    let volumes = spec.items("/volumes").iter().flat_map(|volume| {
        let projected = volume.items("/projected/sources").iter().filter_map(|source| source.text("/configMap/name"));
        volume.text("/configMap/name").into_iter().chain(projected)
    });
    let containers = spec.items("/initContainers").iter().chain(spec.items("/containers"));
    let variables = containers.flat_map(|container| {
        let each = container.items("/env").iter().filter_map(|env| env.text("/valueFrom/configMapKeyRef/name"));
        each.chain(container.items("/envFrom").iter().filter_map(|from| from.text("/configMapRef/name")))
    });
    volumes.chain(variables).map(Into::into).collect()
}

impl Surplus {
    /// What would be removed, for people.
    pub fn names(&self) -> Vec<String> {
        self.workloads.iter().chain(&self.others).map(|(object, _)| describe_ref(object)).collect()
    }

    /// Removes the workloads and waits until they and their Pods are gone.
    pub fn remove_workloads(&self, cluster: Cluster<'_>, seconds: u32) -> Result<bool, Failure> {
        let changed = cluster.remove(&self.workloads, Propagation::Foreground)?;
        for (workload, _) in &self.workloads {
            cluster.wait_object(workload.clone(), "object == null", seconds, None)?;
        }
        Ok(changed)
    }

    /// Removes the rest.
    pub fn remove_others(&self, cluster: Cluster<'_>) -> Result<bool, Failure> {
        cluster.remove(&self.others, Propagation::Background)
    }
}

/// One release of a component in place of another.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// All its objects, in the order in which they are applied.
    pub objects: &'a [Value],
    /// Field managers whose fields are taken over.
    pub take_over: &'a [String],
    /// The workload whose rollout is followed: kind, namespace and name.
    pub workload: (Workload, &'a str, &'a str),
    /// How long the rollout may take.
    pub seconds: u32,
}

impl Release<'_> {
    /// Puts the release in place; true where something changed. A surplus workload goes first, since two that do the
    /// same on one node get in each other's way; what workloads read goes last, so that a change that ends half-way
    /// leaves something that works.
    pub fn bring(&self, cluster: Cluster<'_>, surplus: &Surplus) -> Result<bool, Failure> {
        let (workload, namespace, name) = self.workload;
        let mut changed = surplus.remove_workloads(cluster, self.seconds)?;
        changed |= cluster.apply(self.objects, self.take_over)?;
        progress::show(&format!("{} {namespace}/{name} rolls out", workload.kind()), None, None);
        let brought = cluster.rollout(workload, namespace, name, self.seconds)?;
        if brought.body.number("/status/desiredNumberScheduled") == Some(0) {
            let subject = format!("{} {namespace}/{name}", workload.kind());
            let message = "it runs on no node: no node has the labels that its Pods ask for (nodeSelector, affinity)";
            return Err(failure(FailureKind::Other("no-pods".to_owned()), subject, message));
        }
        changed |= surplus.remove_others(cluster)?;
        Ok(changed)
    }
}

/// Gives the wanted object those fields of the running one that belong to the site, and takes them away where the
/// running one has none. Without a running one nothing happens.
pub fn keep_fields(wanted: &mut Value, running: Option<&Value>, pointers: &[&str]) {
    let Some(running) = running else { return };
    for pointer in pointers {
        match running.pointer(pointer) {
            Some(value) => wanted.put(pointer, value.clone()),
            None => {
                wanted.cut(pointer);
            }
        }
    }
}

/// Gives the wanted workload the selector of the running one, which cannot be changed, and all labels of its Pods, by
/// which others may find them.
pub fn keep_selector(wanted: &mut Value, running: Option<&Value>) {
    let Some(running) = running else { return };
    keep_fields(wanted, Some(running), &["/spec/selector"]);
    let labels = running.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    for (name, value) in labels.into_iter().flatten() {
        let pointer = format!("/spec/template/metadata/labels/{}", segment(name));
        if wanted.pointer(&pointer).is_none() {
            wanted.put(&pointer, value.clone());
        }
    }
}

/// Adds to a list of things with names those that only the running object has.
pub fn keep_named(wanted: &mut Value, running: Option<&Value>, pointer: &str) {
    let extra: Vec<Value> = running
        .map_or(&[][..], |running| running.items(pointer))
        .iter()
        .filter(|kept| !wanted.items(pointer).iter().any(|known| known.text("/name") == kept.text("/name")))
        .cloned()
        .collect();
    if !extra.is_empty() {
        let list = [wanted.items(pointer), extra.as_slice()].concat();
        wanted.put(pointer, Value::Array(list));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kubernetes::Identity;
    use serde_json::json;

    fn object(kind: &str, name: &str, owned: bool) -> Object {
        let owners = if owned { json!([{"kind": "X"}]) } else { json!([]) };
        let api_version = if kind == "DaemonSet" { "apps/v1" } else { "v1" };
        Object {
            id: Identity {
                namespace: Some("n".into()),
                name: name.into(),
                uid: format!("uid-{name}"),
                resource_version: "1".into(),
            },
            body: json!({"apiVersion": api_version, "kind": kind,
                         "metadata": {"name": name, "namespace": "n", "ownerReferences": owners}}),
        }
    }

    #[test]
    fn what_no_release_wants_is_surplus_unless_something_owns_it() {
        let objects = Objects {
            cluster: Cluster("main"),
            objects: vec![
                object("DaemonSet", "new", false),
                object("DaemonSet", "old", false),
                object("ConfigMap", "old-config", false),
                object("ConfigMap", "made", true),
                object("ConfigMap", "site", false),
            ],
        };
        let wanted = [json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "new", "namespace": "n"},
            "spec": {"template": {"spec": {"volumes": [{"configMap": {"name": "site"}}]}}},
        })];
        let surplus = objects.surplus(&wanted);
        assert_eq!(surplus.names(), ["DaemonSet n/old", "ConfigMap n/old-config"]);
        assert_eq!(surplus.workloads[0].1, "uid-old");
        assert_eq!(objects.portable().len(), 4);
        assert!(objects.find("DaemonSet", "new").is_some());
        assert!(objects.find("ConfigMap", "new").is_none());
    }

    #[test]
    fn what_belongs_to_the_site_is_kept_as_it_is() {
        let running = json!({"spec": {"selector": {"a": "b"}, "env": [{"name": "x", "value": "old"}, {"name": "y"}]}});
        let mut wanted = json!({"spec": {"probe": {}, "env": [{"name": "x", "value": "new"}]}});
        keep_fields(&mut wanted, Some(&running), &["/spec/selector", "/spec/probe"]);
        keep_named(&mut wanted, Some(&running), "/spec/env");
        let expected = json!({"spec": {"env": [{"name": "x", "value": "new"}, {"name": "y"}], "selector": {"a": "b"}}});
        assert_eq!(wanted, expected);
        keep_fields(&mut wanted, None, &["/spec/selector"]);
        assert_eq!(wanted, expected);
    }

    #[test]
    fn a_selector_stays_and_its_pods_keep_matching_it() {
        let running = json!({"spec": {"selector": {"matchLabels": {"app": "x"}},
                                      "template": {"metadata": {"labels": {"app": "x", "a/b": "c"}}}}});
        let mut wanted = json!({"spec": {"selector": {"matchLabels": {"name": "x"}},
                                         "template": {"metadata": {"labels": {"name": "x"}}}}});
        keep_selector(&mut wanted, Some(&running));
        assert_eq!(wanted.pointer("/spec/selector/matchLabels"), Some(&json!({"app": "x"})));
        let labels = json!({"name": "x", "app": "x", "a/b": "c"});
        assert_eq!(wanted.pointer("/spec/template/metadata/labels"), Some(&labels));
    }
}
