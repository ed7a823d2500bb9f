//! Backup sets: what a backup left for a later backout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Artifact, ComponentVersion, Digest, FormatVersion, Target, Timestamp};

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
    /// Run of the update that this set is bound to: a backout of that update uses it and no other.
    #[serde(default)]
    pub bound_to: Option<String>,
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

    /// Hosts of all parts.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.hosts.iter().map(String::as_str))
    }
}
