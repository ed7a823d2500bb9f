//! Objects as the API server keeps them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::controllers::Work;
use super::kinds::full_kind;
use crate::backend::failure;
pub(crate) use crate::backend::objects::{
    condition, identity, is_ending, name_of, namespace_of, number, set, text, uid_of, unset,
};
use crate::backend::simulated::facts::Key;
use crate::backend::simulated::model::{Model, keys};
use crate::contract::Failure;
use crate::contract::kubernetes::ServedKind;
use runner_types::simulated::UnitAt;

/// What a cluster counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// The last resourceVersion given.
    pub(crate) revision: u64,
    /// What generated names and uids are made from.
    pub(crate) serial: u64,
    /// The node after which the scheduler goes on looking.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) last_node: String,
}

/// Kind of an object as grants and keys name it.
pub(crate) fn kind_of(object: &Value) -> String {
    full_kind(text(object, "/apiVersion"), text(object, "/kind"))
}

/// The controller that an object belongs to: its kind (`ReplicaSet.apps`), name and uid.
pub(crate) fn controller(object: &Value) -> Option<(String, &str, &str)> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let kind = full_kind(text(owner, "/apiVersion"), text(owner, "/kind"));
    Some((kind, text(owner, "/name"), text(owner, "/uid")))
}

/// The reference by which an object is said to belong to a controller.
pub(crate) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Kind, namespace and name from an object's key.
pub(crate) fn parse_key<'k>(cluster: &str, key: &'k str) -> Option<(&'k str, &'k str, &'k str)> {
    let rest = key.strip_prefix(&keys::objects(cluster))?;
    let mut parts = rest.splitn(3, '/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

#[derive(Deserialize)]
struct Head {
    metadata: HeadMetadata,
    #[serde(default)]
    spec: HeadSpec,
    #[serde(default)]
    status: HeadStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMetadata {
    #[serde(default)]
    owner_references: Vec<HeadOwner>,
    #[serde(default)]
    labels: Map<String, Value>,
}

#[derive(Deserialize)]
struct HeadOwner {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct HeadSpec {
    #[serde(default)]
    node_name: String,
    #[serde(default, rename = "podCIDR")]
    pod_cidr: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct HeadStatus {
    #[serde(default, rename = "podIP")]
    pod_ip: String,
}

/// Terms by which objects are found without looking at all of them.
pub(crate) fn terms(key: &str, fact: &str) -> Vec<String> {
    let Some((cluster, rest)) = key.strip_prefix("cluster/").and_then(|rest| rest.split_once("/object/")) else {
        return Vec::new();
    };
    let Ok(head) = serde_json::from_str::<Head>(fact) else {
        return Vec::new();
    };
    let owners = head.metadata.owner_references.iter();
    let mut terms: Vec<String> = owners.map(|owner| owner_term(cluster, &owner.uid)).collect();
    if let Some(rest) = rest.strip_prefix("Pod/") {
        let namespace = rest.split('/').next().unwrap_or_default();
        terms.push(node_term(cluster, &head.spec.node_name));
        if !head.status.pod_ip.is_empty() {
            terms.push(ip_term(cluster, &head.status.pod_ip));
        }
        for (name, value) in &head.metadata.labels {
            if let Some(value) = value.as_str() {
                terms.push(label_term(cluster, namespace, name, value));
            }
        }
    }
    if rest.starts_with("Node/") && !head.spec.pod_cidr.is_empty() {
        terms.push(range_term(cluster, &head.spec.pod_cidr));
    }
    terms
}

/// Term of all objects that an object owns.
pub(crate) fn owner_term(cluster: &str, uid: &str) -> String {
    format!("owner/{cluster}/{uid}")
}

/// Term of all Pods bound to a node; with an empty name of those that are bound to none.
pub(crate) fn node_term(cluster: &str, node: &str) -> String {
    format!("node/{cluster}/{node}")
}

fn ip_term(cluster: &str, ip: &str) -> String {
    format!("ip/{cluster}/{ip}")
}

fn range_term(cluster: &str, cidr: &str) -> String {
    format!("range/{cluster}/{cidr}")
}

/// Term of all Pods of a namespace that have a label.
pub(crate) fn label_term(cluster: &str, namespace: &str, name: &str, value: &str) -> String {
    format!("label/{cluster}/{namespace}/{name}={value}")
}

impl Model<'_> {
    /// An object by its kind (`DaemonSet.apps`), namespace (empty: none) and name.
    pub(crate) fn object(
        &self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Failure> {
        self.tx.get(&keys::object(cluster, kind, namespace, name))
    }

    /// An object by its key.
    pub(crate) fn object_at(&self, key: &str) -> Result<Option<Value>, Failure> {
        self.tx.get(key)
    }

    /// All objects of a kind, of one namespace or (empty) of all, sorted.
    pub(crate) fn objects(&self, cluster: &str, kind: &str, namespace: &str) -> Result<Vec<Value>, Failure> {
        let mut prefix = format!("{}{kind}/", keys::objects(cluster));
        if !namespace.is_empty() {
            prefix = format!("{prefix}{namespace}/");
        }
        Ok(self.tx.list(&prefix)?.into_iter().map(|(_, object)| object).collect())
    }

    /// The objects that have a term.
    pub(crate) fn indexed(&self, term: &str) -> Result<Vec<(Key, Value)>, Failure> {
        let mut found = Vec::new();
        for key in self.tx.indexed(term) {
            if let Some(object) = self.tx.get(&key)? {
                found.push((key, object));
            }
        }
        Ok(found)
    }

    /// The Pod that has an address.
    pub(crate) fn pod_at(&self, cluster: &str, ip: &str) -> Result<Option<Value>, Failure> {
        let found = self.indexed(&ip_term(cluster, ip))?;
        Ok(found.into_iter().map(|(_, pod)| pod).next())
    }

    /// The Node whose range of Pod addresses (IPv4) holds an address.
    pub(crate) fn node_at(&self, cluster: &str, ip: &str) -> Result<Option<Value>, Failure> {
        let Ok(address) = ip.parse::<Ipv4Addr>() else {
            return Ok(None);
        };
        for length in (1..=32).rev() {
            let first = Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - length)));
            let found = self.indexed(&range_term(cluster, &format!("{first}/{length}")))?;
            if let Some((_, node)) = found.into_iter().next() {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// The Pods bound to a node, sorted; those bound to none are on none.
    pub(crate) fn pods_on(&self, cluster: &str, node: &str) -> Result<Vec<Value>, Failure> {
        if node.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.indexed(&node_term(cluster, node))?.into_iter().map(|(_, pod)| pod).collect())
    }

    pub(crate) fn counters(&self, cluster: &str) -> Result<Cluster, Failure> {
        Ok(self.tx.get(&keys::cluster(cluster))?.unwrap_or_default())
    }

    /// The last resourceVersion given.
    pub(crate) fn revision(&self, cluster: &str) -> Result<u64, Failure> {
        Ok(self.counters(cluster)?.revision)
    }

    /// Raises the revision by a number.
    pub(crate) fn raise_revision(&mut self, cluster: &str, by: u64) -> Result<u64, Failure> {
        let mut counters = self.counters(cluster)?;
        counters.revision += by;
        self.tx.set(&keys::cluster(cluster), &counters)?;
        Ok(counters.revision)
    }

    /// A number that this cluster never gave before, as a hash.
    pub(crate) fn unique(&mut self, cluster: &str) -> Result<String, Failure> {
        let mut counters = self.counters(cluster)?;
        counters.serial += 1;
        self.tx.set(&keys::cluster(cluster), &counters)?;
        let text = format!("{cluster} {}", counters.serial);
        Ok(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// Version of the API (`v1.34.4`) when it answers.
    pub(crate) fn api(&self, cluster: &str) -> Result<Option<String>, Failure> {
        let Some(seed) = self.rules.clusters.get(cluster) else {
            return Ok(None);
        };
        let mut holding = 0;
        for at in &seed.store {
            holding += usize::from(self.is_active(at)?);
        }
        if !seed.store.is_empty() && holding * 2 <= seed.store.len() {
            return Ok(None);
        }
        let fixed = seed.version.clone().unwrap_or_else(|| "v1.34.0".to_owned());
        if seed.servers.is_empty() {
            return Ok(Some(fixed));
        }
        for at in &seed.servers {
            if let Some(unit) = self.unit(&at.host, &at.unit)?
                && unit.is_active()
            {
                return Ok(Some(match unit.version.is_empty() {
                    true => fixed,
                    false => format!("v{}", unit.version),
                }));
            }
        }
        Ok(None)
    }

    /// Version of the API, which must answer.
    pub(crate) fn need_api(&self, cluster: &str) -> Result<String, Failure> {
        if !self.rules.clusters.contains_key(cluster) {
            return Err(failure::unreachable(cluster, format!("the simulated platform has no cluster {cluster}")));
        }
        self.api(cluster)?
            .ok_or_else(|| failure::unreachable(cluster, format!("the API server of {cluster} does not answer")))
    }

    fn is_active(&self, at: &UnitAt) -> Result<bool, Failure> {
        let unit = self.unit(&at.host, &at.unit)?;
        Ok(unit.is_some_and(|unit| unit.is_active()))
    }

    /// Whether units of which one suffices are active; none named: they always are.
    pub(crate) fn any_active(&self, units: &[UnitAt]) -> Result<bool, Failure> {
        if units.is_empty() {
            return Ok(true);
        }
        for at in units {
            if self.is_active(at)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every kind that the API serves now.
    pub(crate) fn served(&self, cluster: &str, version: &str) -> Result<Vec<ServedKind>, Failure> {
        let kind = |api_version: &str, name: &str| crate::contract::kubernetes::ObjectKind {
            api_version: api_version.to_owned(),
            name: name.to_owned(),
        };
        let built_in = self.rules.kinds.served(cluster, version);
        let mut served: Vec<ServedKind> = built_in
            .map(|seed| ServedKind {
                kind: kind(&seed.api_version, &seed.kind),
                plural: seed.plural.clone(),
                namespaced: seed.namespaced,
            })
            .collect();
        for definition in self.objects(cluster, "CustomResourceDefinition.apiextensions.k8s.io", "")? {
            let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
            for version in versions.into_iter().flatten() {
                if version.get("served").and_then(Value::as_bool) == Some(false) {
                    continue;
                }
                let api_version = format!("{}/{}", text(&definition, "/spec/group"), text(version, "/name"));
                served.push(ServedKind {
                    kind: kind(&api_version, text(&definition, "/spec/names/kind")),
                    plural: text(&definition, "/spec/names/plural").to_owned(),
                    namespaced: text(&definition, "/spec/scope") != "Cluster",
                });
            }
        }
        Ok(served)
    }

    /// Stores an object as it is now, and sets to work whoever has to look at it.
    pub(crate) fn store_object(&mut self, cluster: &str, mut object: Value) -> Result<Value, Failure> {
        let kind = kind_of(&object);
        let key = keys::object(cluster, &kind, namespace_of(&object), name_of(&object));
        let before = self.object_at(&key)?;
        if kind == "Node" {
            self.taint_cordoned(&mut object);
        }
        if let Some(before) = &before {
            let generation = number(before, "/metadata/generation").unwrap_or(1);
            let wanted = match desired(before) == desired(&object) {
                true => generation,
                false => generation + 1,
            };
            set(&mut object, "/metadata/generation", wanted.into());
        }
        let revision = self.raise_revision(cluster, 1)?;
        set(&mut object, "/metadata/resourceVersion", revision.to_string().into());
        self.tx.set(&key, &object)?;
        self.object_changed(cluster, &key, before.as_ref(), Some(&object))?;
        Ok(object)
    }

    /// Stores a new object with what the API server gives it.
    pub(crate) fn insert_object(&mut self, cluster: &str, mut object: Value) -> Result<Value, Failure> {
        let unique = self.unique(cluster)?;
        let uid = format!(
            "{}-{}-4{}-a{}-{}",
            &unique[..8],
            &unique[8..12],
            &unique[13..16],
            &unique[17..20],
            &unique[20..32]
        );
        let generated = text(&object, "/metadata/generateName").to_owned();
        if name_of(&object).is_empty() && !generated.is_empty() {
            set(&mut object, "/metadata/name", format!("{generated}{}", suffix(&unique)).into());
        }
        set(&mut object, "/metadata/uid", uid.into());
        set(&mut object, "/metadata/creationTimestamp", self.seconds().into());
        set(&mut object, "/metadata/generation", 1.into());
        self.defaults(&mut object, &unique);
        self.store_object(cluster, object)
    }

    /// Creates an object, or replaces the one that is there and keeps who it is.
    pub(crate) fn put_whole(&mut self, cluster: &str, mut object: Value) -> Result<Value, Failure> {
        let kind = kind_of(&object);
        let there = self.object(cluster, &kind, namespace_of(&object), name_of(&object))?;
        let Some(there) = there else {
            return self.insert_object(cluster, object);
        };
        for field in ["uid", "creationTimestamp", "generation"] {
            let pointer = format!("/metadata/{field}");
            if let Some(value) = there.pointer(&pointer) {
                set(&mut object, &pointer, value.clone());
            }
        }
        self.store_object(cluster, object)
    }

    /// Removes an object now, and sets the garbage collector to work.
    pub(crate) fn drop_object(
        &mut self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Failure> {
        let key = keys::object(cluster, kind, namespace, name);
        let Some(before) = self.object_at(&key)? else {
            return Ok(false);
        };
        self.raise_revision(cluster, 1)?;
        self.tx.remove(&key);
        self.work.insert(Work::Collect { cluster: cluster.to_owned(), uid: uid_of(&before).to_owned() });
        if kind == "Namespace" {
            for (key, _) in self.tx.below(&keys::objects(cluster)) {
                if let Some((kind, inside, name)) = parse_key(cluster, &key)
                    && inside == namespace_name(&before)
                {
                    self.drop_object(cluster, kind, inside, name)?;
                }
            }
        }
        self.object_changed(cluster, &key, Some(&before), None)?;
        Ok(true)
    }

    /// The time as Kubernetes writes it.
    pub(crate) fn seconds(&self) -> String {
        let text = self.now.to_string();
        match text.split_once('.') {
            Some((seconds, _)) => format!("{seconds}Z"),
            None => text,
        }
    }

    /// A cordoned Node has a taint of its own, as in a real cluster.
    fn taint_cordoned(&self, node: &mut Value) {
        const TAINT: &str = "node.kubernetes.io/unschedulable";
        let cordoned = node.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true);
        let mut taints = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
        let tainted = taints.iter().any(|taint| text(taint, "/key") == TAINT);
        if cordoned == tainted {
            return;
        }
        taints.retain(|taint| text(taint, "/key") != TAINT);
        if cordoned {
            taints.push(json!({"key": TAINT, "effect": "NoSchedule", "timeAdded": self.seconds()}));
        }
        match taints.is_empty() {
            true => unset(node, "/spec/taints"),
            false => set(node, "/spec/taints", taints.into()),
        }
    }
}

fn namespace_name(namespace: &Value) -> &str {
    name_of(namespace)
}

/// What people ask of an object: all but its metadata and status.
fn desired(object: &Value) -> Map<String, Value> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    fields.shift_remove("metadata");
    fields.shift_remove("status");
    fields.shift_remove("apiVersion");
    fields
}

/// Five characters such as Kubernetes ends generated names with.
pub(crate) fn suffix(unique: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes = hex::decode(unique).unwrap_or_default();
    let letters = bytes.iter().take(5);
    letters.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}
