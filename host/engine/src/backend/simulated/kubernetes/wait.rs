//! What the API answers when it is asked: objects, pages, waits.

use serde_json::Value;

use super::kinds::full_kind;
use super::objects::{identity, name_of, namespace_of, node_term, set, unset};
use crate::backend::condition::Condition;
use crate::backend::failure;
use crate::backend::objects::{not_come_true, title};
use crate::backend::select::{Fields, Labels, keep};
use crate::backend::simulated::model::Model;
use crate::contract::Failure;
use crate::contract::kubernetes::{Object, ObjectKind, Page, PageOrder, Selection, Server, Subject, WaitOrder};

/// Bytes of objects on one page where the caller sets no bound.
const PAGE_BYTES: usize = 6 << 20;

/// An object without what is for the platform alone.
fn shown(object: &Value) -> Value {
    let mut object = object.clone();
    unset(&mut object, "/metadata/managedFields");
    unset(&mut object, "/status/templateHash");
    object
}

/// An object as the API gives it.
pub(crate) fn given(object: &Value, kind: &ObjectKind, pointers: &[String]) -> Object {
    let mut body = shown(object);
    set(&mut body, "/apiVersion", kind.api_version.as_str().into());
    Object { id: identity(object), body: keep(&body, pointers).to_string() }
}

impl Model<'_> {
    /// The API server.
    pub(crate) fn server(&self, cluster: &str) -> Result<Server, Failure> {
        let version = self.need_api(cluster)?;
        Ok(Server { ready: true, kinds: self.served(cluster, &version)?, version })
    }

    /// All objects of a selection, sorted by namespace and name.
    pub(crate) fn selected(&self, selection: &Selection) -> Result<Vec<Value>, Failure> {
        let cluster = selection.cluster.as_str();
        let served = self.served_kind(cluster, &selection.kind)?;
        let kind = full_kind(&selection.kind.api_version, &selection.kind.name);
        let wrong = |reason: String| failure::invalid(&selection.kind.name, reason);
        let labels = Labels::parse(&selection.labels).map_err(wrong)?;
        let fields = Fields::parse(&selection.fields).map_err(wrong)?;
        let namespace = match served.namespaced {
            true => selection.namespace.as_deref().unwrap_or_default(),
            false => "",
        };
        let candidates = match (kind.as_str(), fields.wanted("spec.nodeName")) {
            ("Pod", Some(node)) => {
                let found = self.indexed(&node_term(cluster, node))?;
                found.into_iter().map(|(_, pod)| pod).collect()
            }
            ("Pod", None) if !namespace.is_empty() => self.selected_pods(cluster, namespace, &labels)?,
            _ => self.objects(cluster, &kind, namespace)?,
        };
        let mut found: Vec<Value> = candidates
            .into_iter()
            .filter(|object| namespace.is_empty() || namespace_of(object) == namespace)
            .filter(|object| labels.fit(object.pointer("/metadata/labels")) && fields.fit(object))
            .collect();
        found.sort_by(|a, b| (namespace_of(a), name_of(a)).cmp(&(namespace_of(b), name_of(b))));
        Ok(found)
    }

    /// One page of a selection. The token is the last object's namespace and name.
    pub(crate) fn page(&self, order: &PageOrder) -> Result<Page, Failure> {
        let selection = &order.selection;
        let mut found = self.selected(selection)?;
        if let Some(token) = &order.token {
            let (namespace, name) = token
                .split_once('/')
                .ok_or_else(|| failure::invalid(&selection.kind.name, "the token is none that a page gave"))?;
            found.retain(|object| (namespace_of(object), name_of(object)) > (namespace, name));
        }
        let limit = match order.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let (mut objects, mut bytes, mut token) = (Vec::new(), 0, None);
        for object in &found {
            let next = given(object, &selection.kind, &order.keep);
            bytes += next.body.len();
            if objects.len() >= limit || (bytes > PAGE_BYTES && !objects.is_empty()) {
                token = objects.last().map(|last: &Object| {
                    format!("{}/{}", last.id.namespace.as_deref().unwrap_or_default(), last.id.name)
                });
                break;
            }
            objects.push(next);
        }
        let resource_version = self.revision(&selection.cluster)?.to_string();
        Ok(Page { objects, token, resource_version })
    }

    /// Whether a condition holds. The platform has settled: what does not hold now will not by waiting.
    pub(crate) fn wait(&mut self, order: &WaitOrder) -> Result<Vec<Object>, Failure> {
        let (cluster, namespace, kind) = match &order.subject {
            Subject::Object(at) => (&at.cluster, &at.namespace, &at.kind),
            Subject::Selection(selection) => (&selection.cluster, &selection.namespace, &selection.kind),
        };
        self.need_api(cluster)?;
        let condition = Condition::new(&order.condition)
            .map_err(|error| failure::invalid(&kind.name, format!("condition {error}")))?;
        self.look_at_unready(cluster, namespace.as_deref())?;
        self.settle()?;
        let (object, objects) = match &order.subject {
            Subject::Object(at) => {
                let (kind, namespace) = self.place_of(at)?;
                (self.object(cluster, &kind, &namespace, &at.name)?, Vec::new())
            }
            Subject::Selection(selection) => (None, self.selected(selection)?),
        };
        let subject = match &order.subject {
            Subject::Object(at) => title(&at.kind.name, at.namespace.as_deref().unwrap_or_default(), &at.name),
            Subject::Selection(selection) => format!("{} list", selection.kind.name),
        };
        let single = object.as_ref().map_or(Value::Null, shown);
        let list: Vec<Value> = objects.iter().map(shown).collect();
        let holds = condition
            .holds(&single, &list)
            .map_err(|error| failure::invalid(&subject, format!("condition {error}")))?;
        if !holds {
            let one = matches!(order.subject, Subject::Object(_));
            let last = if one && !single.is_null() { vec![single] } else { list };
            return Err(not_come_true(&subject, &order.condition, order.time_out, one, &last));
        }
        let all = object.into_iter().chain(objects);
        Ok(all.map(|object| given(&object, kind, &order.keep)).collect())
    }
}
