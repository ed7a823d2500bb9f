//! What the API does when it is asked to change something.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::apply::{Apply, merged, own_changes};
use super::budgets::Verdict;
use super::kinds::{full_kind, group_of};
use super::objects::{identity, is_ending, kind_of, name_of, namespace_of, owner_term, set, text, uid_of, unset};
use super::patch;
use crate::backend::failure;
use crate::backend::objects::{EFFECT, namespace_in, title};
use crate::backend::simulated::model::Model;
use crate::contract::Failure;
use crate::contract::kubernetes::{
    ApplyOrder, CreateOrder, Eviction, ObjectChange, ObjectKind, ObjectRef, PatchKind, PatchOrder, Precondition,
    Propagation, RemovalOrder, SecretField, ServedKind,
};

/// How an attempt to evict came out.
pub(crate) enum Evicted {
    /// It is gone, or was not there.
    Done(ObjectChange),
    /// A budget forbids it for now.
    Blocked(String),
    /// Evicted, but its node's kubelet does not end it.
    Ending,
}

fn title_of(object: &Value) -> String {
    title(text(object, "/kind"), namespace_of(object), name_of(object))
}

impl Model<'_> {
    /// The kind, which the API must serve.
    pub(crate) fn served_kind(&self, cluster: &str, kind: &ObjectKind) -> Result<ServedKind, Failure> {
        let version = self.need_api(cluster)?;
        let served = self.served(cluster, &version)?;
        served.into_iter().find(|served| served.kind == *kind).ok_or_else(|| {
            let name = format!("{} {}", kind.api_version, kind.name);
            failure::not_found(&name, format!("the API server of {cluster} ({version}) does not serve {name}"))
        })
    }

    /// The key parts of a reference: kind as in keys, namespace, name.
    pub(crate) fn place_of(&self, at: &ObjectRef) -> Result<(String, String), Failure> {
        let served = self.served_kind(&at.cluster, &at.kind)?;
        let namespace = namespace_in(&served, at.namespace.as_deref(), &at.name)?;
        Ok((full_kind(&at.kind.api_version, &at.kind.name), namespace.to_owned()))
    }

    /// An object that was asked for by reference.
    pub(crate) fn referred(&self, at: &ObjectRef) -> Result<Value, Failure> {
        let (kind, namespace) = self.place_of(at)?;
        let found = self.object(&at.cluster, &kind, &namespace, &at.name)?;
        found.ok_or_else(|| {
            let title = title(&at.kind.name, &namespace, &at.name);
            failure::not_found(&title, format!("{title} is not in {}", at.cluster))
        })
    }

    /// An object's text, checked, with its secrets filled in.
    fn written(&self, cluster: &str, body: &str, secrets: &[SecretField]) -> Result<Value, Failure> {
        let mut object: Value = serde_json::from_str(body)
            .map_err(|error| failure::invalid(cluster, format!("the object is not JSON: {error}")))?;
        let kind = ObjectKind {
            api_version: text(&object, "/apiVersion").to_owned(),
            name: text(&object, "/kind").to_owned(),
        };
        let served = self.served_kind(cluster, &kind)?;
        let title = title_of(&object);
        namespace_in(&served, Some(namespace_of(&object)), name_of(&object))?;
        if !served.namespaced && !namespace_of(&object).is_empty() {
            return Err(failure::invalid(&title, format!("{} is not namespaced", kind.name)));
        }
        if served.namespaced && self.object(cluster, "Namespace", "", namespace_of(&object))?.is_none() {
            let namespace = namespace_of(&object);
            return Err(failure::not_found(&title, format!("namespace {namespace} is not in {cluster}")));
        }
        check_name(&object, &title)?;
        for field in secrets {
            let encoded = kind.name == "Secret" && field.pointer.starts_with("/data/");
            let value = if encoded { STANDARD.encode(&field.secret) } else { field.secret.clone() };
            set(&mut object, &field.pointer, value.into());
        }
        Ok(object)
    }

    /// Server-side apply.
    pub(crate) fn apply(&mut self, order: &ApplyOrder, manager: &str) -> Result<ObjectChange, Failure> {
        let cluster = order.cluster.as_str();
        let body = self.written(cluster, &order.body, &order.secrets)?;
        let live = self.object(cluster, &kind_of(&body), namespace_of(&body), name_of(&body))?;
        check(live.as_ref(), order.precondition.as_ref(), &title_of(&body))?;
        let Some(live) = live else {
            let object = Self::owned_object(&body, manager);
            let stored = self.insert_object(cluster, object)?;
            return self.changed(cluster, &stored, None);
        };
        let apply = Apply { body: &body, manager, force: order.force, take_over: &order.take_over };
        let object = merged(&live, &apply)?;
        self.replace(cluster, &live, object)
    }

    /// Stores what became of an object, if it is another one.
    fn replace(&mut self, cluster: &str, live: &Value, object: Value) -> Result<ObjectChange, Failure> {
        if object == *live {
            return self.changed(cluster, live, Some(live));
        }
        let selector = object.pointer("/spec/selector");
        if matches!(
            kind_of(&object).as_str(),
            "Deployment.apps" | "DaemonSet.apps" | "StatefulSet.apps" | "ReplicaSet.apps"
        ) && selector != live.pointer("/spec/selector")
        {
            return Err(failure::invalid(title_of(live), "spec.selector: field is immutable"));
        }
        let stored = self.store_object(cluster, object)?;
        let finalizers = stored.pointer("/metadata/finalizers").and_then(Value::as_array);
        if is_ending(&stored) && finalizers.is_none_or(Vec::is_empty) && kind_of(&stored) != "Pod" {
            self.drop_object(cluster, &kind_of(&stored), namespace_of(&stored), name_of(&stored))?;
        }
        self.changed(cluster, &stored, Some(live))
    }

    /// The answer to a write, after everything that follows from it.
    fn changed(&mut self, cluster: &str, object: &Value, before: Option<&Value>) -> Result<ObjectChange, Failure> {
        let stored = text(object, "/metadata/resourceVersion").to_owned();
        let changed = before.is_none_or(|before| text(before, "/metadata/resourceVersion") != stored);
        self.settle()?;
        let now = self.object(cluster, &kind_of(object), namespace_of(object), name_of(object))?;
        Ok(ObjectChange { changed, id: now.as_ref().map(identity) })
    }

    /// Merge and strategic merge patches.
    pub(crate) fn patch(&mut self, order: &PatchOrder, manager: &str) -> Result<ObjectChange, Failure> {
        let at = &order.object;
        let live = self.referred(at)?;
        let title = title_of(&live);
        check(Some(&live), order.precondition.as_ref(), &title)?;
        let mut fields: Value = serde_json::from_str(&order.body)
            .map_err(|error| failure::invalid(&title, format!("the patch is not JSON: {error}")))?;
        match order.subresource.as_deref() {
            None => unset(&mut fields, "/status"),
            Some("status" | "scale") => {
                let part = if order.subresource.as_deref() == Some("status") { "status" } else { "spec" };
                let kept = fields.get(part).cloned();
                fields = kept.map_or_else(|| serde_json::json!({}), |kept| serde_json::json!({ part: kept }));
            }
            Some(other) => {
                return Err(failure::invalid(&title, format!("there is no subresource {other:?}")));
            }
        }
        let mut object = live.clone();
        let kind = kind_of(&live);
        match order.patch {
            PatchKind::Merge => patch::merge(&mut object, &fields),
            PatchKind::Strategic => {
                let group = group_of(&kind);
                if group.contains('.') && !group.ends_with(".k8s.io") {
                    return Err(failure::invalid(&title, "strategic patches are for built-in kinds only"));
                }
                patch::strategic(&mut object, &fields, &kind);
            }
        }
        for pointer in ["/metadata/name", "/metadata/namespace", "/metadata/uid", "/apiVersion", "/kind"] {
            if object.pointer(pointer) != live.pointer(pointer) {
                return Err(failure::invalid(&title, format!("{pointer} cannot be changed")));
            }
        }
        own_changes(&live, &mut object, &kind, manager);
        self.replace(&at.cluster, &live, object)
    }

    /// Creates an object and marks it with the effect's id.
    pub(crate) fn create(
        &mut self,
        order: &CreateOrder,
        manager: &str,
        effect: Option<&str>,
    ) -> Result<ObjectChange, Failure> {
        let cluster = order.cluster.as_str();
        let mut body = self.written(cluster, &order.body, &order.secrets)?;
        let title = title_of(&body);
        if let Some(effect) = effect {
            set(&mut body, EFFECT, effect.into());
        }
        if let Some(there) = self.object(cluster, &kind_of(&body), namespace_of(&body), name_of(&body))? {
            if effect.is_some_and(|effect| text(&there, EFFECT) == effect) {
                // The call is made again: this effect created it.
                return Ok(ObjectChange { changed: true, id: Some(identity(&there)) });
            }
            return Err(failure::conflict(
                &title,
                format!("{title} is in {cluster} already"),
                vec![title.clone()],
                Some(uid_of(&there).to_owned()),
            ));
        }
        let object = Self::owned_object(&body, manager);
        let stored = self.insert_object(cluster, object)?;
        self.changed(cluster, &stored, None)
    }

    /// Deletes an object.
    pub(crate) fn remove_object(&mut self, order: &RemovalOrder) -> Result<ObjectChange, Failure> {
        let at = &order.object;
        let (kind, namespace) = self.place_of(at)?;
        let Some(live) = self.object(&at.cluster, &kind, &namespace, &at.name)? else {
            return Ok(ObjectChange { changed: false, id: None });
        };
        check(Some(&live), order.precondition.as_ref(), &title_of(&live))?;
        if order.propagation == Propagation::Orphan {
            self.orphan(&at.cluster, uid_of(&live))?;
        }
        let was_ending = is_ending(&live);
        self.delete_object(&at.cluster, &kind, &namespace, &at.name)?;
        self.settle()?;
        let left = self.object(&at.cluster, &kind, &namespace, &at.name)?;
        let left = left.filter(|left| uid_of(left) == uid_of(&live));
        Ok(ObjectChange { changed: !was_ending || left.is_none(), id: left.as_ref().map(identity) })
    }

    fn orphan(&mut self, cluster: &str, uid: &str) -> Result<(), Failure> {
        for (_, mut object) in self.indexed(&owner_term(cluster, uid))? {
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let left: Vec<Value> =
                owners.into_iter().flatten().filter(|owner| text(owner, "/uid") != uid).cloned().collect();
            match left.is_empty() {
                true => unset(&mut object, "/metadata/ownerReferences"),
                false => set(&mut object, "/metadata/ownerReferences", left.into()),
            }
            self.store_object(cluster, object)?;
        }
        Ok(())
    }

    /// Tries once to evict a Pod; its successor is there when this answers.
    pub(crate) fn evict(&mut self, eviction: &Eviction) -> Result<Evicted, Failure> {
        let cluster = eviction.cluster.as_str();
        self.need_api(cluster)?;
        let (namespace, name) = (eviction.namespace.as_str(), eviction.name.as_str());
        let pod = self.object(cluster, "Pod", namespace, name)?;
        let Some(pod) = pod.filter(|pod| uid_of(pod) == eviction.uid) else {
            return Ok(Evicted::Done(ObjectChange { changed: false, id: None }));
        };
        if !is_ending(&pod) {
            match self.judge(cluster, &pod)? {
                Verdict::Allowed => {}
                Verdict::Blocked(budget) => return Ok(Evicted::Blocked(budget)),
                Verdict::Never(budgets) => {
                    let title = title("Pod", namespace, name);
                    return Err(failure::conflict(
                        &title,
                        format!(
                            "{title} has more than one PodDisruptionBudget, which the eviction subresource does not support: {}",
                            budgets.join(", ")
                        ),
                        budgets,
                        None,
                    ));
                }
            }
            self.delete_object(cluster, "Pod", namespace, name)?;
        }
        self.settle()?;
        let left = self.object(cluster, "Pod", namespace, name)?;
        Ok(match left.is_some_and(|left| uid_of(&left) == eviction.uid) {
            true => Evicted::Ending,
            false => Evicted::Done(ObjectChange { changed: true, id: None }),
        })
    }
}

