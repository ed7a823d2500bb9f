//! Discovery: what an API server serves, and the paths of it.

use std::sync::Arc;

use futures::future::try_join_all;
use serde_json::Value;

use super::api::{Api, Repeat, Silence};
use super::failures::of_silence;
use super::request::{Answer, Request, encode};
use crate::backend::failure;
use crate::backend::objects::text;
use crate::contract::Failure;
use crate::contract::kubernetes::{ObjectKind, ServedKind};

/// Aggregated discovery (Kubernetes 1.30; as beta since 1.26), plain lists from servers without it.
const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                      application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What an API server serves.
#[derive(Debug, Default)]
pub(super) struct Kinds(Vec<Kind>);

/// A kind, and where its objects are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    /// As it is served.
    pub(super) served: ServedKind,
}

impl Kind {
    /// `Deployment`.
    pub(super) fn name(&self) -> &str {
        &self.served.kind.name
    }

    /// Whether patches may merge its lists by their keys: the server knows them of its own kinds only.
    pub(super) fn is_built_in(&self) -> bool {
        match self.served.kind.api_version.split_once('/') {
            None => true,
            Some((group, _)) => !group.contains('.') || group.ends_with(".k8s.io"),
        }
    }

    /// Path of the objects of a namespace (empty: of all).
    pub(super) fn path(&self, namespace: &str) -> String {
        let version = &self.served.kind.api_version;
        let base = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        match namespace.is_empty() {
            true => format!("{base}/{}", self.served.plural),
            false => format!("{base}/namespaces/{}/{}", encode(namespace), self.served.plural),
        }
    }
}

/// Refuses what cannot be a part of a path (k8s.io/apimachinery, api/validation/path).
pub(super) fn path_part<'n>(name: &'n str, title: &str) -> Result<&'n str, Failure> {
    match name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
        true => Err(failure::invalid(title, format!("{name:?} is no name of an object"))),
        false => Ok(name),
    }
}

impl Kinds {
    fn find(&self, kind: &ObjectKind) -> Option<Kind> {
        self.0.iter().find(|known| known.served.kind == *kind).cloned()
    }

    /// All of them.
    pub(super) fn served(&self) -> Vec<ServedKind> {
        self.0.iter().map(|kind| kind.served.clone()).collect()
    }

    fn add(&mut self, api_version: &str, resource: &Value, name: &str, plural: &str, namespaced: bool) {
        // Subresources have kinds of their own (`Scale`), and are no objects.
        if plural.is_empty() || plural.contains('/') || name.is_empty() {
            return;
        }
        let api_version = match text(resource, "/responseKind/version") {
            "" => api_version.to_owned(),
            version => joined(text(resource, "/responseKind/group"), version),
        };
        let kind = ObjectKind { api_version, name: name.to_owned() };
        if self.find(&kind).is_none() {
            self.0.push(Kind { served: ServedKind { kind, plural: plural.to_owned(), namespaced } });
        }
    }

    /// From an `APIGroupDiscoveryList`.
    fn add_aggregated(&mut self, list: &Value) {
        for group in items(list, "/items") {
            for version in items(group, "/versions") {
                let api_version = joined(text(group, "/metadata/name"), text(version, "/version"));
                for resource in items(version, "/resources") {
                    let namespaced = text(resource, "/scope") == "Namespaced";
                    let (name, plural) = (text(resource, "/responseKind/kind"), text(resource, "/resource"));
                    self.add(&api_version, resource, name, plural, namespaced);
                }
            }
        }
    }

    /// From an `APIResourceList`.
    fn add_list(&mut self, list: &Value) {
        let api_version = text(list, "/groupVersion").to_owned();
        for resource in items(list, "/resources") {
            let namespaced = resource.get("namespaced").and_then(Value::as_bool).unwrap_or_default();
            let (name, plural) = (text(resource, "/kind"), text(resource, "/name"));
            self.add(&api_version, resource, name, plural, namespaced);
        }
    }
}

fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn joined(group: &str, version: &str) -> String {
    match group.is_empty() {
        true => version.to_owned(),
        false => format!("{group}/{version}"),
    }
}

