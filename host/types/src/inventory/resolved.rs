//! Hosts with everything that groups and defaults give them.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{Become, Connection, Host, Inventory};

/// A variable: a value, or the reason why runner cannot know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Variable {
    /// Its value.
    Value(Value),
    /// Its value needs something that runner does not have; only an error where it is needed.
    Unavailable(Unavailable),
}

/// Why a variable has no value here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// What it would need.
    pub needs: Needs,
    /// File in which it stands.
    pub file: String,
}

/// What a variable would need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Ansible's vault.
    Vault,
    /// Ansible's template engine.
    Template,
    /// A place for secrets: its name says that it is one, and inventories are not.
    Secret,
}

impl Needs {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "Ansible's vault",
            Self::Template => "Ansible's template engine",
            Self::Secret => "to be a secret of runner",
        }
    }
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

/// How a variable without a value is kept in a run's header.
const UNAVAILABLE: &str = "$unavailable";

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Unavailable(why) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(UNAVAILABLE, why)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match value.get(UNAVAILABLE) {
            Some(why) => Unavailable::deserialize(why).map(Self::Unavailable).map_err(de::Error::custom),
            None => Ok(Self::Value(value)),
        }
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

/// Variables of Ansible that say how a host is reached.
pub(super) const CONNECTION_VARIABLES: [&str; 19] = [
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_connection",
    "ansible_ssh_private_key_file",
    "ansible_private_key_file",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_become",
    "ansible_become_user",
    "ansible_become_method",
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_password",
    "ansible_ssh_pass",
];

/// A host with everything that groups and defaults give it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedHost {
    /// Name.
    pub name: String,
    /// Address to connect to.
    pub address: String,
    /// Name of its Kubernetes node.
    pub node: Option<String>,
    /// All groups it is in, outer ones first, without `all`.
    pub groups: Vec<String>,
    /// How it is reached.
    pub connection: Connection,
    /// User to log in as.
    pub user: Option<String>,
    /// Port of its SSH server.
    pub port: Option<u16>,
    /// Private key file, relative to the inventory.
    pub key: Option<String>,
    /// File of the host keys that are trusted, relative to the inventory; none: the user's.
    pub known_hosts: Option<String>,
    /// Jump host, `[user@]host[:port]`.
    pub jump: Option<String>,
    /// How effects gain the rights they need.
    pub r#become: Become,
    /// Variables, merged: those of all hosts, then of groups from outer to inner, then its own.
    pub variables: IndexMap<String, Variable>,
    /// Connection values that it would need and that have no value here, with their reason.
    pub unavailable: IndexMap<String, Unavailable>,
}

impl ResolvedHost {
    /// The connection value that it needs and that has no value here, when there is one.
    ///
    /// # Errors
    /// When there is one: named, with the file in which it stands.
    pub fn check_available(&self) -> Result<(), UnavailableError> {
        match self.unavailable.first() {
            None => Ok(()),
            Some((variable, why)) => {
                Err(UnavailableError { host: self.name.clone(), variable: variable.clone(), why: why.clone() })
            }
        }
    }

    /// A variable that somebody asks for.
    ///
    /// # Errors
    /// When its value is not available here.
    pub fn variable(&self, name: &str) -> Result<Option<&Value>, UnavailableError> {
        match self.variables.get(name) {
            None => Ok(None),
            Some(Variable::Value(value)) => Ok(Some(value)),
            Some(Variable::Unavailable(why)) => {
                Err(UnavailableError { host: self.name.clone(), variable: name.to_owned(), why: why.clone() })
            }
        }
    }

    /// The variables that have a value, as plugins get them.
    #[must_use]
    pub fn published(&self) -> serde_json::Map<String, Value> {
        self.variables.iter().filter_map(|(name, variable)| Some((name.clone(), variable.value()?.clone()))).collect()
    }
}

/// A value that is needed and not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: variable {variable:?} of host {host:?} needs {needs}", file = why.file, needs = why.needs.as_str())]
pub struct UnavailableError {
    /// Whose.
    pub host: String,
    /// Which.
    pub variable: String,
    /// Why.
    pub why: Unavailable,
}

impl UnavailableError {
    /// What to do.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self.why.needs {
            Needs::Vault => "runner does not open vaults: give the value in plain, or as an entry of `secrets`",
            Needs::Template => "runner does not evaluate templates: give the value itself",
            Needs::Secret => {
                "secrets are not taken from variables: name where it is in `secrets` of the settings, and for sudo's \
                 password put its name into `access.become.password`"
            }
        }
    }
}

/// An inventory with all its hosts resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedInventory {
    /// Hosts in inventory order.
    pub hosts: IndexMap<String, ResolvedHost>,
    /// Hosts of each group, inner groups included, in inventory order.
    pub groups: IndexMap<String, Vec<String>>,
}

impl ResolvedInventory {
    /// A host by its name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&ResolvedHost> {
        self.hosts.get(name)
    }
}

