//! `runner inventory`: hosts as runner sees them, and whether they are who they say.

mod trust;

use clap::{Args, Subcommand};
use runner_types::{Connection, ResolvedHost, Variable};
use serde_json::{Map, Value, json};

use crate::args::{Common, ListOutput};
use crate::exit::Exit;
use crate::hosts::Hosts;
use crate::out;

/// Look at an inventory, and trust its hosts' keys
#[derive(Debug, Args)]
pub(crate) struct Inventory {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
    Trust(trust::Trust),
}

/// Show the hosts that an inventory means, with everything that groups and defaults give them
///
/// Reads runner's own JSON and Ansible's INI, YAML and `--list` JSON, with group_vars and host_vars beside them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner inventory show -i hosts.ini
  runner inventory show -i hosts.ini nodes '!node-3'      some of them
  runner inventory show --output json master-1            everything about one, variables too")]
struct Show {
    #[command(flatten)]
    hosts: Hosts,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

impl Inventory {
    pub(crate) fn carry_out(&self, _common: &Common) -> anyhow::Result<Exit> {
        match &self.command {
            Command::Show(show) => show.carry_out(),
            Command::Trust(trust) => trust.carry_out(),
        }
    }
}

impl Show {
    fn carry_out(&self) -> anyhow::Result<Exit> {
        let selected = self.hosts.read()?;
        let hosts: Vec<&ResolvedHost> = selected.hosts().collect();
        match self.output {
            ListOutput::Text => out::stdout(&table(&hosts))?,
            ListOutput::Json => {
                let hosts: Map<String, Value> =
                    hosts.into_iter().map(|host| (host.name.clone(), whole(host))).collect();
                out::json(&json!({
                    "hosts": hosts,
                    "groups": selected.resolved.groups,
                    "clusters": selected.inventory.clusters,
                    "components": selected.inventory.components,
                }))?;
            }
        }
        Ok(Exit::Succeeded)
    }
}

const fn connection(connection: Connection) -> &'static str {
    match connection {
        Connection::Ssh => "ssh",
        Connection::Local => "local",
        Connection::Simulated => "simulated",
    }
}

fn table(hosts: &[&ResolvedHost]) -> String {
    let rows: Vec<Vec<String>> = hosts
        .iter()
        .map(|host| {
            let user = host.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
            let port = host.port.map_or_else(String::new, |port| format!(":{port}"));
            vec![
                host.name.clone(),
                format!("{user}{}{port}", host.address),
                connection(host.connection).to_owned(),
                host.node.clone().unwrap_or_else(|| "-".to_owned()),
                host.groups.join(", "),
            ]
        })
        .collect();
    out::table(&["HOST", "ADDRESS", "CONNECTION", "NODE", "GROUPS"], &rows)
}

fn whole(host: &ResolvedHost) -> Value {
    let variables: Map<String, Value> = host
        .variables
        .iter()
        .map(|(name, variable)| {
            let value = match variable {
                Variable::Value(value) => value.clone(),
                Variable::Unavailable(why) => json!({ "unavailable": why }),
            };
            (name.clone(), value)
        })
        .collect();
    json!({
        "address": host.address,
        "node": host.node,
        "groups": host.groups,
        "connection": connection(host.connection),
        "user": host.user,
        "port": host.port,
        "key": host.key,
        "known-hosts": host.known_hosts,
        "jump": host.jump,
        "become": host.r#become,
        "variables": variables,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_types::{DiskFiles, load_inventory};

    #[test]
    fn an_ansible_inventory_is_shown_as_it_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "[nodes]\nnode-1 ansible_host=10.0.0.12 ansible_user=ops ansible_port=2222\n").unwrap();
        let resolved = load_inventory(&DiskFiles, &path).unwrap().inventory.resolve();
        let hosts: Vec<&ResolvedHost> = resolved.hosts.values().collect();
        assert_eq!(
            table(&hosts),
            "HOST    ADDRESS             CONNECTION  NODE  GROUPS\n\
             node-1  ops@10.0.0.12:2222  ssh         -     nodes\n"
        );
        assert_eq!(whole(hosts[0])["user"], "ops");
    }
}