impl Api {
    /// The kind, asking the server again when it was not among those known.
    pub(super) async fn kind(&self, kind: &ObjectKind) -> Result<Kind, Failure> {
        let known = self.kinds.lock().await.clone();
        if let Some(found) = known.and_then(|known| known.find(kind)) {
            return Ok(found);
        }
        let kinds = self.discover().await.map_err(|silence| of_silence(&silence, &self.cluster))?;
        kinds.find(kind).ok_or_else(|| self.not_served(kind))
    }

    pub(super) fn not_served(&self, kind: &ObjectKind) -> Failure {
        let name = format!("{} {}", kind.api_version, kind.name);
        failure::not_found(&name, format!("the API server of {} does not serve {name}", self.cluster))
    }

    /// Forgets the kinds: the server that served them may have been replaced by another version.
    pub(super) async fn forget_kinds(&self) {
        self.kinds.lock().await.take();
    }

    /// Asks for all kinds.
    pub(super) async fn discover(&self) -> Result<Arc<Kinds>, Silence> {
        // Held while it asks: whoever wants to know at the same time waits for this answer.
        let mut held = self.kinds.lock().await;
        let (core, groups) = tokio::try_join!(self.ask("/api"), self.ask("/apis"))?;
        let mut kinds = Kinds::default();
        for (path, answer) in [("/api", core), ("/apis", groups)] {
            if text(&answer.body, "/kind") == "APIGroupDiscoveryList" {
                kinds.add_aggregated(&answer.body);
                continue;
            }
            let names: Vec<String> = match path {
                "/api" => items(&answer.body, "/versions").filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => items(&answer.body, "/groups")
                    .flat_map(|group| items(group, "/versions"))
                    .map(|version| text(version, "/groupVersion").to_owned())
                    .collect(),
            };
            let lists = try_join_all(names.iter().map(|name| self.ask_owned(format!("{path}/{name}")))).await?;
            lists.iter().for_each(|list| kinds.add_list(&list.body));
        }
        let kinds = Arc::new(kinds);
        *held = Some(Arc::clone(&kinds));
        Ok(kinds)
    }

    async fn ask_owned(&self, path: String) -> Result<Answer, Silence> {
        self.ask(&path).await
    }

    async fn ask(&self, path: &str) -> Result<Answer, Silence> {
        let answer = self.send(&Request::get(path).accepting(ACCEPT), Repeat::Freely).await?;
        match answer.status {
            401 | 403 => Err(Silence::Setup(super::failures::not_accepted(&self.cluster, &answer))),
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn aggregated_discovery_and_plain_lists_say_the_same() {
        let mut aggregated = Kinds::default();
        aggregated.add_aggregated(&json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                {"resource": "deployments", "responseKind": {"group": "", "version": "", "kind": "Deployment"},
                 "scope": "Namespaced", "subresources": [{"subresource": "scale", "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}]},
            ]}]},
            {"metadata": {}, "versions": [{"version": "v1", "resources": [
                {"resource": "nodes", "responseKind": {"group": "", "version": "v1", "kind": "Node"}, "scope": "Cluster"},
            ]}]},
        ]}));
        let mut plain = Kinds::default();
        plain.add_list(&json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
            {"name": "deployments/scale", "kind": "Scale", "group": "autoscaling", "version": "v1", "namespaced": true},
        ]}));
        plain.add_list(&json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
            {"name": "nodes", "kind": "Node", "namespaced": false},
        ]}));
        assert_eq!(aggregated.served(), plain.served());
        let kind = |version: &str, name: &str| ObjectKind { api_version: version.to_owned(), name: name.to_owned() };
        let deployment = plain.find(&kind("apps/v1", "Deployment")).expect("served");
        assert_eq!(deployment.path("shop"), "/apis/apps/v1/namespaces/shop/deployments");
        assert_eq!(plain.find(&kind("v1", "Node")).expect("served").path(""), "/api/v1/nodes");
        assert!(plain.find(&kind("apps/v1beta1", "Deployment")).is_none());
    }

    #[test]
    fn no_name_leaves_its_place_in_a_path() {
        for name in ["", ".", "..", "a/../b", "a%2fb"] {
            assert!(path_part(name, "x").is_err(), "{name}");
        }
        assert!(path_part("system:node", "x").is_ok());
    }
}
