//! Objects as they are: by name, and page by page.

use serde_json::Value;

use super::api::{Api, Repeat};
use super::failures::{of_answer, of_silence};
use super::kinds::{Kind, path_part};
use super::request::{Answer, Request, encode, with_query};
use crate::backend::failure;
use crate::backend::objects::{identity, namespace_in, set, text, title, unset};
use crate::backend::select::keep;
use crate::contract::Failure;
use crate::contract::kubernetes::{Object, ObjectKind, ObjectRef, Page, PageOrder, Selection, Server};

/// Bytes of objects on one page where the caller sets no bound.
const PAGE_BYTES: usize = 6 << 20;
/// Objects asked for at a time.
const CHUNK: u32 = 250;

/// An object of a kind that is served, by name.
pub(super) struct At {
    pub(super) kind: Kind,
    /// Empty: none.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl At {
    /// As people call it.
    pub(super) fn title(&self) -> String {
        title(self.kind.name(), &self.namespace, &self.name)
    }

    /// Its path.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.kind.path(&self.namespace), encode(&self.name))
    }
}

/// An object as plugins see it: it says its kind, and nothing of who owns its fields.
pub(super) fn shown(mut object: Value, kind: &ObjectKind) -> Value {
    unset(&mut object, "/metadata/managedFields");
    set(&mut object, "/apiVersion", kind.api_version.as_str().into());
    set(&mut object, "/kind", kind.name.as_str().into());
    object
}

/// An object as the contract has it; it was shown before.
pub(super) fn given(object: &Value, pointers: &[String]) -> Object {
    Object { id: identity(object), body: keep(object, pointers).to_string() }
}

/// Objects of a list.
pub(super) fn items(list: &mut Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

impl Api {
    /// A reference, its kind found.
    pub(super) async fn at(&self, object: &ObjectRef) -> Result<At, Failure> {
        let kind = self.kind(&object.kind).await?;
        let namespace = namespace_in(&kind.served, object.namespace.as_deref(), &object.name)?.to_owned();
        let at = At { kind, namespace, name: object.name.clone() };
        let title = at.title();
        path_part(&at.name, &title)?;
        if !at.namespace.is_empty() {
            path_part(&at.namespace, &title)?;
        }
        Ok(at)
    }

    /// Reads, once the server answers.
    pub(super) async fn read(&self, path: &str) -> Result<Answer, Failure> {
        let answer = self.send(&Request::get(path), Repeat::Freely).await;
        answer.map_err(|silence| of_silence(&silence, &self.cluster))
    }

    /// The object as the server has it; none where there is none.
    pub(super) async fn find(&self, at: &At) -> Result<Option<Value>, Failure> {
        let answer = self.read(&at.path()).await?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => self.absent(&answer, at).await.map(|()| None),
            _ => Err(of_answer(&answer, &at.title(), &self.cluster)),
        }
    }

    /// What a 404 means: an object that is not there, or a kind that is no longer served.
    pub(super) async fn absent(&self, answer: &Answer, at: &At) -> Result<(), Failure> {
        if !text(&answer.body, "/details/name").is_empty() {
            return Ok(());
        }
        self.forget_kinds().await;
        Err(self.not_served(&at.kind.served.kind))
    }

    pub(super) fn none(&self, title: &str) -> Failure {
        failure::not_found(title, format!("{title} is not in {}", self.cluster))
    }

    /// An object by name.
    pub(super) async fn get(&self, object: &ObjectRef) -> Result<Object, Failure> {
        let at = self.at(object).await?;
        let found = self.find(&at).await?.ok_or_else(|| self.none(&at.title()))?;
        Ok(given(&shown(found, &object.kind), &[]))
    }

    /// Version, readiness and kinds.
    pub(super) async fn server(&self) -> Result<Server, Failure> {
        let version = self.read("/version").await?;
        if !version.is_success() {
            return Err(of_answer(&version, &self.cluster, &self.cluster));
        }
        // One that is not ready says so by a status that would otherwise mean "later".
        let ready = self.once(&Request::get("/readyz")).await.is_ok_and(|answer| answer.status == 200);
        let kinds = self.discover().await.map_err(|silence| of_silence(&silence, &self.cluster))?;
        Ok(Server { version: text(&version.body, "/gitVersion").to_owned(), ready, kinds: kinds.served() })
    }

    /// Path of a selection, its kind found.
    pub(super) async fn selected(&self, selection: &Selection) -> Result<(Kind, String), Failure> {
        let kind = self.kind(&selection.kind).await?;
        let namespace = match kind.served.namespaced {
            true => selection.namespace.as_deref().unwrap_or_default(),
            false => "",
        };
        if !namespace.is_empty() {
            path_part(namespace, kind.name())?;
        }
        let path = kind.path(namespace);
        Ok((kind, path))
    }

    /// One page of a selection.
    pub(super) async fn page(&self, order: &PageOrder) -> Result<Page, Failure> {
        let selection = &order.selection;
        let (kind, path) = self.selected(selection).await?;
        let wanted = match order.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let (mut objects, mut bytes) = (Vec::new(), 0);
        let mut token = order.token.clone();
        let mut resource_version = String::new();
        let mut chunk = CHUNK;
        loop {
            let left = u32::try_from(wanted - objects.len()).unwrap_or(u32::MAX);
            let limit = chunk.min(left).to_string();
            let parameters = [
                ("labelSelector", selection.labels.as_str()),
                ("fieldSelector", &selection.fields),
                ("limit", &limit),
                ("continue", token.as_deref().unwrap_or_default()),
            ];
            let mut answer = self.read(&with_query(&path, &parameters)).await?;
            if answer.status == 410 && !text(&answer.body, "/metadata/continue").is_empty() {
                // The list as it was when the first page was given is no longer kept: it goes on with what is there
                // now, behind the last name given.
                token = Some(text(&answer.body, "/metadata/continue").to_owned());
                continue;
            }
            if answer.status == 404 {
                self.forget_kinds().await;
                return Err(self.not_served(&selection.kind));
            }
            if !answer.is_success() {
                return Err(of_answer(&answer, &format!("{} list", kind.name()), &self.cluster));
            }
            let found = items(&mut answer.body).into_iter();
            let found: Vec<Object> = found.map(|object| given(&shown(object, &selection.kind), &order.keep)).collect();
            let size: usize = found.iter().map(|object| object.body.len()).sum();
            if bytes + size > PAGE_BYTES {
                if !objects.is_empty() {
                    break;
                }
                if found.len() > 1 {
                    chunk = (u32::try_from(found.len()).unwrap_or(chunk) / 2).max(1);
                    continue;
                }
            }
            bytes += size;
            objects.extend(found);
            text(&answer.body, "/metadata/resourceVersion").clone_into(&mut resource_version);
            token = Some(text(&answer.body, "/metadata/continue").to_owned()).filter(|token| !token.is_empty());
            if token.is_none() || objects.len() >= wanted {
                break;
            }
        }
        objects.sort_by(|a, b| (&a.id.namespace, &a.id.name).cmp(&(&b.id.namespace, &b.id.name)));
        Ok(Page { objects, token, resource_version })
    }
}
