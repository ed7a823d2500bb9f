//! The file that a simulated platform begins as: `platform.json`.

mod host;
mod scalar;

pub use host::{DiskSeed, FileSeed, HostSeed};
pub use scalar::{Names, Size};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Document, JsonPath, Mistakes};

/// A platform as it is at its beginning.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlatformSeed {
    /// Where the schema of this file is.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the platform.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Hosts that others are `like`; none of them exists.
    #[serde(default)]
    pub templates: IndexMap<String, HostSeed>,
    /// Hosts by name. `node-[1:100]` stands for a hundred, in whose strings `${n}` is the number.
    pub hosts: IndexMap<String, HostSeed>,
    /// Package repositories that all hosts know.
    #[serde(default)]
    pub repositories: IndexMap<String, RepositorySeed>,
    /// Kubernetes clusters by the name the inventory gives them.
    #[serde(default)]
    pub clusters: IndexMap<String, ClusterSeed>,
    /// First `state` of components, by component.
    #[serde(default)]
    pub components: IndexMap<String, Value>,
    /// Files with behaviours, beside those that plugins bring; relative to this file.
    #[serde(default)]
    pub behaviours: Vec<String>,
}

/// A repository and what it offers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RepositorySeed {
    /// Where it is, for people.
    pub url: String,
    /// Whether hosts have it enabled at first.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Packages by name.
    #[serde(default)]
    pub packages: IndexMap<String, PackageSeed>,
}

/// A package in all its versions; what a version says itself is added to what all have.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageSeed {
    /// Versions and what is special about each.
    pub versions: IndexMap<String, PackageContent>,
    /// Packages it needs: `name` or `name (>= version)`.
    #[serde(default)]
    pub depends: Vec<String>,
    /// Files it brings.
    #[serde(default)]
    pub files: IndexMap<String, FileSeed>,
    /// Configuration files it brings; a host's changes to them are respected.
    #[serde(default)]
    pub conffiles: IndexMap<String, FileSeed>,
    /// Units it brings.
    #[serde(default)]
    pub units: IndexMap<String, PackageUnit>,
    /// Active units that its script restarts when it is upgraded.
    #[serde(default)]
    pub restarts: Vec<String>,
}

/// What one version of a package has beside what all have.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageContent {
    /// Packages it needs.
    #[serde(default)]
    pub depends: Vec<String>,
    /// Files it brings.
    #[serde(default)]
    pub files: IndexMap<String, FileSeed>,
    /// Configuration files it brings.
    #[serde(default)]
    pub conffiles: IndexMap<String, FileSeed>,
    /// Units it brings.
    #[serde(default)]
    pub units: IndexMap<String, PackageUnit>,
    /// Active units that its script restarts when it is upgraded.
    #[serde(default)]
    pub restarts: Vec<String>,
}

impl PackageSeed {
    /// All that one version has.
    #[must_use]
    pub fn content(&self, version: &str) -> Option<PackageContent> {
        let own = self.versions.get(version)?;
        let mut all = PackageContent {
            depends: self.depends.clone(),
            files: self.files.clone(),
            conffiles: self.conffiles.clone(),
            units: self.units.clone(),
            restarts: self.restarts.clone(),
        };
        all.depends.extend(own.depends.iter().cloned());
        all.files.extend(own.files.clone());
        all.conffiles.extend(own.conffiles.clone());
        all.units.extend(own.units.clone());
        all.restarts.extend(own.restarts.iter().cloned());
        Some(all)
    }
}

/// A unit that a package brings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageUnit {
    /// Enabled by the package's script on first installation.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Started by the package's script on first installation.
    #[serde(default = "yes")]
    pub start: bool,
    /// Text of the unit file.
    #[serde(default)]
    pub text: Option<String>,
}

/// A unit on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UnitAt {
    /// The host.
    pub host: String,
    /// The unit.
    pub unit: String,
}

