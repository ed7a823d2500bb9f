//! Who has to look at what: the queue that makes a platform settle after an effect.

use serde_json::Value;

use super::objects::{
    controller, is_ending, kind_of, name_of, namespace_of, node_term, owner_term, parse_key, text, uid_of,
};
use crate::backend::failure;
use crate::backend::simulated::facts::Key;
use crate::backend::simulated::model::{Model, keys};
use crate::contract::Failure;
use runner_types::simulated::UnitAt;

/// Steps after which controllers are said to run in a circle.
const STEPS: usize = 2_000_000;

/// Something that a controller, scheduler or kubelet has to look at. Taken in this order: Pods before their owners, so
/// that an owner sees all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Everything: the controllers were away.
    All { cluster: String },
    /// What a vanished object owned.
    Collect { cluster: String, uid: String },
    /// The Pods of a Node that changed.
    Node { cluster: String, node: String },
    /// A Pod.
    Pod { cluster: String, key: Key },
    /// An object with a controller of its own.
    Owner { cluster: String, key: Key },
    /// A DaemonSet on one node.
    Daemon { cluster: String, key: Key, node: String },
    /// Claims and volumes.
    Volumes { cluster: String },
    /// Pods that found no node.
    Pending { cluster: String },
    /// PodDisruptionBudgets of a namespace.
    Budgets { cluster: String, namespace: String },
    /// Services of a namespace.
    Services { cluster: String, namespace: String },
}

