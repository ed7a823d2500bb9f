//! Hosts with everything that groups and defaults give them.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::Value;
use std::borrow::Cow;

use super::{Become, Connection};

/// A variable: a value, or the reason why runner cannot know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Variable {
    /// Its value.
    Value(Value),
    /// Its value needs something that runner does not have; only an error where it is needed.
    Unavailable(Unavailable),
}

/// Why a variable has no value here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What it would need.
    pub needs: Needs,
    /// File in which it stands.
    pub file: String,
}

/// What a variable would need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Ansible's vault.
    Vault,
    /// Ansible's template engine.
    Template,
}

impl Variable {
    /// Its value, when there is one.
    #[must_use]
    pub const fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unavailable(_) => None,
        }
    }
}

impl From<Value> for Variable {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Unavailable(_) => Err(ser::Error::custom(
                "a variable without a value cannot be written",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::Value)
    }
}

impl JsonSchema for Variable {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

/// A host with everything that groups and defaults give it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedHost {
    /// Name.
    pub name: String,
    /// Address to connect to.
    pub address: String,
    /// Name of its Kubernetes node.
    pub node: Option<String>,
    /// All groups it is in, outer ones and `all` included, sorted by depth.
    pub groups: Vec<String>,
    /// How it is reached.
    pub connection: Connection,
    /// User to log in as.
    pub user: Option<String>,
    /// Port of its SSH server.
    pub port: Option<u16>,
    /// Private key file.
    pub key: Option<String>,
    /// Jump host, `[user@]host[:port]`.
    pub jump: Option<String>,
    /// How effects gain the rights they need.
    pub r#become: Option<Become>,
    /// Variables, merged.
    pub variables: IndexMap<String, Variable>,
}
