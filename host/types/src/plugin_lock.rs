//! The lock file of plugins: which digest a name stands for.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Document, Mistakes};

/// `plugins.lock.json`: grants name plugins, and this file says which file a name means. Written by
/// `runner plugin trust`, so that a policy never speaks for a plugin that nobody looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginLock {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// SHA-256 of each trusted plugin's packed file, by the plugin's name.
    pub plugins: IndexMap<String, Digest>,
}

impl Document for PluginLock {
    const KIND: &'static str = "plugin lock file";

    fn check(&self, _mistakes: &mut Mistakes) {}
}
