//! Objects of a Kubernetes cluster as JSON.

use serde_json::{Value, json};

use crate::api::kubernetes::{
    self, ApplyOrder, Identity, ObjectChange, ObjectKind, ObjectRef, PageOrder, PatchKind, PatchOrder, Precondition,
    Propagation, RemovalOrder, Selection, Subject, WaitOrder,
};
use crate::json::{At, hash, segment};
use crate::{Answers, Failure, FailureKind, Presence, problems::failure};

/// Annotation of a Pod template that carries the hash of the configuration its Pods read.
pub const CONFIG_HASH: &str = "runner/config-hash";

/// Managers that people and common tools leave on objects; applying takes their fields over, so that what an object no
/// longer holds goes away.
pub const COMMON_MANAGERS: [&str; 4] = ["kubectl-client-side-apply", "kubectl", "kubectl-create", "helm"];

/// The same for a return to what was: what was edited since goes, too.
pub const MANAGERS_OF_EDITS: [&str; 8] = [
    "kubectl-client-side-apply",
    "kubectl",
    "kubectl-create",
    "helm",
    "kubectl-edit",
    "kubectl-patch",
    "kubectl-replace",
    "kubectl-set",
];

/// An object as the API server gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Which one it is, and in which state.
    pub id: Identity,
    /// The object, or the fields asked for.
    pub body: Value,
}

/// A kind, as manifests write it.
pub fn kind(api_version: &str, name: &str) -> ObjectKind {
    ObjectKind { api_version: api_version.to_owned(), name: name.to_owned() }
}

/// `Kind ns/name` of an object, for people.
pub fn describe(body: &Value) -> String {
    let kind = body.text("/kind").unwrap_or("object");
    let name = body.text("/metadata/name").unwrap_or("?");
    match body.text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The reference of an object that says its kind and name.
pub fn reference(cluster: &str, body: &Value) -> ObjectRef {
    ObjectRef {
        cluster: cluster.to_owned(),
        kind: kind(body.text("/apiVersion").unwrap_or_default(), body.text("/kind").unwrap_or_default()),
        namespace: body.text("/metadata/namespace").map(Into::into),
        name: body.text("/metadata/name").unwrap_or_default().to_owned(),
    }
}

/// Whether two references name one object; versions of one API group do not make them different.
pub fn same(one: &ObjectRef, other: &ObjectRef) -> bool {
    one.cluster == other.cluster
        && one.namespace == other.namespace
        && one.name == other.name
        && one.kind.name == other.kind.name
        && group(&one.kind.api_version) == group(&other.kind.api_version)
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// An object without what the API server or another tool's bookkeeping put in, so that it can be applied later.
pub fn portable(body: &Value) -> Value {
    let mut body = body.clone();
    body.cut("/status");
    for field in
        ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences"]
    {
        body.cut(&format!("/metadata/{field}"));
    }
    body.cut("/spec/template/metadata/creationTimestamp");
    for annotation in [
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
    ] {
        body.cut(&format!("/metadata/annotations/{}", segment(annotation)));
    }
    if body.pointer("/metadata/annotations").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        body.cut("/metadata/annotations");
    }
    body
}

/// Writes the hash of what a workload's Pods read into its Pod template, so that a change of it rolls out.
pub fn hash_config(workload: &mut Value, config: &[&Value]) {
    let parts: Vec<Value> = config
        .iter()
        .map(|object| json!([object.pointer("/data"), object.pointer("/binaryData"), object.text("/metadata/name")]))
        .collect();
    let pointer = format!("/spec/template/metadata/annotations/{}", segment(CONFIG_HASH));
    workload.put(&pointer, Value::String(hash(&Value::Array(parts))));
}

/// A cluster by name, with what plugins do in it.
#[derive(Debug, Clone, Copy)]
pub struct Cluster<'a>(pub &'a str);

