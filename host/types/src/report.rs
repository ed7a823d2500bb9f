//! What operations report, in the same JSON as the plugin contract, and the recap of a run.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Place};

/// Something an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Stable name for machines, for example `unmanaged-pod`.
    pub code: String,
    /// What it is about.
    pub subject: String,
    /// The message for people, complete in itself.
    pub message: String,
}

/// Version of a part of a component, as found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ComponentVersion {
    /// Part of the component, for example `kubelet`.
    pub part: String,
    /// Its version.
    pub version: String,
    /// Where it was found.
    pub place: Place,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Label {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Backup data in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// SHA-256 of the data.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Name within its backup set, for example `etcd-1/snapshot.db`.
    pub name: String,
    /// Where it came from.
    pub origin: Place,
    /// Labels that the plugin gave it.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// The regular file of the origin that it was read from, symbolic links followed; none: a tree, or data of the
    /// plugin's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What an operation did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Something changed.
    pub changed: bool,
    /// One line for people.
    pub summary: String,
    /// Outputs that later steps may use.
    #[serde(default)]
    pub outputs: serde_json::Map<String, Value>,
    /// Artifacts that form the backup set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Digest>,
    /// Versions after the operation; for backup, the versions it saved.
    #[serde(default)]
    pub versions: Vec<ComponentVersion>,
    /// Not in the way, but to be shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Finding>,
    /// Checks of a verify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// One thing that verify looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Stable name: `node-ready`.
    pub name: String,
    /// Where.
    pub place: Place,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub observed: String,
    /// How it came out.
    pub verdict: Verdict,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Not as expected.
    Fail,
    /// Could not be found out.
    Unknown,
}

impl Verdict {
    /// Whether it counts as healthy; what is not known does not.
    #[must_use]
    pub const fn is_pass(self) -> bool {
        match self {
            Self::Pass => true,
            Self::Fail | Self::Unknown => false,
        }
    }
}

/// Counts per host at the end of a run, in inventory order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Recap(pub IndexMap<String, HostRecap>);

/// Counts of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostRecap {
    /// Steps that ended well on it.
    pub ok: u32,
    /// Of these, steps that changed something.
    pub changed: u32,
    /// Whether it did not answer: 1, however many steps asked it.
    pub unreachable: u32,
    /// Steps that failed or were refused or denied.
    pub failed: u32,
    /// Steps that were skipped.
    #[serde(default)]
    pub skipped: u32,
}

impl HostRecap {
    /// Whether this makes an abnormal end.
    #[must_use]
    pub const fn is_abnormal(self) -> bool {
        self.unreachable > 0 || self.failed > 0
    }
}
