//! The header of a run.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

use crate::{ApiVersion, Digest, FormatVersion, Timestamp};

/// `run.json`: what a run rests on. Written once, before the first effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunHeader {
    /// Format of the run directory.
    pub format: FormatVersion,
    /// Version of the runner that began it.
    pub runner: String,
    /// Version of the plugin contract.
    pub api: ApiVersion,
    /// Name of the run.
    pub run: String,
    /// The moment that stands for the whole run in names.
    pub stamp: Timestamp,
    /// Seed of everything random.
    pub seed: u64,
    /// Name of the platform, for locks and for finding unfinished runs.
    pub platform: String,
    /// Workflow files as read: the first is the one that was asked for, then its sub-workflows.
    pub workflows: Vec<SourceFile>,
    /// Inputs with their values; secret ones are left out.
    pub inputs: IndexMap<String, Value>,
    /// Inventory as read, in native form.
    pub inventory: SourceFile,
    /// Releases as read.
    #[serde(default)]
    pub releases: Option<SourceFile>,
    /// Digest of each plugin used, by component.
    pub plugins: IndexMap<String, PluginPin>,
    /// Policy file and its digest.
    pub policy: FileDigest,
    /// Who began it.
    pub operator: Operator,
    /// When it began.
    pub started: Timestamp,
}

/// A file with its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceFile {
    /// Path as given.
    pub path: String,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// What it holds.
    pub content: Value,
}

/// A file by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileDigest {
    /// Path as given.
    pub path: String,
    /// SHA-256 of its text.
    pub digest: Digest,
}

/// Which plugin a run uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginPin {
    /// SHA-256 of the packed file.
    pub digest: Digest,
    /// Version its manifest names.
    pub version: String,
}

/// A person at a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Operator {
    /// User name.
    pub user: String,
    /// Machine.
    pub host: String,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}
