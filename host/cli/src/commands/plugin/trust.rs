//! `runner plugin trust`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use runner_engine::project::read as read_file;
use runner_types::PluginLock;

use super::catalog;
use crate::args::{Plugins, Trusted};
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::paths::{Surroundings, lock_beside};

/// Bind plugins to their digests: from then on no other file of that name is used
///
/// Writes the lock file beside the policy. Where it exists, a run refuses every plugin that it does not name or whose
/// digest is another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner plugin trust --all                                all plugins that are found
  runner plugin trust etcd --policy /etc/runner/policy.json
  runner plugin trust etcd docker --plugins-lock trusted.json")]
pub(super) struct Trust {
    /// Names of plugins
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All plugins that are found
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Policy beside which the lock file lies
    #[arg(long, value_name = "FILE", env = "RUNNER_POLICY", hide_env = true)]
    policy: Option<PathBuf>,
    /// Inventory beside which the policy lies
    #[arg(short, long, value_name = "FILE", env = "RUNNER_INVENTORY", hide_env = true)]
    inventory: Option<PathBuf>,
    #[command(flatten)]
    plugins: Plugins,
    #[command(flatten)]
    trusted: Trusted,
}

impl Trust {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let catalog = catalog(&self.plugins)?;
        let path = self.lock()?;
        let mut lock = match path.exists() {
            true => read_file::<PluginLock>(&path)?.into_parts().0,
            false => PluginLock { schema: None, plugins: indexmap::IndexMap::new() },
        };
        let names: Vec<String> = match self.all {
            true => catalog.manifests().map(|(_, _, manifest)| manifest.name.clone()).collect(),
            false => self.names.clone(),
        };
        if names.is_empty() {
            return Err(Problem::usage("no plugin was found").hint("name their directory with --plugins").into());
        }
        let mut text = String::new();
        for name in names {
            let (_, digest) = catalog.manifest(&name)?;
            let before = lock.plugins.insert(name.clone(), digest.clone());
            let change = match before {
                Some(before) if before == *digest => "as before",
                Some(_) => "CHANGED",
                None => "new",
            };
            text.push_str(&format!("{name}  {digest}  {change}\n"));
        }
        lock.plugins.sort_keys();
        let mut json = serde_json::to_string_pretty(&lock)?;
        json.push('\n');
        fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
        out::stdout(&text)?;
        out::stderr(&format!("written to {}\n", path.display()));
        Ok(Exit::Succeeded)
    }

    fn lock(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.trusted.lock {
            return Ok(path.clone());
        }
        if let Some(policy) = &self.policy {
            return Ok(lock_beside(policy));
        }
        // The policy lies beside the inventory, and the lock file beside the policy.
        Ok(lock_beside(&Surroundings::real().inventory(self.inventory.as_deref(), None)?))
    }
}
