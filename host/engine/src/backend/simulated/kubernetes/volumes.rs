//! PersistentVolumes and their claims.

use serde_json::{Value, json};

use super::controllers::Work;
use super::objects::{name_of, namespace_of, set, text, uid_of};
use super::quantity::milli_of;
use super::schedule::term_fits;
use crate::backend::simulated::model::Model;
use crate::contract::Failure;

impl Model<'_> {
    /// Binds claims to volumes, and releases volumes whose claims are gone.
    pub(crate) fn bind_claims(&mut self, cluster: &str) -> Result<(), Failure> {
        self.release_volumes(cluster)?;
        for claim in self.objects(cluster, "PersistentVolumeClaim", "")? {
            if text(&claim, "/status/phase") == "Bound" {
                continue;
            }
            let volume = match self.volume_for(cluster, &claim)? {
                Some(volume) => Some(volume),
                None => self.provision(cluster, &claim)?,
            };
            match volume {
                Some(volume) => self.bind(cluster, claim, volume)?,
                None => self.store_status(cluster, &claim, json!({"phase": "Pending"}))?,
            }
        }
        Ok(())
    }

    fn release_volumes(&mut self, cluster: &str) -> Result<(), Failure> {
        for mut volume in self.objects(cluster, "PersistentVolume", "")? {
            let phase = text(&volume, "/status/phase");
            if phase.is_empty() {
                set(&mut volume, "/status", json!({"phase": "Available"}));
                self.store_object(cluster, volume)?;
            } else if phase == "Bound" {
                let (namespace, name) =
                    (text(&volume, "/spec/claimRef/namespace"), text(&volume, "/spec/claimRef/name"));
                let claim = self.object(cluster, "PersistentVolumeClaim", namespace, name)?;
                if claim.is_some_and(|claim| uid_of(&claim) == text(&volume, "/spec/claimRef/uid")) {
                    continue;
                }
                if text(&volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
                    self.drop_object(cluster, "PersistentVolume", "", name_of(&volume))?;
                } else {
                    set(&mut volume, "/status", json!({"phase": "Released"}));
                    self.store_object(cluster, volume)?;
                }
            }
        }
        Ok(())
    }

    fn volume_for(&self, cluster: &str, claim: &Value) -> Result<Option<Value>, Failure> {
        let named = text(claim, "/spec/volumeName");
        let class = text(claim, "/spec/storageClassName");
        let wanted = milli_of(claim.pointer("/spec/resources/requests/storage"));
        let volumes = self.objects(cluster, "PersistentVolume", "")?;
        Ok(volumes.into_iter().find(|volume| {
            let reserved = text(volume, "/spec/claimRef/name");
            let ours = reserved == name_of(claim)
                && text(volume, "/spec/claimRef/namespace") == namespace_of(claim)
                && text(volume, "/spec/claimRef/uid").is_empty()
                || text(volume, "/spec/claimRef/uid") == uid_of(claim);
            let free = text(volume, "/status/phase") == "Available" && reserved.is_empty();
            (named.is_empty() || named == name_of(volume))
                && text(volume, "/spec/storageClassName") == class
                && milli_of(volume.pointer("/spec/capacity/storage")) >= wanted
                && (ours || free)
        }))
    }

    /// Makes a volume where the claim's class can.
    fn provision(&mut self, cluster: &str, claim: &Value) -> Result<Option<Value>, Failure> {
        let class = text(claim, "/spec/storageClassName");
        let Some(class_object) = self.object(cluster, "StorageClass.storage.k8s.io", "", class)? else {
            return Ok(None);
        };
        if text(&class_object, "/provisioner") == "kubernetes.io/no-provisioner" {
            return Ok(None);
        }
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": format!("pvc-{}", uid_of(claim))},
            "spec": {
                "capacity": claim.pointer("/spec/resources/requests"),
                "accessModes": claim.pointer("/spec/accessModes"),
                "storageClassName": class,
                "persistentVolumeReclaimPolicy": class_object.get("reclaimPolicy").cloned().unwrap_or_else(|| "Delete".into()),
            },
            "status": {"phase": "Available"},
        });
        self.insert_object(cluster, volume).map(Some)
    }

    fn bind(&mut self, cluster: &str, mut claim: Value, mut volume: Value) -> Result<(), Failure> {
        let reference = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": name_of(&claim),
            "namespace": namespace_of(&claim),
            "uid": uid_of(&claim),
        });
        set(&mut volume, "/spec/claimRef", reference);
        set(&mut volume, "/status", json!({"phase": "Bound"}));
        set(&mut claim, "/spec/volumeName", name_of(&volume).into());
        let status = json!({
            "phase": "Bound",
            "accessModes": claim.pointer("/spec/accessModes"),
            "capacity": volume.pointer("/spec/capacity"),
        });
        set(&mut claim, "/status", status);
        self.store_object(cluster, volume)?;
        self.store_object(cluster, claim)?;
        self.work.insert(Work::Pending { cluster: cluster.to_owned() });
        Ok(())
    }

    fn claims(&self, cluster: &str, pod: &Value) -> Result<Vec<(String, Option<Value>)>, Failure> {
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let mut claims = Vec::new();
        for volume in volumes.into_iter().flatten() {
            let name = text(volume, "/persistentVolumeClaim/claimName");
            if !name.is_empty() {
                let claim = self.object(cluster, "PersistentVolumeClaim", namespace_of(pod), name)?;
                claims.push((name.to_owned(), claim));
            }
        }
        Ok(claims)
    }

    /// Why a Pod cannot be placed because of a claim.
    pub(crate) fn unbound_claim(&self, cluster: &str, pod: &Value) -> Result<Option<String>, Failure> {
        for (name, claim) in self.claims(cluster, pod)? {
            match claim {
                None => return Ok(Some(format!("persistentvolumeclaim \"{name}\" not found"))),
                Some(claim) if text(&claim, "/status/phase") != "Bound" => {
                    return Ok(Some("pod has unbound immediate PersistentVolumeClaims".to_owned()));
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// The nodes that all volumes of a Pod can be reached from; none: any.
    pub(crate) fn volume_nodes(&self, cluster: &str, pod: &Value) -> Result<Option<Vec<String>>, Failure> {
        let mut nodes: Option<Vec<String>> = None;
        for (_, claim) in self.claims(cluster, pod)? {
            let name = claim.as_ref().map(|claim| text(claim, "/spec/volumeName")).unwrap_or_default();
            let volume = self.object(cluster, "PersistentVolume", "", name)?.unwrap_or_default();
            let terms = volume.pointer("/spec/nodeAffinity/required/nodeSelectorTerms").and_then(Value::as_array);
            let Some(terms) = terms else { continue };
            let mut fitting = Vec::new();
            for name in self.node_names(cluster) {
                let node = self.object(cluster, "Node", "", &name)?.unwrap_or_default();
                let allowed = nodes.as_ref().is_none_or(|nodes| nodes.contains(&name));
                if allowed && terms.iter().any(|term| term_fits(term, &node)) {
                    fitting.push(name);
                }
            }
            nodes = Some(fitting);
        }
        Ok(nodes)
    }
}
