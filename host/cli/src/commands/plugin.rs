//! `runner plugin`: plugins as files.

mod grants;
mod inspect;
mod pack;
mod trust;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use runner_engine::plugin::Catalog;
use runner_types::read_limited;

use crate::args::{Common, Plugins};
use crate::error::Problem;
use crate::exit::Exit;
use crate::paths::Surroundings;

/// Look at plugins, pack them, grant and trust them
#[derive(Debug, Args)]
pub(crate) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Inspect),
    Pack(pack::Pack),
    Grants(grants::Grants),
    Trust(trust::Trust),
}

impl Plugin {
    pub(crate) fn carry_out(&self, _common: &Common) -> anyhow::Result<Exit> {
        match &self.command {
            Command::Inspect(inspect) => inspect.carry_out(),
            Command::Pack(pack) => pack.carry_out(),
            Command::Grants(grants) => grants.carry_out(),
            Command::Trust(trust) => trust.carry_out(),
        }
    }
}

/// Largest file that is taken for a plugin.
const MOST: u64 = 256 << 20;

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let wrong = |reason: String| Problem::usage(format!("cannot read {}: {reason}", path.display()));
    let bytes = read_limited(path, MOST).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > MOST {
        return Err(wrong(format!("it is larger than {} MiB", MOST >> 20)).into());
    }
    Ok(bytes)
}

/// The plugins of the directories that are looked into.
fn catalog(plugins: &Plugins) -> anyhow::Result<Catalog> {
    Ok(Catalog::open(&Surroundings::real().plugins(plugins, None), None)?)
}

/// A plugin's file: a path as it is, a name by way of the directories.
fn file(wanted: &str, plugins: &Plugins) -> anyhow::Result<PathBuf> {
    let path = Path::new(wanted);
    if path.is_file() || wanted.contains('/') {
        return Ok(path.to_owned());
    }
    let catalog = catalog(plugins)?;
    catalog.manifest(wanted)?;
    let found = catalog.manifests().find(|(_, _, manifest)| manifest.name == wanted);
    found
        .map(|(path, _, _)| path.to_owned())
        .ok_or_else(|| Problem::usage(format!("there is no plugin {wanted:?}")).into())
}