fn check(live: Option<&Value>, wanted: Option<&Precondition>, title: &str) -> Result<(), Failure> {
    let Some(wanted) = wanted else { return Ok(()) };
    let Some(live) = live else {
        return Err(failure::conflict(title, format!("{title} is not there"), vec![title.to_owned()], None));
    };
    let version = text(live, "/metadata/resourceVersion");
    for (wanted, found) in [(&wanted.uid, uid_of(live)), (&wanted.resource_version, version)] {
        if wanted.as_deref().is_some_and(|wanted| wanted != found) {
            return Err(failure::conflict(
                title,
                format!("{title} is another one than expected"),
                vec![title.to_owned()],
                Some(found.to_owned()),
            ));
        }
    }
    Ok(())
}

fn check_name(object: &Value, title: &str) -> Result<(), Failure> {
    let name = name_of(object);
    let generated = text(object, "/metadata/generateName");
    let rbac = group_of(&kind_of(object)) == "rbac.authorization.k8s.io";
    let fits = |c: char| {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || c == '-'
            || c == '.'
            || (rbac && (c == ':' || c.is_ascii_uppercase()))
    };
    let given = if name.is_empty() { generated } else { name };
    if given.is_empty() || given.len() > 253 || !given.chars().all(fits) {
        return Err(failure::invalid(title, format!("{given:?} is no name of an object")));
    }
    Ok(())
}
