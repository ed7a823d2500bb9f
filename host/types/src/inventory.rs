//! Inventories: the hosts, groups and clusters of a platform.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::fmt;

mod ansible;
mod check;
mod patterns;
mod resolved;
mod settings;

pub use ansible::*;
pub use patterns::*;
pub use resolved::*;
pub use settings::*;

/// The name that means every host.
pub const ALL: &str = "all";

/// An inventory file in its native form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Inventory {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the platform; left out: the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hosts, in the order in which they are worked on.
    pub hosts: IndexMap<String, Host>,
    /// Groups of hosts. A group named like a component is where that component's steps go by default.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub groups: IndexMap<String, Group>,
    /// Variables of all hosts.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, Variable>,
    /// Kubernetes clusters.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub clusters: IndexMap<String, Cluster>,
    /// How hosts are reached unless they say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Defaults of the hosts' connection.
    #[serde(default, skip_serializing_if = "Access::is_empty")]
    pub access: Access,
    /// Seed of the simulated platform, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Settings of components: defaults of their parameters, below a step's `with`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub components: IndexMap<String, IndexMap<String, Value>>,
    /// Where secrets come from, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub secrets: IndexMap<String, SecretSource>,
}

/// A host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Host {
    /// Address to connect to; left out: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Name of its Kubernetes node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// User to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Port of its SSH server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Private key file, relative to the inventory; `~/` is the home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// File of the host keys that are trusted, relative to the inventory; `~/` is the home directory. Left out: those of
    /// the user who runs runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
    /// Jump host, `[user@]host[:port]`; several with commas between them, each reached through the one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// How effects gain the rights they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<Become>,
    /// Variables, published to plugins. Never secrets.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, Variable>,
}

/// Connection settings that hosts share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Access {
    /// User to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Port of the SSH server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Private key file, relative to the inventory; `~/` is the home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// File of the host keys that are trusted, relative to the inventory; `~/` is the home directory. Left out: those of
    /// the user who runs runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
    /// Jump host, `[user@]host[:port]`; several with commas between them, each reached through the one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// How effects gain the rights they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<Become>,
}

impl Access {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a host is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// By SSH.
    #[default]
    Ssh,
    /// It is the machine on which runner runs.
    Local,
    /// It exists in the simulated platform only.
    Simulated,
}

/// How effects gain the rights they need: `true` (sudo to root), `false`, or an object.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "BecomeShape")]
pub struct Become {
    /// Whether effects run as another user than the one logged in.
    pub enabled: bool,
    /// That user.
    pub user: String,
    /// Name of the secret that holds the password, when sudo asks for one.
    pub password: Option<String>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum BecomeShape {
    /// `true`: sudo to root. `false`: as the user logged in.
    Flag(bool),
    /// sudo to a user.
    Full(BecomeFile),
}

/// sudo to a user.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BecomeFile {
    /// User to become.
    #[serde(default = "root")]
    user: String,
    /// Name of the secret that holds the password, when sudo asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

fn root() -> String {
    "root".to_owned()
}

impl Become {
    /// sudo to root without a password.
    #[must_use]
    pub fn root() -> Self {
        Self { enabled: true, user: root(), password: None }
    }

    /// As the user logged in.
    #[must_use]
    pub fn no() -> Self {
        Self { enabled: false, user: root(), password: None }
    }
}

impl Serialize for Become {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.enabled || *self == Self::root() {
            return serializer.serialize_bool(self.enabled);
        }
        BecomeFile { user: self.user.clone(), password: self.password.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Become {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Become;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or an object with `user` and `password`")
            }

            fn visit_bool<E: de::Error>(self, enabled: bool) -> Result<Become, E> {
                Ok(if enabled { Become::root() } else { Become::no() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Become, A::Error> {
                let file = BecomeFile::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Become { enabled: true, user: file.user, password: file.password })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A group of hosts and of other groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Groups within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Variables of its hosts; those of an inner group win.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, Variable>,
}

/// A Kubernetes cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cluster {
    /// Kubeconfig file, relative to the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<String>,
    /// Context in it; left out: its current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// How it is reached; left out: simulated when the inventory's connection is, else by its API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

/// Where a secret comes from: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// An environment variable of runner.
    Environment(String),
    /// A file, without its last line break.
    File(String),
    /// Standard output of a command on runner's machine, without its last line break.
    Command(Vec<String>),
}

#[cfg(test)]
mod tests;
