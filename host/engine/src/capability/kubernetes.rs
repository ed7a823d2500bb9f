//! `kubernetes`: grants name function (the verb), kind, namespace and name.

use std::borrow::Cow;

use serde_json::Value;

use super::{Capable, Subject, known};
use crate::contract::kubernetes::{
    ApplyOrder, CreateOrder, Eviction, ObjectKind, ObjectRef, PageOrder, PatchOrder, RemovalOrder, Selection,
    Subject as WaitSubject, WaitOrder,
};
use crate::contract::{Backend, Caller, FailureKind, Place};

/// Depth at which JSON from a plugin is refused (rule 8 of the contract).
pub(crate) const JSON_DEPTH: usize = 64;

/// `Kind` for the core group (`v1`), otherwise `Kind.group`.
#[must_use]
pub(crate) fn granted_kind(kind: &ObjectKind) -> String {
    match kind.api_version.split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.name),
        None => kind.name.clone(),
    }
}

/// The reference in an object's own text.
fn reference(cluster: &str, body: &str) -> Result<ObjectRef, String> {
    let object = json(body)?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let missing = |what: &str| format!("the object has no {what}");
    Ok(ObjectRef {
        cluster: cluster.to_owned(),
        kind: ObjectKind {
            api_version: text("/apiVersion").ok_or_else(|| missing("apiVersion"))?,
            name: text("/kind").ok_or_else(|| missing("kind"))?,
        },
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").ok_or_else(|| missing("metadata.name"))?,
    })
}

fn json(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    if depth(&value) > JSON_DEPTH {
        return Err(format!("JSON nests deeper than {JSON_DEPTH}"));
    }
    Ok(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn object<'a>(kind: &ObjectKind, namespace: Option<&'a str>, name: Option<&'a str>) -> Subject<'a> {
    Subject::Object { kind: granted_kind(kind), namespace: namespace.map(Cow::from), name: name.map(Cow::from) }
}

fn named(at: &ObjectRef) -> Result<Subject<'_>, String> {
    if at.name.is_empty() {
        return Err(format!("a {} without a name", at.kind.name));
    }
    Ok(object(&at.kind, at.namespace.as_deref(), Some(&at.name)))
}

fn title(at: &ObjectRef) -> String {
    match &at.namespace {
        Some(namespace) => format!("{} {namespace}/{}", at.kind.name, at.name),
        None => format!("{} {}", at.kind.name, at.name),
    }
}

/// `uid` and `resourceVersion` of each object; "absent" where there is none.
async fn identities(backend: &dyn Backend, place: &Place, objects: Vec<Option<ObjectRef>>) -> Vec<Value> {
    let asked: Vec<ObjectRef> = objects.iter().flatten().cloned().collect();
    let Ok(found) = backend.kubernetes().get(place, &Caller::runner(), asked).await else {
        return vec![Value::Null; objects.len()];
    };
    let mut found = found.into_iter();
    objects
        .into_iter()
        .map(|object| match object.and_then(|_| found.next()) {
            Some(Ok(object)) => known::<_, ()>(Ok(object.id)),
            Some(Err(failure)) if failure.kind == FailureKind::NotFound => Value::from("absent"),
            Some(Err(_)) | None => Value::Null,
        })
        .collect()
}

impl Capable for ObjectRef {
    fn subject(&self) -> Result<Subject<'_>, String> {
        named(self)
    }
    fn label(&self) -> String {
        title(self)
    }
}

fn selected(selection: &Selection) -> Subject<'_> {
    object(&selection.kind, selection.namespace.as_deref(), None)
}

impl Capable for PageOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(selected(&self.selection))
    }
    fn label(&self) -> String {
        format!("{} list", self.selection.kind.name)
    }
}

impl Capable for WaitOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        match &self.subject {
            WaitSubject::Object(at) => named(at),
            WaitSubject::Selection(selection) => Ok(selected(selection)),
        }
    }
    fn label(&self) -> String {
        match &self.subject {
            WaitSubject::Object(at) => format!("{} until {}", title(at), self.condition),
            WaitSubject::Selection(selection) => {
                format!("{} list until {}", selection.kind.name, self.condition)
            }
        }
    }
}

#[async_trait::async_trait]
impl Capable for ApplyOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        let at = reference(&self.cluster, &self.body)?;
        Ok(Subject::Object {
            kind: granted_kind(&at.kind),
            namespace: at.namespace.map(Cow::from),
            name: Some(at.name.into()),
        })
    }
    fn label(&self) -> String {
        reference(&self.cluster, &self.body).map_or_else(|reason| reason, |at| title(&at))
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        let objects = items.iter().map(|i| reference(&i.cluster, &i.body).ok()).collect();
        identities(backend, place, objects).await
    }
}

impl Capable for CreateOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        let at = reference(&self.cluster, &self.body)?;
        Ok(Subject::Object {
            kind: granted_kind(&at.kind),
            namespace: at.namespace.map(Cow::from),
            name: Some(at.name.into()),
        })
    }
    fn label(&self) -> String {
        reference(&self.cluster, &self.body).map_or_else(|reason| reason, |at| title(&at))
    }
}

#[async_trait::async_trait]
impl Capable for PatchOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        json(&self.body)?;
        named(&self.object)
    }
    fn label(&self) -> String {
        title(&self.object)
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        identities(backend, place, items.iter().map(|i| Some(i.object.clone())).collect()).await
    }
}

#[async_trait::async_trait]
impl Capable for RemovalOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        named(&self.object)
    }
    fn label(&self) -> String {
        title(&self.object)
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        identities(backend, place, items.iter().map(|i| Some(i.object.clone())).collect()).await
    }
}

#[async_trait::async_trait]
impl Capable for Eviction {
    fn subject(&self) -> Result<Subject<'_>, String> {
        if self.namespace.is_empty() || self.name.is_empty() {
            return Err("a Pod without a namespace or a name".to_owned());
        }
        Ok(Subject::Object {
            kind: "Pod".to_owned(),
            namespace: Some(Cow::from(&self.namespace)),
            name: Some(Cow::from(&self.name)),
        })
    }
    fn label(&self) -> String {
        format!("Pod {}/{}", self.namespace, self.name)
    }
    /// The uid is in the item itself.
    async fn before(_backend: &dyn Backend, _place: &Place, items: &[Self]) -> Vec<Value> {
        items.iter().map(|item| Value::from(item.uid.as_str())).collect()
    }
}