impl Inventory {
    /// Whether a cluster exists in the simulated platform only: it says so, or the inventory says so of everything.
    #[must_use]
    pub fn is_simulated(&self, cluster: &str) -> bool {
        let own = self.clusters.get(cluster).and_then(|cluster| cluster.connection);
        own.or(self.connection) == Some(Connection::Simulated)
    }

    /// Gives each host what groups and defaults give it. Of two groups at the same depth the later one wins.
    #[must_use]
    pub fn resolve(&self) -> ResolvedInventory {
        let depths = self.depths();
        let mut by_depth: Vec<usize> = (0..self.groups.len()).collect();
        by_depth.sort_by_key(|index| depths[*index]);
        let mut ranks = vec![0; by_depth.len()];
        for (rank, index) in by_depth.iter().enumerate() {
            ranks[*index] = rank;
        }
        // For each host the groups it is in: its own ones, and all that contain them.
        let mut member_of: IndexMap<&str, BTreeSet<usize>> =
            self.hosts.keys().map(|name| (name.as_str(), BTreeSet::new())).collect();
        let parents = self.parents();
        for (index, group) in self.groups.values().enumerate() {
            let above = upwards(&parents, index);
            for host in &group.hosts {
                if let Some(groups) = member_of.get_mut(host.as_str()) {
                    groups.extend(above.iter().map(|group| ranks[*group]));
                }
            }
        }
        let mut groups: IndexMap<String, Vec<String>> =
            self.groups.keys().map(|name| (name.clone(), Vec::new())).collect();
        let mut hosts = IndexMap::with_capacity(self.hosts.len());
        for (name, host) in &self.hosts {
            let mut variables = self.variables.clone();
            let mut names = Vec::new();
            let ranks = member_of.get(name.as_str()).into_iter().flatten();
            for index in ranks.filter_map(|rank| by_depth.get(*rank)) {
                if let Some((group, of)) = self.groups.get_index(*index) {
                    names.push(group.clone());
                    variables.extend(of.variables.iter().map(|(k, v)| (k.clone(), v.clone())));
                }
                if let Some((_, members)) = groups.get_index_mut(*index) {
                    members.push(name.clone());
                }
            }
            variables.extend(host.variables.iter().map(|(k, v)| (k.clone(), v.clone())));
            hosts.insert(name.clone(), self.resolve_host(name, host, names, variables));
        }
        ResolvedInventory { hosts, groups }
    }

    fn resolve_host(
        &self,
        name: &str,
        host: &Host,
        groups: Vec<String>,
        variables: IndexMap<String, Variable>,
    ) -> ResolvedHost {
        let access = &self.access;
        let connection = host.connection.or(self.connection).unwrap_or_default();
        // A simulated host is reached without any of them.
        let needed: &[&str] = if connection == Connection::Simulated { &[] } else { &CONNECTION_VARIABLES };
        let unavailable = needed
            .iter()
            .filter_map(|name| match variables.get(*name)? {
                Variable::Unavailable(why) => Some(((*name).to_owned(), why.clone())),
                Variable::Value(_) => None,
            })
            .collect();
        let text = |own: &Option<String>, shared: &Option<String>| own.clone().or_else(|| shared.clone());
        ResolvedHost {
            name: name.to_owned(),
            address: host.address.clone().unwrap_or_else(|| name.to_owned()),
            node: host.node.clone(),
            groups,
            connection,
            user: text(&host.user, &access.user),
            port: host.port.or(access.port),
            key: text(&host.key, &access.key),
            known_hosts: text(&host.known_hosts, &access.known_hosts),
            jump: text(&host.jump, &access.jump),
            r#become: host.r#become.clone().or_else(|| access.r#become.clone()).unwrap_or_else(Become::no),
            variables,
            unavailable,
        }
    }

    /// For each group those that contain it directly.
    fn parents(&self) -> Vec<Vec<usize>> {
        let mut parents = vec![Vec::new(); self.groups.len()];
        for (index, group) in self.groups.values().enumerate() {
            for inner in &group.groups {
                if let Some(inner) = self.groups.get_index_of(inner) {
                    parents[inner].push(index);
                }
            }
        }
        parents
    }

    /// How many groups there are around each, along the longest way.
    pub(super) fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.groups.len()];
        // Each round goes one level deeper; a cycle, which `check` refuses, ends with the rounds.
        for _ in 0..self.groups.len() {
            let mut moved = false;
            for (index, group) in self.groups.values().enumerate() {
                for inner in &group.groups {
                    if let Some(inner) = self.groups.get_index_of(inner)
                        && depths[inner] <= depths[index]
                    {
                        depths[inner] = depths[index] + 1;
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        depths
    }
}

/// A group and all that contain it.
fn upwards(parents: &[Vec<usize>], start: usize) -> Vec<usize> {
    let mut seen = vec![start];
    let mut next = 0;
    while let Some(group) = seen.get(next).copied() {
        next += 1;
        for parent in &parents[group] {
            if !seen.contains(parent) {
                seen.push(*parent);
            }
        }
    }
    seen
}
