//! Hosts of an inventory, for the commands that only look at it.

use std::path::{Path, PathBuf};

use clap::Args;
use runner_types::{DiskFiles, Inventory, ResolvedHost, ResolvedInventory, load_inventory};

use crate::out;
use crate::paths::Surroundings;

/// Which hosts of which inventory.
#[derive(Debug, Args)]
pub(crate) struct Hosts {
    /// Hosts, groups, globs, or one of these after `!` [default: all]
    patterns: Vec<String>,
    /// Inventory: runner's JSON, or Ansible's INI, YAML or `--list` JSON
    #[arg(short, long, value_name = "FILE", env = "RUNNER_INVENTORY", hide_env = true)]
    inventory: Option<PathBuf>,
}

impl Hosts {
    /// Reads the inventory, says what should be looked at in it, and selects the hosts.
    ///
    /// # Errors
    /// What is wrong with the inventory, or a pattern that selects nothing.
    pub(crate) fn read(&self) -> anyhow::Result<Selected> {
        let path = Surroundings::real().inventory(self.inventory.as_deref(), None)?;
        let loaded = load_inventory(&DiskFiles, &path)?;
        for warning in &loaded.warnings {
            out::stderr(&format!("warning: {warning}\n"));
        }
        let resolved = loaded.inventory.resolve();
        let all = ["all".to_owned()];
        let patterns = if self.patterns.is_empty() { &all[..] } else { &self.patterns };
        let names = resolved.select(patterns)?.into_iter().map(str::to_owned).collect();
        Ok(Selected { path, inventory: loaded.inventory, resolved, names })
    }
}

/// An inventory and the hosts that were selected from it.
pub(crate) struct Selected {
    path: PathBuf,
    /// The inventory in its native form.
    pub(crate) inventory: Inventory,
    /// The same, with everything that groups and defaults give to its hosts.
    pub(crate) resolved: ResolvedInventory,
    names: Vec<String>,
}

impl Selected {
    /// The selected hosts, in the order of the patterns.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &ResolvedHost> {
        self.names.iter().filter_map(|name| self.resolved.host(name))
    }

    /// Directory of the inventory, from which its relative paths lead.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_selects_all_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "[masters]\nmaster-1\n[nodes]\nnode-1\nnode-2\n").unwrap();
        let selected = |patterns: &[&str]| -> Vec<String> {
            let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            let selected = Hosts { patterns, inventory: Some(path.clone()) }.read().unwrap();
            assert_eq!(selected.folder(), folder.path());
            selected.hosts().map(|host| host.name.clone()).collect()
        };
        assert_eq!(selected(&[]), ["master-1", "node-1", "node-2"]);
        assert_eq!(selected(&["nodes", "!node-2"]), ["node-1"]);
    }
}