/// A Kubernetes cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterSeed {
    /// Units that serve the API; it answers while any is active, with the version that one runs.
    #[serde(default)]
    pub servers: Vec<UnitAt>,
    /// Units that hold its data; the API answers while more than half are active.
    #[serde(default)]
    pub store: Vec<UnitAt>,
    /// Units that run the controllers; none: they always run.
    #[serde(default)]
    pub controllers: Vec<UnitAt>,
    /// Units that run the scheduler; none: it always runs.
    #[serde(default)]
    pub scheduler: Vec<UnitAt>,
    /// Version of the API where no unit says it: `v1.34.4`.
    #[serde(default)]
    pub version: Option<String>,
    /// Nodes by name; ranges as for hosts.
    #[serde(default)]
    pub nodes: IndexMap<String, NodeSeed>,
    /// Namespaces beside `default` and `kube-system`.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Objects as people wrote them. `metadata.name` may hold a range, as for hosts.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// Kinds that the API serves beside Kubernetes' own and those of CustomResourceDefinition objects.
    #[serde(default)]
    pub kinds: Vec<KindSeed>,
    /// Who applied an object (`Deployment.apps shop/web`), where it was not `kubectl`.
    #[serde(default)]
    pub managers: IndexMap<String, String>,
}

/// A node of a cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeSeed {
    /// The host it is; none: the host of the same name.
    #[serde(default)]
    pub host: Option<String>,
    /// Its InternalIP; none: the host's address.
    #[serde(default)]
    pub internal_ip: Option<String>,
    /// Labels beside the usual ones.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: IndexMap<String, String>,
    /// Taints, as in a Node's spec.
    #[serde(default)]
    pub taints: Vec<Value>,
    /// Cordoned.
    #[serde(default)]
    pub unschedulable: bool,
    /// What Pods may request; none: 4 processors, 8 GiB, 110 Pods.
    #[serde(default)]
    pub allocatable: IndexMap<String, String>,
    /// Addresses of its Pods.
    #[serde(default)]
    pub pod_cidr: Option<String>,
}

/// A kind that the API serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KindSeed {
    /// `IngressRoute`.
    pub kind: String,
    /// `traefik.io/v1alpha1`.
    pub api_version: String,
    /// `ingressroutes`.
    pub plural: String,
    /// Whether its objects are in namespaces.
    #[serde(default = "yes")]
    pub namespaced: bool,
    /// First API server version that serves it: `1.34`.
    #[serde(default)]
    pub since: Option<String>,
    /// First API server version that no longer serves it.
    #[serde(default)]
    pub until: Option<String>,
}

fn yes() -> bool {
    true
}

impl Document for PlatformSeed {
    const KIND: &'static str = "platform";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        let templates = root.key("templates");
        let unknown = |names: &[String], at: &JsonPath, mistakes: &mut Mistakes| {
            for name in names.iter().filter(|name| !self.templates.contains_key(*name)) {
                mistakes.add(&at.key("like"), format!("there is no template {name:?}"));
            }
        };
        for (name, template) in &self.templates {
            unknown(&template.like.0, &templates.key(name), mistakes);
        }
        for (name, host) in &self.hosts {
            unknown(&host.like.0, &root.key("hosts").key(name), mistakes);
        }
        if self.hosts.is_empty() {
            mistakes.add(&root.key("hosts"), "a platform has at least one host");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, place, reason) in [
            (r#"{"name": "x", "hosts": {}}"#, "hosts", "at least one host"),
            (r#"{"name": "x", "hosts": {"a": {"like": "b"}}}"#, "hosts.a.like", "no template \"b\""),
            (r#"{"name": "x", "hosts": {"a": {"files": {"/x": {"txt": "y"}}}}}"#, "txt", "text"),
            (r#"{"name": "x", "hosts": {"a": {"disks": {"/": "20GB"}}}}"#, "disks", "units are"),
            (r#"{"name": "x", "hosts": {"a": {"files": {"/x": {"mode": "999"}}}}}"#, "/x", "octal"),
        ] {
            let said = match load::<PlatformSeed>(text, "platform.json") {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            assert!(said.contains(place) && said.contains(reason), "{text}: {said}");
        }
    }

    #[test]
    fn a_version_has_what_all_have_and_its_own() {
        let text = r#"{"versions": {"1": {"files": {"/b": "1"}}, "2": {}}, "files": {"/a": "x"}}"#;
        let package: Option<PackageSeed> = serde_json::from_str(text).ok();
        let files = |version| {
            let content = package.as_ref()?.content(version)?;
            Some(content.files.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(files("1"), Some(vec!["/a".to_owned(), "/b".to_owned()]));
        assert_eq!(files("2"), Some(vec!["/a".to_owned()]));
        assert_eq!(files("3"), None);
    }
}