impl Model<'_> {
    /// Lets controllers, scheduler and kubelets work until nothing changes any more.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let mut steps = 0;
        while let Some(work) = self.work.pop_first() {
            steps += 1;
            if steps > STEPS {
                return Err(failure::other("simulator", "controllers", "the cluster does not settle"));
            }
            self.step(work)?;
        }
        Ok(())
    }

    fn step(&mut self, work: Work) -> Result<(), Failure> {
        match work {
            Work::All { cluster } => self.everything(&cluster),
            Work::Node { cluster, node } => self.node_changed(&cluster, &node),
            Work::Pod { cluster, key } => self.look_at_pod(&cluster, &key),
            Work::Collect { cluster, uid } if self.controlled(&cluster)? => self.collect(&cluster, &uid),
            Work::Owner { cluster, key } if self.controlled(&cluster)? => self.look_at_owner(&cluster, &key),
            Work::Daemon { cluster, key, node } if self.controlled(&cluster)? => {
                self.replace_daemon(&cluster, &key, &node)
            }
            Work::Volumes { cluster } if self.controlled(&cluster)? => self.bind_claims(&cluster),
            Work::Pending { cluster } => {
                for key in self.tx.indexed(&node_term(&cluster, "")) {
                    self.work.insert(Work::Pod { cluster: cluster.clone(), key });
                }
                Ok(())
            }
            Work::Budgets { cluster, namespace } if self.controlled(&cluster)? => {
                self.count_budgets(&cluster, &namespace)
            }
            Work::Services { cluster, namespace } if self.controlled(&cluster)? => {
                self.follow_services(&cluster, &namespace)
            }
            // The controllers are down: they look at everything when they are back.
            Work::Collect { .. }
            | Work::Owner { .. }
            | Work::Daemon { .. }
            | Work::Volumes { .. }
            | Work::Budgets { .. }
            | Work::Services { .. } => Ok(()),
        }
    }

    /// Whether the controllers run and reach the API.
    pub(crate) fn controlled(&self, cluster: &str) -> Result<bool, Failure> {
        self.runs(cluster, |seed| &seed.controllers)
    }

    /// Whether the scheduler runs and reaches the API.
    pub(crate) fn scheduled(&self, cluster: &str) -> Result<bool, Failure> {
        self.runs(cluster, |seed| &seed.scheduler)
    }

    fn runs(
        &self,
        cluster: &str,
        units: fn(&runner_types::simulated::ClusterSeed) -> &Vec<UnitAt>,
    ) -> Result<bool, Failure> {
        let Some(seed) = self.rules.clusters.get(cluster) else {
            return Ok(false);
        };
        Ok(self.api(cluster)?.is_some() && self.any_active(units(seed))?)
    }

    /// Notes that a unit which a cluster's control plane is made of changed.
    pub(crate) fn cluster_unit_changed(&mut self, host: &str, unit: &str) -> Result<(), Failure> {
        for (cluster, seed) in &self.rules.clusters {
            let parts = [&seed.servers, &seed.store, &seed.controllers, &seed.scheduler];
            if parts.into_iter().flatten().any(|at| at.host == host && at.unit == unit) {
                self.work.insert(Work::All { cluster: cluster.clone() });
            }
        }
        Ok(())
    }

    fn everything(&mut self, cluster: &str) -> Result<(), Failure> {
        if self.api(cluster)?.is_none() {
            return Ok(());
        }
        let mut namespaces = std::collections::BTreeSet::new();
        for (key, _) in self.tx.below(&keys::objects(cluster)) {
            let Some((kind, namespace, _)) = parse_key(cluster, &key) else {
                continue;
            };
            let owned = cluster.to_owned();
            match kind {
                "Pod" => self.work.insert(Work::Pod { cluster: owned, key: Key::clone(&key) }),
                kind if has_controller(kind) => self.work.insert(Work::Owner { cluster: owned, key: Key::clone(&key) }),
                _ => false,
            };
            if !namespace.is_empty() {
                namespaces.insert(namespace.to_owned());
            }
            self.orphaned(cluster, &key)?;
        }
        for namespace in namespaces {
            let of = || (cluster.to_owned(), namespace.clone());
            let ((cluster, namespace), (other, same)) = (of(), of());
            self.work.insert(Work::Budgets { cluster, namespace });
            self.work.insert(Work::Services { cluster: other, namespace: same });
        }
        self.work.insert(Work::Volumes { cluster: cluster.to_owned() });
        Ok(())
    }

    /// Lets the garbage collector look at an object whose owner went while it was away.
    fn orphaned(&mut self, cluster: &str, key: &Key) -> Result<(), Failure> {
        let Some(object) = self.object_at(key)? else {
            return Ok(());
        };
        if let Some((kind, name, uid)) = controller(&object) {
            let owner = self.object(cluster, &kind, namespace_of(&object), name)?;
            let owner = match owner {
                None => self.object(cluster, &kind, "", name)?,
                found => found,
            };
            if owner.is_none_or(|owner| uid_of(&owner) != uid) {
                self.work.insert(Work::Collect { cluster: cluster.to_owned(), uid: uid.to_owned() });
            }
        }
        Ok(())
    }

    /// Sets to work whoever has to look at an object that changed.
    pub(crate) fn object_changed(
        &mut self,
        cluster: &str,
        key: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<(), Failure> {
        let Some(object) = after.or(before) else {
            return Ok(());
        };
        let kind = kind_of(object);
        let namespace = namespace_of(object);
        let of = || cluster.to_owned();
        if let Some((owner, name, _)) = controller(object) {
            let key = keys::object(cluster, &owner, namespace, name);
            // A DaemonSet's status is kept by differences: its Pods are as many as its nodes.
            if owner == "DaemonSet.apps" && kind == "Pod" {
                self.daemon_pod_changed(cluster, &key, before, after)?;
            } else {
                self.work.insert(Work::Owner { cluster: of(), key: key.into() });
            }
        }
        match kind.as_str() {
            "Pod" => {
                self.account(cluster, before, after)?;
                if after.is_some() {
                    self.work.insert(Work::Pod { cluster: of(), key: key.into() });
                } else {
                    self.work.insert(Work::Pending { cluster: of() });
                }
                self.work.insert(Work::Budgets { cluster: of(), namespace: namespace.to_owned() });
                self.work.insert(Work::Services { cluster: of(), namespace: namespace.to_owned() });
            }
            "Node" => self.note_node(cluster, before, after)?,
            "PodDisruptionBudget.policy" => {
                self.work.insert(Work::Budgets { cluster: of(), namespace: namespace.to_owned() });
            }
            "Service" => {
                self.work.insert(Work::Services { cluster: of(), namespace: namespace.to_owned() });
            }
            "PersistentVolumeClaim" | "PersistentVolume" | "StorageClass.storage.k8s.io" => {
                self.work.insert(Work::Volumes { cluster: of() });
            }
            kind if has_controller(kind) && after.is_some() => {
                self.work.insert(Work::Owner { cluster: of(), key: key.into() });
            }
            _ => {}
        }
        Ok(())
    }

    /// Removes what a vanished object owned, unless another owner is left.
    fn collect(&mut self, cluster: &str, uid: &str) -> Result<(), Failure> {
        for (key, mut object) in self.indexed(&owner_term(cluster, uid))? {
            let Some((kind, namespace, name)) = parse_key(cluster, &key) else {
                continue;
            };
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let left: Vec<Value> =
                owners.into_iter().flatten().filter(|owner| text(owner, "/uid") != uid).cloned().collect();
            if left.is_empty() {
                self.delete_object(cluster, kind, namespace, name)?;
            } else {
                super::objects::set(&mut object, "/metadata/ownerReferences", left.into());
                self.store_object(cluster, object)?;
            }
        }
        Ok(())
    }

    /// Deletes an object as its kind wants it: Pods end on their node first, finalizers are waited for.
    pub(crate) fn delete_object(
        &mut self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Failure> {
        let Some(mut object) = self.object(cluster, kind, namespace, name)? else {
            return Ok(false);
        };
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        if kind != "Pod" && finalizers.is_none_or(Vec::is_empty) {
            return self.drop_object(cluster, kind, namespace, name);
        }
        if !is_ending(&object) {
            super::objects::set(&mut object, "/metadata/deletionTimestamp", self.seconds().into());
            self.store_object(cluster, object)?;
        }
        Ok(true)
    }

    fn look_at_owner(&mut self, cluster: &str, key: &str) -> Result<(), Failure> {
        let Some(object) = self.object_at(key)? else {
            return Ok(());
        };
        if is_ending(&object) {
            return Ok(());
        }
        match kind_of(&object).as_str() {
            "Deployment.apps" => self.roll_deployment(cluster, object),
            "ReplicaSet.apps" | "ReplicationController" => self.keep_replicas(cluster, object),
            "StatefulSet.apps" => self.roll_stateful(cluster, object),
            "DaemonSet.apps" => self.roll_daemons(cluster, object),
            "Job.batch" => self.run_job(cluster, object),
            _ => Ok(()),
        }
    }

    /// Names of all nodes.
    pub(crate) fn node_names(&self, cluster: &str) -> Vec<String> {
        let prefix = format!("{}Node//", keys::objects(cluster));
        let nodes = self.tx.below(&prefix).into_iter();
        nodes.map(|(key, _)| key[prefix.len()..].to_owned()).collect()
    }

    /// The Pods that an object controls and that are not ending.
    pub(crate) fn pods_of(&self, cluster: &str, owner: &Value) -> Result<Vec<Value>, Failure> {
        let owned = self.indexed(&owner_term(cluster, uid_of(owner)))?;
        Ok(owned
            .into_iter()
            .map(|(_, object)| object)
            .filter(|object| text(object, "/kind") == "Pod" && !is_ending(object))
            .collect())
    }

    /// Stores an object's status, if it is another one than before.
    pub(crate) fn store_status(&mut self, cluster: &str, object: &Value, status: Value) -> Result<(), Failure> {
        if object.get("status") == Some(&status) {
            return Ok(());
        }
        let kind = kind_of(object);
        let now = self.object(cluster, &kind, namespace_of(object), name_of(object))?;
        let Some(mut now) = now else { return Ok(()) };
        super::objects::set(&mut now, "/status", status);
        self.store_object(cluster, now)?;
        Ok(())
    }
}

fn has_controller(kind: &str) -> bool {
    matches!(
        kind,
        "Deployment.apps"
            | "ReplicaSet.apps"
            | "ReplicationController"
            | "StatefulSet.apps"
            | "DaemonSet.apps"
            | "Job.batch"
    )
}
