//! Settings beside an inventory that is not in native form.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check::check_platform;
use super::{Access, Cluster, Connection, Group, Host, Inventory, SecretSource, Variable};
use crate::{Document, JsonPath, Mistakes, Targets};

/// Variables of Ansible for which a field of the settings stands.
const ADDRESS: [&str; 2] = ["ansible_host", "ansible_ssh_host"];
const CONNECTION: [&str; 1] = ["ansible_connection"];
const USER: [&str; 2] = ["ansible_user", "ansible_ssh_user"];
const PORT: [&str; 2] = ["ansible_port", "ansible_ssh_port"];
const KEY: [&str; 2] = ["ansible_ssh_private_key_file", "ansible_private_key_file"];
const ARGUMENTS: [&str; 3] = ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"];
const BECOME: [&str; 3] = ["ansible_become", "ansible_become_user", "ansible_become_method"];
const PASSWORD: [&str; 2] = ["ansible_become_password", "ansible_become_pass"];

/// What an inventory of Ansible does not say and runner needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InventorySettings {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the platform; left out: the inventory's file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What hosts of the inventory have beside it; over what the inventory says.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub hosts: IndexMap<String, Host>,
    /// Hosts that are Kubernetes nodes of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Targets>,
    /// Further groups, for example the names by which workflows know those of the inventory.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub groups: IndexMap<String, Group>,
    /// Kubernetes clusters.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub clusters: IndexMap<String, Cluster>,
    /// How hosts are reached unless they say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Defaults of the hosts' connection.
    #[serde(default)]
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

impl Document for InventorySettings {
    const KIND: &'static str = "settings";

    /// The platform's name; what else it names is checked with the inventory.
    fn check(&self, mistakes: &mut Mistakes) {
        check_platform(self.name.as_deref(), mistakes);
    }
}

impl InventorySettings {
    /// Puts the settings over an inventory. What they name wrongly is returned.
    pub(super) fn put_over(self, inventory: &mut Inventory) -> Mistakes {
        let mut mistakes = Mistakes::default();
        let root = JsonPath::root();
        for (name, over) in self.hosts {
            match inventory.hosts.get_mut(&name) {
                Some(host) => put_host_over(host, over),
                None => {
                    let near = crate::did_you_mean(&name, inventory.hosts.keys());
                    let message = format!("the inventory has no host {name:?}{near}");
                    mistakes.add(&root.key("hosts").key(&name), message);
                }
            }
        }
        for (name, group) in self.groups {
            if inventory.groups.contains_key(&name) {
                let message = format!("the inventory has a group {name:?} already");
                mistakes.add(&root.key("groups").key(&name), message);
            } else {
                inventory.groups.insert(name, group);
            }
        }
        if let Some(nodes) = self.nodes {
            match inventory.resolve().select(&nodes.0) {
                Ok(names) => {
                    for name in names {
                        if let Some(host) = inventory.hosts.get_mut(name) {
                            host.node.get_or_insert_with(|| name.to_owned());
                        }
                    }
                }
                Err(error) => mistakes.add(&root.key("nodes"), error.to_string()),
            }
        }
        if let Some(password) = self.access.r#become.as_ref().and_then(|shared| shared.password.as_ref()) {
            for host in inventory.hosts.values_mut() {
                if let Some(wanted) = host.r#become.as_mut().filter(|wanted| wanted.enabled) {
                    wanted.password.get_or_insert_with(|| password.clone());
                }
            }
        }
        for host in inventory.hosts.values_mut() {
            put_defaults_under(host, &self.access, self.connection);
            // The settings say where the password is, or that none is needed.
            if host.r#become.as_ref().is_some_and(|wanted| !wanted.enabled || wanted.password.is_some()) {
                for name in PASSWORD {
                    host.variables.shift_remove(name);
                }
            }
        }
        inventory.name = self.name.or(inventory.name.take());
        inventory.connection = self.connection.or(inventory.connection);
        inventory.platform = self.platform;
        inventory.clusters = self.clusters;
        inventory.access = self.access;
        inventory.components = self.components;
        inventory.secrets = self.secrets;
        mistakes
    }
}

fn put_host_over(host: &mut Host, over: Host) {
    let Host { address, node, connection, user, port, key, known_hosts, jump, r#become, variables } = over;
    forget(host, address.is_some(), &ADDRESS);
    forget(host, connection.is_some(), &CONNECTION);
    forget(host, user.is_some(), &USER);
    forget(host, port.is_some(), &PORT);
    forget(host, key.is_some(), &KEY);
    forget(host, jump.is_some() || known_hosts.is_some(), &ARGUMENTS);
    forget(host, r#become.is_some(), &BECOME);
    host.address = address.or(host.address.take());
    host.node = node.or(host.node.take());
    host.connection = connection.or(host.connection);
    host.user = user.or(host.user.take());
    host.port = port.or(host.port);
    host.key = key.or(host.key.take());
    host.known_hosts = known_hosts.or(host.known_hosts.take());
    host.jump = jump.or(host.jump.take());
    host.r#become = r#become.or(host.r#become.take());
    host.variables.extend(variables);
}

/// What the inventory does not know, the defaults give; what it knows wins over them. Arguments of ssh may hold a jump
/// host, about which a shared file of host keys says nothing.
fn put_defaults_under(host: &mut Host, access: &Access, connection: Option<Connection>) {
    forget(host, host.connection.is_none() && connection.is_some(), &CONNECTION);
    forget(host, host.user.is_none() && access.user.is_some(), &USER);
    forget(host, host.port.is_none() && access.port.is_some(), &PORT);
    forget(host, host.key.is_none() && access.key.is_some(), &KEY);
    forget(host, host.jump.is_none() && access.jump.is_some(), &ARGUMENTS);
    forget(host, host.r#become.is_none() && access.r#become.is_some(), &BECOME);
}

/// Leaves out variables without a value in whose place the settings give one.
fn forget(host: &mut Host, given: bool, names: &[&str]) {
    if given {
        host.variables
            .retain(|name, variable| !names.contains(&name.as_str()) || matches!(variable, Variable::Value(_)));
    }
}
