//! Backup sets: what a backup left for a later backout.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Artifact, ComponentVersion, Digest, FormatVersion, Place, Target, Timestamp};

/// What one backup of one component left. Written last, so that a set which can be read is whole on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackupSet {
    /// Format of this file.
    pub format: FormatVersion,
    /// Name of the set.
    pub id: String,
    /// Component.
    pub component: String,
    /// Name of the platform it belongs to.
    pub platform: String,
    /// When its backup began.
    pub created: Timestamp,
    /// Run that made it.
    pub run: String,
    /// Step that made it.
    pub step: String,
    /// Digest of the plugin that made it.
    pub plugin: Digest,
    /// Release that every host had, when it was one.
    #[serde(default)]
    pub release: Option<String>,
    /// Whether every target's backup succeeded.
    pub complete: bool,
    /// What each target contributed.
    pub parts: Vec<BackupPart>,
    /// Run of the update that this set is bound to: a backout of that update uses it and no other. Of a repeated update
    /// the first run.
    #[serde(default)]
    pub bound_to: Option<String>,
    /// What is known of the update that this set is bound to.
    #[serde(default)]
    pub update: BoundUpdate,
}

/// How far the update is that a backup set is bound to. Nothing of it outlasts the binding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BoundUpdate {
    /// When the set was bound last: of several bound sets of a component the latest is the one to go back to.
    #[serde(default)]
    pub bound: Option<Timestamp>,
    /// Digests of the parameters of its steps: an update that shares one is the same update, repeated.
    #[serde(default)]
    pub goals: BTreeSet<Digest>,
    /// Hosts on which it was begun.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
    /// It ended well on every host that the set holds something of.
    #[serde(default)]
    pub finished: bool,
}

/// One target's part of a backup set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackupPart {
    /// Whose backup it is.
    pub target: Target,
    /// Hosts it covers.
    pub hosts: Vec<String>,
    /// Versions that were installed.
    pub versions: Vec<ComponentVersion>,
    /// Stored data.
    pub artifacts: Vec<Artifact>,
    /// Outputs of the backup's report.
    pub notes: serde_json::Map<String, Value>,
}

impl BackupSet {
    /// Versions of all parts.
    pub fn versions(&self) -> impl Iterator<Item = &ComponentVersion> {
        self.parts.iter().flat_map(|part| &part.versions)
    }

    /// Artifacts of all parts.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.parts.iter().flat_map(|part| &part.artifacts)
    }

    /// Those of the hosts, each with its cluster where it has one, of which no part of the set holds anything.
    pub fn lacks<'a>(&self, hosts: impl IntoIterator<Item = (Option<&'a str>, &'a str)>) -> BTreeSet<&'a str> {
        let holds = |cluster: Option<&str>, host: &str| {
            self.parts.iter().any(|part| {
                let elsewhere =
                    matches!((&part.target, cluster), (Target::Cluster(own), Some(cluster)) if own != cluster);
                !elsewhere && part.hosts.iter().any(|held| held == host)
            })
        };
        hosts.into_iter().filter(|(cluster, host)| !holds(*cluster, host)).map(|(_, host)| host).collect()
    }

    /// Hosts of the set that had the component: where a part tells versions by host, those; else all of the part.
    #[must_use]
    pub fn installed_on(&self) -> BTreeSet<&str> {
        let mut hosts = BTreeSet::new();
        for part in &self.parts {
            let by_host = part.versions.iter().filter_map(|version| match &version.place {
                Place::Host(host) => Some(host.as_str()),
                Place::Cluster(_) | Place::Runner => None,
            });
            let by_host: Vec<&str> = by_host.collect();
            match by_host.is_empty() {
                true => hosts.extend(part.hosts.iter().map(String::as_str)),
                false => hosts.extend(by_host),
            }
        }
        hosts
    }
}