impl Cluster<'_> {
    /// The reference of a namespaced object.
    pub fn namespaced(&self, api_version: &str, kind_name: &str, namespace: &str, name: &str) -> ObjectRef {
        ObjectRef {
            cluster: self.0.to_owned(),
            kind: kind(api_version, kind_name),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// The reference of an object without namespace.
    pub fn global(&self, api_version: &str, kind_name: &str, name: &str) -> ObjectRef {
        ObjectRef {
            cluster: self.0.to_owned(),
            kind: kind(api_version, kind_name),
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// A selection of objects. No namespace: all of them; empty selector: all objects.
    pub fn select(&self, api_version: &str, kind_name: &str, namespace: Option<&str>, labels: &str) -> Selection {
        Selection {
            cluster: self.0.to_owned(),
            kind: kind(api_version, kind_name),
            namespace: namespace.map(Into::into),
            labels: labels.to_owned(),
            fields: String::new(),
        }
    }

    /// Objects by name, in one call; none where there is none.
    pub fn get(&self, refs: &[ObjectRef]) -> Result<Vec<Option<Object>>, Failure> {
        let found = kubernetes::get(refs).into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
        found.into_iter().map(|object| object.map(parsed).transpose()).collect()
    }

    /// All objects of a selection, page by page, with the fields at these JSON pointers (none: whole objects).
    pub fn list(&self, selection: Selection, keep: &[&str]) -> Result<Vec<Object>, Failure> {
        let mut lists = self.lists(vec![selection], keep)?;
        Ok(lists.pop().unwrap_or_default())
    }

    /// All objects of several selections; one call for all first pages.
    pub fn lists(&self, selections: Vec<Selection>, keep: &[&str]) -> Result<Vec<Vec<Object>>, Failure> {
        let mut lists: Vec<Vec<Object>> = selections.iter().map(|_| Vec::new()).collect();
        let mut open: Vec<(usize, PageOrder)> = selections
            .into_iter()
            .map(|selection| PageOrder {
                selection,
                keep: keep.iter().map(|pointer| (*pointer).to_owned()).collect(),
                limit: 0,
                token: None,
            })
            .enumerate()
            .collect();
        while !open.is_empty() {
            let orders: Vec<PageOrder> = open.iter().map(|(_, order)| order.clone()).collect();
            let pages = kubernetes::pages(&orders).all()?;
            let mut next = Vec::new();
            for ((index, mut order), page) in open.into_iter().zip(pages) {
                for object in page.objects {
                    lists[index].push(kinded(parsed(object)?, &order.selection.kind, keep));
                }
                if page.token.is_some() {
                    order.token = page.token;
                    next.push((index, order));
                }
            }
            open = next;
        }
        Ok(lists)
    }

    /// Applies objects in order, taking fields from whoever holds them; true where something changed.
    pub fn apply(&self, bodies: &[Value], take_over: &[String]) -> Result<bool, Failure> {
        if bodies.is_empty() {
            return Ok(false);
        }
        let orders: Vec<ApplyOrder> = bodies
            .iter()
            .map(|body| ApplyOrder {
                cluster: self.0.to_owned(),
                body: body.to_string(),
                secrets: Vec::new(),
                force: true,
                take_over: take_over.to_vec(),
                precondition: None,
            })
            .collect();
        any_changed(kubernetes::apply(&orders))
    }

    /// Applies a merge patch to an object or one of its subresources.
    pub fn patch(&self, object: ObjectRef, body: &Value, subresource: Option<&str>) -> Result<bool, Failure> {
        let order = PatchOrder {
            object,
            patch: PatchKind::Merge,
            body: body.to_string(),
            subresource: subresource.map(Into::into),
            precondition: None,
        };
        any_changed(kubernetes::patch(&[order]))
    }

    /// Removes objects that were seen, and no others that took their names since.
    pub fn remove(&self, objects: &[(ObjectRef, String)], propagation: Propagation) -> Result<bool, Failure> {
        if objects.is_empty() {
            return Ok(false);
        }
        let orders: Vec<RemovalOrder> = objects
            .iter()
            .map(|(object, uid)| RemovalOrder {
                object: object.clone(),
                propagation,
                grace_seconds: None,
                precondition: Some(Precondition { uid: Some(uid.clone()), resource_version: None }),
            })
            .collect();
        any_changed(kubernetes::remove(&orders))
    }

    /// Waits until a condition over one object holds, and gives the object as it then is; none: it is gone.
    pub fn wait_object(
        &self,
        object: ObjectRef,
        condition: &str,
        seconds: u32,
        forecast: Option<Value>,
    ) -> Result<Option<Object>, Failure> {
        Ok(self.wait(Subject::Object(object), condition, seconds, forecast)?.pop())
    }

    /// Waits until a condition over the objects of a selection holds.
    pub fn wait_all(
        &self,
        selection: Selection,
        condition: &str,
        seconds: u32,
        forecast: Option<Value>,
    ) -> Result<Vec<Object>, Failure> {
        self.wait(Subject::Selection(selection), condition, seconds, forecast)
    }

    fn wait(
        &self,
        subject: Subject,
        condition: &str,
        seconds: u32,
        forecast: Option<Value>,
    ) -> Result<Vec<Object>, Failure> {
        let order = WaitOrder {
            subject,
            condition: condition.to_owned(),
            keep: Vec::new(),
            time_out: seconds.saturating_mul(1000),
            forecast: forecast.map(|patch| patch.to_string()),
        };
        kubernetes::wait_for(&[order]).one()?.into_iter().map(parsed).collect()
    }
}

/// `Kind ns/name` of a reference, for people.
pub fn describe_ref(object: &ObjectRef) -> String {
    match &object.namespace {
        Some(namespace) => format!("{} {namespace}/{}", object.kind.name, object.name),
        None => format!("{} {}", object.kind.name, object.name),
    }
}

pub(crate) fn parsed(object: kubernetes::Object) -> Result<Object, Failure> {
    match serde_json::from_str(&object.body) {
        Ok(body) => Ok(Object { id: object.id, body }),
        Err(error) => {
            let kind = FailureKind::Other("unexpected-answer".into());
            Err(failure(kind, object.id.name, format!("the object is no JSON: {error}")))
        }
    }
}

/// Items of a list need not say their kind; whole objects of the SDK always do.
fn kinded(mut object: Object, kind: &ObjectKind, keep: &[&str]) -> Object {
    if keep.is_empty() && object.body.text("/kind").is_none() {
        object.body.put("/apiVersion", Value::String(kind.api_version.clone()));
        object.body.put("/kind", Value::String(kind.name.clone()));
    }
    object
}

fn any_changed(answers: Vec<Result<ObjectChange, Failure>>) -> Result<bool, Failure> {
    Ok(answers.all()?.iter().any(|change| change.changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portable_object_can_be_applied_elsewhere() {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "status": {},
            "metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7", "managedFields": [],
                         "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "metadata": {"name": "x", "namespace": "n"},
        });
        assert_eq!(portable(&body), expected);
        assert_eq!(describe(&body), "ConfigMap n/x");
    }

    #[test]
    fn the_template_follows_the_configuration() {
        let config = |text: &str| json!({"metadata": {"name": "c", "uid": text}, "data": {"k": text}});
        let hashed = |config: &Value| {
            let mut workload = json!({"spec": {"template": {}}});
            hash_config(&mut workload, &[config]);
            workload.text("/spec/template/metadata/annotations/runner~1config-hash").map(str::to_owned)
        };
        assert!(hashed(&config("a")).is_some());
        assert_ne!(hashed(&config("a")), hashed(&config("b")));
        let mut touched = config("a");
        touched.put("/metadata/resourceVersion", json!("9"));
        assert_eq!(hashed(&config("a")), hashed(&touched));
    }

    #[test]
    fn versions_of_one_group_name_the_same_object() {
        let cluster = Cluster("main");
        let one = cluster.global("networking.k8s.io/v1", "IngressClass", "x");
        assert!(same(&one, &cluster.global("networking.k8s.io/v1beta1", "IngressClass", "x")));
        assert!(!same(&one, &cluster.global("extensions/v1beta1", "IngressClass", "x")));
        assert!(!same(&one, &cluster.namespaced("networking.k8s.io/v1", "IngressClass", "n", "x")));
    }
}
