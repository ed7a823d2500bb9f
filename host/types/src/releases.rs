//! Releases: which version of which component belongs together.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The releases of a platform, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Releases {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Components of each release, by the release's name.
    pub releases: IndexMap<String, IndexMap<String, ComponentRelease>>,
}

/// What belongs to a component in a release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentRelease {
    /// Version of each part.
    pub versions: IndexMap<String, String>,
    /// Further settings, such as image references.
    #[serde(flatten)]
    pub settings: IndexMap<String, Value>,
}
