//! Releases: which version of which component belongs together.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

use crate::{Document, JsonPath, Mistakes};

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

/// What belongs to a component in a release: `versions`, and further settings such as image references.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComponentRelease {
    /// Version of each part.
    pub versions: IndexMap<String, String>,
    /// Further settings, by name.
    pub settings: IndexMap<String, Value>,
}

const VERSIONS: &str = "versions";

impl Serialize for ComponentRelease {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.settings.len() + 1))?;
        map.serialize_entry(VERSIONS, &self.versions)?;
        for (name, value) in &self.settings {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ComponentRelease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ComponentRelease;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `versions`")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut versions = None;
                let mut settings = IndexMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == VERSIONS {
                        versions = Some(map.next_value()?);
                    } else {
                        settings.insert(name, map.next_value()?);
                    }
                }
                let versions = versions.ok_or_else(|| de::Error::missing_field(VERSIONS))?;
                Ok(ComponentRelease { versions, settings })
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

impl JsonSchema for ComponentRelease {
    fn schema_name() -> Cow<'static, str> {
        "ComponentRelease".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Version of each part of a component, and further settings such as image references.",
            "type": "object",
            "properties": {
                "versions": { "type": "object", "additionalProperties": { "type": "string", "minLength": 1 } }
            },
            "required": ["versions"]
        })
    }
}

impl Document for Releases {
    const KIND: &'static str = "releases";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root().key("releases");
        if self.releases.is_empty() {
            mistakes.add(&root, "there is no release");
        }
        for (release, components) in &self.releases {
            for (component, of) in components {
                let at = root.key(release).key(component).key(VERSIONS);
                for (part, version) in &of.versions {
                    if version.trim().is_empty() {
                        mistakes.add(&at.key(part), format!("{part} has no version"));
                    }
                }
            }
        }
    }
}

impl Releases {
    /// What a release holds of a component.
    #[must_use]
    pub fn component(&self, release: &str, component: &str) -> Option<&ComponentRelease> {
        self.releases.get(release)?.get(component)
    }

    /// The release whose versions of a component are these, when there is exactly one.
    #[must_use]
    pub fn release_of(&self, component: &str, versions: &IndexMap<String, String>) -> Option<&str> {
        let fits = |of: &ComponentRelease| {
            !versions.is_empty() && versions.iter().all(|(part, version)| of.versions.get(part) == Some(version))
        };
        let mut names = self
            .releases
            .iter()
            .filter(|(_, components)| components.get(component).is_some_and(fits))
            .map(|(name, _)| name.as_str());
        names.next().filter(|_| names.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    const TEXT: &str = r#"{"releases": {
        "1.0": {"flannel": {"versions": {"flannel": "v0.25.7"}, "images": {"flannel": "x:v0.25.7"}}},
        "2.0": {"flannel": {"versions": {"flannel": "v0.26.7"}}}}}"#;

    #[test]
    fn settings_beside_versions_are_kept() {
        let releases = load::<Releases>(TEXT, "releases.json").unwrap();
        let of = releases.component("1.0", "flannel").unwrap();
        assert_eq!(of.versions["flannel"], "v0.25.7");
        assert_eq!(of.settings["images"]["flannel"], "x:v0.25.7");
        assert_eq!(releases.release_of("flannel", &of.versions), Some("1.0"));
        assert_eq!(releases.release_of("etcd", &of.versions), None);
        let again = serde_json::to_string(releases.value()).unwrap();
        assert_eq!(load::<Releases>(&again, "x").unwrap().value(), releases.value());
    }

    #[test]
    fn a_version_that_is_no_text_is_named_with_its_place() {
        let error = load::<Releases>(&TEXT.replace("\"v0.26.7\"", "26"), "r.json").unwrap_err();
        assert_eq!(
            error.to_string(),
            "r.json:3:53: $.releases[\"2.0\"].flannel.versions.flannel: expected a text, found `26`"
        );
    }
}
