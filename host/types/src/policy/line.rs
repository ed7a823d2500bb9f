//! Requests of manifests and grants of policies: one line each.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::{Field, Patterns, SubstitutionError, Use};

/// One grant: what one plugin may do with one capability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Component whose plugin it is for.
    pub plugin: String,
    /// Capability, `interface.function`.
    pub capability: String,
    /// For what.
    pub patterns: Patterns,
}

/// One request: what a plugin needs one capability for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Capability, `interface.function`.
    pub capability: String,
    /// For what; may hold `${parameters.NAME}`.
    pub patterns: Patterns,
    /// Why, for the operator who grants it.
    pub reason: String,
}

impl Grant {
    /// Whether it covers that use.
    #[must_use]
    pub fn allows(&self, usage: &Use<'_>) -> bool {
        self.capability == usage.capability && self.patterns.allow(usage)
    }
}

impl Request {
    /// The line of a policy that would grant exactly this, for these parameters.
    ///
    /// # Errors
    /// When a pattern names a parameter that has no plain value.
    pub fn to_grant(&self, plugin: &str, parameters: &Value) -> Result<Grant, SubstitutionError> {
        Ok(Grant {
            plugin: plugin.to_owned(),
            capability: self.capability.clone(),
            patterns: self.patterns.substitute(parameters)?,
        })
    }
}

/// The line as it stands in a policy.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("plugin", &self.plugin)?;
        map.serialize_entry("allow", &self.capability)?;
        for (field, patterns) in &self.patterns.0 {
            map.serialize_entry(field.as_str(), patterns)?;
        }
        map.end()
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("capability", &self.capability)?;
        for (field, patterns) in &self.patterns.0 {
            map.serialize_entry(field.as_str(), patterns)?;
        }
        map.serialize_entry("reason", &self.reason)?;
        map.end()
    }
}

/// Fields of a line: two of its own, and the patterns.
const FIELDS: usize = Field::ALL.len() + 2;
/// Names of a line's own fields, then those of the patterns.
const GRANT_FIELDS: [&str; FIELDS] = names(["plugin", "allow"]);
const REQUEST_FIELDS: [&str; FIELDS] = names(["capability", "reason"]);

const fn names(own: [&'static str; 2]) -> [&'static str; FIELDS] {
    let mut all = [own[0]; FIELDS];
    all[1] = own[1];
    let mut at = 0;
    while at < Field::ALL.len() {
        all[at + 2] = Field::ALL[at].as_str();
        at += 1;
    }
    all
}

/// Reads two own texts and the patterns, keeping the place of whatever is wrong.
struct LineVisitor {
    fields: &'static [&'static str; FIELDS],
    what: &'static str,
}

impl<'de> Visitor<'de> for LineVisitor {
    type Value = (Option<String>, Option<String>, Patterns);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut first, mut second, mut patterns) = (None, None, BTreeMap::new());
        while let Some(name) = map.next_key_seed(Name(self.fields))? {
            if name == self.fields[0] {
                first = Some(map.next_value()?);
            } else if name == self.fields[1] {
                second = Some(map.next_value()?);
            } else if let Some(field) = Field::named(name) {
                patterns.insert(field, map.next_value()?);
            }
        }
        Ok((first, second, Patterns(patterns)))
    }
}

/// A field's name, refused where the name is read.
struct Name(&'static [&'static str; FIELDS]);

impl<'de> de::DeserializeSeed<'de> for Name {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static str, E> {
        self.0.iter().find(|known| **known == name).copied().ok_or_else(|| E::unknown_field(name, self.0))
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = LineVisitor { fields: &GRANT_FIELDS, what: "a grant" };
        let (plugin, capability, patterns) = deserializer.deserialize_map(visitor)?;
        Ok(Self {
            plugin: plugin.ok_or_else(|| de::Error::missing_field("plugin"))?,
            capability: capability.ok_or_else(|| de::Error::missing_field("allow"))?,
            patterns,
        })
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = LineVisitor { fields: &REQUEST_FIELDS, what: "a request" };
        let (capability, reason, patterns) = deserializer.deserialize_map(visitor)?;
        Ok(Self {
            capability: capability.ok_or_else(|| de::Error::missing_field("capability"))?,
            patterns,
            reason: reason.ok_or_else(|| de::Error::missing_field("reason"))?,
        })
    }
}

fn line_schema(fields: &[&str; FIELDS], description: &str, required: [&str; 2]) -> Schema {
    let mut properties = serde_json::Map::new();
    for name in fields {
        let schema = if Field::named(name).is_some() {
            serde_json::json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
        } else {
            serde_json::json!({ "type": "string" })
        };
        properties.insert((*name).to_owned(), schema);
    }
    json_schema!({
        "description": description,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}

impl JsonSchema for Grant {
    fn schema_name() -> Cow<'static, str> {
        "Grant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        line_schema(&GRANT_FIELDS, "What one plugin may do with one capability.", ["plugin", "allow"])
    }
}

impl JsonSchema for Request {
    fn schema_name() -> Cow<'static, str> {
        "Request".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        line_schema(&REQUEST_FIELDS, "What a plugin needs one capability for.", ["capability", "reason"])
    }
}
