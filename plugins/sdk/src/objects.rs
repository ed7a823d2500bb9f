//! All objects of one component in a cluster, so that a release replaces the one before it with nothing left behind.

use serde_json::Value;

use crate::Failure;
use crate::api::kubernetes::{ObjectRef, Propagation, Selection};
use crate::json::At;
use crate::kubernetes::{Cluster, Object, describe_ref, portable, reference, same};

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
    pub fn read(
        cluster: Cluster<'a>,
        names: &[ObjectRef],
        selections: Vec<Selection>,
    ) -> Result<Self, Failure> {
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
        bodies.find(|body| {
            body.text("/kind") == Some(kind) && body.text("/metadata/name") == Some(name)
        })
    }

    /// All of them that nothing else owns, ready to be applied again.
    pub fn portable(&self) -> Vec<Value> {
        self.free().map(|object| portable(&object.body)).collect()
    }

    /// What is there and not among the wanted ones. Objects that something owns belong to their owner.
    pub fn surplus(&self, wanted: &[Value]) -> Surplus {
        let wanted: Vec<ObjectRef> = wanted
            .iter()
            .map(|body| reference(self.cluster.0, body))
            .collect();
        let mut surplus = Surplus::default();
        for object in self.free() {
            let found = reference(self.cluster.0, &object.body);
            if wanted.iter().any(|wanted| same(wanted, &found)) {
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
        self.objects
            .iter()
            .filter(|object| object.body.items("/metadata/ownerReferences").is_empty())
    }
}

impl Surplus {
    /// What would be removed, for people.
    pub fn names(&self) -> Vec<String> {
        self.workloads
            .iter()
            .chain(&self.others)
            .map(|(object, _)| describe_ref(object))
            .collect()
    }

    /// Removes the workloads, with their Pods.
    pub fn remove_workloads(&self, cluster: Cluster<'_>) -> Result<bool, Failure> {
        cluster.remove(&self.workloads, Propagation::Foreground)
    }

    /// Removes the rest.
    pub fn remove_others(&self, cluster: Cluster<'_>) -> Result<bool, Failure> {
        cluster.remove(&self.others, Propagation::Background)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kubernetes::Identity;
    use serde_json::json;

    fn object(kind: &str, name: &str, owned: bool) -> Object {
        let owners = if owned {
            json!([{"kind": "X"}])
        } else {
            json!([])
        };
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
            ],
        };
        let wanted = [
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "new", "namespace": "n"}}),
        ];
        let surplus = objects.surplus(&wanted);
        assert_eq!(
            surplus.names(),
            ["DaemonSet n/old", "ConfigMap n/old-config"]
        );
        assert_eq!(surplus.workloads[0].1, "uid-old");
        assert_eq!(objects.portable().len(), 3);
        assert!(objects.find("DaemonSet", "new").is_some());
        assert!(objects.find("ConfigMap", "new").is_none());
    }
}
